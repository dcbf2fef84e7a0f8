//! Our view of merged layers is what the kernel's overlay shows, for layers that the kernel's overlay wrote and for layers
//! that our own edits made. Needs root.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use common::{Mounted, Shown, open, shown_by_kernel, shown_by_us};
use proptest::prelude::*;
use wharf_store::{Snapshot, Store, edit, tree::Kind};

/// One change of a tree.
#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>, u32),
    Directory(usize, u32),
    Link(usize, usize),
    HardLink(usize, usize),
    Remove(usize),
    Rename(usize, usize),
    Chmod(usize, u32),
    Fifo(usize),
    Attribute(usize, u8),
}

/// Few enough that changes meet: directories, files in them, odd names, and what files and directories take turns at.
const PATHS: [&[u8]; 14] = [
    b"a",
    b"a/b",
    b"a/b/c",
    b"a/b/d",
    b"a/e",
    b"f",
    b"g",
    b"g/h",
    b"g/h/i",
    b"with space",
    b"new\nline",
    b"\xff\xfe",
    b"g/k",
    b"a/b/c/l",
];

fn change() -> impl Strategy<Value = Change> {
    let path = 0..PATHS.len();
    let mode = prop::sample::select(vec![0o644_u32, 0o600, 0o755, 0o4755, 0o1777]);
    prop_oneof![
        4 => (path.clone(), prop::collection::vec(any::<u8>(), 0..40), mode.clone())
            .prop_map(|(path, bytes, mode)| Change::Write(path, bytes, mode)),
        4 => (path.clone(), mode.clone()).prop_map(|(path, mode)| Change::Directory(path, mode)),
        2 => (path.clone(), path.clone()).prop_map(|(path, to)| Change::Link(path, to)),
        1 => (path.clone(), path.clone()).prop_map(|(path, to)| Change::HardLink(path, to)),
        4 => path.clone().prop_map(Change::Remove),
        2 => (path.clone(), path.clone()).prop_map(|(path, to)| Change::Rename(path, to)),
        2 => (path.clone(), mode).prop_map(|(path, mode)| Change::Chmod(path, mode)),
        1 => path.clone().prop_map(Change::Fifo),
        1 => (path, any::<u8>()).prop_map(|(path, value)| Change::Attribute(path, value)),
    ]
}

/// Does what can be done; changes that make no sense on the tree as it is are left out.
fn apply(root: &Path, change: &Change) {
    let at = |index: &usize| root.join(std::ffi::OsStr::from_bytes(PATHS[*index]));
    let is_link = |path: &Path| path.is_symlink();
    // Never through a link, which may lead out of the test's tree.
    let passes_link = |path: &Path| {
        path.ancestors()
            .skip(1)
            .take_while(|above| *above != root)
            .any(is_link)
    };
    let ignore = |outcome: std::io::Result<()>| drop(outcome);
    match change {
        Change::Write(path, bytes, mode)
            if !is_link(&at(path)) && !passes_link(&at(path)) && !is_fifo(&at(path)) =>
        {
            let mode = fs::Permissions::from_mode(*mode);
            ignore(fs::write(at(path), bytes).and_then(|()| fs::set_permissions(at(path), mode)));
        }
        Change::Directory(path, mode) if !passes_link(&at(path)) => {
            let mode = fs::Permissions::from_mode(*mode);
            ignore(fs::create_dir(at(path)).and_then(|()| fs::set_permissions(at(path), mode)));
        }
        Change::Link(path, to) if !passes_link(&at(path)) => {
            ignore(symlink(std::ffi::OsStr::from_bytes(PATHS[*to]), at(path)));
        }
        Change::HardLink(path, to)
            if !passes_link(&at(path)) && !passes_link(&at(to)) && at(path).is_file() =>
        {
            ignore(fs::hard_link(at(path), at(to)));
        }
        Change::Remove(path) if !passes_link(&at(path)) => {
            if at(path).is_dir() && !is_link(&at(path)) {
                ignore(fs::remove_dir_all(at(path)));
            } else {
                ignore(fs::remove_file(at(path)));
            }
        }
        Change::Rename(path, to) if !passes_link(&at(path)) && !passes_link(&at(to)) => {
            ignore(fs::rename(at(path), at(to)));
        }
        Change::Chmod(path, mode) if !is_link(&at(path)) && !passes_link(&at(path)) => {
            ignore(fs::set_permissions(at(path), fs::Permissions::from_mode(*mode)));
        }
        Change::Fifo(path) if !passes_link(&at(path)) => {
            let mode = rustix::fs::Mode::from_raw_mode(0o644);
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, at(path), kind, mode, 0).ok();
        }
        Change::Attribute(path, value) if !is_link(&at(path)) && !passes_link(&at(path)) => {
            ignore(xattr::set(at(path), "trusted.test", &[*value]));
        }
        _ => {}
    }
}

fn is_fifo(path: &Path) -> bool {
    path.symlink_metadata()
        .is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// A snapshot whose layers the kernel's overlay wrote, one group of changes each.
fn by_kernel(store: &Store, groups: &[Vec<Change>]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for changes in groups {
        let draft = store.new_layer(&snapshot).unwrap();
        {
            let mounted = Mounted::over(store, &snapshot, Some(&draft));
            for change in changes {
                apply(mounted.path(), change);
            }
        }
        snapshot = snapshot.with(store.publish(draft).unwrap());
    }
    snapshot
}

/// The same changes on a plain directory, as one layer.
fn at_once(store: &Store, groups: &[Vec<Change>]) -> Snapshot {
    let draft = store.new_layer(&Snapshot::default()).unwrap();
    for change in groups.iter().flatten() {
        apply(&draft.path(), change);
    }
    Snapshot::default().with(store.publish(draft).unwrap())
}

fn kernel(store: &Store, snapshot: &Snapshot) -> BTreeMap<Vec<u8>, Shown> {
    shown_by_kernel(Mounted::over(store, snapshot, None).path())
}

fn groups() -> impl Strategy<Value = Vec<Vec<Change>>> {
    prop::collection::vec(prop::collection::vec(change(), 1..8), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merged_views_are_the_kernels(groups in groups()) {
        let (_directory, store) = open();
        let snapshot = by_kernel(&store, &groups);
        prop_assert_eq!(shown_by_us(&store, &snapshot), kernel(&store, &snapshot));
    }

    #[test]
    fn a_directory_mounted_from_its_layers_has_what_the_tree_has_there(groups in groups()) {
        let (_directory, store) = open();
        let snapshot = by_kernel(&store, &groups);
        let whole = shown_by_us(&store, &snapshot);
        let directories = whole.iter().filter(|(_, shown)| shown.kind == Kind::Directory);
        for (path, shown) in directories {
            let Ok(name) = std::str::from_utf8(path) else { continue };
            let lowers = store.lower_paths_at(&snapshot, &format!("/{name}")).unwrap();
            prop_assert_eq!(fs::metadata(&lowers[0]).unwrap().mode() & 0o7777, shown.mode);
            let below: BTreeMap<_, _> = whole
                .iter()
                .filter_map(|(other, shown)| {
                    let rest = other.strip_prefix(path.as_slice())?.strip_prefix(b"/")?;
                    Some((rest.to_vec(), shown.clone()))
                })
                .collect();
            prop_assert_eq!(shown_by_kernel(Mounted::of(&store, &lowers, None).path()), below, "{}", name);
        }
        // A link leads there, too; a file or nothing does not.
        for path in ["/f", "/none"] {
            let there = wharf_store::tree::View::new(&store, &snapshot).unwrap().stat(path, true);
            let is_directory = there.is_ok_and(|stat| stat.is_directory());
            prop_assert_eq!(store.lower_paths_at(&snapshot, path).is_ok(), is_directory);
        }
    }

    #[test]
    fn layers_do_not_show_in_the_digest(groups in groups()) {
        // The kernel's overlay takes hard links apart when it copies one of the names up.
        let groups: Vec<Vec<Change>> = groups.into_iter()
            .map(|group| group.into_iter().filter(|change| !matches!(change, Change::HardLink(..))).collect()).collect();
        let (_directory, store) = open();
        let (stacked, flat) = (by_kernel(&store, &groups), at_once(&store, &groups));
        if shown_by_us(&store, &stacked) == shown_by_us(&store, &flat) {
            prop_assert_eq!(store.content_digest(&stacked).unwrap(), store.content_digest(&flat).unwrap());
            // Other shapes are taken for other content.
            let shape = |snapshot| store.shape_digest_at(snapshot, "/").unwrap();
            prop_assert_eq!(shape(&stacked), shape(&flat));
        } else {
            // A rename across layers is refused by overlay for directories: the trees are not the same.
            prop_assert_ne!(store.content_digest(&stacked).unwrap(), store.content_digest(&flat).unwrap());
        }
    }

    #[test]
    fn copies_are_what_cp_makes(base in groups(), source in groups(), to in 0..PATHS.len()) {
        let (_directory, store) = open();
        let (base, source) = (by_kernel(&store, &base), by_kernel(&store, &source));
        let path = format!("/{}", String::from_utf8_lossy(PATHS[to]));
        if let Ok(copied) = edit::copy_directory(&store, &base, &path, &source, "/", &edit::Copy::default()) {
            let ours = shown_by_us(&store, &copied);
            prop_assert_eq!(&ours, &kernel(&store, &copied));
            // Whatever the source has is there.
            let at = wharf_store::tree::View::new(&store, &copied).unwrap().resolve(&path).unwrap();
            for (name, shown) in shown_by_us(&store, &source) {
                let place = if at == b"/" { name.clone() } else { [&at[1..], b"/", &name].concat() };
                if shown.kind != wharf_store::tree::Kind::Directory {
                    prop_assert_eq!(ours.get(&place), Some(&shown), "{:?}", place);
                }
            }
        }
    }

    #[test]
    fn edits_are_what_the_kernel_shows(base in groups(), which in 0..PATHS.len(), other in 0..PATHS.len()) {
        let (_directory, store) = open();
        let base = by_kernel(&store, &base);
        let path = |index: usize| format!("/{}", String::from_utf8_lossy(PATHS[index]));
        prop_assume!(std::str::from_utf8(PATHS[which]).is_ok());
        let edits = [
            edit::remove(&store, &base, &[path(which), path(other)]),
            edit::write_file(&store, &base, &path(which), &mut b"new".as_slice(), 0o640, (3, 4)),
            edit::make_directory(&store, &base, &path(which), 0o711, (5, 6)),
            edit::symlink(&store, &base, "../x", &path(which)),
            edit::chown(&store, &base, &path(which), (7, 8)),
            edit::set_timestamps(&store, &base, 1_000_000_000),
            edit::subtree(&store, &base, &path(which)),
            edit::diff(&store, &base, &base),
        ];
        for edited in edits.into_iter().flatten() {
            prop_assert_eq!(shown_by_us(&store, &edited), kernel(&store, &edited));
        }
        if let Ok(removed) = edit::remove(&store, &base, &[path(which)]) {
            let name = PATHS[which];
            let before = shown_by_us(&store, &base);
            let passes_link = before.iter().any(|(at, shown)| {
                shown.kind == wharf_store::tree::Kind::Symlink && name.starts_with(at) && name.len() > at.len()
            });
            if !passes_link {
                let mut expected = before;
                expected.retain(|at, _| at != name && !at.starts_with(&[name, b"/"].concat()));
                let names = |tree: BTreeMap<Vec<u8>, Shown>| tree.into_keys().collect::<Vec<_>>();
                prop_assert_eq!(names(shown_by_us(&store, &removed)), names(expected));
            }
        }
    }

    #[test]
    fn layers_survive_a_journey_as_tar(groups in groups()) {
        let (_directory, store) = open();
        let snapshot = by_kernel(&store, &groups);
        let mut imported = Snapshot::default();
        for layer in snapshot.layers() {
            let mut bytes = Vec::new();
            store.export_layer(*layer, &mut bytes).unwrap();
            imported = imported.with(store.import_layer(&mut bytes.as_slice()).unwrap());
        }
        prop_assert_eq!(shown_by_us(&store, &imported), shown_by_us(&store, &snapshot));
        prop_assert_eq!(kernel(&store, &imported), kernel(&store, &snapshot));
        prop_assert_eq!(store.content_digest(&imported).unwrap(), store.content_digest(&snapshot).unwrap());
        let shape = |snapshot| store.shape_digest_at(snapshot, "/").unwrap();
        prop_assert_eq!(shape(&imported), shape(&snapshot));
        let export = |snapshot: &Snapshot| {
            let mut bytes = Vec::new();
            store.export(snapshot, "/", &mut bytes).unwrap();
            bytes
        };
        prop_assert_eq!(export(&imported), export(&snapshot));
    }
}

#[test]
fn a_long_stack_is_mounted_flat() {
    let (_directory, store) = open();
    let mut snapshot = Snapshot::default();
    for at in 0..250 {
        let path = format!("/d{}/f{}", at % 7, at % 90);
        let bytes = format!("{at}").repeat(if at % 10 == 0 { 30_000 } else { 1 });
        snapshot = edit::write_file(&store, &snapshot, &path, &mut bytes.as_bytes(), 0o644, (0, 0)).unwrap();
        if at % 31 == 0 {
            snapshot = edit::remove(&store, &snapshot, &["/d3".to_owned()]).unwrap();
        }
    }
    assert!(store.lower_paths(&snapshot).unwrap().len() < 120);
    assert_eq!(shown_by_us(&store, &snapshot), kernel(&store, &snapshot));
}

#[test]
fn names_of_255_bytes_and_paths_of_4095() {
    let (_directory, store) = open();
    let name = "n".repeat(255);
    let mut path = String::new();
    for _ in 0..15 {
        path.push('/');
        path.push_str(&name);
    }
    path.push('/');
    path.push_str(&"z".repeat(4095 - path.len()));
    let snapshot = edit::write_file(
        &store,
        &Snapshot::default(),
        &path,
        &mut b"deep".as_slice(),
        0o644,
        (0, 0),
    )
    .unwrap();
    let source = edit::write_file(
        &store,
        &Snapshot::default(),
        "/x",
        &mut b"x".as_slice(),
        0o644,
        (0, 0),
    )
    .unwrap();
    let copied = edit::copy_directory(&store, &source, "/y", &snapshot, "/", &edit::Copy::default()).unwrap();
    let view = wharf_store::tree::View::new(&store, &copied).unwrap();
    assert_eq!(view.read_text(&format!("/y{path}")).unwrap().unwrap(), "deep");
    store.content_digest(&copied).unwrap();
    let mut bytes = Vec::new();
    store.export(&copied, "/", &mut bytes).unwrap();
    assert!(bytes.len() > 4095);
}

#[test]
fn links_never_lead_out_of_the_root() {
    let (_directory, store) = open();
    let draft = store.new_layer(&Snapshot::default()).unwrap();
    fs::create_dir_all(draft.path().join("usr/bin")).unwrap();
    for (target, name) in [
        ("usr/bin", "bin"),
        ("/usr/bin", "abs"),
        ("../../../../usr/bin", "up"),
        ("/nowhere/at/all", "dangling"),
        ("loop-b", "loop-a"),
        ("loop-a", "loop-b"),
        ("usr/../usr/./bin/../bin", "dots"),
    ] {
        symlink(target, draft.path().join(name)).unwrap();
    }
    let base = Snapshot::default().with(store.publish(draft).unwrap());
    let write = |path: &str| edit::write_file(&store, &base, path, &mut b"x".as_slice(), 0o755, (0, 0));
    for name in ["bin", "abs", "up", "dots"] {
        let written = write(&format!("/{name}/tool")).unwrap();
        let ours = shown_by_us(&store, &written);
        assert!(ours.contains_key(b"usr/bin/tool".as_slice()), "{name}");
        assert_eq!(
            ours[name.as_bytes()].kind,
            wharf_store::tree::Kind::Symlink,
            "{name}"
        );
        assert_eq!(ours, kernel(&store, &written));
    }
    let dangling = write("/dangling/tool").unwrap();
    assert!(shown_by_us(&store, &dangling).contains_key(b"nowhere/at/all/tool".as_slice()));
    assert!(
        write("/loop-a/tool")
            .unwrap_err()
            .to_string()
            .contains("symbolic links")
    );
    assert!(!Path::new("/nowhere").exists());
    // A directory that comes to where a link to a directory is goes to where the link leads.
    let source = edit::write_file(
        &store,
        &Snapshot::default(),
        "/bin/other",
        &mut b"y".as_slice(),
        0o755,
        (0, 0),
    )
    .unwrap();
    let copied = edit::copy_directory(&store, &base, "/", &source, "/", &edit::Copy::default()).unwrap();
    let ours = shown_by_us(&store, &copied);
    assert_eq!(ours[b"bin".as_slice()].kind, wharf_store::tree::Kind::Symlink);
    assert!(ours.contains_key(b"usr/bin/other".as_slice()));
    assert_eq!(ours, kernel(&store, &copied));
}

#[test]
fn paths_lead_where_the_kernel_leads_them() {
    let (_directory, store) = open();
    let draft = store.new_layer(&Snapshot::default()).unwrap();
    fs::create_dir_all(draft.path().join("d/e")).unwrap();
    fs::write(draft.path().join("d/e/file"), "x").unwrap();
    for (target, name) in [
        ("../e/file", "d/e/l1"),
        ("/d", "l2"),
        ("l2/../d/e", "l3"),
        ("../../..", "d/out"),
        ("gone", "l4"),
    ] {
        symlink(target, draft.path().join(name)).unwrap();
    }
    let snapshot = Snapshot::default().with(store.publish(draft).unwrap());
    let view = wharf_store::tree::View::new(&store, &snapshot).unwrap();
    let mounted = Mounted::over(&store, &snapshot, None);
    let root = fs::File::open(mounted.path()).unwrap();
    for path in [
        "d/e/l1",
        "l2/e/file",
        "l3/file",
        "d/out/d/e/file",
        "d/out/../../d",
        "l4",
        "l4/x",
        "d/e/file/x",
        "gone/../d",
        "d/e/../../d/e/l1",
        "./d//e",
        "l3/..",
        "l2/..",
    ] {
        // The kernel gives up on `..` whenever anything on the machine is mounted meanwhile, as other tests do.
        let kernels = loop {
            match rustix::fs::openat2(
                &root,
                path,
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
                rustix::fs::ResolveFlags::IN_ROOT,
            ) {
                Err(rustix::io::Errno::AGAIN) => {}
                Ok(found) => break Some(fs::File::from(found).metadata().unwrap()),
                Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => break None,
                Err(error) => panic!("{path}: {error}"),
            }
        };
        let ours = view.stat(path, true).ok();
        let facts = ours.as_ref().map(|stat| (stat.is_directory(), stat.mode));
        let expected = kernels
            .as_ref()
            .map(|metadata| (metadata.is_dir(), metadata.mode() & 0o7777));
        assert_eq!(facts, expected, "{path}");
    }
}
