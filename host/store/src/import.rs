//! Layers from tar streams, as the OCI image specification has them.
//!
//! What comes in is read with suspicion: names that leave the tree and links that lead out of it are refused, and nothing
//! is written outside the new layer. A layer knows nothing of those below it, so a directory that it only passes through
//! has the attributes of a new one.

use std::{io::Read, os::fd::OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, XattrFlags};
use tar::EntryType;

use crate::{
    archive::{OPAQUE, WHITEOUT, XATTR},
    edit,
    error::{Context, Error, Result},
    layer::{LayerId, Snapshot},
    store::Store,
    tree::{self, shown},
};

/// Prefix of names that are neither files nor whiteouts but another file system's own bookkeeping.
const BOOKKEEPING: &[u8] = b".wh..wh.";

type TarEntry<'a, 'r> = tar::Entry<'a, &'r mut dyn Read>;

impl Store {
    /// The layer in this tar stream, as the OCI image specification has it.
    pub fn import_layer(&self, stream: &mut dyn Read) -> Result<LayerId> {
        let draft = self.new_layer(&Snapshot::default())?;
        let mut import = Import {
            root: tree::open_directory(&draft.path())?,
            directory_times: Vec::new(),
        };
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().context(|| "a layer".to_owned())? {
            import.entry(&mut entry.context(|| "a layer".to_owned())?)?;
        }
        import.finish()?;
        self.publish(draft)
    }
}

struct Import {
    root: OwnedFd,
    /// Set in the end: filling a directory changes its time.
    directory_times: Vec<(Vec<u8>, i64)>,
}

/// What a header says of an entry.
struct Attributes {
    owner: (u32, u32),
    mode: u32,
    /// Nanoseconds since 1970.
    modified: i64,
}

fn refused(path: &[u8], why: &str) -> Error {
    Error::Invalid(format!("the archive is refused: {} {why}", shown(path)))
}

/// The directory at a name for something that comes into it: there, or made; never through a link.
fn enter(here: &OwnedFd, name: &[u8], path: &[u8]) -> Result<OwnedFd> {
    match tree::stat_at(here, name)? {
        Some(stat) if tree::Stat::of(&stat).is_directory() => {}
        Some(stat) if tree::is_whiteout(&stat) => return over_whiteout(here, name),
        Some(_) => return Err(refused(path, "passes through something that is no directory")),
        None => rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)).context(|| shown(path))?,
    }
    tree::open_child(here, name)
}

/// A directory in place of a whiteout goes on hiding what is below.
fn over_whiteout(here: &OwnedFd, name: &[u8]) -> Result<OwnedFd> {
    edit::clear(here, name)?;
    rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)).context(|| shown(name))?;
    let made = tree::open_child(here, name)?;
    hide_below(&made)?;
    Ok(made)
}

fn hide_below(directory: &OwnedFd) -> Result<()> {
    rustix::fs::fsetxattr(directory, tree::OPAQUE, b"y", XattrFlags::empty())
        .context(|| "an opaque directory".to_owned())
}

impl Import {
    /// Opens the directory that holds a name, making what is missing.
    fn parent(&self, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
        let mut names: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|name| !matches!(*name, b"" | b"."))
            .collect();
        if names.contains(&b"..".as_slice()) {
            return Err(refused(path, "leads out of the tree"));
        }
        let name = names.pop().unwrap_or_default().to_vec();
        let mut here = self.root.try_clone().context(|| shown(path))?;
        for part in names {
            here = enter(&here, part, path)?;
        }
        Ok((here, name))
    }

    fn entry(&mut self, entry: &mut TarEntry<'_, '_>) -> Result<()> {
        let path = entry.path_bytes().into_owned();
        if entry.header().entry_type() == EntryType::XGlobalHeader {
            return Ok(());
        }
        if path.starts_with(b"/") {
            return Err(refused(&path, "is absolute"));
        }
        let (directory, name) = self.parent(&path)?;
        if name == OPAQUE {
            return hide_below(&directory);
        }
        if name.starts_with(BOOKKEEPING) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return whiteout(&directory, hidden, &path);
        }
        let attributes = attributes(entry, &path)?;
        match entry.header().entry_type() {
            EntryType::Directory => self.directory(entry, &directory, &name, &attributes, &path),
            _ if name.is_empty() => Err(refused(&path, "is the root and no directory")),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                file(entry, &directory, &name, &attributes, &path)
            }
            EntryType::Link => self.link(entry, &directory, &name, &path),
            _ => special(entry, &directory, &name, &attributes, &path),
        }
    }

    fn directory(
        &mut self,
        entry: &mut TarEntry<'_, '_>,
        parent: &OwnedFd,
        name: &[u8],
        attributes: &Attributes,
        path: &[u8],
    ) -> Result<()> {
        let made = if name.is_empty() {
            self.root.try_clone().context(|| shown(path))?
        } else {
            let stat = tree::stat_at(parent, name)?;
            let gives_way =
                |stat: &rustix::fs::Stat| !tree::is_whiteout(stat) && !tree::Stat::of(stat).is_directory();
            if stat.as_ref().is_some_and(gives_way) {
                edit::clear(parent, name)?;
            }
            enter(parent, name, path)?
        };
        edit::set_owner_and_mode(&made, attributes.owner, attributes.mode).context(|| shown(path))?;
        import_xattrs(entry, &made, path)?;
        self.directory_times.push((path.to_vec(), attributes.modified));
        Ok(())
    }

    fn link(&self, entry: &TarEntry<'_, '_>, directory: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let target = link_target(entry, path)?;
        let (from, from_name) = self.parent(target.strip_prefix(b"/").unwrap_or(&target))?;
        edit::clear(directory, name)?;
        rustix::fs::linkat(&from, from_name.as_slice(), directory, name, AtFlags::empty())
            .map_err(|_| refused(path, "links to a file that the archive does not have"))
    }

    fn finish(self) -> Result<()> {
        for (path, modified) in self.directory_times.iter().rev() {
            // One that another entry replaced since has no time to be set.
            let (parent, name) = self.parent(path)?;
            let is_directory = |stat: rustix::fs::Stat| tree::Stat::of(&stat).is_directory();
            if name.is_empty() {
                edit::set_modified(&self.root, *modified).context(|| shown(path))?;
            } else if tree::stat_at(&parent, &name)?.is_some_and(is_directory) {
                edit::set_times_at(&parent, &name, *modified).context(|| shown(path))?;
            }
        }
        Ok(())
    }
}

/// Takes a name of the layers below away; what this layer itself has there stays.
fn whiteout(directory: &OwnedFd, hidden: &[u8], path: &[u8]) -> Result<()> {
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(refused(path, "takes nothing away"));
    }
    match tree::stat_at(directory, hidden)? {
        Some(stat) if tree::Stat::of(&stat).is_directory() => {
            hide_below(&tree::open_child(directory, hidden)?)
        }
        Some(_) => Ok(()),
        None => rustix::fs::mknodat(directory, hidden, FileType::CharacterDevice, Mode::empty(), 0)
            .context(|| shown(path)),
    }
}

fn attributes(entry: &TarEntry<'_, '_>, path: &[u8]) -> Result<Attributes> {
    let header = entry.header();
    let damaged = |_| refused(path, "has a damaged header");
    Ok(Attributes {
        owner: (
            header.uid().map_err(damaged)? as u32,
            header.gid().map_err(damaged)? as u32,
        ),
        mode: header.mode().map_err(damaged)? & 0o7777,
        modified: (header.mtime().map_err(damaged)? as i64).saturating_mul(1_000_000_000),
    })
}

fn link_target(entry: &TarEntry<'_, '_>, path: &[u8]) -> Result<Vec<u8>> {
    let target = entry.link_name_bytes();
    Ok(target
        .ok_or_else(|| refused(path, "links to nothing"))?
        .into_owned())
}

fn file(
    entry: &mut TarEntry<'_, '_>,
    directory: &OwnedFd,
    name: &[u8],
    attributes: &Attributes,
    path: &[u8],
) -> Result<()> {
    edit::clear(directory, name)?;
    let mut file = edit::create(directory, name)?;
    if entry.header().entry_type() == EntryType::GNUSparse {
        edit::write_sparse(entry, &mut file).context(|| shown(path))?;
    } else {
        std::io::copy(entry, &mut file).context(|| shown(path))?;
    }
    edit::set_owner_and_mode(&file, attributes.owner, attributes.mode).context(|| shown(path))?;
    import_xattrs(entry, &file, path)?;
    edit::set_modified(&file, attributes.modified).context(|| shown(path))
}

/// Links, pipes and devices.
fn special(
    entry: &TarEntry<'_, '_>,
    directory: &OwnedFd,
    name: &[u8],
    attributes: &Attributes,
    path: &[u8],
) -> Result<()> {
    let said = || shown(path);
    let mode = Mode::from_raw_mode(attributes.mode);
    let header = entry.header();
    let number = |value: std::io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
    let (major, minor) = (number(header.device_major()), number(header.device_minor()));
    let make = |kind, device| {
        edit::clear(directory, name)?;
        rustix::fs::mknodat(directory, name, kind, mode, device).context(said)
    };
    match header.entry_type() {
        EntryType::Symlink => {
            let target = link_target(entry, path)?;
            edit::clear(directory, name)?;
            rustix::fs::symlinkat(target.as_slice(), directory, name).context(said)?;
        }
        EntryType::Fifo => make(FileType::Fifo, 0)?,
        EntryType::Char => make(FileType::CharacterDevice, rustix::fs::makedev(major, minor))?,
        EntryType::Block => make(FileType::BlockDevice, rustix::fs::makedev(major, minor))?,
        _ => return Err(refused(path, "is of a kind that archives of layers do not have")),
    }
    let (uid, gid) = attributes.owner;
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(directory, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(said)?;
    if header.entry_type() != EntryType::Symlink {
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty()).context(said)?;
    }
    edit::set_times_at(directory, name, attributes.modified).context(said)
}

fn import_xattrs(entry: &mut TarEntry<'_, '_>, file: &impl std::os::fd::AsFd, path: &[u8]) -> Result<()> {
    let Some(extensions) = entry.pax_extensions().context(|| shown(path))? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension.context(|| shown(path))?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(XATTR)) else {
            continue;
        };
        // Overlay's marks and ours are ours to set.
        if name.starts_with("trusted.overlay.") || name.starts_with("trusted.wharf.") {
            continue;
        }
        rustix::fs::fsetxattr(file, name, extension.value_bytes(), XattrFlags::empty())
            .context(|| format!("{}: attribute {name}", shown(path)))?;
    }
    Ok(())
}
