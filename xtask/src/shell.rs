//! Runs other programs where the person can see what they do.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// What a developer command fails with: a text for the person who ran it.
pub(crate) type Failure = Box<dyn std::error::Error>;
/// The result of a developer command.
pub(crate) type Done = Result<(), Failure>;

/// The cargo that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(wharf_testkit::paths::workspace());
    // Cargo sets these for what it runs; passed on to another cargo they describe the wrong package.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// Says a command and runs it; its output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Done {
    let line = line_of(command);
    eprintln!("$ {line}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("`{line}`: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{line}` failed ({status})").into())
    }
}

/// Builds `wharf`, and what runs it as another user.
pub(crate) fn build_wharf() -> Done {
    let mut command = cargo();
    command.args(["build", "--workspace", "--bin", "wharf", "--bin", "as-user"]);
    // With a test among them, a small one, dependencies have the features that tests need: they are not compiled again for those.
    run(command.args(["--test", "process"]))
}

/// A command as a person would type it.
pub(crate) fn line_of(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program())
        .file_name()
        .unwrap_or_default();
    let words: Vec<_> = std::iter::once(program)
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    words.join(" ")
}
