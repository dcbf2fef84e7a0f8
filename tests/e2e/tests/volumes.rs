//! Behaviours 18, 30 and 31: what of a directory is taken, and whose a cache volume is.

use std::{fs, path::Path};

use wharf_e2e::{
    TestEngine,
    engine::{busybox, script},
    guests,
};
use wharf_graph::{
    Container, Directory, Error, Volume,
    op::{Filter, Sharing},
    read::{Answer, Question},
};
use wharf_testkit::{World, world::Done};

fn filter(include: &[&str], exclude: &[&str], gitignore: bool) -> Filter {
    let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    Filter {
        include: owned(include),
        exclude: owned(exclude),
        gitignore,
    }
}

/// Files by their paths, each with its path as content.
fn tree(directory: &Path, files: &[&str]) {
    for file in files {
        let path = directory.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, file).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b18_what_is_taken_of_a_directory() {
    let engine = TestEngine::start();
    let run = engine.run();
    let source = engine.path().join("source");
    tree(
        &source,
        &[
            ".env",
            ".git/HEAD",
            "a.rs",
            "a.txt",
            "deep/er/b.rs",
            "deep/er/b.txt",
            "deep/.hidden",
            "target/out",
            "target/kept",
        ],
    );
    let host = |filter: Filter| Directory::host(source.to_str().unwrap(), filter);
    for (include, exclude, expected) in [
        (
            &["**/*.rs"][..],
            &[][..],
            &["a.rs", "deep", "deep/er", "deep/er/b.rs"][..],
        ),
        (&["*.rs"], &[], &["a.rs", "deep", "deep/er", "deep/er/b.rs"]),
        (&["/*.rs"], &[], &["a.rs"]),
        (
            &["deep/**"],
            &["*.txt"],
            &["deep", "deep/.hidden", "deep/er", "deep/er/b.rs"],
        ),
        (&["*.rs", "!b.rs"], &[], &["a.rs"]),
        (&[], &["*", "!a.*"], &["a.rs", "a.txt"]),
        (&[".*"], &[".git"], &[".env", "deep", "deep/.hidden"]),
    ] {
        let taken = host(filter(include, exclude, false));
        assert_eq!(
            run.paths(&taken).await,
            expected,
            "{include:?} {exclude:?} as it is sent"
        );
        let all = host(Filter::default()).filter(filter(include, exclude, false));
        assert_eq!(
            run.paths(&all).await,
            expected,
            "{include:?} {exclude:?} in the engine"
        );
    }
    fs::write(source.join(".gitignore"), "target/*\n!target/kept\n.env\n").unwrap();
    let honoured = run.paths(&host(filter(&[], &[], true))).await;
    for (path, is_there) in [
        ("target/kept", true),
        ("target/out", false),
        (".env", false),
        ("a.txt", true),
    ] {
        assert_eq!(
            honoured.contains(&path.to_owned()),
            is_there,
            "{path} of {honoured:?}"
        );
    }
    fs::write(source.join(".wharfignore"), "*.txt\n!.env\n").unwrap();
    let run = engine.run();
    let honoured = run.paths(&host(filter(&[], &[], true))).await;
    for (path, is_there) in [
        ("a.txt", false),
        ("deep/er/b.txt", false),
        ("a.rs", true),
        (".env", true),
    ] {
        assert_eq!(
            honoured.contains(&path.to_owned()),
            is_there,
            "{path} of {honoured:?}"
        );
    }
    let not_asked = run.paths(&host(Filter::default())).await;
    assert!(not_asked.contains(&"a.txt".to_owned()) && not_asked.contains(&"target/out".to_owned()));
}

fn cached(volume: &Volume) -> Container {
    busybox().with_mounted_cache("/cache", volume)
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_a_cache_volume_is_shared_as_it_says_and_is_in_no_snapshot() {
    let engine = TestEngine::start();
    let run = engine.run();
    let volume = Volume::new("me", "packages");
    let written = script(&cached(&volume), "echo kept > /cache/file; echo mine > /mine");
    assert_eq!(run.text(&written, "/mine").await.unwrap(), "mine\n");
    // In no snapshot, and in no image.
    let read = run.text(&written, "/cache/file").await;
    assert!(matches!(read, Err(Error::Invalid(_))), "{read:?}");
    let Answer::Names(root) = run
        .ask(written.rootfs().node(), Question::Glob("cache/**".to_owned()))
        .await
        .unwrap()
    else {
        panic!("no names");
    };
    assert_eq!(root, Vec::<String>::new());
    // Read-only.
    let read_only = volume.clone().with_sharing(Sharing::ReadOnly);
    let tries = script(
        &cached(&read_only),
        "cat /cache/file; (echo x > /cache/new) 2>/dev/null || echo refused",
    );
    assert_eq!(run.stdout(&tries).await.unwrap(), "kept\nrefused\n");
    // Locked, across clients: the one that comes second sees what the first left, never a part of it.
    let locked = Volume::new("me", "locked").with_sharing(Sharing::Locked);
    let adds = |line: &str| {
        script(
            &cached(&locked),
            &format!(
                "test ! -e /cache/busy || exit 9; touch /cache/busy; sleep 0.5; echo {line} >> /cache/lines; rm /cache/busy; cat /cache/lines"
            ),
        )
    };
    let (one, other) = (engine.run(), engine.run());
    let (first, second) = (adds("a"), adds("b"));
    let (first, second) = tokio::join!(one.stdout(&first), other.stdout(&second));
    let mut seen = [first.unwrap(), second.unwrap()];
    seen.sort_by_key(String::len);
    assert_eq!(
        (seen[0].lines().count(), seen[1].lines().count()),
        (1, 2),
        "{seen:?}"
    );
    // Filled from a directory and given to an owner when it is first used.
    let seed = Directory::empty().edit(wharf_graph::build::Edit::new_file("seed", b"seed\n", None, None));
    let filled = Volume::new("me", "filled")
        .with_source(&seed)
        .with_owner("1000:1000");
    let looks = script(
        &cached(&filled),
        "cat /cache/seed; stat -c %u:%g /cache; echo changed > /cache/seed",
    );
    assert_eq!(run.stdout(&looks).await.unwrap(), "seed\n1000:1000\n");
    let again = script(&cached(&filled), "cat /cache/seed");
    assert_eq!(run.stdout(&again).await.unwrap(), "changed\n");
}

#[test]
fn b31_a_cache_volume_is_its_modules_own_and_survives_edits() {
    let world = World::new().expect("a world");
    let component = fs::read(guests::sdk(&world)).unwrap();
    let (mine, other) = (world.path("work/mine.wasm"), world.path("work/other.wasm"));
    fs::write(&mine, &component).unwrap();
    fs::write(&other, &component).unwrap();
    let remember = |module: &Path, line: &str| {
        let mut command = world.command(["call", "-q", "-m"]);
        command.arg(module);
        command.args([
            "remember", "--image", "busybox", "--cache", "lines", "--line", line,
        ]);
        Done::of(command).ok().to_owned()
    };
    assert_eq!(remember(&mine, "one").trim_end(), "one");
    // Another module's of the same name, which also has the same name for itself.
    assert_eq!(remember(&other, "two").trim_end(), "two");
    // An edit: another component at the same place.
    let mut edited = component.clone();
    edited.extend_from_slice(b"\0\x06\x04noteX");
    fs::write(&mine, edited).unwrap();
    assert_eq!(remember(&mine, "three").trim_end(), "one\nthree");
}
