//! `cargo xtask platforms`: whether the command compiles for the systems that have Docker as the engine's place.
//!
//! Nothing is linked and nothing runs. Some libraries have C in them, which is compiled on the way: Zig knows the headers of
//! all of these systems, and comes as a package of the Python registry, for this directory alone.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, ValueEnum};
use wharf_testkit::paths;

use crate::{
    setup,
    shell::{self, Done, Failure},
};

/// The package with the compiler of C, at a version that is known to do.
const COMPILER: &str = "ziglang==0.17.1";
/// The package of this workspace that users run.
const COMMAND: &str = "wharf-cli";

/// Which systems.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this one; may be repeated.
    #[arg(long, value_enum)]
    only: Vec<Platform>,
}

/// A system, and what is compiled for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Platform {
    Macos,
    Windows,
}

impl Platform {
    /// As Rust calls it.
    fn rust(self) -> &'static str {
        match self {
            Self::Macos => "x86_64-apple-darwin",
            Self::Windows => "x86_64-pc-windows-gnu",
        }
    }

    /// As the compiler of C calls it.
    fn zig(self) -> &'static str {
        match self {
            Self::Macos => "x86_64-macos",
            Self::Windows => "x86_64-windows-gnu",
        }
    }
}

/// Checks each.
pub(crate) fn run(options: &Options) -> Done {
    let all = [Platform::Macos, Platform::Windows];
    let compiler = compiler()?;
    for platform in all {
        if options.only.is_empty() || options.only.contains(&platform) {
            setup::rust_target(platform.rust())?;
            check(platform, &compiler)?;
        }
    }
    Ok(())
}

fn check(platform: Platform, compiler: &Path) -> Done {
    let tools = compiler.parent().unwrap_or(compiler);
    let cc = tools.join(format!("cc-{}", platform.rust()));
    // Rust's build scripts name the target, the processor and the oldest system in words that this compiler does not know.
    script(
        &cc,
        &format!(
            r#"for word in "$@"; do
    shift
    case "$word" in
        --target=* | -arch | arm64 | x86_64 | -mmacosx-version-min=* | -march=armv8*) ;;
        *) set -- "$@" "$word" ;;
    esac
done
exec "{}" cc -target {} "$@""#,
            compiler.display(),
            platform.zig()
        ),
    )?;
    let ar = tools.join("ar");
    script(&ar, &format!(r#"exec "{}" ar "$@""#, compiler.display()))?;
    let variable = |name: &str| format!("{name}_{}", platform.rust().replace('-', "_"));
    shell::run(
        shell::cargo()
            .args([
                "check",
                "--locked",
                "--package",
                COMMAND,
                "--target",
                platform.rust(),
            ])
            // What is compiled for this machine on the way is not what its own builds need.
            .env("CARGO_TARGET_DIR", paths::target().join("platforms"))
            .env("RUSTFLAGS", "--deny warnings")
            .env(variable("CC"), &cc)
            .env(variable("CXX"), &cc)
            .env(variable("AR"), &ar),
    )
}

/// The compiler of C, installed when it is not there.
fn compiler() -> Result<PathBuf, Failure> {
    let place = paths::target().join("tools").join(COMPILER);
    let zig = place.join("ziglang/zig");
    if Command::new(&zig).arg("version").output().is_ok() {
        return Ok(zig);
    }
    setup::run()?;
    shell::run(
        Command::new("pip3")
            .args(["install", "--quiet", COMPILER, "--target"])
            .arg(&place),
    )?;
    Ok(zig)
}

/// A program that the build scripts of libraries run.
fn script(path: &Path, text: &str) -> Done {
    let text = format!("#!/bin/sh\n{text}\n");
    // Written anew it would look changed, and what it compiled would be compiled again.
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
