//! Single files and their attributes: copied, linked, made.

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, SeekFrom as Seeking, Timespec, Timestamps},
    io::Errno,
};

use super::attributes;
use crate::{
    error::{Context, Error, Result},
    ordinary,
    tree::{Kind, Place, Stat, shown},
};

/// Makes a new regular file.
pub(crate) fn create(directory: &OwnedFd, name: &[u8]) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600)).context(|| shown(name))?;
    Ok(File::from(file))
}

/// Owner first: a change of owner takes setuid bits away.
pub(crate) fn set_owner_and_mode(file: &impl AsFd, owner: (u32, u32), mode: u32) -> std::io::Result<()> {
    let (uid, gid) = ordinary::owner(owner)?;
    rustix::fs::fchown(file, uid, gid)?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    Ok(())
}

/// Owner, mode and times.
pub(super) fn set_attributes(file: &impl AsFd, stat: &Stat) -> std::io::Result<()> {
    set_owner_and_mode(file, (stat.uid, stat.gid), stat.mode)?;
    set_times(file, stat)
}

fn timestamps(modified: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: modified.div_euclid(1_000_000_000),
        tv_nsec: modified.rem_euclid(1_000_000_000) as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

pub(super) fn set_times(file: &impl AsFd, stat: &Stat) -> std::io::Result<()> {
    set_modified(file, stat.modified)
}

/// Sets the modification time, in nanoseconds since 1970.
pub(crate) fn set_modified(file: &impl AsFd, modified: i64) -> std::io::Result<()> {
    Ok(rustix::fs::futimens(file, &timestamps(modified))?)
}

/// Sets the modification time of a name, a link's own.
pub(crate) fn set_times_at(directory: &OwnedFd, name: &[u8], modified: i64) -> std::io::Result<()> {
    Ok(rustix::fs::utimensat(
        directory,
        name,
        &timestamps(modified),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Sets the permission bits.
pub(crate) fn set_mode(file: &impl AsFd, mode: u32) -> std::io::Result<()> {
    Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?)
}

/// Copies what is no directory, with these attributes; a regular file is returned.
pub(super) fn copy_place(
    place: &Place,
    directory: &OwnedFd,
    name: &[u8],
    stat: &Stat,
) -> Result<Option<File>> {
    let device_kind = match place.stat.kind {
        Kind::File => {
            let mut source = place.open()?;
            let mut target = create(directory, name)?;
            copy_bytes(&mut source, &mut target, place.stat.size).context(|| shown(name))?;
            attributes::copy_xattrs(&source, &target).context(|| shown(name))?;
            set_attributes(&target, stat).context(|| shown(name))?;
            return Ok(Some(target));
        }
        Kind::Symlink => {
            let target = place.link_target()?;
            rustix::fs::symlinkat(target.as_slice(), directory, name).context(|| shown(name))?;
            None
        }
        Kind::Fifo => Some(FileType::Fifo),
        Kind::Socket => Some(FileType::Socket),
        Kind::CharDevice => Some(FileType::CharacterDevice),
        Kind::BlockDevice => Some(FileType::BlockDevice),
        Kind::Directory => return Err(Error::Invalid(format!("{} is a directory", shown(name)))),
    };
    if let Some(kind) = device_kind {
        rustix::fs::mknodat(directory, name, kind, Mode::empty(), place.stat.device)
            .context(|| shown(name))?;
    }
    let (uid, gid) = ordinary::owner((stat.uid, stat.gid)).context(|| shown(name))?;
    rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(|| shown(name))?;
    copy_name_xattrs(place, directory, name).context(|| shown(name))?;
    if device_kind.is_some() {
        // After the owner: setting that takes set-user-id and set-group-id away.
        let mode = Mode::from_raw_mode(stat.mode);
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty()).context(|| shown(name))?;
    }
    rustix::fs::utimensat(
        directory,
        name,
        &timestamps(stat.modified),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .context(|| shown(name))?;
    Ok(None)
}

fn copy_name_xattrs(place: &Place, directory: &OwnedFd, name: &[u8]) -> std::io::Result<()> {
    let target = attributes::Name::of(directory, name)?;
    attributes::copy_xattrs(&place.attributed()?, &target)
}

/// Copies bytes, sharing them where the file system can, and keeps holes.
pub(crate) fn copy_bytes(source: &mut File, target: &mut File, size: u64) -> std::io::Result<()> {
    if rustix::fs::ioctl_ficlone(&*target, &*source).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(&*source, Seeking::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(&*source, Seeking::Hole(data))?;
        source.seek(SeekFrom::Start(data))?;
        target.seek(SeekFrom::Start(data))?;
        std::io::copy(&mut std::io::Read::take(&mut *source, hole - data), target)?;
        at = hole;
    }
    target.set_len(size)?;
    target.flush()
}
