//! Behaviour 26 of the store: trees with more directories, side by side or one in the other, than a process may have open.
#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

mod common;

use std::{fs, path::Path};

use common::{open, shown_by_us};
use rustix::process::{Resource, Rlimit};
use wharf_store::{Snapshot, Store, edit};

/// Open files that this process may have, as on a machine where nobody raised it.
const OPEN: u64 = 1024;
/// Directories side by side.
const WIDE: usize = 1100;
/// Directories one in the other.
const DEEP: usize = 150;

fn few_open_files() {
    let limit = Rlimit {
        current: Some(OPEN),
        ..rustix::process::getrlimit(Resource::Nofile)
    };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
}

/// A layer over `base`, filled by this.
fn layer(store: &Store, base: &Snapshot, fill: impl FnOnce(&Path)) -> Snapshot {
    let draft = store.new_layer(base).unwrap();
    fill(&draft.path());
    base.with(store.publish(draft).unwrap())
}

/// Many directories, each with a file, and for each that file under a second name in another directory.
fn wide(root: &Path) {
    for number in 0..WIDE {
        let directory = root.join("wide").join(number.to_string());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), number.to_string()).unwrap();
        let others = root.join("names").join(number.to_string());
        fs::create_dir_all(&others).unwrap();
        fs::hard_link(directory.join("file"), others.join("again")).unwrap();
    }
}

fn deep(root: &Path) {
    let names = vec!["deep"; DEEP].join("/");
    fs::create_dir_all(root.join(&names)).unwrap();
    fs::write(root.join(names).join("bottom"), "x").unwrap();
}

#[test]
fn b26_more_directories_than_open_files() {
    let (_directory, store) = open();
    few_open_files();
    let lower = layer(&store, &Snapshot::default(), |root| {
        wide(root);
        deep(root);
    });
    let upper = layer(&store, &lower, |root| {
        // Each directory is in both layers.
        for number in 0..WIDE {
            fs::create_dir_all(root.join("wide").join(number.to_string())).unwrap();
        }
        fs::write(root.join("wide/7/more"), "more").unwrap();
        deep(root);
    });
    let everything = shown_by_us(&store, &upper);
    assert_eq!(everything.len(), 4 * WIDE + 2 + DEEP + 2);

    let copied = edit::copy_directory(
        &store,
        &Snapshot::default(),
        "/copy",
        &upper,
        "/",
        &edit::Copy::default(),
    )
    .unwrap();
    let taken = edit::subtree(&store, &copied, "/copy").unwrap();
    assert_eq!(shown_by_us(&store, &taken), everything);
    // The same digest says that what was one file under two names still is.
    assert_eq!(
        store.content_digest(&taken).unwrap(),
        store.content_digest(&upper).unwrap()
    );

    let given = edit::chown(&store, &upper, "/", (7, 7)).unwrap();
    assert!(
        shown_by_us(&store, &given)
            .values()
            .all(|shown| shown.owner == (7, 7))
    );
    let difference = edit::diff(&store, &lower, &upper).unwrap();
    assert_eq!(
        shown_by_us(&store, &difference)
            .get(&b"wide/7/more"[..])
            .unwrap()
            .content,
        b"more"
    );

    let mut archive = Vec::new();
    store.export(&upper, "/", &mut archive).unwrap();
    let again = Snapshot::default().with(store.import_layer(&mut archive.as_slice()).unwrap());
    assert_eq!(shown_by_us(&store, &again), everything);
    let removed = edit::remove(&store, &upper, &["/wide".to_owned()]).unwrap();
    assert_eq!(shown_by_us(&store, &removed).len(), 2 * WIDE + 1 + DEEP + 1);
}
