//! A step's container, from the inside: control groups, namespaces, mounts, devices.
//!
//! It is made in two parts. What is the same for most steps ([`prepare`]) is done before there is a step, by a process that
//! then waits for one; what is the step's own ([`container`]) is done when it comes.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};
use rustix::{
    fs::{FileType, Gid, Mode, Uid},
    io::Errno,
};

use wharf_userns::ids;

use super::{Job, Order, devices, doing::Doing, mounts};
use crate::{
    arrange::Wanted,
    stubs::{PointKind, Points, Stub, open_in},
    system::TOPS,
};

/// What can be done before the step is known: namespaces, and everything under [`crate::system::TOPS`], on a stage of this
/// process's own. Returns the stage's root.
pub(super) fn prepare(order: &Order, network: Option<OwnedFd>) -> io::Result<OwnedFd> {
    network_namespace(network)?;
    mounts::make_private().doing("making mounts private")?;
    mounts::mount_stage(&order.stage).doing("mounting the stage")?;
    let stage = mounts::open_directory(&order.stage).doing("the stage")?;
    let mut points = Points::new(&stage, &order.stage, None);
    let system = &order.system;
    for mount in &system.mounts {
        let destination = mount.destination().display().to_string();
        mounts::mount_in_root(&stage, mount, &mut points).doing(&destination)?;
        if destination == "/dev" {
            default_devices(&stage)?;
        }
    }
    for device in &system.devices {
        make_device(device, &mut points).doing(&device.path().display().to_string())?;
    }
    for (name, value) in &system.sysctl {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        write_sysctl(&stage, &path, value).doing(name)?;
    }
    for path in &system.readonly {
        mounts::protect(&stage, path).doing(path)?;
    }
    for path in &system.masked {
        mounts::mask(&stage, path).doing(path)?;
    }
    Ok(stage)
}

/// The rest, up to the program. What had to be made in the step's layer for it is returned.
pub(super) fn container(job: &Job, stage: &OwnedFd) -> io::Result<Vec<Stub>> {
    for procs in &job.cgroups {
        std::fs::write(procs, "0").doing("joining a control group")?;
    }
    // Only now: the namespace begins at the groups that were joined.
    // SAFETY: this changes only this process, which has one thread.
    if unsafe { libc::unshare(libc::CLONE_NEWCGROUP) } != 0 {
        return Err(io::Error::last_os_error()).doing("a namespace for control groups");
    }
    if let Some(score) = job
        .spec
        .process()
        .as_ref()
        .and_then(oci_spec::runtime::Process::oom_score_adj)
    {
        // Less than the engine's own takes a right that it may not have.
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).ok();
    }
    let below = mounts::open_directory(&job.mount_point).doing("the root's mount point")?;
    mounts::mount_overlay(&job.root, &job.empty, &below).doing("mounting the root file system")?;
    let root = mounts::open_directory(&job.mount_point).doing("the root")?;
    let stubs = populate(job, &root, stage)?;
    rustix::process::fchdir(&root).doing("entering the root")?;
    rustix::process::pivot_root(".", ".").doing("changing the root")?;
    rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).doing("leaving the host's root")?;
    rustix::process::chdir("/").doing("entering the root")?;
    Ok(stubs)
}

/// Enters the network that was made for the step; one that was made with this process has loopback alone.
fn network_namespace(network: Option<OwnedFd>) -> io::Result<()> {
    let Some(network) = network else {
        return loopback_up().doing("bringing loopback up");
    };
    // SAFETY: this changes only this process, which has one thread.
    if unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error()).doing("entering the network");
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
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// What was staged and what else is mounted; devices, and what is hidden or protected elsewhere.
fn populate(job: &Job, root: &OwnedFd, stage: &OwnedFd) -> io::Result<Vec<Stub>> {
    let upper = job.root.upper.as_ref().map(|(upper, _)| upper.as_path());
    let mut points = Points::new(root, &job.mount_point, upper);
    for top in TOPS {
        let Ok(staged) = open_in(stage, top) else { continue };
        let target = points.place(top, PointKind::Directory).doing(top)?;
        mounts::move_to(&staged, &target).doing(top)?;
    }
    for wanted in &job.mounts {
        let destination = wanted.destination();
        match wanted {
            Wanted::Plain(mount) => mounts::mount_in_root(root, mount, &mut points).doing(&destination)?,
            Wanted::Overlay(mount) => {
                let target = points
                    .place(&destination, PointKind::Directory)
                    .doing(&destination)?;
                mounts::mount_overlay(&mount.overlay, &job.empty, &target).doing(&destination)?;
            }
        }
    }
    if let Some(hostname) = job.spec.hostname() {
        rustix::system::sethostname(hostname.as_bytes()).doing("the host name")?;
    }
    if let Some(linux) = job.spec.linux() {
        for device in linux.devices().iter().flatten() {
            make_device(device, &mut points).doing(&device.path().display().to_string())?;
        }
        for path in linux.readonly_paths().iter().flatten() {
            mounts::protect(root, path).doing(path)?;
        }
        for path in linux.masked_paths().iter().flatten() {
            mounts::mask(root, path).doing(path)?;
        }
    }
    let stubs = std::mem::take(&mut points.stubs);
    make_workdir(&job.spec, &mut points)?;
    if job
        .spec
        .root()
        .as_ref()
        .and_then(oci_spec::runtime::Root::readonly)
        .unwrap_or_default()
    {
        mounts::protect(root, "/").doing("making the root read-only")?;
    }
    Ok(stubs)
}

/// The devices and links that every container has.
fn default_devices(root: &OwnedFd) -> io::Result<()> {
    let dev = open_in(root, "/dev").doing("/dev")?;
    let old_umask = rustix::process::umask(Mode::empty());
    for (name, major, minor) in [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
    ] {
        if ids().are_the_machines() {
            let device = rustix::fs::makedev(major, minor);
            let mode = Mode::from_raw_mode(0o666);
            rustix::fs::mknodat(&dev, name, FileType::CharacterDevice, mode, device).doing(name)?;
        } else {
            devices::lend(&dev, name, &Path::new("/dev").join(name)).doing(name)?;
        }
    }
    rustix::process::umask(old_umask);
    for (target, name) in [
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
        ("/proc/kcore", "core"),
        ("pts/ptmx", "ptmx"),
    ] {
        // A kernel may be without it; the link would lead nowhere.
        if name == "core" && !std::path::Path::new(target).exists() {
            continue;
        }
        rustix::fs::symlinkat(target, &dev, name).doing(name)?;
    }
    Ok(())
}

/// A device that the specification adds.
fn make_device<F: AsFd>(device: &LinuxDevice, points: &mut Points<'_, F>) -> io::Result<()> {
    let path = device.path().to_string_lossy();
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let parent = points.place(if parent.is_empty() { "/" } else { parent }, PointKind::Directory)?;
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        _ => FileType::CharacterDevice,
    };
    let number = rustix::fs::makedev(device.major() as u32, device.minor() as u32);
    if !ids().are_the_machines() && kind != FileType::Fifo {
        let source = devices::find(device.path(), kind, number)?;
        return devices::lend(&parent, name, &source);
    }
    let mode = Mode::from_raw_mode(device.file_mode().unwrap_or(0o666));
    match rustix::fs::mknodat(&parent, name, kind, mode, number) {
        // Those that every container has may be said again.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let owner = (device.uid().map(Uid::from_raw), device.gid().map(Gid::from_raw));
    rustix::fs::chownat(
        &parent,
        name,
        owner.0,
        owner.1,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(rustix::fs::chmodat(
        &parent,
        name,
        mode,
        rustix::fs::AtFlags::empty(),
    )?)
}

fn write_sysctl(root: &OwnedFd, path: &str, value: &str) -> io::Result<()> {
    let target = open_in(root, path)?;
    std::fs::write(crate::stubs::fd_path(&target), value)
}

/// Makes the working directory where it is missing. What it makes belongs to root and stays, as with Docker.
fn make_workdir<F: AsFd>(spec: &Spec, points: &mut Points<'_, F>) -> io::Result<()> {
    let cwd = spec
        .process()
        .as_ref()
        .map_or(Path::new("/"), |process| process.cwd());
    points
        .place(&cwd.to_string_lossy(), PointKind::Directory)
        .map(drop)
        .doing(&format!("the working directory {}", cwd.display()))
}
