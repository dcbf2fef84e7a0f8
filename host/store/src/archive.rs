//! Trees and layers to tar streams. The same tree gives the same bytes: names sorted, times zero unless they were set
//! explicitly.

use std::{
    collections::HashMap,
    io::Write,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

use crate::{
    edit,
    error::{Context, Error, Result},
    layer::{LayerId, Snapshot},
    store::Store,
    tree::{self, Kind, Place, View, shown},
};

/// Prefix of a layer's names that take a name of a lower layer away.
pub(crate) const WHITEOUT: &[u8] = b".wh.";
/// Name that hides what lower layers have in its directory.
pub(crate) const OPAQUE: &[u8] = b".wh..wh..opq";
/// Prefix of extended attributes in PAX headers.
const XATTR: &str = "SCHILY.xattr.";

impl Store {
    /// Writes the tree below `path` as a tar stream: a directory's contents, or the one file.
    pub fn export(&self, snapshot: &Snapshot, path: &str, to: &mut dyn Write) -> Result<()> {
        let view = View::new(self, snapshot)?;
        let mut archive = tar::Builder::new(to);
        let mut links = HashMap::new();
        if view.stat(path, true)?.is_directory() {
            for item in tree::walk(view.directory(path.as_bytes())?) {
                let (path, place) = item?;
                export_entry(&mut archive, &path, &place, &mut links, Form::Plain)?;
            }
        } else {
            let place = view.find(path.as_bytes(), true)?;
            // The name that was asked for, though it may be a link to another.
            let name = path.rsplit('/').next().unwrap_or_default().as_bytes();
            export_entry(&mut archive, name, &place, &mut links, Form::Plain)?;
        }
        archive.finish().context(|| "an export".to_owned())
    }

    /// Writes one layer as the OCI image specification has it, whiteouts included.
    pub fn export_layer(&self, layer: LayerId, to: &mut dyn Write) -> Result<()> {
        let root = tree::open_directory(&self.layer_path(layer))?;
        let mut archive = tar::Builder::new(to);
        export_raw(&mut archive, b"", &root, &mut HashMap::new(), Form::Plain)?;
        archive.finish().context(|| "a layer".to_owned())
    }
}

pub(crate) type Links = HashMap<(u64, u64), Vec<u8>>;

/// What of an entry an archive tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// What is part of its identity.
    Plain,
    /// Modification times, too: it goes on being used elsewhere.
    Whole,
}

impl Form {
    fn tells(self, attribute: &str) -> bool {
        // What the host's own modules keep there means nothing elsewhere.
        let is_the_hosts = || attribute.starts_with("security.") && attribute != "security.capability";
        attribute != edit::TIME_SET.as_str() && (self == Self::Plain || !is_the_hosts())
    }
}

/// A modification time as PAX headers have it.
fn exact(modified: i64) -> String {
    let modified = modified.max(0);
    format!("{}.{:09}", modified / 1_000_000_000, modified % 1_000_000_000)
}

pub(crate) fn export_entry<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &[u8],
    place: &Place,
    links: &mut Links,
    form: Form,
) -> Result<()> {
    let said = || shown(path);
    let os_path = Path::new(std::ffi::OsStr::from_bytes(path));
    let stat = &place.stat;
    let file = match stat.kind {
        Kind::File => Some(place.open()?),
        _ => None,
    };
    let attributes = match (&file, place.top()?) {
        (Some(file), _) => edit::xattrs(file).context(said)?,
        (None, Some(top)) => edit::xattrs(&top).context(said)?,
        (None, None) => edit::xattrs(&place.attributed().context(said)?).context(said)?,
    };
    let time_set = form == Form::Whole || edit::is_time_set(&attributes, stat.modified);
    let shown_attributes = attributes.iter().filter(|(name, _)| form.tells(name));
    let named: Vec<(String, &[u8])> = shown_attributes
        .map(|(name, value)| (format!("{XATTR}{name}"), value.as_slice()))
        .collect();
    let mut pairs: Vec<(&str, &[u8])> = named
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let exact = exact(stat.modified);
    if form == Form::Whole {
        pairs.push(("mtime", exact.as_bytes()));
    }
    if !pairs.is_empty() {
        archive.append_pax_extensions(pairs).context(said)?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(stat.mode);
    header.set_uid(u64::from(stat.uid));
    header.set_gid(u64::from(stat.gid));
    header.set_mtime(if time_set {
        (stat.modified.max(0) / 1_000_000_000) as u64
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

/// An empty file whose name has a meaning.
pub(crate) fn marker<W: Write>(archive: &mut tar::Builder<W>, path: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o600);
    let os_path = Path::new(std::ffi::OsStr::from_bytes(path));
    archive
        .append_data(&mut header, os_path, std::io::empty())
        .context(|| shown(path))
}

/// A real directory of one layer, its whiteouts in the image format's spelling.
pub(crate) fn export_raw<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &[u8],
    directory: &OwnedFd,
    links: &mut Links,
    form: Form,
) -> Result<()> {
    if tree::is_opaque(directory) {
        marker(archive, &tree::join(path, OPAQUE))?;
    }
    let own = tree::Merged::of_directory(directory.try_clone().context(|| shown(path))?);
    let mut names = tree::names(directory)?;
    names.sort();
    for name in names {
        let at = tree::join(path, &name);
        match own.child(&name)? {
            None => marker(archive, &tree::join(path, &[WHITEOUT, &name].concat()))?,
            Some(place) if form == Form::Whole && place.stat.kind == Kind::Socket => {}
            Some(place) => {
                export_entry(archive, &at, &place, links, form)?;
                if place.is_directory() {
                    export_raw(archive, &at, &tree::open_child(directory, &name)?, links, form)?;
                }
            }
        }
    }
    Ok(())
}
