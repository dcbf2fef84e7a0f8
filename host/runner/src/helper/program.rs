//! The program of a step: its user, rights and limits, and how it is found and executed.

use std::{
    ffi::{CString, c_int},
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use oci_spec::runtime::{Capabilities, PosixRlimit, PosixRlimitType, Spec};
use rustix::{
    fs::{FileType, Mode},
    thread::{CapabilitySet, CapabilitySets},
};

use wharf_userns::{Ids, ids};

use super::doing::Doing;
use crate::seccomp::Program as Filter;

/// The highest capability number that can be.
const LAST_CAPABILITY: u32 = 63;

/// Capabilities by set.
struct Rights {
    bounding: CapabilitySet,
    sets: CapabilitySets,
    ambient: CapabilitySet,
}

/// A step's program, ready to run.
pub(crate) struct Program {
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: String,
    search: Vec<String>,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    umask: u32,
    rights: Rights,
    limits: Vec<PosixRlimit>,
    no_new_privileges: bool,
    /// Its standard descriptors are a terminal of its own.
    has_terminal: bool,
}

impl Program {
    pub(crate) fn new(spec: &Spec) -> io::Result<Self> {
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| io::Error::other("the specification has no process"))?;
        let env = process.env().clone().unwrap_or_default();
        let search = env
            .iter()
            .find_map(|pair| pair.strip_prefix("PATH="))
            .unwrap_or_default();
        let user = process.user();
        let caps = process.capabilities().clone().unwrap_or_default();
        Ok(Self {
            args: texts(process.args().as_deref().unwrap_or_default())?,
            search: search.split(':').map(str::to_owned).collect(),
            env: texts(&env)?,
            cwd: process.cwd().to_string_lossy().into_owned(),
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            umask: user.umask().unwrap_or(0o022),
            rights: Rights {
                bounding: set(caps.bounding().as_ref()),
                sets: CapabilitySets {
                    effective: set(caps.effective().as_ref()),
                    permitted: set(caps.permitted().as_ref()),
                    inheritable: set(caps.inheritable().as_ref()),
                },
                ambient: set(caps.ambient().as_ref()),
            },
            limits: process.rlimits().clone().unwrap_or_default(),
            no_new_privileges: process.no_new_privileges().unwrap_or_default(),
            has_terminal: process.terminal().unwrap_or_default(),
        })
    }

    /// Gives up what this process has no right to itself.
    pub(crate) fn keep_within_own_rights(&mut self) {
        let own = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |own| own.permitted);
        let sets = &mut self.rights.sets;
        for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
            *set &= own;
        }
        self.rights.ambient &= own;
    }

    pub(super) fn has_terminal(&self) -> bool {
        self.has_terminal
    }

    /// Makes it another program, which runs beside this one as this one would; without its terminal.
    pub(super) fn set_args(&mut self, args: &[String]) -> io::Result<()> {
        self.args = texts(args)?;
        self.has_terminal = false;
        Ok(())
    }

    /// Becomes what it should be, with everything but the program itself in place.
    pub(super) fn prepare(&self, stdio: &[OwnedFd], filter: Option<&Filter>) -> io::Result<()> {
        release_signals();
        rustix::process::setsid().doing("making a session")?;
        // SAFETY: the three standard descriptors are nobody's in this process; dup2 replaces them.
        unsafe {
            for (number, descriptor) in stdio.iter().enumerate() {
                if libc::dup2(descriptor.as_raw_fd(), number as c_int) < 0 {
                    return Err(io::Error::last_os_error()).doing("setting the standard descriptors");
                }
            }
        }
        if self.has_terminal {
            // Keys such as Ctrl-C become signals of whoever is in its foreground.
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).doing("taking the terminal")?;
        }
        for limit in &self.limits {
            set_limit(limit)?;
        }
        rustix::process::umask(Mode::from_raw_mode(self.umask));
        for number in 0..=LAST_CAPABILITY {
            let Some(capability) = CapabilitySet::from_bits(1 << number) else {
                continue;
            };
            if !self.rights.bounding.contains(capability) {
                // What the kernel does not know needs no dropping.
                rustix::thread::remove_capability_from_bounding_set(capability).ok();
            }
        }
        if self.no_new_privileges {
            rustix::thread::set_no_new_privs(true).doing("giving up new privileges")?;
        }
        // While there is still the right to install a filter without giving up setuid programs.
        if let Some(filter) = filter {
            crate::seccomp::install(filter).doing("installing the seccomp filter")?;
        }
        // Before there is a user: a working directory that only root may enter is fine, as with Docker.
        rustix::process::chdir(self.cwd.as_str()).doing(&format!("entering {}", self.cwd))?;
        self.become_user().doing("becoming the user")
    }

    fn become_user(&self) -> io::Result<()> {
        self.check_ids()?;
        let keeps = !self.rights.sets.permitted.is_empty();
        if self.uid != 0 && keeps {
            rustix::thread::set_keep_capabilities(true)?;
        }
        // SAFETY: this process has one thread, so the calls of the C library that tell all threads are not needed, and
        // none of these touches memory but the list of groups, which outlives them.
        unsafe {
            let done = |result: libc::c_long| {
                if result == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            };
            // Where nobody may change groups there is one only.
            if ids() != Ids::One {
                done(libc::syscall(
                    libc::SYS_setgroups,
                    self.groups.len(),
                    self.groups.as_ptr(),
                ))?;
            }
            done(libc::syscall(libc::SYS_setresgid, self.gid, self.gid, self.gid))?;
            done(libc::syscall(libc::SYS_setresuid, self.uid, self.uid, self.uid))?;
        }
        if self.uid == 0 || keeps {
            rustix::thread::set_capabilities(None, self.rights.sets)?;
        }
        for capability in self.rights.ambient.iter() {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
        Ok(())
    }

    /// Says which id is not to be had, which the kernel does not.
    fn check_ids(&self) -> io::Result<()> {
        let (users, groups) = match ids() {
            Ids::Machine => return Ok(()),
            Ids::Range { users, groups } => (users, groups),
            Ids::One => (1, 1),
        };
        let all = self.groups.iter().chain([&self.gid]);
        let beyond = all
            .filter(|group| **group >= groups)
            .map(|group| ("group", *group, groups));
        let user = (self.uid >= users).then_some(("user", self.uid, users));
        let Some((kind, id, count)) = user.into_iter().chain(beyond).next() else {
            return Ok(());
        };
        let why = if count == 1 {
            format!("this engine is not root and has one {kind} id, root's")
        } else {
            format!(
                "this engine is not root and has the {kind} ids up to {}",
                count - 1
            )
        };
        let next = "`wharf doctor` says how more are to be had";
        Err(io::Error::other(format!(
            "there is no {kind} {id}: {why}; {next}"
        )))
    }

    /// Executes the program; returns only with why it could not be.
    pub(super) fn exec(&self) -> io::Error {
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter()
                .map(|text| text.as_ptr())
                .chain([std::ptr::null()])
                .collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        let Some(program) = self.args.first() else {
            return io::Error::from_raw_os_error(libc::ENOENT);
        };
        // SAFETY: `args` and `env` are lists of strings that end in a null pointer and outlive the call.
        let try_one = |path: &CString| unsafe {
            libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr());
            io::Error::last_os_error()
        };
        if program.as_bytes().contains(&b'/') {
            return try_one(program);
        }
        let mut outcome = io::Error::from_raw_os_error(libc::ENOENT);
        for directory in &self.search {
            let directory = if directory.is_empty() { "." } else { directory };
            let Ok(path) = CString::new([directory.as_bytes(), b"/", program.as_bytes()].concat()) else {
                continue;
            };
            let is_program = rustix::fs::stat(&path).is_ok_and(|stat| {
                FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_mode & 0o111 != 0
            });
            if is_program {
                let error = try_one(&path);
                if error.raw_os_error() != Some(libc::ENOENT) {
                    outcome = error;
                }
            }
        }
        outcome
    }
}

/// Holds no signal back any more: what process 1 holds back is its own affair.
fn release_signals() {
    let mut none = std::mem::MaybeUninit::uninit();
    // SAFETY: the set is initialised by the first call and lives through the second; they touch no other memory.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// As C has them.
fn texts(texts: &[String]) -> io::Result<Vec<CString>> {
    let text = |text: &String| {
        CString::new(text.as_str()).map_err(|_| io::Error::other(format!("{text:?} has a zero byte in it")))
    };
    texts.iter().map(text).collect()
}

fn set(names: Option<&Capabilities>) -> CapabilitySet {
    names
        .into_iter()
        .flatten()
        .filter_map(|name| capability(&name.to_string()))
        .collect()
}

/// A capability by the name that specifications use.
fn capability(name: &str) -> Option<CapabilitySet> {
    CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(name))
}

fn set_limit(limit: &PosixRlimit) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit};
    let resource = match limit.typ() {
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitStack => Resource::Stack,
    };
    let finite = |value: u64| (value != u64::MAX).then_some(value);
    let wanted = Rlimit {
        current: finite(limit.soft()),
        maximum: finite(limit.hard()),
    };
    rustix::process::setrlimit(resource, wanted).doing(&format!("setting {:?}", limit.typ()))
}
