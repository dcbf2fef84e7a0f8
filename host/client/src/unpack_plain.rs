//! Unpacks a tree into a directory of the user's disk where directories cannot be opened and kept: on Windows.
//!
//! What is in it was made by steps, and is not trusted: no name leads out of the directory, and links that are there are not
//! passed through. Links are made where the system lets this user make them. What is there and not in the tree stays.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wharf_archive::{Entries, Entry, EntryType};
use wharf_platform::{file, path::name_from_bytes};

use crate::export::{link_target, refused};

/// Unpacks the stream into `to`, which is there.
///
/// # Errors
///
/// Of the disk and of the stream, and of what cannot be unpacked, by name.
pub(crate) fn unpack(stream: &mut dyn io::Read, to: &Path) -> io::Result<()> {
    let mut entries = Entries::new(stream);
    while let Some(entry) = entries.next()? {
        let named = |error: io::Error| {
            let path = String::from_utf8_lossy(&entry.path);
            io::Error::new(error.kind(), format!("{path:?}: {error}"))
        };
        make(&entry, &mut entries, to).map_err(named)?;
    }
    Ok(())
}

fn make(entry: &Entry, content: &mut dyn io::Read, root: &Path) -> io::Result<()> {
    let names = names(&entry.path)?;
    let Some((name, above)) = names.split_last() else {
        return match entry.kind {
            // The directory itself stays as the user has it.
            EntryType::Directory => Ok(()),
            _ => Err(refused("it has no name")),
        };
    };
    let parent = directory(root, above)?;
    let path = parent.join(name_from_bytes(name));
    match entry.kind {
        EntryType::Directory => directory(root, &names).map(|_| ()),
        EntryType::Regular | EntryType::Continuous => {
            let mut draft = tempfile::NamedTempFile::new_in(&parent)?;
            io::copy(content, draft.as_file_mut())?;
            free(&path)?;
            draft.persist(&path)?;
            file::set_mode(&path, entry.mode)
        }
        EntryType::Link => {
            let target = self::names(link_target(entry)?)?;
            let (name, above) = target
                .split_last()
                .ok_or_else(|| refused("it is a second name of nothing"))?;
            let target = directory(root, above)?.join(name_from_bytes(name));
            free(&path)?;
            fs::hard_link(target, &path)
        }
        EntryType::Symlink => {
            let target = wharf_platform::path::from_bytes(link_target(entry)?);
            free(&path)?;
            symlink(&target, &path)
        }
        EntryType::Char | EntryType::Block | EntryType::Fifo => Err(refused(
            "this system has no devices and pipes among its files: leave it out of what you export",
        )),
        _ => Err(refused("it is of an unknown kind")),
    }
}

#[cfg(windows)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    let leads_to_directory = path.parent().is_some_and(|parent| parent.join(target).is_dir());
    if leads_to_directory {
        std::os::windows::fs::symlink_dir(target, path)
    } else {
        std::os::windows::fs::symlink_file(target, path)
    }
}

/// The directory of these names, made where it is not there; a link is not passed through.
fn directory(root: &Path, names: &[&[u8]]) -> io::Result<PathBuf> {
    let mut here = root.to_owned();
    for name in names {
        here.push(name_from_bytes(name));
        match here.symlink_metadata() {
            Ok(there) if there.is_dir() && !there.is_symlink() => {}
            Ok(_) => {
                let why = format!("{} is there and no directory: move it away", here.display());
                return Err(refused(&why));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&here)?,
            Err(error) => return Err(error),
        }
    }
    Ok(here)
}

/// Removes a file or a link that is in the way.
fn free(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(there) if there.is_dir() && !there.is_symlink() => {
            Err(refused("a directory is there: move it away"))
        }
        Ok(there) => {
            if there.permissions().readonly() {
                file::set_mode(path, 0o644)?;
            }
            fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The names of a path that stays inside the directory, and that this system takes for names.
fn names(path: &[u8]) -> io::Result<Vec<&[u8]>> {
    let names: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect();
    if path.starts_with(b"/") || names.contains(&&b".."[..]) {
        return Err(refused("it leads out of the directory"));
    }
    if names.iter().any(|name| {
        name.iter()
            .any(|byte| b"\\:*?\"<>|".contains(byte) || *byte < b' ')
    }) {
        return Err(refused("this system has no such names"));
    }
    Ok(names)
}
