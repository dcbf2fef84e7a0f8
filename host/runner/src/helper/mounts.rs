//! Mounts inside a step's root, always relative to it: no path of the step's own making leads out.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags},
};

use super::raw;
use crate::overlay::Overlay;

/// What a mount point has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointKind {
    Directory,
    File,
}

/// Opens a place in the root; what is missing on the way is made and noted in `made`.
pub(crate) fn place(
    root: &impl AsFd,
    path: &str,
    kind: PointKind,
    made: &mut Vec<String>,
) -> io::Result<OwnedFd> {
    match open(root, path) {
        Err(Errno::NOENT) => {}
        outcome => return Ok(outcome?),
    }
    let path = path.trim_end_matches('/');
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent_fd = place(
        root,
        if parent.is_empty() { "/" } else { parent },
        PointKind::Directory,
        made,
    )?;
    match kind {
        PointKind::Directory => rustix::fs::mkdirat(&parent_fd, name, Mode::from_raw_mode(0o755))?,
        PointKind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(rustix::fs::openat(
                &parent_fd,
                name,
                flags,
                Mode::from_raw_mode(0o644),
            )?);
        }
    }
    made.push(path.to_owned());
    Ok(open(root, path)?)
}

fn open(root: &impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(
        root,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )
}

/// A path by which the kernel finds an open descriptor.
fn fd_path(descriptor: &OwnedFd) -> CString {
    CString::new(format!("/proc/self/fd/{}", raw(descriptor))).unwrap_or_default()
}

/// Mounts an overlay on a directory. Changes are `volatile`: a step never waits for the disk.
pub(crate) fn mount_overlay(overlay: &Overlay, empty: &Path, on: &OwnedFd) -> io::Result<()> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(fs.as_fd(), "source", "overlay")?;
    let nothing = [empty.to_owned()];
    let lowers = if overlay.lowers.is_empty() {
        nothing.as_slice()
    } else {
        overlay.lowers.as_slice()
    };
    for lower in lowers {
        rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir+", lower.as_path())?;
    }
    if let Some((upper, work)) = &overlay.upper {
        rustix::mount::fsconfig_set_string(fs.as_fd(), "upperdir", upper.as_path())?;
        rustix::mount::fsconfig_set_string(fs.as_fd(), "workdir", work.as_path())?;
        rustix::mount::fsconfig_set_flag(fs.as_fd(), "volatile")?;
    } else if lowers.len() == 1 {
        // An overlay has an upper or two lowers.
        rustix::mount::fsconfig_set_string(fs.as_fd(), "lowerdir+", empty)?;
    }
    for option in ["index", "metacopy", "redirect_dir"] {
        rustix::mount::fsconfig_set_string(fs.as_fd(), option, "off")?;
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(
        mount.as_fd(),
        "",
        on.as_fd(),
        "",
        flags,
    )?)
}

/// Splits the options of a specification's mount into flags and what the file system itself reads.
fn options(list: &[String]) -> (libc::c_ulong, String) {
    let mut flags = 0;
    let mut data = Vec::new();
    for option in list {
        match option.as_str() {
            "nosuid" => flags |= libc::MS_NOSUID,
            "nodev" => flags |= libc::MS_NODEV,
            "noexec" => flags |= libc::MS_NOEXEC,
            "ro" => flags |= libc::MS_RDONLY,
            "strictatime" => flags |= libc::MS_STRICTATIME,
            "relatime" => flags |= libc::MS_RELATIME,
            "bind" => flags |= libc::MS_BIND,
            "rbind" => flags |= libc::MS_BIND | libc::MS_REC,
            "rw" | "rprivate" | "private" => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

fn mount(source: &str, target: &CString, kind: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let text = |text: &str| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (source, kind, data) = (text(source)?, text(kind)?, text(data)?);
    // SAFETY: all pointers are to strings that live until the call returns.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Mounts what a specification asks for.
pub(super) fn mount_in_root(
    root: &impl AsFd,
    wanted: &oci_spec::runtime::Mount,
    made: &mut Vec<String>,
) -> io::Result<()> {
    let (flags, data) = options(wanted.options().as_deref().unwrap_or_default());
    let destination = wanted.destination().to_string_lossy();
    let source = wanted
        .source()
        .as_ref()
        .map(|source| source.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_bind = flags & libc::MS_BIND != 0;
    let kind = if is_bind && !std::fs::metadata(&source)?.is_dir() {
        PointKind::File
    } else {
        PointKind::Directory
    };
    let target = place(root, &destination, kind, made)?;
    if !is_bind {
        let kind = wanted.typ().clone().unwrap_or_default();
        return mount(&source, &fd_path(&target), &kind, flags, &data);
    }
    mount(&source, &fd_path(&target), "", libc::MS_BIND | libc::MS_REC, "")?;
    if flags & libc::MS_RDONLY != 0 {
        // What was opened is what lies below the mount; opened again it is the mount.
        let mounted = open(root, &destination)?;
        make_read_only(&mounted)?;
    }
    Ok(())
}

fn make_read_only(mounted: &OwnedFd) -> io::Result<()> {
    let flags = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
    let kept = rustix::fs::fstatvfs(mounted)?.f_flag;
    let mut all = flags;
    for (own, flag) in [
        (rustix::fs::StatVfsMountFlags::NOSUID, libc::MS_NOSUID),
        (rustix::fs::StatVfsMountFlags::NODEV, libc::MS_NODEV),
        (rustix::fs::StatVfsMountFlags::NOEXEC, libc::MS_NOEXEC),
    ] {
        if kept.contains(own) {
            all |= flag;
        }
    }
    mount("", &fd_path(mounted), "", all, "")
}

/// Hides a path: a file behind /dev/null, a directory behind an empty one. What is not there needs no hiding.
pub(super) fn mask(root: &impl AsFd, path: &str) -> io::Result<()> {
    let target = match open(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        outcome => outcome?,
    };
    let stat = rustix::fs::fstat(&target)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        mount("tmpfs", &fd_path(&target), "tmpfs", libc::MS_RDONLY, "")
    } else {
        mount("/dev/null", &fd_path(&target), "", libc::MS_BIND, "")
    }
}

/// Makes a path of the root read-only where it is there.
pub(super) fn protect(root: &impl AsFd, path: &str) -> io::Result<()> {
    let target = match open(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        outcome => outcome?,
    };
    mount(
        &format!("/proc/self/fd/{}", raw(&target)),
        &fd_path(&target),
        "",
        libc::MS_BIND | libc::MS_REC,
        "",
    )?;
    make_read_only(&open(root, path)?)
}

/// Nothing that is mounted here shows on the host.
pub(super) fn make_private() -> io::Result<()> {
    mount(
        "none",
        &CString::new("/").unwrap_or_default(),
        "",
        libc::MS_REC | libc::MS_PRIVATE,
        "",
    )
}

/// Opens the directory that the root is mounted on.
pub(super) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}
