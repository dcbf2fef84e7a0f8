//! What building modules takes: cargo, and Rust's target for WebAssembly.

use std::{ffi::OsStr, path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

/// What modules are compiled for.
pub(crate) const TARGET: &str = "wasm32-wasip2";
/// How long a program may take to say its version.
const LIMIT: Duration = Duration::from_secs(5);

/// What installs Rust where there is none.
pub(crate) const INSTALL_RUST: &str = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh";

/// A part that is there, or what to do about it.
pub(crate) type Part = Result<String, Lack>;

/// A part that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lack {
    /// What was found instead.
    pub(crate) why: String,
    /// The command to type.
    pub(crate) next: String,
}

/// The Rust toolchain as a build would find it.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// cargo's version.
    pub(crate) cargo: Part,
    /// Where the target's standard library lies.
    pub(crate) target: Part,
}

impl Toolchain {
    /// Looks, from the current directory: a directory may choose its toolchain.
    pub(crate) async fn look() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let (version, rustup, libraries) = tokio::join!(
            said(cargo, &["--version"]),
            said("rustup", &["--version"]),
            said("rustc", &["--print", "target-libdir", "--target", TARGET]),
        );
        let has_rustup = rustup.is_ok();
        let lack = |why: String| Lack {
            why,
            next: if has_rustup {
                "rustup default stable"
            } else {
                INSTALL_RUST
            }
            .to_owned(),
        };
        Self {
            cargo: version.map_err(|why| lack(format!("cargo {why}"))),
            target: match libraries {
                Err(why) => Err(lack(format!("rustc {why}"))),
                Ok(directory) if holds_files(Path::new(&directory)) => Ok(directory),
                Ok(_) => Err(Lack {
                    why: format!("Rust's target {TARGET} is not installed"),
                    next: if has_rustup {
                        format!("rustup target add {TARGET}")
                    } else {
                        INSTALL_RUST.to_owned()
                    },
                }),
            },
        }
    }

    /// What has to be typed before a module can be built, in order.
    pub(crate) fn commands(&self) -> Vec<&str> {
        let mut commands: Vec<&str> = [&self.cargo, &self.target]
            .into_iter()
            .filter_map(|part| part.as_ref().err().map(|lack| lack.next.as_str()))
            .collect();
        commands.dedup();
        commands
    }
}

fn holds_files(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
}

/// The first line that a program prints, or what it did instead.
pub(crate) async fn said(program: impl AsRef<OsStr>, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    let output = command
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(LIMIT, output).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("is not installed".to_owned());
        }
        Ok(Err(error)) => return Err(format!("does not start: {error}")),
        Err(_) => return Err(format!("says nothing for {} s", LIMIT.as_secs())),
    };
    let first = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.lines().next().unwrap_or_default().trim().to_owned()
    };
    if output.status.success() {
        return Ok(first(&output.stdout));
    }
    Err(format!("fails: {}", first(&output.stderr)))
}
