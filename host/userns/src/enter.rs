//! A program as root of a new user namespace, with processes and mounts of its own.
//!
//! Three processes: this one stays outside and waits; its child is process 1 of the namespace and does nothing but reap what
//! nobody else does; the program is a child of that one. Whichever of them is killed, the kernel ends all that is left: a child
//! dies with its parent, and with process 1 everything in its namespace, whatever it has done to detach itself.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
};

use rustix::{
    mount::MountPropagationFlags,
    process::{Pid, Signal},
};

use crate::{
    Error, ids,
    subordinate::{self, Ranges},
    supervise::Held,
};

/// Runs the program to its end; its exit code, or 128 and the number of the signal that ended it. This process has to be an
/// ordinary user's and have one thread. Where no ranges of ids are to be had the namespace has one id, and the program finds out
/// why by [`crate::why_one`].
pub fn run(program: &Path, args: &[OsString]) -> Result<u8, Error> {
    let held = Held::hold().map_err(Error::io("holding signals back"))?;
    let inside = |why_one: Option<&str>| Inside {
        held: &held,
        program,
        args,
        why_one: why_one.map(str::to_owned),
    };
    let lack = match subordinate::find() {
        Ok(ranges) => match inside(None).start(Some(&ranges))? {
            Ok(child) => return wait(&held, child),
            Err(lack) => lack,
        },
        Err(lack) => lack,
    };
    match inside(Some(&lack.to_string())).start(None)? {
        Ok(child) => wait(&held, child),
        Err(lack) => Err(Error::Unusable(lack.why)),
    }
}

fn wait(held: &Held, child: Pid) -> Result<u8, Error> {
    held.wait_for(child)
        .map_err(Error::io("waiting for the namespace"))
}

/// What runs in the namespace.
struct Inside<'i> {
    held: &'i Held,
    program: &'i Path,
    args: &'i [OsString],
    why_one: Option<String>,
}

impl Inside<'_> {
    /// Starts process 1 with these ids, or with one, and sees that the program runs. Ids that cannot be mapped are no error: one
    /// can be had without help.
    fn start(&self, ranges: Option<&Ranges>) -> Result<Result<Pid, subordinate::Lack>, Error> {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (go, going) = pipe().map_err(|error| Error::io("a pipe")(error.into()))?;
        let (told, tell) = pipe().map_err(|error| Error::io("a pipe")(error.into()))?;
        let Some(child) = fork_into_namespaces().map_err(|error| Error::refused(&error))? else {
            drop((going, told));
            // Every process that is left in the namespace ends with this one.
            std::process::exit(self.be_the_first(File::from(go), File::from(tell)).into());
        };
        drop((go, tell));
        let mapped = match ranges {
            Some(ranges) => ranges.map(child),
            None => map_one(child).map_err(|error| subordinate::Lack {
                why: format!("the one id cannot be mapped: {error}"),
                next: String::new(),
            }),
        };
        if let Err(lack) = mapped {
            rustix::process::kill_process(child, Signal::KILL).ok();
            rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).ok();
            return Ok(Err(lack));
        }
        // When it is gone it says so below.
        File::from(going).write_all(&[1]).ok();
        let mut said = String::new();
        File::from(told)
            .read_to_string(&mut said)
            .map_err(Error::io("the namespace's first process"))?;
        if said.is_empty() {
            return Ok(Ok(child));
        }
        rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).ok();
        Err(Error::Unusable(said))
    }

    /// Process 1: waits until it has its ids, starts the program and waits for its end.
    fn be_the_first(&self, mut go: File, mut tell: File) -> u8 {
        let started = self.start_program(&mut go);
        match started {
            Ok(Some(child)) => {
                drop((go, tell));
                self.held.wait_for(child).unwrap_or(1)
            }
            // Nobody wants it any more.
            Ok(None) => 1,
            Err(error) => {
                tell.write_all(error.to_string().as_bytes()).ok();
                1
            }
        }
    }

    fn start_program(&self, go: &mut File) -> io::Result<Option<Pid>> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        let mut mapped = [0];
        if go.read(&mut mapped)? == 0 {
            return Ok(None);
        }
        // The terminal's keys are for the process outside, which passes on what they mean.
        rustix::process::setsid()?;
        // What the machine unmounts is not kept by this namespace, and what is mounted here does not show on the machine.
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", slave).map_err(|error| {
            let known = crate::obstacle()
                .map(|known| format!(" ({known}; next: {})", known.next().unwrap_or_default()));
            let known = known.unwrap_or_default();
            io::Error::other(format!(
                "mounts cannot be changed in it: {}{known}",
                io::Error::from(error)
            ))
        })?;
        let mut command = Command::new(self.program);
        command.args(self.args);
        match &self.why_one {
            Some(why) => command.env(ids::WHY_ONE, why),
            None => command.env_remove(ids::WHY_ONE),
        };
        let held = *self.held;
        // SAFETY: between fork and exec only the mask of signals is changed, which is safe there.
        unsafe { command.pre_exec(move || held.release()) };
        let child = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.program.display())))?;
        Ok(Pid::from_raw(child.id().cast_signed()))
    }
}

/// Forks a child that is process 1 of new namespaces; none is the child itself.
fn fork_into_namespaces() -> io::Result<Option<Pid>> {
    // SAFETY: all fields of the structure are numbers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without a stack of its own the child continues here on a copy of ours, as after fork; this process has one
    // thread, so nothing is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Pid::from_raw(pid as libc::pid_t)),
    }
}

/// Makes this user root of the process's namespace, without help. Whoever has no right over groups must not be able to give one
/// up that closes something to it.
fn map_one(process: Pid) -> io::Result<()> {
    let of = |name: &str| format!("/proc/{}/{name}", process.as_raw_nonzero());
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    std::fs::write(of("setgroups"), "deny")?;
    std::fs::write(of("uid_map"), format!("0 {} 1", user.as_raw()))?;
    std::fs::write(of("gid_map"), format!("0 {} 1", group.as_raw()))
}
