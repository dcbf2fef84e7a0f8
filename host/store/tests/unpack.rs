//! What archives of real tools hold, and archives that are made to do harm.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

mod common;

use std::{fs, io::Write, path::Path, process::Command};

use common::{open, shown_by_us};
use wharf_store::{Error, Snapshot, Store};

/// Unpacks a file of these bytes.
fn unpack(store: &Store, name: &str, bytes: &[u8]) -> Result<Snapshot, Error> {
    let mut draft = store.new_log();
    draft.write_all(bytes).unwrap();
    let (_, file) = store.publish_as_file(draft, name, 0o644)?;
    store.unpack(&file, &format!("/{name}"))
}

fn run(program: &str, args: &[&str], directory: &Path) {
    let output = Command::new(program)
        .args(args)
        .current_dir(directory)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A directory as projects have them.
fn project(directory: &Path) {
    fs::create_dir_all(directory.join("tool-1.0/bin")).unwrap();
    fs::write(directory.join("tool-1.0/README"), "read me\n").unwrap();
    fs::write(directory.join("tool-1.0/bin/tool"), "#!/bin/sh\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.join("tool-1.0/bin/tool"), mode).unwrap();
    std::os::unix::fs::symlink("bin/tool", directory.join("tool-1.0/latest")).unwrap();
}

fn names(store: &Store, tree: &Snapshot) -> Vec<String> {
    let shown = shown_by_us(store, tree);
    shown
        .keys()
        .map(|name| String::from_utf8(name.clone()).unwrap())
        .collect()
}

#[test]
fn every_kind_of_archive_is_told_by_its_content() {
    let (_own, store) = open();
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("work");
    project(&work);
    let expected = [
        "tool-1.0",
        "tool-1.0/README",
        "tool-1.0/bin",
        "tool-1.0/bin/tool",
        "tool-1.0/latest",
    ];
    let mut trees = Vec::new();
    for (option, compressor) in [
        ("", ""),
        ("z", "gzip"),
        ("J", "xz"),
        ("j", "bzip2"),
        ("-zstd", "zstd"),
    ] {
        let options = if option.starts_with('-') {
            format!("-{option}")
        } else {
            format!("-{option}c")
        };
        let create: &[&str] = if option.starts_with('-') { &["-c"] } else { &[] };
        let args = [&[options.as_str()][..], create, &["-f", "made", "tool-1.0"][..]].concat();
        run("tar", &args, &work);
        let tree = unpack(&store, "anything", &fs::read(work.join("made")).unwrap()).unwrap();
        assert_eq!(names(&store, &tree), expected, "{compressor}");
        trees.push(store.content_digest(&tree).unwrap());
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]));
    run("python3", &["-c", ZIPPED], &work);
    let tree = unpack(&store, "tool.whl", &fs::read(work.join("made.zip")).unwrap()).unwrap();
    assert_eq!(names(&store, &tree), expected);
    assert_eq!(
        store.content_digest(&tree).unwrap(),
        trees[0],
        "a zip archive has the same modes and links"
    );
}

/// Python keeps modes and links when it is told to.
const ZIPPED: &str = "
import os, stat, zipfile
with zipfile.ZipFile('made.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    for base, dirs, files in os.walk('tool-1.0'):
        z.write(base)
        for name in files:
            path = os.path.join(base, name)
            info = zipfile.ZipInfo.from_file(path) if not os.path.islink(path) else zipfile.ZipInfo(path)
            info.external_attr = os.lstat(path).st_mode << 16
            z.writestr(info, os.readlink(path) if os.path.islink(path) else open(path).read())
";

#[test]
fn a_debian_package_is_its_files() {
    let (_own, store) = open();
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path().join("work");
    fs::create_dir_all(work.join("package/DEBIAN")).unwrap();
    fs::create_dir_all(work.join("package/usr/bin")).unwrap();
    fs::write(work.join("package/usr/bin/hello"), "hello").unwrap();
    let control = "Package: hello\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: x\n";
    fs::write(work.join("package/DEBIAN/control"), control).unwrap();
    for compression in ["-Zxz", "-Zgzip", "-Znone"] {
        run(
            "dpkg-deb",
            &["--root-owner-group", compression, "-b", "package", "hello.deb"],
            &work,
        );
        let tree = unpack(&store, "hello.deb", &fs::read(work.join("hello.deb")).unwrap()).unwrap();
        assert_eq!(
            names(&store, &tree),
            ["usr", "usr/bin", "usr/bin/hello"],
            "{compression}"
        );
    }
}

#[test]
fn a_compressed_file_is_one_file_without_the_ending() {
    let (_own, store) = open();
    let directory = tempfile::tempdir().unwrap();
    let work = directory.path();
    fs::write(work.join("table.csv"), "a,b\n").unwrap();
    run("gzip", &["-k", "table.csv"], work);
    let bytes = fs::read(work.join("table.csv.gz")).unwrap();
    assert_eq!(
        names(&store, &unpack(&store, "table.csv.gz", &bytes).unwrap()),
        ["table.csv"]
    );
    assert_eq!(
        names(&store, &unpack(&store, "table", &bytes).unwrap()),
        ["table"]
    );
    let plain = unpack(&store, "table.csv", b"a,b\n").unwrap_err().to_string();
    assert!(
        plain.contains("table.csv cannot be unpacked: it is no archive"),
        "{plain}"
    );
    let damaged = unpack(&store, "table.gz", &bytes[..bytes.len() - 5]).unwrap_err();
    assert!(
        matches!(&damaged, Error::Invalid(why) if why.contains("damaged")),
        "{damaged}"
    );
}

/// A tar archive of entries as no tool makes them.
fn tar_of(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
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

/// The same as a zip archive, made by Python, which checks nothing.
fn zip_of(directory: &Path, name: &str, mode: u32, content: &str) -> Vec<u8> {
    let script = format!(
        "import zipfile\nwith zipfile.ZipFile('evil.zip', 'w') as z:\n    i = zipfile.ZipInfo({name:?})\n    \
         i.external_attr = {mode} << 16\n    z.writestr(i, {content:?})\n"
    );
    run("python3", &["-c", &script], directory);
    fs::read(directory.join("evil.zip")).unwrap()
}

#[test]
fn b25_hostile_archives_are_refused_and_leave_nothing() {
    use tar::EntryType::{Block, Char, Link, Regular, Symlink};
    let (own, store) = open();
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().parent().unwrap().join("wharf-escaped");
    let mut archives: Vec<(String, Vec<u8>)> = [
        vec![("../wharf-escaped", Regular, "x")],
        vec![("a/../../wharf-escaped", Regular, "x")],
        vec![("/wharf-escaped", Regular, "x")],
        vec![("out", Symlink, "/"), ("out/wharf-escaped", Regular, "x")],
        vec![("out", Symlink, "..")],
        vec![("a/out", Symlink, "../../etc/passwd")],
        vec![("passwd", Link, "../../etc/passwd")],
        vec![("passwd", Link, "/etc/passwd")],
        vec![("a", Symlink, "/etc"), ("passwd", Link, "a/passwd")],
        vec![("device", Char, "")],
        vec![("device", Block, "")],
        vec![(".wh.passwd", Regular, "")],
        vec![(".wh..wh..opq", Regular, "")],
    ]
    .iter()
    .map(|entries| (format!("{entries:?}"), tar_of(entries)))
    .collect();
    for (name, mode, content) in [
        ("../wharf-escaped", 0o100_644, "x"),
        ("/wharf-escaped", 0o100_644, "x"),
        ("out", 0o120_777, "../.."),
    ] {
        archives.push((
            format!("zip {name}"),
            zip_of(directory.path(), name, mode, content),
        ));
    }
    let drafts = || fs::read_dir(own.path().join("drafts")).unwrap().count();
    let before = drafts();
    for (what, bytes) in archives {
        let error = unpack(&store, "evil", &bytes).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(why) if why.contains("refused")),
            "{what}: {error}"
        );
    }
    assert!(!outside.exists() && !Path::new("/wharf-escaped").exists());
    assert_eq!(drafts(), before, "nothing half-made is left");
    // What stays inside is no harm: absolute links start at the tree's own root.
    let fine = [
        ("bin/busybox", Regular, "x"),
        ("bin/ls", Symlink, "/bin/busybox"),
        ("a/b", Symlink, "../bin/ls"),
    ];
    assert!(unpack(&store, "rootfs.tar", &tar_of(&fine)).is_ok());
}

#[test]
fn b25_a_bomb_is_refused_before_it_is_large() {
    let (own, store) = open();
    let directory = tempfile::tempdir().unwrap();
    run(
        "sh",
        &["-c", "truncate -s 1100M zeros && gzip -9 zeros"],
        directory.path(),
    );
    let gzip = fs::read(directory.path().join("zeros.gz")).unwrap();
    let script = "
import zipfile
with zipfile.ZipFile('bomb.zip', 'w', zipfile.ZIP_DEFLATED) as z:
    with z.open('zeros', 'w', force_zip64=True) as f:
        for _ in range(1100):
            f.write(bytes(1 << 20))
";
    run("python3", &["-c", script], directory.path());
    let zip = fs::read(directory.path().join("bomb.zip")).unwrap();
    let drafts = || fs::read_dir(own.path().join("drafts")).unwrap().count();
    let before = drafts();
    for (name, bytes) in [("zeros.gz", gzip), ("bomb.zip", zip)] {
        let error = unpack(&store, name, &bytes).unwrap_err();
        assert!(
            matches!(&error, Error::Invalid(why) if why.contains("unpack to more than")),
            "{error}"
        );
    }
    assert_eq!(drafts(), before, "nothing half-made is left");
}
