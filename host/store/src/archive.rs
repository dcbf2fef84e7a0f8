//! Layers from and to tar streams: image layers come in, exports go out.
//!
//! What comes in is read with suspicion: names that leave the tree, links that lead out of it and absurd sizes are refused,
//! and nothing is written outside the new layer. What goes out has the same bytes for the same tree: names sorted, times
//! zero unless they were set explicitly.

use std::{
    collections::HashMap,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};

use crate::{
    edit,
    error::{Context, Error, Result},
    layer::{LayerId, Snapshot},
    store::Store,
    tree::{self, Kind, Place, View, shown},
};

/// Prefix of a layer's names that take a name of a lower layer away.
const WHITEOUT: &[u8] = b".wh.";
/// Name that hides what lower layers have in its directory.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of extended attributes in PAX headers.
const XATTR: &str = "SCHILY.xattr.";

impl Store {
    /// The layer in this tar stream, as the OCI image specification has it.
    pub fn import_layer(&self, stream: &mut dyn Read) -> Result<LayerId> {
        let draft = self.new_layer(&Snapshot::default())?;
        let root = tree::open_directory(&draft.path())?;
        let mut directory_times = Vec::new();
        let mut archive = tar::Archive::new(stream);
        for entry in archive.entries().context(|| "a layer".to_owned())? {
            let mut entry = entry.context(|| "a layer".to_owned())?;
            import_entry(&root, &mut entry, &mut directory_times)?;
        }
        for (directory, modified) in directory_times.iter().rev() {
            edit::set_modified(directory, *modified).context(|| "a layer".to_owned())?;
        }
        drop(directory_times);
        self.publish(draft)
    }

    /// Writes the tree below `path` as a tar stream: a directory's contents, or the one file.
    pub fn export(&self, snapshot: &Snapshot, path: &str, to: &mut dyn Write) -> Result<()> {
        let view = View::new(self, snapshot)?;
        let mut archive = tar::Builder::new(to);
        let mut links = HashMap::new();
        if view.stat(path, true)?.is_directory() {
            for item in tree::walk(view.directory(path.as_bytes())?) {
                let (path, place) = item?;
                export_entry(&mut archive, &path, &place, &mut links)?;
            }
        } else {
            let place = view.find(path.as_bytes(), true)?;
            // The name that was asked for, though it may be a link to another.
            let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
            export_entry(&mut archive, name, &place, &mut links)?;
        }
        archive.finish().context(|| "an export".to_owned())
    }

    /// Writes one layer as the OCI image specification has it, whiteouts included.
    pub fn export_layer(&self, layer: LayerId, to: &mut dyn Write) -> Result<()> {
        let root = tree::open_directory(&self.layer_path(layer))?;
        let mut archive = tar::Builder::new(to);
        export_raw(&mut archive, b"", &root, &mut HashMap::new())?;
        archive.finish().context(|| "a layer".to_owned())
    }
}

fn refused(path: &[u8], why: &str) -> Error {
    Error::Invalid(format!("the archive is refused: {} {why}", shown(path)))
}

/// Opens the directory that holds a name, making what is missing; never through a link.
fn parent(root: &OwnedFd, path: &[u8]) -> Result<(OwnedFd, Vec<u8>)> {
    let mut names: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect();
    if names.contains(&b"..".as_slice()) {
        return Err(refused(path, "leads out of the tree"));
    }
    let name = names.pop().unwrap_or_default().to_vec();
    let mut here = root.try_clone().context(|| shown(path))?;
    for part in names {
        match tree::stat_at(&here, part)? {
            Some(stat) if tree::Stat::of(&stat).is_directory() => {}
            Some(_) => return Err(refused(path, "passes through something that is no directory")),
            None => rustix::fs::mkdirat(&here, part, Mode::from_raw_mode(0o755)).context(|| shown(path))?,
        }
        here = tree::open_child(&here, part)?;
    }
    Ok((here, name))
}

fn import_entry(
    root: &OwnedFd,
    entry: &mut tar::Entry<'_, &mut dyn Read>,
    directory_times: &mut Vec<(OwnedFd, i64)>,
) -> Result<()> {
    let path = entry.path_bytes().into_owned();
    if path.starts_with(b"/") {
        return Err(refused(&path, "is absolute"));
    }
    let said = || shown(&path);
    let (directory, name) = parent(root, &path)?;
    if name == OPAQUE {
        let value = b"y";
        return rustix::fs::fsetxattr(&directory, tree::OPAQUE, value, rustix::fs::XattrFlags::empty())
            .context(said);
    }
    if let Some(hidden) = name.strip_prefix(WHITEOUT) {
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(&path, "takes nothing away"));
        }
        edit::clear(&directory, hidden)?;
        return rustix::fs::mknodat(&directory, hidden, FileType::CharacterDevice, Mode::empty(), 0)
            .context(said);
    }
    let header = entry.header();
    let field = |value: std::io::Result<u64>| value.map_err(|_| refused(&path, "has a damaged header"));
    let (uid, gid) = (field(header.uid())? as u32, field(header.gid())? as u32);
    let mode = header
        .mode()
        .map_err(|_| refused(&path, "has a damaged header"))?
        & 0o7777;
    let modified = field(header.mtime())? as i64 * 1_000_000_000;
    let kind = header.entry_type();
    if name.is_empty() {
        // The root itself.
        if kind.is_dir() {
            edit::set_owner_and_mode(root, (uid, gid), mode).context(said)?;
        }
        return Ok(());
    }
    if kind.is_dir() {
        let exists =
            tree::stat_at(&directory, &name)?.is_some_and(|stat| tree::Stat::of(&stat).is_directory());
        if !exists {
            edit::clear(&directory, &name)?;
            rustix::fs::mkdirat(&directory, name.as_slice(), Mode::from_raw_mode(0o700)).context(said)?;
        }
        let made = tree::open_child(&directory, &name)?;
        edit::set_owner_and_mode(&made, (uid, gid), mode).context(said)?;
        import_xattrs(entry, &made, &path)?;
        // Kept open only as long as there are few: a tree of a hundred thousand directories keeps the times it gets.
        if directory_times.len() < 4096 {
            directory_times.push((made, modified));
        }
        return Ok(());
    }
    edit::clear(&directory, &name)?;
    match kind {
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            let mut file = edit::create(&directory, &name)?;
            std::io::copy(entry, &mut file).context(said)?;
            edit::set_owner_and_mode(&file, (uid, gid), mode).context(said)?;
            import_xattrs(entry, &file, &path)?;
            return edit::set_modified(&file, modified).context(said);
        }
        tar::EntryType::Link => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| refused(&path, "links to nothing"))?
                .into_owned();
            let (from, from_name) = parent(root, target.strip_prefix(b"/").unwrap_or(&target))?;
            return rustix::fs::linkat(
                &from,
                from_name.as_slice(),
                &directory,
                name.as_slice(),
                AtFlags::empty(),
            )
            .map_err(|_| refused(&path, "links to a file that the archive does not have"));
        }
        tar::EntryType::Symlink => {
            let target = entry
                .link_name_bytes()
                .ok_or_else(|| refused(&path, "links to nothing"))?
                .into_owned();
            rustix::fs::symlinkat(target.as_slice(), &directory, name.as_slice()).context(said)?;
        }
        tar::EntryType::Fifo => {
            rustix::fs::mknodat(
                &directory,
                name.as_slice(),
                FileType::Fifo,
                Mode::from_raw_mode(mode),
                0,
            )
            .context(said)?;
        }
        tar::EntryType::Char | tar::EntryType::Block => {
            let number = |value: std::io::Result<Option<u32>>| value.ok().flatten().unwrap_or(0);
            let device = rustix::fs::makedev(
                number(entry.header().device_major()),
                number(entry.header().device_minor()),
            );
            let kind = if kind == tar::EntryType::Char {
                FileType::CharacterDevice
            } else {
                FileType::BlockDevice
            };
            rustix::fs::mknodat(
                &directory,
                name.as_slice(),
                kind,
                Mode::from_raw_mode(mode),
                device,
            )
            .context(said)?;
        }
        tar::EntryType::XGlobalHeader => return Ok(()),
        _ => return Err(refused(&path, "is of a kind that archives of layers do not have")),
    }
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    rustix::fs::chownat(&directory, name.as_slice(), uid, gid, AtFlags::SYMLINK_NOFOLLOW).context(said)?;
    if kind != tar::EntryType::Symlink {
        rustix::fs::chmodat(
            &directory,
            name.as_slice(),
            Mode::from_raw_mode(mode),
            AtFlags::empty(),
        )
        .context(said)?;
    }
    edit::set_times_at(&directory, &name, modified).context(said)
}

fn import_xattrs(
    entry: &mut tar::Entry<'_, &mut dyn Read>,
    file: &impl std::os::fd::AsFd,
    path: &[u8],
) -> Result<()> {
    let Some(extensions) = entry.pax_extensions().context(|| shown(path))? else {
        return Ok(());
    };
    for extension in extensions {
        let extension = extension.context(|| shown(path))?;
        let Some(name) = extension.key().ok().and_then(|key| key.strip_prefix(XATTR)) else {
            continue;
        };
        // Overlay's own marks are ours to set.
        if name.starts_with("trusted.overlay.") {
            continue;
        }
        rustix::fs::fsetxattr(
            file,
            name,
            extension.value_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .context(|| format!("{}: attribute {name}", shown(path)))?;
    }
    Ok(())
}

type Links = HashMap<(u64, u64), Vec<u8>>;

fn export_entry<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &[u8],
    place: &Place,
    links: &mut Links,
) -> Result<()> {
    let said = || shown(path);
    let os_path = Path::new(std::ffi::OsStr::from_bytes(path));
    let stat = &place.stat;
    let file = match stat.kind {
        Kind::File => Some(place.open()?),
        _ => None,
    };
    let attributes = match (&file, place.directory.as_ref().and_then(tree::Merged::top)) {
        (Some(file), _) => xattrs(file).context(said)?,
        (None, Some(top)) => xattrs(top).context(said)?,
        (None, None) => Vec::new(),
    };
    let time_set = attributes.iter().any(|(name, _)| name.ends_with(edit::TIME_SET));
    let shown_attributes = attributes
        .iter()
        .filter(|(name, _)| !name.ends_with(edit::TIME_SET));
    let pairs: Vec<(&str, &[u8])> = shown_attributes
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    if !pairs.is_empty() {
        archive.append_pax_extensions(pairs).context(said)?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(stat.mode);
    header.set_uid(u64::from(stat.uid));
    header.set_gid(u64::from(stat.gid));
    header.set_mtime(if time_set {
        (stat.modified / 1_000_000_000) as u64
    } else {
        0
    });
    header.set_size(0);
    let kind = match stat.kind {
        Kind::File => {
            if place.links > 1 {
                if let Some(first) = links.get(&stat.inode) {
                    header.set_entry_type(tar::EntryType::Link);
                    let target = Path::new(std::ffi::OsStr::from_bytes(first));
                    return archive.append_link(&mut header, os_path, target).context(said);
                }
                links.insert(stat.inode, path.to_vec());
            }
            header.set_size(stat.size);
            header.set_entry_type(tar::EntryType::Regular);
            let content = file.ok_or_else(|| tree::missing(path))?;
            return archive.append_data(&mut header, os_path, content).context(said);
        }
        Kind::Symlink => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            let target = place.link_target()?;
            return archive
                .append_link(&mut header, os_path, std::ffi::OsStr::from_bytes(&target))
                .context(said);
        }
        Kind::Directory => tar::EntryType::Directory,
        Kind::Fifo => tar::EntryType::Fifo,
        Kind::CharDevice => tar::EntryType::Char,
        Kind::BlockDevice => tar::EntryType::Block,
        Kind::Socket => {
            return Err(Error::Invalid(format!(
                "{} is a socket, which no archive can hold",
                shown(path)
            )));
        }
    };
    header.set_entry_type(kind);
    if matches!(stat.kind, Kind::CharDevice | Kind::BlockDevice) {
        header
            .set_device_major(rustix::fs::major(stat.device))
            .context(said)?;
        header
            .set_device_minor(rustix::fs::minor(stat.device))
            .context(said)?;
    }
    archive
        .append_data(&mut header, os_path, std::io::empty())
        .context(said)
}

fn xattrs(file: &impl std::os::fd::AsFd) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in edit::xattr_names(file)? {
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::fgetxattr(file, name.as_str(), value.as_mut_slice())?;
        value.truncate(length);
        found.push((format!("{XATTR}{name}"), value));
    }
    Ok(found)
}

/// A real directory of one layer, its whiteouts in the image format's spelling.
fn export_raw<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &[u8],
    directory: &OwnedFd,
    links: &mut Links,
) -> Result<()> {
    let marker = |archive: &mut tar::Builder<W>, name: &[u8]| {
        let at = tree::join(path, name);
        let mut header = tar::Header::new_gnu();
        header.set_size(0);
        header.set_mode(0o600);
        archive
            .append_data(
                &mut header,
                Path::new(std::ffi::OsStr::from_bytes(&at)),
                std::io::empty(),
            )
            .context(|| shown(&at))
    };
    if tree::is_opaque(directory) {
        marker(archive, OPAQUE)?;
    }
    let own = tree::Merged::of_directory(directory.try_clone().context(|| shown(path))?);
    let mut names = tree::names(directory)?;
    names.sort();
    for name in names {
        let at = tree::join(path, &name);
        match own.child(&name)? {
            None => marker(archive, &[WHITEOUT, &name].concat())?,
            Some(place) => {
                export_entry(archive, &at, &place, links)?;
                if place.directory.is_some() {
                    export_raw(archive, &at, &tree::open_child(directory, &name)?, links)?;
                }
            }
        }
    }
    Ok(())
}
