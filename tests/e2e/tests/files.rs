//! Behaviours 20, 21, 23 and 24: paths, names, whiteouts, owners, timestamps.

use std::os::unix::{ffi::OsStrExt, fs::symlink};

use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script},
};
use wharf_graph::{
    Container, Directory, Error,
    build::Edit,
    op::{Configure, CopyOptions, Filter},
    read::{Answer, Question},
};

fn host(path: &std::path::Path) -> Directory {
    Directory::host(path.to_str().expect("a path in UTF-8"), Filter::default())
}

async fn digest(run: &Run, directory: &Directory) -> String {
    match run.ask(directory.node(), Question::Digest).await.unwrap() {
        Answer::Text(digest) => digest,
        other => panic!("{other:?} is no digest"),
    }
}

fn new_file(container: &Container, path: &str, text: &str) -> Container {
    container.edit(Edit::new_file(path, text.as_bytes(), None, None))
}

#[tokio::test(flavor = "multi_thread")]
async fn b20_destinations_go_through_links_and_none_leads_outside() {
    let engine = TestEngine::start();
    let run = engine.run();
    let links = script(
        &busybox(),
        "mkdir -p /usr/deep /inner; ln -s usr/deep /relative; ln -s /usr/deep /absolute; \
         ln -s ../../../../../../usr/deep /upwards; ln -s /nowhere/at/all /dangling; ln -s loop2 /loop1; ln -s loop1 /loop2",
    );
    for name in ["relative", "absolute", "upwards"] {
        let written = new_file(&links, &format!("/{name}/{name}.txt"), name);
        assert_eq!(
            run.text(&written, &format!("/usr/deep/{name}.txt"))
                .await
                .unwrap(),
            name
        );
        assert_eq!(
            run.text(&written, &format!("/{name}/{name}.txt")).await.unwrap(),
            name
        );
        // The link is still one.
        let kept = script(&written, &format!("readlink /{name}"));
        assert!(run.stdout(&kept).await.is_ok());
    }
    let through_dangling = new_file(&links, "/dangling/a.txt", "made");
    assert_eq!(
        run.text(&through_dangling, "/nowhere/at/all/a.txt")
            .await
            .unwrap(),
        "made"
    );
    let looping = run
        .text(&new_file(&links, "/loop1/a.txt", "never"), "/loop1/a.txt")
        .await;
    assert!(
        looping.as_ref().unwrap_err().to_string().contains("loop"),
        "{looping:?}"
    );
    let read = run.text(&links, "/loop1").await;
    assert!(
        matches!(
            read,
            Err(Error::NotFound(_) | Error::Invalid(_) | Error::Other { .. })
        ),
        "{read:?}"
    );

    // A link of the sender's that leads outside stays a link, and what it leads to is the container's.
    let source = engine.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let secret = engine.path().join("outside.txt");
    std::fs::write(&secret, "the host's").unwrap();
    symlink(&secret, source.join("link")).unwrap();
    symlink("/etc/passwd", source.join("passwd")).unwrap();
    let copied = busybox().edit(Edit::copy_directory(
        "/source",
        &host(&source),
        CopyOptions::default(),
    ));
    let seen = script(
        &copied,
        "readlink /source/link; cat /source/link 2>&1; head -1 /source/passwd",
    );
    let seen = run.stdout(&seen).await.unwrap();
    assert!(!seen.contains("the host's") && seen.contains("root:"), "{seen}");
    assert!(run.text(&copied, "/source/link").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn b21_a_directory_is_mounted_from_its_layers_as_it_is_in_them() {
    let engine = TestEngine::start();
    let run = engine.run();
    // Names that mean something to who mounts, several layers, and what is gone or made again in them.
    let name = "/d/a,b:c\\d e";
    let first = script(
        &busybox(),
        &format!(
            "mkdir -p '{name}/gone' '{name}/again'; cd '{name}'; echo 1 > one; echo 1 > again/old; chmod 750 ."
        ),
    );
    let second = script(
        &first,
        &format!("cd '{name}'; rm -r gone again; mkdir again; echo 2 > again/two"),
    );
    let third = script(&second, "ln -s /d /link; echo outside > /d/other");
    let expected = "750\n.\n./again\n./again/two\n./one\n";
    let look = |base: &Container| {
        script(
            base,
            "cd /m; stat -c %a .; find . | sort; touch new && rm -r again",
        )
    };
    for path in [name.to_owned(), name.replace("/d", "/link")] {
        let mounted = busybox().with_mounted_directory("/m", &third.directory(&path), None);
        assert_eq!(run.stdout(&look(&mounted)).await.unwrap(), expected, "{path}");
        // What a step wrote to a mount is there for nobody.
        let again = script(&look(&mounted), "find /m | wc -l");
        assert_eq!(run.stdout(&again).await.unwrap(), "4\n");
    }
    let given = busybox().with_mounted_directory("/m", &third.directory(name), Some("7:8"));
    let owners = script(&given, "find /m -exec stat -c %u:%g {} + | sort -u");
    assert_eq!(run.stdout(&owners).await.unwrap(), "7:8\n");
    let missing = busybox().with_mounted_directory("/m", &third.directory("/d/other"), None);
    let error = run
        .stdout(&script(&missing, "true"))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("/d/other is not a directory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b21_what_is_replaced_or_removed_is_gone() {
    let engine = TestEngine::start();
    let run = engine.run();
    let base = script(
        &busybox(),
        "mkdir -p /d/sub; echo old > /d/sub/old; echo kept > /d/kept; echo f > /f",
    );
    let removed = script(&base, "rm -r /d/sub");
    assert_eq!(run.entries(&removed, "/d").await.unwrap(), ["kept"]);
    // Made again, an opaque directory: what was below it does not show through.
    let again = script(&removed, "mkdir /d/sub; echo new > /d/sub/new");
    assert_eq!(run.entries(&again, "/d/sub").await.unwrap(), ["new"]);
    assert_eq!(run.stdout(&script(&again, "ls /d/sub")).await.unwrap(), "new\n");
    // A file becomes a directory and a file again.
    let directory = script(&base, "rm /f; mkdir /f; echo in > /f/in");
    assert_eq!(run.entries(&directory, "/f").await.unwrap(), ["in"]);
    let file = script(&directory, "rm -r /f; echo back > /f");
    assert_eq!(run.text(&file, "/f").await.unwrap(), "back\n");
    let directory = script(&file, "rm /f; mkdir /f");
    assert!(run.entries(&directory, "/f").await.unwrap().is_empty());
    // By edits, too, and in an ancestor of what is looked at.
    let edited = base.edit(Edit::remove(&["/d".to_owned()]));
    let edited = new_file(&edited, "/d/sub/new", "x");
    assert_eq!(run.entries(&edited, "/d").await.unwrap(), ["sub/"]);
    assert_eq!(run.entries(&edited, "/d/sub").await.unwrap(), ["new"]);
    // What a directory of a container carries into another is what it shows, not its layers.
    let carried = busybox().edit(Edit::copy_directory(
        "/c",
        &again.directory("/d"),
        CopyOptions::default(),
    ));
    assert_eq!(
        run.stdout(&script(&carried, "find /c | sort")).await.unwrap(),
        "/c\n/c/kept\n/c/sub\n/c/sub/new\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b23_owners_by_name_and_names_of_all_kinds() {
    let engine = TestEngine::start();
    let run = engine.run();
    let source = engine.path().join("names");
    std::fs::create_dir(&source).unwrap();
    let long = "n".repeat(255);
    for name in [
        "with space",
        "with\nnewline",
        "tab\there",
        "-dash",
        "star*",
        "ünï",
        &long,
    ] {
        std::fs::write(source.join(name), name).unwrap();
    }
    std::fs::write(
        source.join(std::ffi::OsStr::from_bytes(b"not-utf8-\xff")),
        "bytes",
    )
    .unwrap();
    let mut deep = source.clone();
    while deep.as_os_str().len() < 3800 {
        deep.push("d".repeat(200));
        rustix::fs::mkdir(&deep, rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
    }
    let owned = busybox().edit(Edit::copy_directory(
        "/names",
        &host(&source),
        CopyOptions {
            owner: Some("app:staff".to_owned()),
            ..CopyOptions::default()
        },
    ));
    let seen = script(
        &owned,
        "cd /names; cat 'with space'; cat 'with\nnewline'; cat \"$(printf 'not-utf8-\\377')\"; cat n*n | wc -c; \
         stat -c '%U:%G' 'with space' /names; find . -type d | wc -l; echo a > \"$(printf 'made-\\376')\"",
    );
    let depth = deep.strip_prefix(&source).unwrap().components().count() + 1;
    let text = run.stdout(&seen).await.unwrap();
    assert_eq!(
        text,
        format!("with spacewith\nnewlinebytes255\napp:staff\napp:staff\n{depth}\n")
    );
    // They come back as they are.
    let out = engine.path().join("out");
    run.session
        .export_directory(seen.directory("/names").node(), &out)
        .await
        .unwrap();
    for name in [
        b"with\nnewline".as_slice(),
        b"not-utf8-\xff",
        b"made-\xfe",
        long.as_bytes(),
    ] {
        assert!(out.join(std::ffi::OsStr::from_bytes(name)).is_file(), "{name:?}");
    }
    // One that is not text cannot cross to a module, and is named.
    let refused = run.entries(&seen, "/names").await.unwrap_err().to_string();
    assert!(refused.contains("not UTF-8"), "{refused}");
    let unknown = busybox().edit(Edit::copy_directory(
        "/names",
        &host(&source),
        CopyOptions {
            owner: Some("nobody-of-this-name".to_owned()),
            ..CopyOptions::default()
        },
    ));
    let refused = run.entries(&unknown, "/").await.unwrap_err().to_string();
    assert!(refused.contains("nobody-of-this-name"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_timestamps_are_no_part_of_identity_unless_they_were_set() {
    let engine = TestEngine::start();
    let source = engine.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("a.txt"), "a").unwrap();
    let age = |seconds| {
        let file = std::fs::File::options()
            .write(true)
            .open(source.join("a.txt"))
            .unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    };
    let step = || {
        script(
            &busybox().edit(Edit::copy_directory("/s", &host(&source), CopyOptions::default())),
            "cat /s/a.txt",
        )
    };
    age(1_000_000);
    let first = digest(&engine.run(), &host(&source)).await;
    assert_eq!(engine.run().stdout(&step()).await.unwrap(), "a");
    age(2_000_000);
    assert_eq!(digest(&engine.run(), &host(&source)).await, first);
    let mut run = engine.run();
    run.stdout(&step()).await.unwrap();
    assert!(run.steps().await.0.is_empty(), "a touched file runs nothing");
    let set = |seconds| host(&source).edit(Edit::timestamps(seconds));
    let one = digest(&run, &set(1)).await;
    assert_ne!(one, digest(&run, &set(2)).await);
    assert_eq!(one, digest(&engine.run(), &set(1)).await);
    // An export has the same bytes each time.
    let container = busybox().edit(Edit::copy_directory("/s", &host(&source), CopyOptions::default()));
    let mut archives = Vec::new();
    for name in ["one.tar", "two.tar"] {
        let path = engine.path().join(name);
        engine
            .run()
            .session
            .export_container(container.node(), &path)
            .await
            .unwrap();
        archives.push(std::fs::read(path).unwrap());
        age(3_000_000);
    }
    assert!(archives[0] == archives[1], "two exports differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn b22_links_modes_and_pipes_are_kept() {
    let engine = TestEngine::start();
    let run = engine.run();
    let made = script(
        &busybox().configure(Configure::Workdir("/w".to_owned())),
        "echo x > a; ln a b; chmod 4755 a; mkfifo p; truncate -s 10000000 sparse; echo end >> sparse; mkdir m; chmod 1777 m",
    );
    let again = script(
        &made,
        "stat -c '%n %a %h %F' a b p m; stat -c %s sparse; test $(du -k sparse | cut -f1) -lt 1000 && echo sparse; test a -ef b && echo one",
    );
    assert_eq!(
        run.stdout(&again).await.unwrap(),
        "a 4755 2 regular file\nb 4755 2 regular file\np 644 1 fifo\nm 1777 2 directory\n10000004\nsparse\none\n"
    );
}
