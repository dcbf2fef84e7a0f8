//! Trees that arrive as a list of entries, after the files in them were received: what the client uploads.

use std::{
    collections::HashSet,
    fs::File,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::{
    fs::{AtFlags, CWD, Mode},
    io::Errno,
};
use wharf_digest::Digest;

use crate::{
    edit::{self, LINK_FROM},
    error::{Context, Error, Result},
    layer::{LayerDraft, LayerId, Snapshot},
    received::{self, Placed},
    shares::Sharing,
    store::Store,
    tree::{self, shown},
};

/// Files that are placed together: so many directories are open at most.
const BATCH: usize = 512;

/// One path of a tree that arrives.
#[derive(Clone, Debug)]
pub struct ManifestEntry {
    /// Relative to the root.
    pub path: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// What it is.
    pub kind: ManifestKind,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum ManifestKind {
    /// A directory.
    Directory,
    /// A regular file with these bytes.
    File(Digest),
    /// A symbolic link.
    Symlink(Vec<u8>),
}

impl Store {
    /// The tree of these entries, parents before what they hold, all owned by root. Files that were received for it move into
    /// it; the others are shared with or copied from the trees that have them.
    pub fn layer_from_manifest(&self, entries: &[ManifestEntry]) -> Result<Snapshot> {
        let draft = self.new_layer(&Snapshot::default())?;
        let placing = Placing::new(self, entries, draft.id);
        let root = Arc::new(tree::open_directory(&draft.path())?);
        let mut open = vec![(Vec::new(), root)];
        let mut files = Vec::new();
        for entry in entries {
            let name = check(&entry.path)?;
            let parent = &entry.path[..entry.path.len() - name.len()];
            let parent = parent.strip_suffix(b"/").unwrap_or(parent);
            while open.len() > 1 && open.last().is_some_and(|(path, _)| path != parent) {
                open.pop();
            }
            let (_, directory) = open
                .last()
                .filter(|(path, _)| path == parent)
                .ok_or_else(|| bad(&entry.path))?;
            match &entry.kind {
                ManifestKind::Directory => {
                    rustix::fs::mkdirat(&**directory, name, Mode::from_raw_mode(0o700))
                        .context(|| shown(&entry.path))?;
                    let made = tree::open_child(directory, name)?;
                    edit::set_mode(&made, entry.mode).context(|| shown(&entry.path))?;
                    open.push((entry.path.clone(), Arc::new(made)));
                }
                ManifestKind::File(digest) => {
                    files.push(Arriving {
                        digest,
                        directory: Arc::clone(directory),
                        name,
                        entry,
                    });
                    if files.len() >= BATCH {
                        placing.all(&files)?;
                        files.clear();
                    }
                }
                ManifestKind::Symlink(target) => {
                    let target = std::ffi::OsStr::from_bytes(target);
                    rustix::fs::symlinkat(target, &**directory, name).context(|| shown(&entry.path))?;
                }
            }
        }
        placing.all(&files)?;
        drop((open, files));
        placing.finish(draft)
    }
}

/// The files of one tree on their way into it.
struct Placing<'p> {
    store: &'p Store,
    /// What more than one name of the tree has.
    repeated: HashSet<Digest>,
    sharing: Mutex<Sharing>,
    placed: Mutex<Vec<Placed>>,
    layer: LayerId,
}

impl<'p> Placing<'p> {
    fn new(store: &'p Store, entries: &[ManifestEntry], layer: LayerId) -> Self {
        let mut seen = HashSet::new();
        let files = entries.iter().filter_map(|entry| match entry.kind {
            ManifestKind::File(digest) => Some(digest),
            _ => None,
        });
        Self {
            store,
            repeated: files.filter(|digest| !seen.insert(*digest)).collect(),
            sharing: Mutex::new(Sharing::anything()),
            placed: Mutex::default(),
            layer,
        }
    }

    /// Places files on all processors.
    fn all(&self, files: &[Arriving<'_>]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut placed = Vec::new();
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                placed.push(Placed {
                    digest: *file.digest,
                    layer: self.layer,
                    path: file.entry.path.clone(),
                    size: self.one(file)?,
                });
            }
            self.placed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(placed);
            Ok(())
        };
        // A few files are placed before a thread has started.
        let threads = match files.len() {
            0..16 => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = workers
                .into_iter()
                .map(|worker| worker.join().expect("placing does not panic"));
            std::iter::once(own).chain(others).collect()
        })
    }

    /// Puts one file into its directory; returns its size.
    fn one(&self, file: &Arriving<'_>) -> Result<u64> {
        let said = || shown(&file.entry.path);
        if !self.repeated.contains(file.digest)
            && let Some(size) = self.take_over(file)?
        {
            return Ok(size);
        }
        if let Some(mut received) = self.store.open_received(file.digest)? {
            let size = received.metadata().context(said)?.len();
            return file.copy(&mut received, size);
        }
        let lost = || Error::NotReceived(said());
        let (mut source, placed, _pin) = self.store.open_placed(file.digest)?.ok_or_else(lost)?;
        if self.share(file, &source, &placed)? {
            return Ok(placed.size);
        }
        file.copy(&mut source, placed.size)
    }

    /// Moves what was received into the tree, when it is there; returns its size.
    fn take_over(&self, file: &Arriving<'_>) -> Result<Option<u64>> {
        let said = || shown(&file.entry.path);
        match rustix::fs::renameat(
            CWD,
            self.store.received_path(file.digest),
            &*file.directory,
            file.name,
        ) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(Error::io(said(), error)),
        }
        let stat =
            rustix::fs::statat(&*file.directory, file.name, AtFlags::SYMLINK_NOFOLLOW).context(said)?;
        // Another upload may have begun to receive it again after the one for this tree was taken by a third.
        if !received::is_whole(stat.st_mode) {
            return Err(Error::NotReceived(said()));
        }
        let mode = Mode::from_raw_mode(file.entry.mode);
        rustix::fs::chmodat(&*file.directory, file.name, mode, AtFlags::empty()).context(said)?;
        edit::set_times_at(&file.directory, file.name, file.entry.modified).context(said)?;
        Ok(Some(stat.st_size as u64))
    }

    /// Shares the inode of a larger file that looks the same in its tree; no when that cannot be.
    fn share(&self, file: &Arriving<'_>, source: &File, placed: &Placed) -> Result<bool> {
        let said = || shown(&file.entry.path);
        let metadata = source.metadata().context(said)?;
        let modified = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        let looks_the_same = metadata.mode() & 0o7777 == file.entry.mode && modified == file.entry.modified;
        if placed.size < LINK_FROM || !looks_the_same {
            return Ok(false);
        }
        let mut sharing = self.sharing.lock().unwrap_or_else(PoisonError::into_inner);
        if !sharing.take_from(self.store, placed.layer, metadata.ino())? {
            return Ok(false);
        }
        drop(sharing);
        let path = self.store.placed_path(placed);
        match rustix::fs::linkat(CWD, path, &*file.directory, file.name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => Ok(false),
            Err(error) => Err(Error::io(said(), error)),
        }
    }

    /// Publishes the tree, whose files are found in it from now on.
    fn finish(self, draft: LayerDraft) -> Result<Snapshot> {
        let sharing = self.sharing.into_inner().unwrap_or_else(PoisonError::into_inner);
        sharing.write(&draft.directory)?;
        let snapshot = Snapshot::default().with(self.store.publish(draft)?);
        self.store.pins.give_out(&snapshot);
        let mut placed = self.placed.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.store.pins.placed(placed.iter().map(|placed| &placed.digest));
        for digest in &self.repeated {
            std::fs::remove_file(self.store.received_path(digest)).ok();
        }
        // In the order of the index: its pages are filled one after the other.
        placed.sort_unstable_by_key(|placed| placed.digest);
        self.store.index.put_placed(&placed)?;
        Ok(snapshot)
    }
}

/// A file on its way into a directory that is open.
struct Arriving<'m> {
    digest: &'m Digest,
    directory: Arc<OwnedFd>,
    name: &'m [u8],
    entry: &'m ManifestEntry,
}

impl Arriving<'_> {
    /// Copies so many bytes; returns their number.
    fn copy(&self, source: &mut File, size: u64) -> Result<u64> {
        let said = || shown(&self.entry.path);
        let mut target = edit::create(&self.directory, self.name)?;
        edit::copy_bytes(source, &mut target, size).context(said)?;
        edit::set_mode(&target, self.entry.mode).context(said)?;
        edit::set_modified(&target, self.entry.modified).context(said)?;
        Ok(size)
    }
}

/// The last component of a path that stays inside the tree.
fn check(path: &[u8]) -> Result<&[u8]> {
    let sound = path
        .split(|byte| *byte == b'/')
        .all(|name| !matches!(name, b"" | b"." | b".."));
    let name = path
        .rsplit(|byte| *byte == b'/')
        .next()
        .filter(|_| sound && !path.contains(&0));
    name.ok_or_else(|| bad(path))
}

fn bad(path: &[u8]) -> Error {
    Error::Invalid(format!(
        "a tree that was sent has the path {:?}, which does not fit in it",
        shown(path)
    ))
}
