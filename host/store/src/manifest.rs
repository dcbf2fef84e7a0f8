//! Trees that arrive as a list of entries and blobs: what the client uploads.

use std::{
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustix::fs::Mode;
use wharf_digest::Digest;

use crate::{
    edit,
    error::{Context, Error, Result},
    layer::Snapshot,
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
    /// A regular file whose bytes are this blob.
    File(Digest),
    /// A symbolic link.
    Symlink(Vec<u8>),
}

impl Store {
    /// The tree of these entries, parents before what they hold, all owned by root. Blobs of files that the tree takes over
    /// are given up: their bytes are in the layer.
    pub fn layer_from_manifest(&self, entries: &[ManifestEntry]) -> Result<Snapshot> {
        let draft = self.new_layer(&Snapshot::default())?;
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
                ManifestKind::File(blob) => {
                    files.push(Arriving {
                        blob,
                        directory: Arc::clone(directory),
                        name,
                        entry,
                    });
                    if files.len() >= BATCH {
                        self.place_blobs(&files)?;
                        files.clear();
                    }
                }
                ManifestKind::Symlink(target) => {
                    let target = std::ffi::OsStr::from_bytes(target);
                    rustix::fs::symlinkat(target, &**directory, name).context(|| shown(&entry.path))?;
                }
            }
        }
        self.place_blobs(&files)?;
        drop((open, files));
        let snapshot = Snapshot::default().with(self.publish(draft)?);
        self.pins.give_out(&snapshot);
        Ok(snapshot)
    }

    /// Places files on all processors.
    fn place_blobs(&self, files: &[Arriving<'_>]) -> Result<()> {
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.place_blob(file)?;
            }
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

    fn place_blob(&self, file: &Arriving<'_>) -> Result<()> {
        let entry = file.entry;
        let lost = || Error::NotFound(format!("the content of {} was not sent", shown(&entry.path)));
        let mut source = self.blob(file.blob)?.ok_or_else(lost)?;
        let size = source.metadata().context(|| shown(&entry.path))?.len();
        let mut target = edit::create(&file.directory, file.name)?;
        edit::copy_bytes(&mut source, &mut target, size).context(|| shown(&entry.path))?;
        edit::set_mode(&target, entry.mode).context(|| shown(&entry.path))?;
        edit::set_modified(&target, entry.modified).context(|| shown(&entry.path))
    }
}

/// A file on its way into a directory that is open.
struct Arriving<'m> {
    blob: &'m Digest,
    directory: Arc<OwnedFd>,
    name: &'m [u8],
    entry: &'m ManifestEntry,
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
