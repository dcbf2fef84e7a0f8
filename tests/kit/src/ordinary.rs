//! An ordinary user for tests that run as root: a program is run as one, in a view of the machine of its own, and nothing of the
//! machine itself is changed.
//!
//! What is prepared needs a process of one thread, so there is a program for it, `as-user`; [`User::command`] makes a command
//! of it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result};

/// The number of the user and of its group. Nobody of the machine has to have it.
pub const ID: u32 = 61_234;
/// Its name.
pub const NAME: &str = "wharftest";
/// The first of the ids that are set aside for it, and how many there are.
pub const IDS: (u32, u32) = (2_000_000, 65_536);

/// An ordinary user, and what of the machine it sees otherwise than it is.
#[derive(Clone, Debug)]
pub struct User {
    /// Its home, which belongs to it.
    pub home: PathBuf,
    /// Are ids set aside for it?
    pub has_ids: bool,
    /// Programs that are not there for it, by path.
    pub hidden: Vec<PathBuf>,
    /// Paths that it reaches although they lie in a directory that is closed to it.
    pub exposed: Vec<PathBuf>,
    /// The same, and what belongs to root there belongs to it.
    pub owned: Vec<PathBuf>,
    /// Is the program run as root of a user namespace of the user's, as an engine is?
    pub inside: bool,
}

impl User {
    /// One whose home is this directory, which is given to it.
    pub fn with_home(home: &Path) -> Result<Self> {
        std::os::unix::fs::chown(home, Some(ID), Some(ID)).map_err(Error::io("giving away", home))?;
        Ok(Self {
            home: home.to_owned(),
            has_ids: true,
            hidden: Vec::new(),
            exposed: Vec::new(),
            owned: Vec::new(),
            inside: false,
        })
    }

    /// A command that the user runs; its environment is left to the caller.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(crate::paths::beside_tests("as-user"));
        command.arg("--home").arg(&self.home);
        if !self.has_ids {
            command.arg("--no-ids");
        }
        if self.inside {
            command.arg("--inside");
        }
        for (option, paths) in [
            ("--hide", &self.hidden),
            ("--expose", &self.exposed),
            ("--own", &self.owned),
        ] {
            for path in paths {
                command.arg(option).arg(path);
            }
        }
        command.arg("--").arg(program);
        command
    }

    /// A command of a user for whom the kernel makes no user namespaces; its environment is left to the caller. `home` is open
    /// to all.
    pub fn without_namespaces(home: &Path, program: &Path, args: &[&str]) -> Result<Command> {
        let mut user = Self::with_home(home)?;
        user.inside = true;
        user.exposed.push(program.to_owned());
        // Of a namespace its root may say how many more there may be in it. Then another user of it is who asks.
        let line = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --reuid 1000 --regid 1000 --clear-groups \"$@\"";
        let mut command = user.command(Path::new("/bin/sh"));
        command.args(["-c", line, "sh"]).arg(program).args(args);
        Ok(command)
    }

    /// Of the arguments that [`Self::command`] makes, and the program's own.
    pub fn of_args(args: impl IntoIterator<Item = OsString>) -> Option<(Self, Vec<OsString>)> {
        let mut user = Self {
            home: PathBuf::new(),
            has_ids: true,
            hidden: Vec::new(),
            exposed: Vec::new(),
            owned: Vec::new(),
            inside: false,
        };
        let mut args = args.into_iter();
        loop {
            match args.next()?.to_str()? {
                "--no-ids" => user.has_ids = false,
                "--inside" => user.inside = true,
                "--home" => user.home = args.next()?.into(),
                "--hide" => user.hidden.push(args.next()?.into()),
                "--expose" => user.exposed.push(args.next()?.into()),
                "--own" => user.owned.push(args.next()?.into()),
                "--" => return Some((user, args.collect())),
                _ => return None,
            }
        }
    }
}
