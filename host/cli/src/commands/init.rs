//! `wharf init`.

use std::path::Path;

use wharf_manifest::NotAName;
use wharf_scaffold::{Project, ScaffoldError, suggested_name};

use crate::{args::InitArgs, error::Report, output, toolchain::Toolchain};

/// Writes a new module and says what to do next.
pub(crate) fn run(args: &InitArgs) -> Result<(), Report> {
    let crate::args::Sdk::Rust = args.sdk;
    let directory = std::path::absolute(&args.directory)
        .map_err(|error| Report::usage(format!("the current directory cannot be read: {error}")))?;
    let name = match &args.name {
        Some(name) => name
            .parse()
            .map_err(|error: NotAName| Report::usage(error.to_string()))?,
        None => suggested_name(&directory),
    };
    let project = Project { directory, name };
    let written = project.write()?;
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

impl From<ScaffoldError> for Report {
    fn from(error: ScaffoldError) -> Self {
        let message = error.to_string();
        match error {
            ScaffoldError::Exists(path) if path.ends_with("wharf.toml") => Self::usage(message)
                .with_hint("it is a module already: `wharf functions` lists what it can do"),
            ScaffoldError::Exists(_) => Self::usage(message)
                .with_hint("`wharf init ci` makes the module in a directory of its own, such as ci"),
            _ => Self::failed(message),
        }
    }
}
