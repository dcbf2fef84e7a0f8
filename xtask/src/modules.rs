//! `cargo xtask modules build|test|publish`: the modules under modules/, which are programs of their own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use clap::{Args, Subcommand};
use wharf_testkit::paths;

use crate::shell::{self, Done, Failure};

/// What is done with them.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
    /// Only this one; may be repeated
    #[arg(long = "only", value_name = "NAME", global = true)]
    only: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Build each one's component.
    Build,
    /// Run each one's own tests, which need no engine.
    Test,
    /// Publish each under its version, unless that is there; another component is never put over it.
    Publish(Publish),
}

#[derive(Debug, Args)]
struct Publish {
    /// Where to: each becomes `REGISTRY/NAMESPACE/NAME:VERSION`
    #[arg(value_name = "REGISTRY/NAMESPACE")]
    to: String,
    /// Sign them with this key, as `wharf publish --sign-key` takes it
    #[arg(long, value_name = "PATH|env:NAME")]
    sign_key: Option<String>,
    /// Show what would be published
    #[arg(long)]
    dry_run: bool,
}

/// Does it with one after the other.
pub(crate) fn run(options: &Options) -> Done {
    let modules = wanted(&options.only)?;
    match &options.what {
        What::Build => {
            let wharf = wharf()?;
            modules
                .iter()
                .try_for_each(|module| shell::run(Command::new(&wharf).args(["build", "-m"]).arg(module)))
        }
        What::Test => modules.iter().try_for_each(|module| test(module)),
        What::Publish(options) => {
            let wharf = wharf()?;
            modules
                .iter()
                .try_for_each(|module| publish(&wharf, module, options))
        }
    }
}

/// Tests in a target directory that all modules share, as they have most dependencies in common.
fn test(module: &Path) -> Done {
    let mut command = shell::cargo();
    command.args(["test", "--locked", "--quiet"]).current_dir(module);
    eprintln!("in {}:", name(module));
    shell::run(command.env("CARGO_TARGET_DIR", paths::target().join("modules")))
}

fn publish(wharf: &Path, module: &Path, options: &Publish) -> Done {
    let to = format!("{}/{}", options.to.trim_end_matches('/'), name(module));
    let mut command = Command::new(wharf);
    command.args(["publish", &to, "-m"]).arg(module);
    command.args(options.dry_run.then_some("--dry-run"));
    if let Some(key) = &options.sign_key {
        command.args(["--sign-key", key]);
    }
    shell::run(&mut command)
}

/// The program, built when it is not.
fn wharf() -> Result<PathBuf, Failure> {
    shell::build_wharf()?;
    Ok(paths::target().join("debug/wharf"))
}

/// The modules of these names; all when none is named.
fn wanted(only: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let all = all()?;
    let names: Vec<_> = all.iter().map(|module| name(module)).collect();
    if let Some(unknown) = only.iter().find(|wanted| !names.contains(wanted)) {
        return Err(format!("there is no module {unknown}; there are {}", names.join(", ")).into());
    }
    let is_wanted = |module: &PathBuf| only.is_empty() || only.contains(&name(module));
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// The directories under modules/ that have a wharf.toml, in the order of their names.
fn all() -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(paths::workspace().join("modules"))?;
    let mut all: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("wharf.toml").is_file())
        .collect();
    all.sort();
    Ok(all)
}

/// The last part of its name, which is its directory's.
fn name(module: &Path) -> String {
    module
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
