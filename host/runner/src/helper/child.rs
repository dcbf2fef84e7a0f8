//! The child: process 1 of a step. It sets the container up, starts the program, reaps what is left to it, and reports.

use std::{
    ffi::{CString, c_int},
    io::{self, Write},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use oci_spec::runtime::{Process, Spec};
use rustix::{
    fs::{FileType, Mode, OFlags},
    thread::{CapabilitySet, CapabilitySets},
};
use seccompiler::BpfProgram;

use super::{
    Descriptors, Job, Report,
    mounts::{self, PointKind},
    raw,
};

/// Clones a child for the job; returns a descriptor of it.
pub(super) fn start(job: &Job, descriptors: Descriptors, filters: &[BpfProgram]) -> io::Result<OwnedFd> {
    let mut flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    if descriptors.network.is_none() {
        flags |= libc::CLONE_NEWNET;
    }
    let mut pidfd: c_int = -1;
    // SAFETY: all fields of the structure are numbers, for which zero is valid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without a stack of its own the child continues here on a copy of ours, as after fork; this process has one
    // thread, so nothing is held by another.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => init(job, descriptors, filters),
        // SAFETY: the kernel has just given us this descriptor.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(pidfd) }),
    }
}

fn report(pipe: &OwnedFd, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // SAFETY: the descriptor stays owned by the caller: the file is forgotten, not closed.
    let mut file = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(pipe.as_raw_fd()) });
    file.write_all(&line).ok();
}

/// Process 1 of the step.
fn init(job: &Job, descriptors: Descriptors, filters: &[BpfProgram]) -> ! {
    let Descriptors {
        stdin,
        stdout,
        stderr,
        report: pipe,
        network,
    } = descriptors;
    // SAFETY: setting a signal's action to the default runs no code of ours.
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    let program = match set_up(job, network, &pipe) {
        Ok(program) => program,
        Err(error) => {
            report(&pipe, &Report::Setup(error.to_string()));
            std::process::exit(0);
        }
    };
    let Ok((failed_read, failed_write)) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC) else {
        report(&pipe, &Report::Setup("no pipe could be made".to_owned()));
        std::process::exit(0);
    };
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        -1 => report(
            &pipe,
            &Report::Setup(format!("fork: {}", io::Error::last_os_error())),
        ),
        0 => {
            drop(failed_read);
            let error = program.run([&stdin, &stdout, &stderr], filters);
            report(
                &failed_write,
                &Report::Exec(error.raw_os_error().unwrap_or(libc::EIO)),
            );
            std::process::exit(127);
        }
        main => {
            drop((stdin, stdout, stderr, failed_write));
            let mut failure = String::new();
            io::Read::read_to_string(&mut std::fs::File::from(failed_read), &mut failure).ok();
            let ended = wait_for(main);
            let outcome = match serde_json::from_str(failure.trim()) {
                Ok(failure) => failure,
                Err(_) if libc::WIFSIGNALED(ended) => Report::Signalled(libc::WTERMSIG(ended)),
                Err(_) => Report::Exited(libc::WEXITSTATUS(ended)),
            };
            report(&pipe, &Report::Used(used()));
            report(&pipe, &outcome);
        }
    }
    std::process::exit(0)
}

/// Reaps every process that ends until it is `main`; its wait status.
fn wait_for(main: c_int) -> c_int {
    let mut status = 0;
    loop {
        // SAFETY: `status` lives until the call returns.
        let ended = unsafe { libc::wait(&raw mut status) };
        if ended == main || (ended == -1 && io::Error::last_os_error().raw_os_error() != Some(libc::EINTR)) {
            return status;
        }
    }
}

/// Processor time of everything that was reaped, in microseconds.
fn used() -> u64 {
    // SAFETY: the structure is plain numbers, and lives until the call returns.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    micros(usage.ru_utime) + micros(usage.ru_stime)
}

/// Says what was done when it fails.
trait Doing<T> {
    fn doing(self, what: &str) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> io::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            io::Error::new(error.kind(), format!("{what}: {error}"))
        })
    }
}

/// Namespaces, mounts, devices, working directory: everything up to the program.
fn set_up(job: &Job, network: Option<OwnedFd>, pipe: &OwnedFd) -> io::Result<Program> {
    for procs in &job.cgroups {
        std::fs::write(procs, "0").doing("joining a control group")?;
    }
    // SAFETY: these change only this process.
    unsafe {
        if libc::unshare(libc::CLONE_NEWCGROUP) != 0 {
            return Err(io::Error::last_os_error()).doing("a namespace for control groups");
        }
        if let Some(network) = network
            && libc::setns(raw(&network), libc::CLONE_NEWNET) != 0
        {
            return Err(io::Error::last_os_error()).doing("entering the network");
        }
    }
    loopback_up().doing("bringing loopback up")?;
    mounts::make_private().doing("making mounts private")?;
    let below = mounts::open_root(&job.mount_point).doing("the root's mount point")?;
    mounts::mount_overlay(&job.root, &job.empty, &below).doing("mounting the root file system")?;
    let root = mounts::open_root(&job.mount_point).doing("the root")?;
    let mut made = Vec::new();
    mount_all(job, &root, &mut made)?;
    if let Some(linux) = job.spec.linux() {
        for path in linux.readonly_paths().iter().flatten() {
            mounts::protect(&root, path).doing(path)?;
        }
        for path in linux.masked_paths().iter().flatten() {
            mounts::mask(&root, path).doing(path)?;
        }
    }
    report(pipe, &Report::Stubs(made));
    if let Some(hostname) = job.spec.hostname() {
        rustix::system::sethostname(hostname.as_bytes()).doing("the host name")?;
    }
    rustix::process::fchdir(&mounts::open_root(&job.mount_point)?).doing("entering the root")?;
    rustix::process::pivot_root(".", ".").doing("changing the root")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).doing("leaving the host's root")?;
    rustix::process::chdir("/").doing("entering the root")?;
    Program::new(&job.spec)
}

/// System mounts first, then what the step was given, outer paths before inner ones; devices once /dev is there.
fn mount_all(job: &Job, root: &OwnedFd, made: &mut Vec<String>) -> io::Result<()> {
    enum Wanted<'j> {
        Spec(&'j oci_spec::runtime::Mount),
        Overlay(&'j crate::overlay::OverlayMount),
    }
    let depth = |path: &str| path.split('/').filter(|part| !part.is_empty()).count();
    let (own, system): (Vec<_>, Vec<_>) = job
        .spec
        .mounts()
        .iter()
        .flatten()
        .partition(|mount| mount.options().iter().flatten().any(|option| option == "rbind"));
    for mount in &system {
        mounts::mount_in_root(root, mount, made).doing(&mount.destination().display().to_string())?;
        if mount.destination().as_os_str() == "/dev" {
            devices(root)?;
        }
    }
    let mut wanted: Vec<(usize, Wanted<'_>)> = own
        .into_iter()
        .map(|mount| (depth(&mount.destination().to_string_lossy()), Wanted::Spec(mount)))
        .collect();
    wanted.extend(
        job.overlays
            .iter()
            .map(|overlay| (depth(&overlay.destination), Wanted::Overlay(overlay))),
    );
    wanted.sort_by_key(|(depth, _)| *depth);
    for (_, mount) in wanted {
        match mount {
            Wanted::Spec(mount) => {
                mounts::mount_in_root(root, mount, made).doing(&mount.destination().display().to_string())?;
            }
            Wanted::Overlay(mount) => {
                let target = mounts::place(root, &mount.destination, PointKind::Directory, made)
                    .doing(&mount.destination)?;
                mounts::mount_overlay(&mount.overlay, &job.empty, &target).doing(&mount.destination)?;
            }
        }
    }
    Ok(())
}

/// The devices and links that every container has.
fn devices(root: &OwnedFd) -> io::Result<()> {
    let dev = mounts::place(root, "/dev", PointKind::Directory, &mut Vec::new())?;
    let old_umask = rustix::process::umask(Mode::empty());
    for (name, major, minor) in [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ] {
        let device = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(
            &dev,
            name,
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            device,
        )
        .doing(name)?;
    }
    rustix::process::umask(old_umask);
    for (target, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("pts/ptmx", "ptmx"),
    ] {
        rustix::fs::symlinkat(target, &dev, name).doing(name)?;
    }
    Ok(())
}

fn loopback_up() -> io::Result<()> {
    // SAFETY: the request is a zeroed structure of plain data whose name is set; the descriptor is closed by its owner.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        if libc::ioctl(raw(&socket), libc::SIOCSIFFLAGS, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The program of a step, ready to run.
struct Program {
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: String,
    search: Vec<String>,
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    capabilities: CapabilitySet,
    core_limit: Option<u64>,
}

impl Program {
    fn new(spec: &Spec) -> io::Result<Self> {
        let process = spec
            .process()
            .as_ref()
            .ok_or_else(|| io::Error::other("the specification has no process"))?;
        let text = |text: &String| {
            CString::new(text.as_str()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        };
        let env = process.env().clone().unwrap_or_default();
        let search = env
            .iter()
            .find_map(|pair| pair.strip_prefix("PATH="))
            .unwrap_or_default();
        let user = process.user();
        let cwd = process.cwd().to_string_lossy().into_owned();
        make_workdir(&cwd).doing("the working directory")?;
        Ok(Self {
            args: process
                .args()
                .iter()
                .flatten()
                .map(text)
                .collect::<io::Result<_>>()?,
            search: search.split(':').map(str::to_owned).collect(),
            env: env.iter().map(text).collect::<io::Result<_>>()?,
            cwd,
            uid: user.uid(),
            gid: user.gid(),
            groups: user.additional_gids().clone().unwrap_or_default(),
            capabilities: capabilities(process),
            core_limit: Some(0),
        })
    }

    /// Becomes the program; returns only with why it could not.
    fn run(&self, stdio: [&OwnedFd; 3], filters: &[BpfProgram]) -> io::Error {
        match self.prepare(stdio, filters) {
            Ok(()) => self.exec(),
            Err(error) => error,
        }
    }

    fn prepare(&self, stdio: [&OwnedFd; 3], filters: &[BpfProgram]) -> io::Result<()> {
        rustix::process::setsid().ok();
        // SAFETY: the three standard descriptors are nobody's in this process; dup2 replaces them.
        unsafe {
            for (number, descriptor) in stdio.iter().enumerate() {
                if libc::dup2(raw(*descriptor), number as c_int) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
        }
        if let Some(limit) = self.core_limit {
            let limit = rustix::process::Rlimit {
                current: Some(limit),
                maximum: Some(limit),
            };
            rustix::process::setrlimit(rustix::process::Resource::Core, limit)?;
        }
        rustix::process::umask(Mode::from_raw_mode(0o022));
        for number in 0..64 {
            let Some(capability) = CapabilitySet::from_bits(1 << number) else {
                continue;
            };
            if !self.capabilities.contains(capability) {
                // What the kernel does not know needs no dropping.
                rustix::thread::remove_capability_from_bounding_set(capability).ok();
            }
        }
        for filter in filters {
            crate::seccomp::install(filter)?;
        }
        self.become_user()?;
        rustix::process::chdir(self.cwd.as_str()).map_err(io::Error::from)
    }

    fn become_user(&self) -> io::Result<()> {
        // SAFETY: this process has one thread, so the calls of the C library that tell all threads are not needed, and
        // none of these touches memory but the list of groups, which outlives them.
        unsafe {
            let set = |result: libc::c_long| {
                if result == 0 {
                    Ok(())
                } else {
                    Err(io::Error::last_os_error())
                }
            };
            set(libc::syscall(
                libc::SYS_setgroups,
                self.groups.len(),
                self.groups.as_ptr(),
            ))?;
            set(libc::syscall(libc::SYS_setresgid, self.gid, self.gid, self.gid))?;
            set(libc::syscall(libc::SYS_setresuid, self.uid, self.uid, self.uid))?;
        }
        if self.uid == 0 {
            let sets = CapabilitySets {
                effective: self.capabilities,
                permitted: self.capabilities,
                inheritable: CapabilitySet::empty(),
            };
            rustix::thread::set_capabilities(None, sets)?;
        }
        Ok(())
    }

    fn exec(&self) -> io::Error {
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

/// Makes the working directory where it is missing. What it makes belongs to root, as with Docker.
fn make_workdir(cwd: &str) -> io::Result<()> {
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    mounts::place(&root, cwd, PointKind::Directory, &mut Vec::new()).map(drop)
}

fn capabilities(process: &Process) -> CapabilitySet {
    let names = process
        .capabilities()
        .as_ref()
        .and_then(|sets| sets.effective().clone())
        .unwrap_or_default();
    names
        .iter()
        .filter_map(|name| capability(&name.to_string()))
        .fold(CapabilitySet::empty(), |all, one| all | one)
}

fn capability(name: &str) -> Option<CapabilitySet> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    CapabilitySet::from_name(name)
}
