//! What comes in and goes out as tar streams.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

mod common;

use std::{fs, os::unix::fs::MetadataExt, path::Path, process::Command};

use common::{file, open, shown_by_us};
use wharf_store::{Snapshot, tree::View};

fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        let is_file = kind.is_file();
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        if !is_file {
            header.set_link_name_literal(content).unwrap();
        }
        header.set_cksum();
        builder
            .append(&header, if is_file { content.as_bytes() } else { b"" })
            .unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn b25_archives_that_lead_out_of_the_tree_are_refused() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let (directory, store) = open();
    let outside = directory.path().parent().unwrap().join("wharf-escaped");
    for entries in [
        vec![("../wharf-escaped", Regular, "x")],
        vec![("a/../../wharf-escaped", Regular, "x")],
        vec![("/wharf-escaped", Regular, "x")],
        vec![("out", Symlink, "/"), ("out/wharf-escaped", Regular, "x")],
        vec![
            ("out", Symlink, "../../.."),
            ("out/", Directory, ""),
            ("passwd", Link, "../../etc/passwd"),
        ],
        vec![("passwd", Link, "/etc/passwd")],
        vec![("a", Symlink, "/etc"), ("passwd", Link, "a/passwd")],
        vec![(".wh...", Regular, "")],
    ] {
        let error = store.import_layer(&mut archive(&entries).as_slice()).unwrap_err();
        assert!(error.to_string().contains("refused"), "{entries:?}: {error}");
    }
    assert!(!outside.exists() && !Path::new("/wharf-escaped").exists());
    let cut = archive(&[("a", Regular, "0123456789")]);
    assert!(store.import_layer(&mut &cut[..515]).is_err());
}

#[test]
fn b21_a_layer_hides_and_brings_anew_in_any_order() {
    use tar::EntryType::{Directory, Regular};
    let (_directory, store) = open();
    let base = file(
        &store,
        &file(&store, &Snapshot::default(), "/d/old", b"1"),
        "/f",
        b"1",
    );
    for entries in [
        vec![
            (".wh.d", Regular, ""),
            ("d/", Directory, ""),
            ("d/new", Regular, "2"),
            (".wh.f", Regular, ""),
        ],
        vec![
            ("d/", Directory, ""),
            ("d/new", Regular, "2"),
            (".wh.d", Regular, ""),
            (".wh.f", Regular, ""),
        ],
        vec![
            ("d/new", Regular, "2"),
            ("d/.wh..wh..opq", Regular, ""),
            (".wh.f", Regular, ""),
            (".wh..wh.plnk", Regular, ""),
        ],
        vec![
            (".wh.f", Regular, ""),
            (".wh.d", Regular, ""),
            ("d/new", Regular, "2"),
        ],
        vec![(".wh..wh..opq", Regular, ""), ("d/new", Regular, "2")],
    ] {
        let top = base.with(store.import_layer(&mut archive(&entries).as_slice()).unwrap());
        let ours = shown_by_us(&store, &top);
        let names: Vec<&[u8]> = ours.keys().map(Vec::as_slice).collect();
        assert_eq!(names, [b"d".as_slice(), b"d/new"], "{entries:?}");
        let mounted = common::Mounted::over(&store, &top, None);
        assert_eq!(common::shown_by_kernel(mounted.path()), ours, "{entries:?}");
    }
}

/// What Debian's tar makes of a directory.
fn packed(directory: &Path, options: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(options)
        .arg("-c")
        .arg("-C")
        .arg(directory)
        .arg(".")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn attributes_may_hold_any_bytes() {
    let (_directory, store) = open();
    let source = tempfile::tempdir().unwrap();
    // A capability whose number is a line's end, and a path that has one.
    let capability = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for name in ["tool", "two\nlines"] {
        let path = source.path().join(name);
        fs::write(&path, b"binary").unwrap();
        xattr::set(&path, "security.capability", capability).unwrap();
        xattr::set(&path, "user.note", b"9 a=b\n\n").unwrap();
    }
    let archive = packed(
        source.path(),
        &["--xattrs", "--xattrs-include=*", "--format=posix"],
    );
    let imported = Snapshot::default().with(store.import_layer(&mut archive.as_slice()).unwrap());
    for name in ["tool", "two\nlines"] {
        let path = store.lower_paths(&imported).unwrap()[0].join(name);
        let attribute = |attribute| xattr::get(&path, attribute).unwrap().unwrap();
        assert_eq!(attribute("security.capability"), capability);
        assert_eq!(attribute("user.note"), b"9 a=b\n\n");
        assert_eq!(fs::read(&path).unwrap(), b"binary");
    }
    // And out again, and in.
    let mut exported = Vec::new();
    store.export(&imported, "/", &mut exported).unwrap();
    let again = Snapshot::default().with(store.import_layer(&mut exported.as_slice()).unwrap());
    assert_eq!(shown_by_us(&store, &again), shown_by_us(&store, &imported));
}

#[test]
fn holes_of_every_format_stay_holes() {
    use std::os::unix::fs::FileExt;
    let source = tempfile::tempdir().unwrap();
    let sparse = fs::File::create(source.path().join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    // More parts than a header has room for.
    for part in 0..60_u64 {
        sparse.write_all_at(b"here", part << 20).unwrap();
    }
    fs::write(source.path().join("z-after"), b"read on").unwrap();
    for format in [
        ["--sparse", "--format=gnu"].as_slice(),
        &["--sparse", "--format=posix", "--sparse-version=0.0"],
        &["--sparse", "--format=posix", "--sparse-version=0.1"],
        &["--sparse", "--format=posix", "--sparse-version=1.0"],
    ] {
        let (_directory, store) = open();
        let archive = packed(source.path(), format);
        let imported = Snapshot::default().with(store.import_layer(&mut archive.as_slice()).unwrap());
        let path = store.lower_paths(&imported).unwrap()[0].join("sparse");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.size(), 64 << 20, "{format:?}");
        assert!(metadata.blocks() * 512 < 1 << 20, "{format:?}");
        let view = View::new(&store, &imported).unwrap();
        assert!(
            fs::read(&path).unwrap() == fs::read(source.path().join("sparse")).unwrap(),
            "{format:?}"
        );
        assert_eq!(view.read_bytes(b"/z-after").unwrap(), b"read on", "{format:?}");
    }
}

#[test]
fn a_cut_archive_is_an_error_wherever_it_is_cut() {
    use tar::EntryType::{Directory, Regular};
    let (_directory, store) = open();
    let long = "n".repeat(90);
    let whole = archive(&[("d/", Directory, ""), (&long, Regular, "0123456789")]);
    // The two empty blocks in the end may be missing: many programs leave them out.
    let entries = whole.len() - 1024;
    for cut in 1..entries {
        let outcome = store.import_layer(&mut &whole[..cut]);
        assert_eq!(outcome.is_ok(), cut == 512, "cut at {cut}");
    }
    for end in [entries, entries + 512, entries + 1024] {
        store.import_layer(&mut &whole[..end]).unwrap();
    }
}

#[test]
fn sizes_that_cannot_be_are_errors() {
    let (_directory, store) = open();
    let with = |extensions: &[(&str, &str)]| {
        let mut builder = tar::Builder::new(Vec::new());
        let pairs = extensions.iter().map(|(key, value)| (*key, value.as_bytes()));
        builder.append_pax_extensions(pairs).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        bytes.extend(archive(&[("a", tar::EntryType::Regular, "0123456789")]));
        bytes
    };
    store
        .import_layer(&mut with(&[("size", "10")]).as_slice())
        .unwrap();
    for extensions in [
        [("size", "18446744073709551615")].as_slice(),
        &[("size", "9000000000000000000")],
        &[("size", "-1")],
        &[("GNU.sparse.size", "5"), ("GNU.sparse.map", "0,10")],
        &[("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,50")],
        &[
            ("GNU.sparse.size", "100"),
            ("GNU.sparse.map", "18446744073709551615,10"),
        ],
    ] {
        let error = store.import_layer(&mut with(extensions).as_slice());
        assert!(error.is_err(), "{extensions:?}");
    }
}
