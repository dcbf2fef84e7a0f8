//! `wharf init`.

use std::path::Path;

use wharf_manifest::NotAName;
use wharf_scaffold::{Ci, CiFile, Project, ScaffoldError, suggested_name};

use crate::{
    args::{CiKind, InitArgs},
    error::Report,
    output,
    toolchain::Toolchain,
};

/// Writes a new module and says what to do next.
pub(crate) fn run(args: &InitArgs) -> Result<(), Report> {
    let crate::args::Sdk::Rust = args.sdk;
    let directory = std::path::absolute(&args.directory)
        .map_err(|error| Report::usage(format!("the current directory cannot be read: {error}")))?;
    // Looked at before anything is written.
    let ci = args
        .ci
        .map(|kind| CiFile::new(kind.into(), &directory))
        .transpose()?;
    if let Some(ci) = ci.as_ref().filter(|_| directory.join("wharf.toml").exists()) {
        if args.name.is_some() {
            return Err(Report::usage(
                "--name is for a new module, and there is one already",
            ));
        }
        return for_ci(ci, &directory);
    }
    let name = match &args.name {
        Some(name) => name
            .parse()
            .map_err(|error: NotAName| Report::usage(error.to_string()))?,
        None => suggested_name(&directory),
    };
    let project = Project { directory, name };
    let written = project.write()?;
    if let Some(ci) = &ci {
        for_ci(ci, &project.directory)?;
    }
    output::aside(&format!(
        "{} is a module now, in {}\n",
        project.name,
        args.directory.display()
    ));
    for (file, what) in [
        ("src/lib.rs", "three functions, explained"),
        ("wharf.toml", "what the module is called"),
        (
            "Cargo.toml",
            "what it depends on: the SDK, which lies in .wharf/sdk",
        ),
    ] {
        output::aside(&format!("  {file}  {what}\n"));
    }
    if !written.contains(&".gitignore") {
        output::aside("  .gitignore is yours, and should name .wharf\n");
    }
    output::aside("next:\n");
    let toolchain = super::runtime()?.block_on(Toolchain::look());
    for command in toolchain.commands() {
        output::aside(&format!("  {command}\n"));
    }
    if args.directory != Path::new(".") {
        output::aside(&format!("  cd {}\n", args.directory.display()));
    }
    output::aside("  wharf functions\n  wharf call hello --name Ada\n  wharf call count --source .\n");
    Ok(())
}

/// Writes the file for a CI system and says what it does.
fn for_ci(file: &CiFile, module: &Path) -> Result<(), Report> {
    file.write()?;
    output::aside(&format!(
        "{} runs `wharf check`; say in it how Wharf is installed\n",
        file.path.display()
    ));
    if !has_checks(&module.join("src")) {
        output::aside("no function here is marked #[check] yet: `wharf check` runs those that are\n");
    }
    Ok(())
}

/// Is it one of the files that CI systems read?
fn of_ci(path: &Path) -> bool {
    [Ci::GitHub, Ci::GitLab, Ci::Jenkins]
        .iter()
        .any(|ci| path.ends_with(ci.file()))
}

/// Is a check in one of the files? Read as text: the module may not be built yet.
fn has_checks(directory: &Path) -> bool {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        if path.is_dir() {
            return has_checks(&path);
        }
        let is_source = path.extension().is_some_and(|end| end == "rs");
        is_source && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("#[check]"))
    })
}

impl From<CiKind> for Ci {
    fn from(kind: CiKind) -> Self {
        match kind {
            CiKind::Github => Self::GitHub,
            CiKind::Gitlab => Self::GitLab,
            CiKind::Jenkins => Self::Jenkins,
        }
    }
}

impl From<ScaffoldError> for Report {
    fn from(error: ScaffoldError) -> Self {
        let message = error.to_string();
        match error {
            ScaffoldError::Exists(path) if path.ends_with("wharf.toml") => Self::usage(message)
                .with_hint("it is a module already: `wharf functions` lists what it can do"),
            ScaffoldError::Exists(path) if of_ci(&path) => {
                Self::usage(message).with_hint("write `wharf check --no-input` into it where checks are run")
            }
            ScaffoldError::Path(_) => Self::usage(message),
            ScaffoldError::Exists(_) => Self::usage(message)
                .with_hint("`wharf init ci` makes the module in a directory of its own, such as ci"),
            _ => Self::failed(message),
        }
    }
}
