//! Devices where none can be made: only root of the machine makes device files, whoever else has some lends his own.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use super::mounts;

/// Mounts a device file of the machine's on a name in a directory of the step's.
pub(super) fn lend(directory: &impl AsFd, name: &str, source: &Path) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name, flags | OFlags::EXCL, Mode::from_raw_mode(0o666)) {
        Ok(_) => {}
        // Those that every container has may be said again.
        Err(Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let on: OwnedFd = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    mounts::bind_file(source, &on)
}

/// Where the machine has a device of this number: at the same path, or where its device manager lists them.
pub(super) fn find(path: &Path, kind: FileType, number: u64) -> io::Result<PathBuf> {
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    let list = if kind == FileType::BlockDevice {
        "block"
    } else {
        "char"
    };
    let listed = PathBuf::from(format!("/dev/{list}/{major}:{minor}"));
    let is_it = |path: &PathBuf| {
        rustix::fs::stat(path)
            .is_ok_and(|stat| stat.st_rdev == number && FileType::from_raw_mode(stat.st_mode) == kind)
    };
    [path.to_owned(), listed].into_iter().find(is_it).ok_or_else(|| {
        io::Error::other(format!(
            "this machine has no file of the {list} device {major}:{minor} there or in /dev/{list}, and an engine that is not \
             root makes none"
        ))
    })
}
