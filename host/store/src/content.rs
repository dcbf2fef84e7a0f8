//! The content digest of a merged tree: what a process can learn from it.
//!
//! Path bytes, type, mode, owner, extended attributes, link targets, device numbers, which names are hard links of one file,
//! and modification times that were set explicitly. Not inode numbers, link counts, other times or overlay's own marks. It
//! does not depend on how the tree is cut into layers.
//!
//! Beside it the digest of the tree's shape, for which nothing is read: two trees of other shapes have other content.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use wharf_digest::{Digest, Hasher};

use crate::{
    edit::{Attributed, TIME_SET, is_time_set, xattrs},
    error::{Context, Result},
    layer::Snapshot,
    store::Store,
    tree::{self, Kind, Place, Stat, View, shown},
};

/// The names of the digests.
const CONTENT: &str = "content";
const SHAPE: &str = "shape";
/// Files that are hashed together: so many are open at once.
const BATCH: usize = 256;

impl Store {
    /// Digest of the whole tree.
    pub fn content_digest(&self, snapshot: &Snapshot) -> Result<Digest> {
        self.content_digest_at(snapshot, "/")
    }

    /// Digest of what is at and below a path. Computed once.
    pub fn content_digest_at(&self, snapshot: &Snapshot, path: &str) -> Result<Digest> {
        self.computed_once(CONTENT, snapshot, path, || self.compute_content(snapshot, path))
    }

    /// Digest of the names at and below a path, their kinds, permissions and owners, and the sizes of files. Computed once.
    pub fn shape_digest_at(&self, snapshot: &Snapshot, path: &str) -> Result<Digest> {
        self.computed_once(SHAPE, snapshot, path, || self.compute_shape(snapshot, path))
    }

    fn computed_once(
        &self,
        what: &str,
        snapshot: &Snapshot,
        path: &str,
        compute: impl FnOnce() -> Result<Digest>,
    ) -> Result<Digest> {
        let place = place(what, snapshot, path);
        if let Some(digest) = self.index.content(&place)? {
            return Ok(digest);
        }
        let digest = compute()?;
        if let Some(top) = snapshot.layers().last() {
            self.index.put_content(&place, *top, &digest)?;
        }
        Ok(digest)
    }

    /// Is the tree still what it was when its digest was computed? Yes when it never was.
    pub(crate) fn is_as_computed(&self, snapshot: &Snapshot) -> Result<bool> {
        match self.index.content(&place(CONTENT, snapshot, "/"))? {
            Some(known) => Ok(self.compute_content(snapshot, "/").is_ok_and(|now| now == known)),
            None => Ok(true),
        }
    }

    fn compute_shape(&self, snapshot: &Snapshot, path: &str) -> Result<Digest> {
        let view = View::new(self, snapshot)?;
        let mut hasher = Hasher::in_domain("wharf shape");
        if !view.stat(path, true)?.is_directory() {
            shape(&mut hasher, b"", &view.find(path.as_bytes(), true)?.stat);
            return Ok(hasher.finish());
        }
        let directory = view.directory(path.as_bytes())?;
        if let Some(stat) = directory.stat()? {
            shape(&mut hasher, b"", &stat);
        }
        for item in tree::walk(directory) {
            let (path, place) = item?;
            shape(&mut hasher, &path, &place.stat);
        }
        Ok(hasher.finish())
    }

    fn compute_content(&self, snapshot: &Snapshot, path: &str) -> Result<Digest> {
        let view = View::new(self, snapshot)?;
        let mut sum = Summing {
            hasher: Hasher::in_domain("wharf content"),
            links: HashMap::new(),
            batch: Vec::new(),
        };
        let start = if view.stat(path, true)?.is_directory() {
            let directory = view.directory(path.as_bytes())?;
            if let (Some(top), Some(stat)) = (directory.top(), directory.stat()?) {
                sum.attributes(b"", &stat, top)?;
            }
            directory
        } else {
            sum.add(Vec::new(), view.find(path.as_bytes(), true)?)?;
            sum.flush()?;
            return Ok(sum.hasher.finish());
        };
        for item in tree::walk(start) {
            let (path, place) = item?;
            sum.add(path, place)?;
        }
        sum.flush()?;
        Ok(sum.hasher.finish())
    }
}

/// Under what a digest of a tree is kept.
fn place(what: &str, snapshot: &Snapshot, path: &str) -> Digest {
    let place = postcard::to_stdvec(&(what, snapshot, path)).expect("snapshots always encode");
    Digest::of(&place)
}

/// What a process can learn of one name without reading anything.
fn plain(hasher: &mut Hasher, path: &[u8], stat: &Stat) {
    let mode = if stat.kind == Kind::Symlink {
        0o777
    } else {
        stat.mode
    };
    hasher
        .field(path)
        .field(&[stat.kind as u8])
        .field(&mode.to_le_bytes())
        .field(&stat.uid.to_le_bytes())
        .field(&stat.gid.to_le_bytes());
}

fn shape(hasher: &mut Hasher, path: &[u8], stat: &Stat) {
    plain(hasher, path, stat);
    if stat.kind == Kind::File {
        hasher.field(&stat.size.to_le_bytes());
    }
}

struct Summing {
    hasher: Hasher,
    /// The first name of each inode that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    batch: Vec<(Vec<u8>, Place)>,
}

impl Summing {
    fn add(&mut self, path: Vec<u8>, place: Place) -> Result<()> {
        self.batch.push((path, place));
        if self.batch.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Hashes the files of the batch on all processors and takes everything in, in order.
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let digests = hash_files(&batch)?;
        for ((path, place), digest) in batch.iter().zip(digests) {
            self.entry(path, place, digest)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], place: &Place, digest: Option<Digest>) -> Result<()> {
        match place.stat.kind {
            Kind::Directory => {
                if let Some(top) = place.top()? {
                    self.attributes(path, &place.stat, &top)?;
                }
            }
            Kind::File => {
                self.attributes(path, &place.stat, &place.open()?)?;
                self.hasher.field(digest.unwrap_or(Digest::ZERO).as_bytes());
                if place.links > 1 {
                    let first = self
                        .links
                        .entry(place.stat.inode)
                        .or_insert_with(|| path.to_vec());
                    if first != path {
                        self.hasher.field(b"link").field(first);
                    }
                }
            }
            Kind::Symlink => {
                self.attributes(path, &place.stat, &place.attributed().context(|| shown(path))?)?;
                self.hasher.field(&place.link_target()?);
            }
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                self.attributes(path, &place.stat, &place.attributed().context(|| shown(path))?)?;
                self.hasher.field(&place.stat.device.to_le_bytes());
            }
        }
        Ok(())
    }

    fn attributes(&mut self, path: &[u8], stat: &Stat, file: &impl Attributed) -> Result<()> {
        plain(&mut self.hasher, path, stat);
        let attributes = xattrs(file).context(|| shown(path))?;
        if is_time_set(&attributes, stat.modified) {
            self.hasher.field(b"time").field(&stat.modified.to_le_bytes());
        }
        for (name, value) in attributes.iter().filter(|(name, _)| *name != *TIME_SET) {
            self.hasher.field(name.as_bytes()).field(value);
        }
        Ok(())
    }
}

fn hash_files(batch: &[(Vec<u8>, Place)]) -> Result<Vec<Option<Digest>>> {
    let files: Vec<usize> = (0..batch.len())
        .filter(|at| batch[*at].1.stat.kind == Kind::File)
        .collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Digest)>> {
        let mut done = Vec::new();
        while let Some(at) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (path, place) = &batch[*at];
            let mut hasher = Hasher::default();
            hasher.read(place.open()?).context(|| shown(path))?;
            done.push((*at, hasher.finish()));
        }
        Ok(done)
    };
    let bytes: u64 = files.iter().map(|at| batch[*at].1.stat.size).sum();
    let mut digests = vec![None; batch.len()];
    // Threads pay from about a megabyte on.
    let threads = if bytes < 1 << 20 {
        1
    } else {
        std::thread::available_parallelism().map_or(1, usize::from)
    };
    let results = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut results = vec![work()];
        results.extend(
            workers
                .into_iter()
                .map(|worker| worker.join().expect("hashing does not panic")),
        );
        results
    });
    for result in results {
        for (at, digest) in result? {
            digests[at] = Some(digest);
        }
    }
    Ok(digests)
}
