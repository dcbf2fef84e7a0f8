//! `cargo xtask generate` and `drift`: files that follow from other files of the repository.
//!
//! These are the `-sync` twins of the interfaces with asynchronous functions, the schema of wharf.toml, the page about the
//! contract, and the reference of the command line, which the program itself prints.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use wharf_testkit::paths;

use crate::{
    contract,
    shell::{self, Done, Failure},
};

/// Whether to write or to look.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write nothing; fail when a file is not what it would be.
    #[arg(long)]
    pub(crate) check: bool,
}

/// Writes, or checks, every generated file.
pub(crate) fn run(options: &Options) -> Done {
    settle(files()?.into_iter().chain([command_line()?]), options.check)
}

/// What this program writes by itself.
fn files() -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut files = twins()?;
    let schema = paths::workspace().join("host/scaffold/template/wharf.schema.json");
    files.push((schema, wharf_manifest::manifest_schema()));
    files.push((
        paths::workspace().join("docs/reference/contract.md"),
        contract::page()?,
    ));
    Ok(files)
}

/// The reference of the command line, as `wharf` itself has it.
fn command_line() -> Result<(PathBuf, String), Failure> {
    shell::build_wharf()?;
    let mut wharf = Command::new(paths::target().join("debug/wharf"));
    let output = wharf.arg("__reference").stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("`{}` failed ({})", shell::line_of(&wharf), output.status).into());
    }
    let path = paths::workspace().join("docs/reference/cli.md");
    Ok((path, String::from_utf8(output.stdout)?))
}

fn settle(generated: impl IntoIterator<Item = (PathBuf, String)>, check: bool) -> Done {
    let mut stale = Vec::new();
    for (path, text) in generated {
        if fs::read_to_string(&path).is_ok_and(|now| now == text) {
            continue;
        }
        if check {
            stale.push(
                path.strip_prefix(paths::workspace())
                    .unwrap_or(&path)
                    .display()
                    .to_string(),
            );
        } else {
            fs::write(&path, text).map_err(|error| format!("writing {}: {error}", path.display()))?;
            eprintln!("wrote {}", path.display());
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not what `cargo xtask generate` writes: {}", stale.join(", ")).into())
}

/// The twin of every interface with asynchronous functions, by its path.
fn twins() -> Result<Vec<(PathBuf, String)>, Failure> {
    let dir = paths::workspace().join("wit");
    let mut twins = Vec::new();
    for entry in fs::read_dir(&dir).map_err(|error| format!("reading {}: {error}", dir.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.extension().is_none_or(|extension| extension != "wit") || name.ends_with("-sync") {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        if let Some(twin) = twin(name, &text) {
            twins.push((dir.join(format!("{name}-sync.wit")), twin));
        }
    }
    twins.sort();
    Ok(twins)
}

/// The twin of one interface; none when it has no asynchronous functions of its own.
fn twin(name: &str, text: &str) -> Option<String> {
    let interface = format!("interface {name} {{");
    if !text.contains(": async func") || !text.contains(&interface) {
        return None;
    }
    let note = format!(
        "/// Generated from {name}.wit: the same functions for guests without asynchronous ones.\n///\n"
    );
    let start = text.find("///")?;
    let mut twin = String::from(&text[..start]);
    twin.push_str(&note);
    twin.push_str(&text[start..]);
    Some(
        twin.replace(&interface, &format!("interface {name}-sync {{"))
            .replace(": async func", ": func"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twin_differs_in_its_name_and_its_functions_only() {
        let text =
            "package a:b;\n\n/// Reads.\ninterface eval {\n    /// One.\n    x: async func() -> u32;\n}\n";
        let expected = "package a:b;\n\n\
            /// Generated from eval.wit: the same functions for guests without asynchronous ones.\n///\n\
            /// Reads.\ninterface eval-sync {\n    /// One.\n    x: func() -> u32;\n}\n";
        assert_eq!(twin("eval", text).as_deref(), Some(expected));
        assert_eq!(twin("types", "/// T.\ninterface types {\n}\n"), None);
    }

    #[test]
    fn what_is_generated_is_up_to_date() {
        settle(files().unwrap(), true).unwrap();
    }
}
