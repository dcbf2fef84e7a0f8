//! An ordinary user for commands that are run by root: `--engine rootless`.

use std::path::PathBuf;
use std::process::Command;

use wharf_testkit::ordinary::{ID, User};
use wharf_testkit::paths;

use crate::shell::Failure;

/// The user, to whom the workspace belongs and what cargo keeps; none where whoever runs this is one already.
pub(crate) fn user() -> Result<Option<User>, Failure> {
    if !paths::is_root() {
        return Ok(None);
    }
    let home = paths::target().join("ordinary-user");
    std::fs::create_dir_all(&home)?;
    let mut user = User::with_home(&home)?;
    let runtime = runtime_directory(&user);
    std::fs::create_dir_all(&runtime)?;
    std::os::unix::fs::chown(runtime, Some(ID), Some(ID))?;
    user.owned.push(paths::workspace().to_owned());
    if !paths::target().starts_with(paths::workspace()) {
        user.owned.push(paths::target());
    }
    user.owned.extend(
        toolchain()
            .into_iter()
            .map(|(_, path)| path)
            .filter(|path| path.is_dir()),
    );
    Ok(Some(user))
}

/// A command that the user runs, or whoever runs this.
pub(crate) fn command(user: Option<&User>, program: &std::path::Path) -> Command {
    let mut command = match user {
        Some(user) => {
            let mut command = user.command(program);
            command.env("XDG_RUNTIME_DIR", runtime_directory(user));
            command
        }
        None => Command::new(program),
    };
    command.envs(toolchain());
    command
}

/// Where programs of the user keep what lasts as long as it is logged in.
fn runtime_directory(user: &User) -> PathBuf {
    user.home.join("run")
}

/// Where cargo keeps what it has, whoever's home is looked into.
fn toolchain() -> [(&'static str, PathBuf); 2] {
    [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")].map(|(name, usual)| {
        let named = std::env::var_os(name).map(PathBuf::from);
        let usual = || std::env::home_dir().unwrap_or_default().join(usual);
        (name, named.unwrap_or_else(usual))
    })
}
