//! What is remembered is whole: after restarts, crashes, power failures, damage and clean-ups.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
    time::Duration,
};

use common::{file, open, shown_by_us};
use wharf_digest::Digest;
use wharf_store::{
    Error, ResultRecord, Sharing, Snapshot, Spent, Store, StoreOptions, VolumeId, edit, tree::View,
};

fn record(key: &str, output: Snapshot) -> ResultRecord {
    ResultRecord {
        key: Digest::of(key.as_bytes()),
        op_key: Digest::of(b"op"),
        inputs: Vec::new(),
        output,
        exit_code: Some(0),
        stdout: None,
        stderr: None,
        log: None,
        spent: Spent {
            duration_us: 1,
            ..Spent::default()
        },
    }
}

fn reopen(directory: &Path, boot_id: &str) -> std::sync::Arc<Store> {
    let options = StoreOptions {
        boot_id: Some(boot_id.to_owned()),
        ..StoreOptions::default()
    };
    Store::open(directory, options).unwrap()
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let (directory, store) = open();
    drop(store);
    fs::write(directory.path().join("version"), "99\n").unwrap();
    let error = Store::open(directory.path(), StoreOptions::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("99") && error.contains("WHARF_STORE"), "{error}");
}

#[test]
fn a_store_has_one_owner() {
    let (directory, _store) = open();
    let second = Store::open(directory.path(), StoreOptions::default());
    assert!(matches!(second, Err(Error::Locked(_))));
}

#[test]
fn results_are_found_by_key_and_by_operation() {
    let (_directory, store) = open();
    let output = file(&store, &Snapshot::default(), "/a", b"1");
    let mut one = record("one", output.clone());
    one.log = Some(store.put_blob(&mut b"said".as_slice()).unwrap());
    one.inputs = vec![output];
    store.put_result(&one).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    let two = record("two", one.output.clone());
    store.put_result(&two).unwrap();
    assert_eq!(store.result(&one.key).unwrap(), Some(one.clone()));
    assert_eq!(store.results_with_op(&one.op_key).unwrap(), [two, one]);
    assert_eq!(store.result(&Digest::of(b"other")).unwrap(), None);
}

#[test]
fn b35_after_a_power_failure_only_what_was_synced_is_offered() {
    let directory = tempfile::tempdir().unwrap();
    let store = reopen(directory.path(), "boot 1");
    let synced = record("synced", file(&store, &Snapshot::default(), "/a", b"1"));
    store.put_result(&synced).unwrap();
    store.sync().unwrap();
    drop(store);
    let store = reopen(directory.path(), "boot 1");
    assert_eq!(store.result(&synced.key).unwrap(), Some(synced.clone()));
    let lost = record("lost", file(&store, &Snapshot::default(), "/b", b"2"));
    store.put_result(&lost).unwrap();
    let blob = store.put_blob(&mut b"not on the disk".as_slice()).unwrap();
    // The process dies here: nothing is synced, and the machine goes down.
    let copy = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-a", &format!("{}/.", directory.path().display())])
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    for layer in lost.output.layers() {
        fs::write(copy.path().join(format!("layers/{layer}/diff/b")), "").unwrap();
    }
    let after = reopen(copy.path(), "boot 2");
    assert_eq!(after.result(&synced.key).unwrap(), Some(synced));
    assert_eq!(after.result(&lost.key).unwrap(), None);
    assert!(!after.has_blob(&blob));
    assert!(
        lost.output
            .layers()
            .iter()
            .all(|layer| !after.layer_path(*layer).exists())
    );
}

#[test]
fn b36_damage_is_found_and_forgotten() {
    let (_directory, store) = open();
    let mut first = record("first", file(&store, &Snapshot::default(), "/a", b"1"));
    first.stdout = Some(store.put_blob(&mut b"words".as_slice()).unwrap());
    let second = record("second", file(&store, &Snapshot::default(), "/b", b"2"));
    let third = record("third", file(&store, &Snapshot::default(), "/c", b"3"));
    for record in [&first, &second, &third] {
        store.put_result(record).unwrap();
        store.content_digest(&record.output).unwrap();
    }
    assert!(store.verify().unwrap().damaged.is_empty());
    let blob = first.stdout.unwrap();
    let path = blob_path(&store, &blob);
    fs::write(&path, "wordy").unwrap();
    let layer = store.layer_path(second.output.layers()[0]);
    fs::remove_dir_all(&layer).unwrap();
    fs::write(store.layer_path(third.output.layers()[0]).join("c"), "4").unwrap();
    assert_eq!(store.result(&second.key).unwrap(), None);
    let found = store.verify().unwrap();
    assert_eq!(found.damaged.len(), 3, "{found:?}");
    for record in [&first, &second, &third] {
        assert_eq!(store.result(&record.key).unwrap(), None);
    }
    // What was forgotten can be made again.
    assert_eq!(store.put_blob(&mut b"words".as_slice()).unwrap(), blob);
    assert_eq!(fs::read(&path).unwrap(), b"words");
    // A blob that was emptied is none, and is made again.
    fs::write(&path, "").unwrap();
    assert!(!store.has_blob(&blob) && store.blob(&blob).unwrap().is_none());
    store.put_blob(&mut b"words".as_slice()).unwrap();
    assert!(store.has_blob(&blob));
}

fn blob_path(store: &Store, blob: &Digest) -> std::path::PathBuf {
    let root = store
        .layer_path(wharf_store::LayerId(0))
        .ancestors()
        .nth(3)
        .unwrap()
        .to_owned();
    root.join("blobs").join(&blob.to_hex()[..2]).join(blob.to_hex())
}

#[test]
fn b34_prune_leaves_what_is_in_use() {
    let (_directory, store) = open();
    let output = file(&store, &Snapshot::default(), "/a", b"1");
    let one = record("one", output.clone());
    store.put_result(&one).unwrap();
    drop(one);
    assert_eq!(store.prune(Duration::ZERO, true).unwrap().count, 1);
    // Somebody still has the snapshot.
    assert_eq!(
        View::new(&store, &output)
            .unwrap()
            .read_text("/a")
            .unwrap()
            .unwrap(),
        "1"
    );
    let pin = store.pin(&output);
    let layer = store.layer_path(output.layers()[0]);
    drop(output);
    store.prune(Duration::ZERO, true).unwrap();
    assert!(layer.exists());
    drop(pin);
    assert!(store.prune(Duration::ZERO, true).unwrap().bytes > 0);
    assert!(!layer.exists());
}

#[test]
fn a_shape_tells_sizes_and_no_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let store = reopen(directory.path(), "boot");
    let of = |bytes: &[u8]| file(&store, &Snapshot::default(), "/a", bytes);
    let shape = |snapshot: &Snapshot| store.shape_digest_at(snapshot, "/").unwrap();
    let (one, same_size, longer) = (of(b"1"), of(b"2"), of(b"12"));
    assert_eq!(shape(&one), shape(&same_size));
    assert_ne!(shape(&one), shape(&longer));
    // Of a file alone, too.
    let shape = |snapshot: &Snapshot| store.shape_digest_at(snapshot, "/a").unwrap();
    assert_eq!(shape(&one), shape(&same_size));
    assert_ne!(shape(&one), shape(&longer));
}

#[test]
fn a_number_never_stands_for_two_layers() {
    let directory = tempfile::tempdir().unwrap();
    let store = reopen(directory.path(), "boot");
    let before = file(&store, &Snapshot::default(), "/a", b"1");
    let digest = store.content_digest(&before).unwrap();
    let layer = before.layers()[0];
    drop((before, store));
    let store = reopen(directory.path(), "boot");
    let after = file(&store, &Snapshot::default(), "/a", b"2");
    assert_ne!(after.layers()[0], layer);
    assert_ne!(store.content_digest(&after).unwrap(), digest);
}

#[test]
fn the_least_recently_used_go_first() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        max_bytes: Some(1_000_000),
        ..StoreOptions::default()
    };
    let store = Store::open(directory.path(), options).unwrap();
    for name in ["old", "used", "new"] {
        let bytes = name.repeat(120_000);
        store
            .put_result(&record(
                name,
                file(&store, &Snapshot::default(), "/a", bytes.as_bytes()),
            ))
            .unwrap();
        std::thread::sleep(Duration::from_millis(5));
        store.result(&Digest::of(b"old")).unwrap();
        store.sync().unwrap();
        if name == "old" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    // "old" was looked at last: "used" is the one to go.
    let gone = |name: &str| store.result(&Digest::of(name.as_bytes())).unwrap().is_none();
    let layers = || fs::read_dir(directory.path().join("layers")).unwrap().count();
    for _ in 0..300 {
        if layers() < 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(gone("used") && !gone("new") && !gone("old"));
}

#[test]
fn volumes_are_shared_as_they_were_asked_for() {
    let (_directory, store) = open();
    let id = |scope: &str| VolumeId {
        scope: scope.to_owned(),
        name: "cache".to_owned(),
    };
    let take = |scope: &str, sharing| store.volume(&id(scope), sharing, || false).unwrap().unwrap();
    let (one, two) = (take("a", Sharing::Shared), take("a", Sharing::Shared));
    assert!(one.path() == two.path() && one.is_fresh() && !two.is_fresh());
    assert_ne!(take("b", Sharing::Shared).path(), one.path());
    // A private user gets none that others have.
    let private = take("a", Sharing::Private);
    assert_ne!(private.path(), one.path());
    let asked = std::cell::Cell::new(0);
    let give_up = || {
        asked.set(asked.get() + 1);
        asked.get() > 1
    };
    assert!(
        store
            .volume(&id("a"), Sharing::Locked, give_up)
            .unwrap()
            .is_none()
    );
    drop((one, two));
    let locked = take("a", Sharing::Locked);
    fs::write(locked.path().join("kept"), "x").unwrap();
    store.prune(Duration::ZERO, true).unwrap();
    assert!(locked.path().join("kept").exists());
    drop((locked, private));
    store.prune(Duration::ZERO, true).unwrap();
    assert!(take("a", Sharing::Shared).is_fresh());
}

#[test]
fn a_file_that_is_copied_twice_is_not_one_file_with_two_names() {
    let (_directory, store) = open();
    let bytes = vec![7; 200_000];
    let source = file(&store, &Snapshot::default(), "/big", &bytes);
    let copy = edit::Copy::default();
    let once = edit::copy_directory(&store, &Snapshot::default(), "/x", &source, "/", &copy).unwrap();
    let inode = |snapshot: &Snapshot, path: &str| {
        View::new(&store, snapshot)
            .unwrap()
            .stat(path, false)
            .unwrap()
            .inode
    };
    assert_eq!(
        inode(&once, "/x/big"),
        inode(&source, "/big"),
        "the first copy shares its bytes"
    );
    let shared = edit::copy_directory(&store, &once, "/y", &source, "/", &copy).unwrap();
    let back = edit::copy_directory(&store, &source, "/z", &once, "/x", &copy).unwrap();
    assert_ne!(inode(&shared, "/x/big"), inode(&shared, "/y/big"));
    assert_ne!(inode(&back, "/big"), inode(&back, "/z/big"));
    let apart = file(
        &store,
        &file(&store, &Snapshot::default(), "/x/big", &bytes),
        "/y/big",
        &bytes,
    );
    assert_eq!(
        store.content_digest(&shared).unwrap(),
        store.content_digest(&apart).unwrap()
    );
}

#[test]
fn what_a_step_made_is_shared_with_another_container_of_its_image() {
    let (_directory, store) = open();
    let (image, made) = (vec![3; 200_000], vec![4; 200_000]);
    let base = file(&store, &Snapshot::default(), "/usr/big", &image);
    let step = file(&store, &base, "/out/big", &made);
    let other = file(&store, &base, "/other", b"x");
    let inode = |snapshot: &Snapshot, path: &str| {
        let view = View::new(&store, snapshot).unwrap();
        view.stat(path, false).unwrap().inode
    };
    let copy = edit::Copy::default();
    let shared = edit::copy_directory(&store, &other, "/in", &step, "/out", &copy).unwrap();
    assert_eq!(inode(&shared, "/in/big"), inode(&step, "/out/big"));
    // What both have is not: it would be one file with two names.
    let apart = edit::copy_directory(&store, &other, "/in", &step, "/usr", &copy).unwrap();
    assert_ne!(inode(&apart, "/in/big"), inode(&apart, "/usr/big"));
    // Handed on, it is shared again, but never back to where it came from.
    let on = edit::copy_directory(&store, &other, "/in", &shared, "/in", &copy).unwrap();
    assert_eq!(inode(&on, "/in/big"), inode(&step, "/out/big"));
    let back = edit::copy_directory(&store, &step, "/again", &on, "/in", &copy).unwrap();
    assert_ne!(inode(&back, "/again/big"), inode(&back, "/out/big"));
}

/// What is not opened for its attributes.
const UNOPENED: [&str; 4] = ["fifo", "device", "socket", "dangling"];

/// A tree with everything that a tree can have.
fn curiosities(store: &Store) -> Snapshot {
    let draft = store.new_layer(&Snapshot::default()).unwrap();
    let at = |name: &str| draft.path().join(name);
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("setuid"), "x").unwrap();
    fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    xattr::set(at("setuid"), "user.note", b"kept").unwrap();
    fs::hard_link(at("setuid"), at("second-name")).unwrap();
    let mut sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(50_000_000).unwrap();
    sparse.write_all(b"start").unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o640);
    for (name, kind, device) in [
        ("fifo", rustix::fs::FileType::Fifo, 0),
        (
            "device",
            rustix::fs::FileType::CharacterDevice,
            rustix::fs::makedev(1, 3),
        ),
    ] {
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, mode, device).unwrap();
    }
    std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    for name in UNOPENED {
        xattr::set(at(name), "trusted.note", name.as_bytes()).unwrap();
    }
    Snapshot::default().with(store.publish(draft).unwrap())
}

#[test]
fn b22_nothing_is_dropped_in_silence() {
    let (_directory, store) = open();
    let source = curiosities(&store);
    let copied = edit::copy_directory(
        &store,
        &Snapshot::default(),
        "/x",
        &source,
        "/",
        &edit::Copy::default(),
    )
    .unwrap();
    let taken = edit::subtree(&store, &copied, "/x").unwrap();
    assert_eq!(shown_by_us(&store, &taken), shown_by_us(&store, &source));
    let layer = store.layer_path(taken.layers()[0]);
    assert_eq!(
        xattr::get(layer.join("setuid"), "user.note").unwrap().unwrap(),
        b"kept"
    );
    for name in UNOPENED {
        let note = xattr::get(layer.join(name), "trusted.note").unwrap();
        assert_eq!(note.as_deref(), Some(name.as_bytes()));
    }
    let metadata = |name: &str| layer.join(name).symlink_metadata().unwrap();
    assert_eq!(metadata("setuid").ino(), metadata("second-name").ino());
    assert!(metadata("sparse").blocks() * 512 < 1_000_000 && metadata("sparse").len() == 50_000_000);
    assert!(metadata("socket").file_type().is_socket());
    // An archive can hold everything but a socket, and says so.
    let error = store
        .export(&source, "/", &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("socket"), "{error}");
    let without = edit::remove(&store, &source, &["/socket".to_owned(), "/sparse".to_owned()]).unwrap();
    let mut bytes = Vec::new();
    store.export(&without, "/", &mut bytes).unwrap();
    let again = Snapshot::default().with(store.import_layer(&mut bytes.as_slice()).unwrap());
    assert_eq!(
        store.content_digest(&again).unwrap(),
        store.content_digest(&without).unwrap()
    );
}

#[test]
fn b24_times_count_only_when_they_were_set() {
    let (_directory, store) = open();
    let digest = |snapshot: &Snapshot| store.content_digest(snapshot).unwrap();
    let one = file(&store, &Snapshot::default(), "/a/b", b"1");
    std::thread::sleep(Duration::from_millis(5));
    let two = file(&store, &Snapshot::default(), "/a/b", b"1");
    assert_eq!(digest(&one), digest(&two));
    let set = |snapshot: &Snapshot, seconds| edit::set_timestamps(&store, snapshot, seconds).unwrap();
    assert_eq!(digest(&set(&one, 5)), digest(&set(&two, 5)));
    assert_ne!(digest(&set(&one, 5)), digest(&set(&one, 6)));
    assert_ne!(digest(&set(&one, 5)), digest(&one));
    let export = |snapshot: &Snapshot| {
        let mut bytes = Vec::new();
        store.export(snapshot, "/", &mut bytes).unwrap();
        bytes
    };
    assert_eq!(export(&one), export(&two));
    assert_ne!(export(&one), export(&set(&one, 5)));
}

#[test]
fn a_difference_has_what_is_new_and_what_changed() {
    let (_directory, store) = open();
    let lower = file(
        &store,
        &file(&store, &Snapshot::default(), "/same", b"1"),
        "/dir/changed",
        b"1",
    );
    let upper = file(&store, &lower, "/dir/changed", b"2");
    let upper = edit::make_directory(&store, &upper, "/new/empty", 0o700, (1, 2)).unwrap();
    let upper = edit::symlink(&store, &upper, "same", "/link").unwrap();
    let difference = edit::diff(&store, &lower, &upper).unwrap();
    let names: Vec<Vec<u8>> = shown_by_us(&store, &difference).into_keys().collect();
    assert_eq!(
        names,
        ["dir", "dir/changed", "link", "new", "new/empty"].map(|name| name.as_bytes().to_vec())
    );
    assert_eq!(
        View::new(&store, &difference)
            .unwrap()
            .stat("/new/empty", false)
            .unwrap()
            .uid,
        1
    );
}

const CRASHING: &str = "WHARF_STORE_TEST_CRASHING";

/// Not a test by itself: the process that is killed. It reports each result once it was put.
#[test]
fn worker() {
    let Some(directory) = std::env::var_os(CRASHING) else {
        return;
    };
    let store = reopen(Path::new(&directory), "boot");
    let mut reported = std::io::stdout();
    let start = fs::read_dir(Path::new(&directory).join("layers"))
        .unwrap()
        .count();
    for at in start.. {
        let name = format!("{}-{at}", std::process::id());
        let base = file(
            &store,
            &Snapshot::default(),
            "/base",
            name.repeat(9000).as_bytes(),
        );
        let output = file(&store, &base, "/dir/name", name.as_bytes());
        let mut made = record(&name, output);
        let mut log = store.new_log();
        log.write_all(name.as_bytes()).unwrap();
        made.log = Some(store.publish_log(log).unwrap());
        store.put_result(&made).unwrap();
        writeln!(reported, "done {name}").unwrap();
        reported.flush().unwrap();
    }
}

#[test]
fn b35_what_was_reported_survives_a_kill_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    let mut reported: Vec<String> = Vec::new();
    for round in 0_u64..20 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker", "--nocapture"])
            .env(CRASHING, directory.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(30 + round * 37 % 200));
        child.kill().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        child.wait().unwrap();
        // A line without its end was not reported.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        reported.extend(
            whole
                .lines()
                .filter_map(|line| Some(line.split_once("done ")?.1.to_owned())),
        );
        let store = reopen(directory.path(), "boot");
        for name in &reported {
            let found = store.result(&Digest::of(name.as_bytes())).unwrap();
            let found = found.unwrap_or_else(|| panic!("{name} is forgotten"));
            let view = View::new(&store, &found.output).unwrap();
            assert_eq!(view.read_text("/dir/name").unwrap().as_ref(), Some(name));
            assert_eq!(view.read_text("/base").unwrap().unwrap(), name.repeat(9000));
            let mut log = String::new();
            store
                .blob(&found.log.unwrap())
                .unwrap()
                .unwrap()
                .read_to_string(&mut log)
                .unwrap();
            assert_eq!(&log, name);
        }
        assert_eq!(fs::read_dir(directory.path().join("drafts")).unwrap().count(), 0);
    }
    assert!(
        reported.len() > 20,
        "only {} results in all rounds",
        reported.len()
    );
}
