//! Engines of users who are not root: this program runs itself as root of a user namespace.
//!
//! What is done inside has subcommands of its own, which are read before anything else and are nobody's to type.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Deserialize, Serialize};
use wharf_runner::Feature;
use wharf_userns::{Error, Ids, ids};

use crate::{
    args::ServeArgs,
    engine_choice::this_program,
    error::{Ended, Report},
    output,
    places::{self, Places},
};

/// Runs the rest of the command line in a namespace.
const INSIDE: &str = "__in-user-namespace";
/// Says as JSON what steps would have there.
const PROBE: &str = "__probe";
/// Removes a directory whose files belong to users of the namespace.
const REMOVE: &str = "__remove";

/// What was found in a namespace.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Probed {
    /// How many users there are; none where there is one because of a lack.
    pub(crate) users: Option<u32>,
    /// Why there is one.
    pub(crate) why_one: Option<String>,
    pub(crate) features: Vec<Feature>,
}

/// Is this an ordinary user?
pub(crate) fn is_one() -> bool {
    !rustix::process::geteuid().is_root()
}

/// Does what such a subcommand says, if this is one.
pub(crate) fn answer() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let command = args.next()?;
    let rest: Vec<OsString> = args.collect();
    let done = match (command.to_str()?, rest.as_slice()) {
        (INSIDE, rest) => run_inside(rest),
        (PROBE, [directory]) => probe(directory),
        (REMOVE, [directory]) => remove_tree(Path::new(directory)).map(|()| ExitCode::SUCCESS),
        _ => return None,
    };
    Some(done.unwrap_or_else(|report| report.tell()))
}

fn run_inside(args: &[OsString]) -> Result<ExitCode, Report> {
    let program = this_program()?;
    let code = wharf_userns::run(&program, args).map_err(|error| report(&error))?;
    Ok(ExitCode::from(code))
}

fn report(error: &Error) -> Report {
    let report = Report::new(
        Ended::Unreachable,
        format!("no engine runs on this host: {error}"),
    );
    match error.next() {
        Some(next) => report.with_hint(next),
        None => report,
    }
}

fn probe(directory: &OsStr) -> Result<ExitCode, Report> {
    let users = match ids() {
        Ids::Range { users, .. } => Some(users),
        Ids::Machine | Ids::One => None,
    };
    let probed = Probed {
        users,
        why_one: wharf_userns::why_one(),
        features: wharf_runner::probe(Path::new(directory)),
    };
    output::json(&serde_json::json!(probed)).map(|()| ExitCode::SUCCESS)
}

/// Tries in a namespace what steps use; `beside` is a directory on the file system that will hold layers. Blocking.
pub(crate) fn try_inside(beside: &Path) -> Result<Probed, String> {
    let program = this_program().map_err(|error| error.to_string())?;
    let output = std::process::Command::new(program)
        .args([INSIDE, PROBE])
        .arg(beside)
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        let said = String::from_utf8_lossy(&output.stderr);
        said.trim().trim_start_matches("wharf: ").to_owned()
    })
}

/// Is an engine in a namespace of its own.
pub(crate) fn serve(args: &ServeArgs) -> Result<u8, Report> {
    // Inside, this user is root, whose usual places are others.
    let places = Places::find()?;
    let socket = args.socket.clone().unwrap_or_else(|| places.socket());
    let store = args.store.clone().unwrap_or(places.store);
    let mut all: Vec<OsString> = std::env::args_os().skip(1).collect();
    for (name, is_said, path) in [
        ("--socket", args.socket.is_some(), &socket),
        ("--store", args.store.is_some(), &store),
    ] {
        if !is_said {
            all.extend([OsString::from(name), path.clone().into_os_string()]);
        }
    }
    let absolute = std::path::absolute(&store).unwrap_or(store);
    wharf_runner::make_room(&places::name_of_store(&absolute));
    let program = this_program()?;
    wharf_userns::run(&program, &all).map_err(|error| report(&error))
}

/// A directory in memory for the runner's short-lived files, which nobody outside of the namespace sees and which goes with it.
pub(crate) fn runner_state(store: &Path, run: &Path) -> Result<PathBuf, Report> {
    let state = run.join(format!("{}-runner", places::name_of_store(store)));
    let failed = |error: std::io::Error| Report::failed(format!("{}: {error}", state.display()));
    std::fs::create_dir_all(&state).map_err(failed)?;
    let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NODEV;
    rustix::mount::mount("tmpfs", &state, "tmpfs", flags, c"mode=700")
        .map_err(|error| failed(error.into()))?;
    Ok(state)
}

/// Removes a store.
pub(crate) fn remove_store(store: &Path) -> Result<(), Report> {
    if !is_one() {
        return remove_tree(store);
    }
    let status = std::process::Command::new(this_program()?)
        .args([INSIDE, REMOVE])
        .arg(store)
        .status()
        .map_err(|error| Report::failed(format!("this program does not run: {error}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Report::failed(format!("{} was not removed", store.display())))
    }
}

/// Removes the directory of a store that nobody uses.
fn remove_tree(store: &Path) -> Result<(), Report> {
    let failed = |error: std::io::Error| Report::failed(format!("{} stays: {error}", store.display()));
    let lock = match std::fs::File::options().write(true).open(store.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Report::failed(format!(
                "{} stays: it is no store of an engine",
                store.display()
            )));
        }
        Err(error) => return Err(failed(error)),
    };
    if lock.try_lock().is_err() {
        return Err(Report::failed(format!(
            "{} stays: an engine uses it",
            store.display()
        )));
    }
    std::fs::remove_dir_all(store).map_err(failed)
}
