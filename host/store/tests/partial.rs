//! Files on their way: they outlive the process, become a tree when they are whole, and go when nobody goes on with them.
#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wharf_digest::Digest;
use wharf_store::{Store, StoreOptions, tree::View};

fn open(place: &Path) -> Arc<Store> {
    Store::open(place, StoreOptions::default()).unwrap()
}

/// Something on its way, and the lock of whoever fetches it.
fn begun(store: &Store, name: &str) -> (PathBuf, fs::File) {
    let directory = store.partial_directory(&Digest::of(name.as_bytes()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("data"), name.repeat(10_000)).unwrap();
    fs::write(directory.join("progress"), [0; 24]).unwrap();
    let lock = fs::File::open(directory.join("data")).unwrap();
    lock.try_lock().unwrap();
    (directory, lock)
}

#[test]
fn what_is_on_its_way_stays_when_the_store_is_opened_again_and_becomes_a_tree() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let (directory, lock) = begun(&store, "weights");
    drop((store, lock));
    let store = open(place.path());
    assert!(directory.join("data").exists());
    let snapshot = store.publish_partial(&directory, "model.bin", 0o644).unwrap();
    let view = View::new(&store, &snapshot).unwrap();
    assert_eq!(
        view.read_bytes(b"model.bin").unwrap(),
        "weights".repeat(10_000).as_bytes()
    );
    assert!(!directory.exists());
}

#[test]
fn what_nobody_fetches_is_counted_and_pruned() {
    let place = tempfile::tempdir().unwrap();
    let store = open(place.path());
    let bytes = || store.usage().unwrap().rows.iter().map(|row| row.2).sum::<u64>();
    let before = bytes();
    let (abandoned, lock) = begun(&store, "abandoned");
    let (fetched, _lock) = begun(&store, "fetched");
    assert!(bytes() > before);
    drop(lock);
    store.prune(Duration::from_secs(3600), false).unwrap();
    assert!(abandoned.exists(), "it was gone on with within the hour");
    let freed = store.prune(Duration::ZERO, false).unwrap();
    assert!(freed.bytes >= 80_000, "{freed:?}");
    assert!(!abandoned.exists());
    assert!(fetched.exists(), "somebody fetches it");
}
