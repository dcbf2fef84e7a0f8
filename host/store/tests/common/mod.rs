//! A store in a directory of its own, real overlay mounts, and what a tree looks like from both sides.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "a test: each binary uses its part, and a failure may panic"
)]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::mount::UnmountFlags;
use tempfile::TempDir;
use wharf_store::{
    LayerDraft, Snapshot, Store, StoreOptions, edit,
    tree::{Kind, View},
};

/// A new store.
pub(crate) fn open() -> (TempDir, Arc<Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    (directory, store)
}

/// A snapshot with one more file.
pub(crate) fn file(store: &Store, base: &Snapshot, path: &str, bytes: &[u8]) -> Snapshot {
    edit::write_file(store, base, path, &mut &*bytes, 0o644, (0, 0)).unwrap()
}

/// The kernel's overlay of a snapshot; unmounted when it is dropped.
pub(crate) struct Mounted {
    at: TempDir,
    /// A lower directory that adds nothing: overlay wants two. It has to stay.
    _empty: TempDir,
}

impl Mounted {
    pub(crate) fn over(store: &Store, snapshot: &Snapshot, upper: Option<&LayerDraft>) -> Self {
        Self::of(store, &store.lower_paths(snapshot).unwrap(), upper)
    }

    /// Of these directories of the store, the highest first.
    pub(crate) fn of(store: &Store, lower: &[PathBuf], upper: Option<&LayerDraft>) -> Self {
        let at = tempfile::tempdir().unwrap();
        let mut lower: Vec<String> = lower
            .iter()
            .map(|path| {
                // The options of one mount have a page: relative to the store they fit.
                path.strip_prefix(store_root(store))
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        let empty = tempfile::tempdir_in(store_root(store)).unwrap();
        while lower.len() < if upper.is_some() { 1 } else { 2 } {
            lower.push(empty.path().file_name().unwrap().to_str().unwrap().to_owned());
        }
        let mut options = format!(
            "lowerdir={},index=off,metacopy=off,redirect_dir=off",
            lower.join(":")
        );
        if let Some(draft) = upper {
            let (upper, work) = (draft.path(), draft.work());
            options = format!(
                "{options},upperdir={},workdir={}",
                upper.display(),
                work.display()
            );
        }
        // Relative names need the working directory, which is the process's: a child mounts.
        let outcome = std::process::Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(at.path())
            .current_dir(store_root(store))
            .output()
            .unwrap();
        assert!(
            outcome.status.success(),
            "{}",
            String::from_utf8_lossy(&outcome.stderr)
        );
        Self { at, _empty: empty }
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(self.at.path(), UnmountFlags::DETACH).unwrap();
    }
}

fn store_root(store: &Store) -> PathBuf {
    store
        .layer_path(wharf_store::LayerId(0))
        .ancestors()
        .nth(3)
        .unwrap()
        .to_owned()
}

/// What can be seen of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) content: Vec<u8>,
    pub(crate) device: u64,
}

pub(crate) fn shown_by_us(store: &Store, snapshot: &Snapshot) -> BTreeMap<Vec<u8>, Shown> {
    let view = View::new(store, snapshot).unwrap();
    let mut shown = BTreeMap::new();
    for entry in view.walk("/").unwrap() {
        let entry = entry.unwrap();
        let content = match entry.stat.kind {
            Kind::File => view.read_bytes(&entry.path).unwrap(),
            Kind::Symlink => view.read_link(&entry.path).unwrap(),
            _ => Vec::new(),
        };
        let stat = entry.stat;
        let fact = Shown {
            kind: stat.kind,
            mode: if stat.kind == Kind::Symlink {
                0o777
            } else {
                stat.mode
            },
            owner: (stat.uid, stat.gid),
            content,
            device: stat.device,
        };
        shown.insert(entry.path, fact);
    }
    shown
}

pub(crate) fn shown_by_kernel(root: &Path) -> BTreeMap<Vec<u8>, Shown> {
    let mut shown = BTreeMap::new();
    look(root, root, &mut shown);
    shown
}

fn look(root: &Path, at: &Path, shown: &mut BTreeMap<Vec<u8>, Shown>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let kind = match metadata.mode() & 0o170_000 {
            0o040_000 => Kind::Directory,
            0o120_000 => Kind::Symlink,
            0o010_000 => Kind::Fifo,
            0o140_000 => Kind::Socket,
            0o020_000 => Kind::CharDevice,
            0o060_000 => Kind::BlockDevice,
            _ => Kind::File,
        };
        let content = match kind {
            Kind::File => fs::read(&path).unwrap(),
            Kind::Symlink => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let fact = Shown {
            kind,
            mode: metadata.mode() & 0o7777,
            owner: (metadata.uid(), metadata.gid()),
            content,
            device: metadata.rdev(),
        };
        shown.insert(
            path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec(),
            fact,
        );
        if kind == Kind::Directory {
            look(root, &path, shown);
        }
    }
}
