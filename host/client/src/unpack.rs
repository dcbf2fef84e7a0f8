//! Unpacks a tree into a directory of the user's disk.
//!
//! What is in it was made by steps, and is not trusted: no name leads out of the directory, and links are made but never
//! passed through. What arrives does so under another name and is renamed, so that what was there is whole until its
//! successor is. What is there and not in the tree stays.

use std::{
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, RawMode, Timespec, Timestamps},
    io::Errno,
};
use wharf_archive::{Entries, Entry, EntryType};

use crate::export::{link_target, refused};

/// A directory's bits while it is filled.
const FILLING: RawMode = 0o700;

/// Unpacks the stream into `to`, which is there.
///
/// # Errors
///
/// Of the disk and of the stream, and of what cannot be unpacked, by name.
pub(crate) fn unpack(stream: &mut dyn io::Read, to: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut unpacker = Unpacker {
        root: rustix::fs::open(to, flags, Mode::empty())?,
        // The standard library's maps have a key of the system's random numbers.
        draft: format!(".wharf-{:016x}", RandomState::new().build_hasher().finish()),
        last: None,
        directories: Vec::new(),
    };
    let mut entries = Entries::new(stream);
    while let Some(entry) = entries.next()? {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", shown(&entry.path)));
        unpacker.entry(&entry, &mut entries).map_err(named)?;
    }
    unpacker.finish()
}

struct Unpacker {
    root: OwnedFd,
    /// What an entry is called until it is whole.
    draft: String,
    /// The directory that was opened last, by path: entries of one directory follow each other.
    last: Option<(Vec<u8>, OwnedFd)>,
    /// Paths, permission bits and times, which are set when everything is in them.
    directories: Vec<(Vec<Vec<u8>>, u32, i64)>,
}

impl Unpacker {
    fn entry(&mut self, entry: &Entry, content: &mut dyn io::Read) -> io::Result<()> {
        let mut path = components(&entry.path)?;
        let Some(name) = path.pop() else {
            return match entry.kind {
                // The directory itself stays as the user has it.
                EntryType::Directory => Ok(()),
                _ => Err(refused("it has no name")),
            };
        };
        let parent = self.open(&path)?;
        if entry.kind == EntryType::Directory {
            make_directory(&parent, &name)?;
            path.push(name);
            self.directories.push((path, entry.mode, entry.modified));
            return Ok(());
        }
        let put = self.make(entry, content, &parent).and_then(|()| {
            Ok(rustix::fs::renameat(
                &parent,
                &self.draft,
                &parent,
                name.as_slice(),
            )?)
        });
        // There still when something failed, and where both names are one file already.
        if put.is_err() || entry.kind == EntryType::Link {
            rustix::fs::unlinkat(&parent, &self.draft, AtFlags::empty()).ok();
        }
        put.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                refused("a directory is there: move it away")
            }
            _ => error,
        })
    }

    /// Makes what is no directory, under the draft's name.
    fn make(&mut self, entry: &Entry, content: &mut dyn io::Read, parent: &OwnedFd) -> io::Result<()> {
        let mode = Mode::from_raw_mode(entry.mode as RawMode);
        match entry.kind {
            EntryType::Regular | EntryType::Continuous => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, &self.draft, flags, Mode::from_raw_mode(0o600))?;
                let mut file = File::from(file);
                io::copy(content, &mut file)?;
                rustix::fs::fchmod(&file, mode)?;
                if let Some(times) = times(entry.modified) {
                    rustix::fs::futimens(&file, &times)?;
                }
                return Ok(());
            }
            EntryType::Link => {
                let mut path = components(link_target(entry)?)?;
                let name = path
                    .pop()
                    .ok_or_else(|| refused("it is a second name of nothing"))?;
                let directory = self.open(&path)?;
                let no_follow = AtFlags::empty();
                return Ok(rustix::fs::linkat(
                    &directory,
                    name.as_slice(),
                    parent,
                    &self.draft,
                    no_follow,
                )?);
            }
            EntryType::Symlink => rustix::fs::symlinkat(link_target(entry)?, parent, &self.draft)?,
            #[cfg(target_os = "linux")]
            EntryType::Fifo => {
                rustix::fs::mknodat(parent, &self.draft, FileType::Fifo, mode, 0)?;
                rustix::fs::chmodat(parent, &self.draft, mode, AtFlags::empty())?;
            }
            EntryType::Char | EntryType::Block => {
                return Err(refused(
                    "devices are not written to the disk: leave it out of what you export",
                ));
            }
            _ => return Err(refused("it is of an unknown kind")),
        }
        if let Some(times) = times(entry.modified) {
            rustix::fs::utimensat(parent, &self.draft, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// The directory at a path, made when it is not there.
    fn open(&mut self, path: &[Vec<u8>]) -> io::Result<OwnedFd> {
        let joined = path.join(&b'/');
        if let Some((_, directory)) = self.last.as_ref().filter(|(last, _)| *last == joined) {
            return directory.try_clone();
        }
        let mut here = self.root.try_clone()?;
        for name in path {
            here = match open_directory(&here, name) {
                Err(Errno::NOENT) => {
                    rustix::fs::mkdirat(&here, name.as_slice(), Mode::from_raw_mode(0o755))?;
                    open_directory(&here, name)?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let why = format!("{} is there and no directory: move it away", shown(name));
                    return Err(refused(&why));
                }
                opened => opened?,
            };
        }
        self.last = Some((joined, here.try_clone()?));
        Ok(here)
    }

    fn finish(mut self) -> io::Result<()> {
        for (path, mode, modified) in std::mem::take(&mut self.directories).into_iter().rev() {
            let directory = self.open(&path)?;
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode as RawMode))?;
            if let Some(times) = times(modified) {
                rustix::fs::futimens(&directory, &times)?;
            }
        }
        Ok(())
    }
}

fn open_directory(here: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(here, name, flags, Mode::empty())
}

/// Makes a directory in place of a file or link; one that is there can be filled from now on.
fn make_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let made = rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(FILLING));
    if made != Err(Errno::EXIST) {
        return Ok(made?);
    }
    let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        return Ok(rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(FILLING))?);
    }
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777 | FILLING);
    Ok(rustix::fs::chmodat(parent, name, mode, AtFlags::empty())?)
}

/// The times of what has any of its own: what was given none, which is told as the year 1970, is as old as this copy of it.
fn times(modified: i64) -> Option<Timestamps> {
    if modified == 0 {
        return None;
    }
    let time = Timespec {
        tv_sec: modified.div_euclid(1_000_000_000),
        tv_nsec: modified.rem_euclid(1_000_000_000) as _,
    };
    Some(Timestamps {
        last_access: time,
        last_modification: time,
    })
}

/// The names of a path that stays inside the directory.
fn components(path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let names = path.split(|byte| *byte == b'/');
    let names: Vec<Vec<u8>> = names
        .filter(|name| !matches!(*name, b"" | b"."))
        .map(<[u8]>::to_vec)
        .collect();
    if path.starts_with(b"/") || names.iter().any(|name| name == b"..") {
        return Err(refused("it leads out of the directory"));
    }
    Ok(names)
}

/// A path for people.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    if text.chars().any(char::is_control) {
        format!("{text:?}")
    } else {
        text.into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    /// An archive of what this adds.
    fn archive(fill: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        fill(&mut builder);
        builder.into_inner().unwrap()
    }

    fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header
    }

    fn add(builder: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, text: &str) {
        let mut header = header(tar::EntryType::Regular, mode, text.len());
        // As it is: the builder refuses names that lead out.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        builder.append(&header, text.as_bytes()).unwrap();
    }

    fn link(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, target: &str) {
        builder
            .append_link(&mut header(kind, 0o777, 0), path, target)
            .unwrap();
    }

    fn unpacked(archive: &[u8], to: &Path) -> Result<(), String> {
        unpack(&mut &*archive, to).map_err(|error| error.to_string())
    }

    #[test]
    fn b22_kinds_modes_and_second_names_are_kept() {
        let to = tempfile::tempdir().unwrap();
        let at = |name: &str| to.path().join(name);
        fs::write(at("stays"), "stays").unwrap();
        fs::write(at("file"), "old").unwrap();
        fs::write(at("directory"), "in the way").unwrap();
        let bytes = archive(|builder| {
            // Attributes with line ends, which are not written, do not hide what comes after.
            let note = [("SCHILY.xattr.user.note", b"9 a=b\n\n".as_slice())];
            builder.append_pax_extensions(note).unwrap();
            add(builder, "file", 0o640, "new");
            let mut closed = header(tar::EntryType::Directory, 0o555, 0);
            builder
                .append_data(&mut closed, "directory", io::empty())
                .unwrap();
            add(builder, "directory/inner", 0o4755, "inner");
            link(builder, tar::EntryType::Link, "again", "directory/inner");
            link(builder, tar::EntryType::Symlink, "link", "no/where");
            let mut fifo = header(tar::EntryType::Fifo, 0o600, 0);
            builder.append_data(&mut fifo, "fifo", io::empty()).unwrap();
        });
        // A second time over what the first one made.
        for _ in 0..2 {
            unpacked(&bytes, to.path()).unwrap();
            assert_eq!(fs::read_to_string(at("file")).unwrap(), "new");
            assert_eq!(fs::read_to_string(at("stays")).unwrap(), "stays");
            let stat = |name: &str| fs::symlink_metadata(at(name)).unwrap();
            assert_eq!(stat("file").mode() & 0o7777, 0o640);
            assert_eq!(stat("directory").mode() & 0o7777, 0o555);
            assert_eq!(stat("directory/inner").mode() & 0o7777, 0o4755);
            assert_eq!(stat("again").ino(), stat("directory/inner").ino());
            assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("no/where"));
            assert_eq!(stat("fifo").mode() & 0o170_000, 0o010_000);
            let names = fs::read_dir(to.path()).unwrap().count();
            assert_eq!(names, 6, "something is left behind");
        }
    }

    #[test]
    fn times_are_those_that_were_set_and_otherwise_the_copys_own() {
        let to = tempfile::tempdir().unwrap();
        let bytes = archive(|builder| {
            let mut dated = header(tar::EntryType::Regular, 0o644, 0);
            dated.set_mtime(981_173_106);
            builder.append_data(&mut dated, "dated", io::empty()).unwrap();
            add(builder, "undated", 0o644, "text");
        });
        let before = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        unpacked(&bytes, to.path()).unwrap();
        let modified = |name: &str| fs::metadata(to.path().join(name)).unwrap().modified().unwrap();
        let set = std::time::UNIX_EPOCH + std::time::Duration::from_secs(981_173_106);
        assert_eq!(modified("dated"), set);
        assert!(modified("undated") > before);
    }

    #[test]
    fn b25_nothing_is_written_outside() {
        let outside = tempfile::tempdir().unwrap();
        let away = outside.path().to_str().unwrap();
        fs::write(outside.path().join("theirs"), "theirs").unwrap();
        let to = outside.path().join("inside");
        for hostile in [
            archive(|builder| add(builder, "../evil", 0o644, "x")),
            archive(|builder| add(builder, &format!("{away}/evil"), 0o644, "x")),
            archive(|builder| {
                link(builder, tar::EntryType::Symlink, "way", away);
                add(builder, "way/evil", 0o644, "x");
            }),
            archive(|builder| link(builder, tar::EntryType::Link, "evil", "../theirs")),
            archive(|builder| {
                link(builder, tar::EntryType::Symlink, "way", away);
                link(builder, tar::EntryType::Link, "evil", "way/theirs");
            }),
            archive(|builder| {
                let mut device = header(tar::EntryType::Char, 0o666, 0);
                device.set_device_major(1).unwrap();
                device.set_device_minor(3).unwrap();
                builder.append_data(&mut device, "evil", io::empty()).unwrap();
            }),
        ] {
            fs::create_dir(&to).unwrap();
            let error = unpacked(&hostile, &to).expect_err("it is refused");
            assert!(error.contains("evil"), "{error}");
            assert!(!outside.path().join("evil").exists(), "{error}");
            assert!(!to.join("evil").exists(), "{error}");
            fs::remove_dir_all(&to).unwrap();
        }
        // What is there already and leads out is replaced, not followed.
        fs::create_dir(&to).unwrap();
        std::os::unix::fs::symlink(outside.path().join("theirs"), to.join("file")).unwrap();
        unpacked(&archive(|builder| add(builder, "file", 0o644, "ours")), &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("file")).unwrap(), "ours");
        assert_eq!(
            fs::read_to_string(outside.path().join("theirs")).unwrap(),
            "theirs"
        );
    }

    #[test]
    fn a_directory_in_the_way_is_said() {
        let to = tempfile::tempdir().unwrap();
        fs::create_dir_all(to.path().join("taken/full")).unwrap();
        let bytes = archive(|builder| add(builder, "taken", 0o644, "x"));
        let error = unpacked(&bytes, to.path()).unwrap_err();
        assert_eq!(error, "taken: a directory is there: move it away");
        assert_eq!(fs::read_dir(to.path()).unwrap().count(), 1);
    }
}
