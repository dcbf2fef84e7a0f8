//! Files that clients send: received once, on the disk once, found again by digest, and never torn.
#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

mod common;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use common::{open, shown_by_us};
use wharf_digest::Digest;
use wharf_store::{
    Error, ManifestEntry, ManifestKind, ResultRecord, Snapshot, Spent, Store, StoreOptions, edit, tree::View,
};

/// Large enough to be shared by a hard link.
const LARGE: usize = 100_000;

fn entry(path: &str, bytes: &[u8], mode: u32, modified: i64) -> ManifestEntry {
    ManifestEntry {
        path: path.as_bytes().to_vec(),
        mode,
        modified,
        kind: ManifestKind::File(Digest::of(bytes)),
    }
}

/// A tree of these files, with those that have to be sent received first.
fn upload(store: &Store, files: &[(&str, &[u8])]) -> Snapshot {
    let lacking = store
        .lacking(files.iter().map(|(_, bytes)| Digest::of(bytes)))
        .unwrap();
    for (_, bytes) in files {
        if lacking.contains(&Digest::of(bytes)) {
            store.receive(bytes).unwrap();
        }
    }
    let entries: Vec<_> = files
        .iter()
        .map(|(path, bytes)| entry(path, bytes, 0o644, 7))
        .collect();
    store.layer_from_manifest(&entries).unwrap()
}

fn place(store: &Store, tree: &Snapshot, path: &str) -> PathBuf {
    store.layer_path(tree.layers()[0]).join(path)
}

fn remember(store: &Store, key: &str, output: &Snapshot) {
    let record = ResultRecord {
        key: Digest::of(key.as_bytes()),
        op_key: Digest::of(b"upload"),
        inputs: Vec::new(),
        output: output.clone(),
        exit_code: None,
        stdout: None,
        stderr: None,
        log: None,
        spent: Spent::default(),
    };
    store.put_result(&record).unwrap();
}

/// Files that were received and are in no tree.
fn waiting(store: &Path) -> usize {
    let parts = fs::read_dir(store.join("received")).unwrap().flatten();
    parts.map(|part| fs::read_dir(part.path()).unwrap().count()).sum()
}

#[test]
fn bytes_are_on_the_disk_once_and_are_found_in_the_tree_that_took_them() {
    let (directory, store) = open();
    let large = vec![7; LARGE];
    let tree = upload(&store, &[("a", b"one"), ("large", &large), ("empty", b"")]);
    assert_eq!(waiting(directory.path()), 0);
    let metadata = place(&store, &tree, "large").metadata().unwrap();
    assert_eq!(
        (metadata.nlink(), metadata.permissions().mode() & 0o7777),
        (1, 0o644)
    );
    assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (0, 7));
    let digests = [&b"one"[..], &large, b"", b"other"].map(Digest::of);
    assert_eq!(store.lacking(digests).unwrap(), [Digest::of(b"other")]);
}

#[test]
fn a_tree_shares_large_files_with_the_one_before_and_copies_the_others() {
    let (_directory, store) = open();
    let large = vec![7; LARGE];
    let first = upload(&store, &[("a", b"one"), ("large", &large)]);
    let second = upload(&store, &[("a", b"one"), ("b", b"two"), ("large", &large)]);
    let inode = |tree, path| place(&store, tree, path).metadata().unwrap().ino();
    assert_eq!(inode(&first, "large"), inode(&second, "large"));
    assert_ne!(inode(&first, "a"), inode(&second, "a"));
    assert_eq!(shown_by_us(&store, &second).len(), 3);

    // Another mode or time is another inode.
    let executable = store
        .layer_from_manifest(&[entry("large", &large, 0o755, 7)])
        .unwrap();
    let older = store
        .layer_from_manifest(&[entry("large", &large, 0o644, 6)])
        .unwrap();
    let inodes = [&first, &executable, &older].map(|tree| inode(tree, "large"));
    assert!(inodes[0] != inodes[1] && inodes[0] != inodes[2] && inodes[1] != inodes[2]);
    assert_eq!(fs::read(place(&store, &executable, "large")).unwrap(), large);

    // What two trees share never meets itself in a third.
    let copy = edit::Copy::default();
    let both = edit::copy_directory(&store, &Snapshot::default(), "/one", &first, "/", &copy).unwrap();
    let both = edit::copy_directory(&store, &both, "/two", &second, "/", &copy).unwrap();
    let view = View::new(&store, &both).unwrap();
    let [one, two] = ["/one/large", "/two/large"].map(|path| view.stat(path, true).unwrap().inode);
    assert_ne!(one, two);
}

#[test]
fn equal_files_of_one_tree_are_files_of_their_own() {
    let (directory, store) = open();
    let large = vec![7; LARGE];
    for _ in 0..2 {
        let tree = upload(&store, &[("a", &large), ("b", &large), ("c", b""), ("d", b"")]);
        let inodes = ["a", "b"].map(|path| place(&store, &tree, path).metadata().unwrap().ino());
        assert_ne!(inodes[0], inodes[1]);
        assert_eq!(fs::read(place(&store, &tree, "b")).unwrap(), large);
        assert_eq!(waiting(directory.path()), 0);
    }
}

#[test]
fn a_tree_whose_files_were_not_sent_is_refused_by_name() {
    let (_directory, store) = open();
    let error = store
        .layer_from_manifest(&[entry("gone", b"never", 0o644, 0)])
        .unwrap_err();
    assert!(
        matches!(&error, Error::NotReceived(path) if path == "gone"),
        "{error}"
    );
}

#[test]
fn what_was_received_outlives_the_process_and_what_was_half_received_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let open = |boot: &str| {
        let boot_id = Some(boot.to_owned());
        let options = StoreOptions {
            boot_id,
            ..StoreOptions::default()
        };
        Store::open(directory.path(), options).unwrap()
    };
    let store = open("one");
    let (whole, half) = (store.receive(b"whole").unwrap(), store.receive(b"half").unwrap());
    let torn = directory
        .path()
        .join("received")
        .join(&half.to_hex()[..2])
        .join(half.to_hex());
    // As it is while it is written.
    fs::set_permissions(&torn, fs::Permissions::from_mode(0o200)).unwrap();
    assert_eq!(store.lacking([whole, half]).unwrap(), [half]);
    // Somebody else sends it meanwhile.
    assert_eq!(store.receive(b"half").unwrap(), half);
    assert_eq!(store.lacking([whole, half]).unwrap(), []);
    fs::set_permissions(&torn, fs::Permissions::from_mode(0o200)).unwrap();
    drop(store);

    let store = open("one");
    assert_eq!(store.lacking([whole, half]).unwrap(), [half]);
    assert!(!torn.exists());
    drop(store);
    // The disk may have lost what nobody synced.
    let store = open("two");
    assert_eq!(store.lacking([whole]).unwrap(), [whole]);
}

#[test]
fn b34_pruning_takes_files_that_no_tree_needs_and_no_others() {
    let (directory, store) = open();
    let kept = upload(&store, &[("kept", b"kept")]);
    let going = upload(&store, &[("going", b"going")]);
    remember(&store, "going", &going);
    drop(going);
    let early = store.receive(b"early").unwrap();
    store.prune(Duration::ZERO, false).unwrap();
    let [kept_file, gone] = [b"kept".as_slice(), b"going"].map(Digest::of);
    // A tree in use stays, and so does what was sent for one that is to come.
    assert_eq!(store.lacking([kept_file, gone, early]).unwrap(), [gone]);
    drop(kept);
    drop(store);
    let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
    store.prune(Duration::ZERO, false).unwrap();
    assert_eq!(store.lacking([kept_file, early]).unwrap(), [kept_file, early]);
    assert_eq!(waiting(directory.path()), 0);
}

#[test]
fn b36_damaged_files_of_trees_are_found_and_sent_again() {
    let (_directory, store) = open();
    let tree = upload(
        &store,
        &[("cut", b"shorter than before"), ("flipped", b"as it was")],
    );
    remember(&store, "tree", &tree);
    let digests = [b"shorter than before".as_slice(), b"as it was"].map(Digest::of);
    // Nothing but its length has to be looked at to see this.
    fs::write(place(&store, &tree, "cut"), "shorter").unwrap();
    assert_eq!(store.lacking(digests).unwrap(), digests[..1]);
    fs::write(place(&store, &tree, "flipped"), "as it wes").unwrap();
    assert_eq!(store.lacking(digests).unwrap(), digests[..1]);
    let verified = store.verify().unwrap();
    assert!(
        verified.damaged.iter().any(|what| what.starts_with("result")),
        "{verified:?}"
    );
    assert_eq!(store.result(&Digest::of(b"tree")).unwrap(), None);
    assert_eq!(store.lacking(digests).unwrap(), digests);
}
