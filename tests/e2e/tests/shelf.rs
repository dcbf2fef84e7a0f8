//! The modules under modules/: run as users run them, on real projects and registries, and published.

use std::{fs, path::PathBuf};

use wharf_testkit::{World, fixtures, git::GitRepository, paths, registry::Registry, world::Done};

/// An image of the fixtures that has Python, pip and apt.
const PYTHON: &str = "python:3.11-slim";

fn module(name: &str) -> PathBuf {
    paths::workspace().join("modules").join(name)
}

/// Calls a function of a module of the shelf, from its source.
fn call(world: &World, name: &str, words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module(name)).args(words);
    Done::of(command)
}

/// A registry to which a module of the shelf was published, and its reference there with its digest.
fn published(world: &World, name: &str) -> (Registry, String) {
    let registry = Registry::start(&world.path("registry")).expect("a registry");
    let to = format!("{}/wharf/{name}", registry.address());
    let mut publish = world.command(["publish", "-q", &to, "-m"]);
    publish.arg(module(name));
    let reference = Done::of(publish).ok().to_owned();
    (registry, reference)
}

/// A registry with an image that has cargo, and the image's reference.
fn rust_image(world: &World) -> (Registry, String) {
    let registry = Registry::start(&world.path("images")).expect("a registry");
    let image = fixtures::rust().expect("an image with cargo");
    registry.push(&image, "library/rust", "1-slim").expect("a push");
    let reference = format!("{}/library/rust:1-slim", registry.address());
    (registry, reference)
}

/// A small Python package with a test of its own.
fn python_package(world: &World) {
    world.write(
        "package/pyproject.toml",
        "[build-system]\nrequires = [\"setuptools\", \"wheel\"]\nbuild-backend = \"setuptools.build_meta\"\n\
         [project]\nname = \"moon\"\nversion = \"1.2.3\"\n",
    );
    world.write("package/moon.py", "def phase():\n    return 'full'\n");
    world.write(
        "package/tests/test_moon.py",
        "import moon\n\ndef test_phase():\n    assert moon.phase() == 'full'\n",
    );
}

#[test]
fn the_next_version_and_the_notes_follow_from_commits() {
    let world = World::new().expect("a world");
    let source = GitRepository::new(&world.path("work/source")).expect("a repository");
    let git = |words: &[&str]| source.git(words).expect("git succeeds");
    let commit = |subject: &str| git(&["commit", "-q", "--allow-empty", "-m", subject]);
    let release = |function: &str| call(&world, "git-release", &[function, "--repository", "source/.git"]);
    commit("feat: begin");
    assert_eq!(release("next-version").ok(), "0.1.0");
    git(&["tag", "v1.4.2"]);
    git(&["tag", "no-version"]);
    release("next-version")
        .exits(1)
        .says("nothing since 1.4.2 asks for a version");
    // What was written before the release and merged after it is new.
    git(&["checkout", "-q", "-b", "side"]);
    commit("feat: read arrays");
    git(&["checkout", "-q", "main"]);
    commit("fix(io): close files");
    git(&["tag", "v1.4.3"]);
    commit("docs: a page");
    git(&["merge", "-q", "--no-ff", "-m", "Merge side", "side"]);
    assert_eq!(release("last-version").ok(), "1.4.3");
    assert_eq!(release("next-version").ok(), "1.5.0");
    let notes = release("notes");
    assert!(
        notes
            .ok()
            .starts_with("## 1.5.0\n\n### Features\n\n- read arrays ("),
        "{}",
        notes.text()
    );
    for absent in ["close files", "a page", "begin"] {
        assert!(!notes.text().contains(absent), "{absent}: {}", notes.text());
    }
    commit("refactor!: drop the old form");
    assert_eq!(release("next-version").ok(), "2.0.0");
    let first = [
        "next-version",
        "--repository",
        "source/.git",
        "--tag-prefix",
        "app-v",
        "--first",
        "3.0.0",
    ];
    assert_eq!(call(&world, "git-release", &first).ok(), "3.0.0");
}

#[test]
fn a_python_project_is_tested_and_its_wheel_built() {
    let world = World::new().expect("a world");
    python_package(&world);
    let python = |words: &[&str]| {
        call(
            &world,
            "python",
            &[words, &["--source", "package", "--python", PYTHON]].concat(),
        )
    };
    let tested = python(&["test"]);
    assert!(tested.ok().contains("1 passed"), "{}", tested.text());
    let wheel = || {
        python(&["wheel", "-o", "dist/"]).ok();
        fs::read(world.path("work/dist/moon-1.2.3-py3-none-any.whl")).expect("a wheel")
    };
    let first = wheel();
    assert!(first.starts_with(b"PK"), "a wheel is a zip archive");
    assert_eq!(wheel(), first);
    world.write("package/moon.py", "def phase():\n    return 'new'\n");
    python(&["test"]).exits(1).says("assert 'new' == 'full'");
    python(&["environment", "--extras", "docs"])
        .exits(1)
        .says("the project has no extra \"docs\"; it has no extras");
}

#[test]
fn a_rust_project_is_built_where_an_image_has_cargo() {
    let world = World::new().expect("a world");
    let (_registry, image) = rust_image(&world);
    world.write(
        "crate/Cargo.toml",
        "[package]\nname = \"tide\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    );
    world.write(
        "crate/Cargo.lock",
        "version = 3\n\n[[package]]\nname = \"tide\"\nversion = \"0.1.0\"\n",
    );
    world.write(
        "crate/src/main.rs",
        "fn main() { println!(\"high\") }\n#[test]\nfn holds() {}\n",
    );
    let rust = |words: &[&str]| {
        call(
            &world,
            "rust",
            &[words, &["--source", "crate", "--rust", &image]].concat(),
        )
    };
    assert!(rust(&["test"]).ok().contains("1 passed"));
    rust(&["build", "-o", "bin"]).ok();
    let says = || {
        Done::of(std::process::Command::new(world.path("work/bin/tide")))
            .ok()
            .to_owned()
    };
    assert_eq!(says(), "high");
    world.write("crate/src/main.rs", "fn main() { println!(\"low\") }\n");
    rust(&["build", "-o", "bin"]).ok();
    assert_eq!(says(), "low");
}

#[test]
fn what_is_no_rust_project_is_said_before_anything_runs() {
    let world = World::new().expect("a world");
    world.write("crate/Cargo.toml", "[package]\nname = \"tide\"\n");
    call(&world, "rust", &["test", "--source", "crate", "--rust", PYTHON])
        .exits(1)
        .says("the directory has no Cargo.lock");
}

#[test]
fn images_are_copied_retagged_and_promoted_once() {
    let world = World::new().expect("a world");
    let registry = Registry::start(&world.path("registry")).expect("a registry");
    let name = |name: &str| format!("{}/{name}", registry.address());
    let (staged, production) = (name("staging/app:1.0.0"), name("production/app"));
    let oci = |words: &[&str]| call(&world, "oci", words);
    let copy = |from: &str| oci(&["copy", "--from", from, "--to", &staged, "--tags", "edge"]);
    let copied = copy("busybox:latest").ok().to_owned();
    let digest = copied
        .strip_prefix(&name("staging/app@"))
        .expect("a digest there");
    let retagged = oci(&["retag", "--image", &name("staging/app:edge"), "--tag", "tested"]);
    assert_eq!(retagged.ok(), copied, "another name for the same image");
    let promote = || oci(&["promote", "--image", &staged, "--to", &production]);
    assert_eq!(promote().ok(), format!("{production}@{digest}"));
    assert_eq!(
        promote().ok(),
        format!("{production}@{digest}"),
        "the same again is no error"
    );
    // Another image under the same tag is not promoted over it.
    copy(PYTHON).ok();
    promote().exits(1).says("what was promoted is not replaced");
    let by_digest = name(&format!("staging/app@{digest}"));
    oci(&["promote", "--image", &by_digest, "--to", &production])
        .exits(1)
        .says("has no tag under which it could be promoted");
    oci(&["copy", "--from", "busybox", "--to", &name("x:1"), "--user", "ann"])
        .exits(1)
        .says("--user and --password go together");
}

#[test]
fn a_published_module_says_what_it_is_and_is_never_replaced() {
    let world = World::new().expect("a world");
    let (registry, reference) = published(&world, "git-release");
    let inspected = world.wharf(["inspect", &reference]);
    for part in [
        "wharf:git-release",
        "0.1.0",
        "Apache-2.0",
        "next-version",
        "conventional",
    ] {
        assert!(
            inspected.ok().to_lowercase().contains(&part.to_lowercase()),
            "{part}: {}",
            inspected.text()
        );
    }
    let to = format!("{}/wharf/git-release:0.1.0", registry.address());
    let publish = |name: &str| {
        let mut publish = world.command(["publish", "-q", &to, "-m"]);
        publish.arg(module(name));
        Done::of(publish)
    };
    assert_eq!(
        publish("git-release").ok(),
        reference,
        "the same again is no error"
    );
    assert_ne!(publish("oci").code, 0, "another component is refused");
}

#[test]
fn a_root_file_system_is_made_by_a_module_of_a_registry_on_an_empty_store() {
    let world = World::new().expect("a world");
    let (_registry, reference) = published(&world, "debian");
    let other = World::new().expect("another world");
    let mirror = fixtures::debian_mirror().expect("a mirror");
    let words = [
        "container",
        "--mirror",
        &mirror,
        "--suite",
        "bookworm",
        "--variant",
        "apt",
    ];
    let more = ["--packages", "hello", "--tools", PYTHON];
    let step = ["with-exec", "--args", "hello", "stdout"];
    let called = other.wharf([&["call", "-q", "-m", &reference][..], &words, &more, &step].concat());
    assert_eq!(called.ok(), "Hello, world!");
    let bad = ["rootfs", "--mirror", "mirror", "--tools", PYTHON];
    other
        .wharf([&["call", "-q", "-m", &reference][..], &bad].concat())
        .exits(1)
        .says("is no address of a mirror");
}

#[test]
fn a_module_of_a_registry_publishes_only_where_the_call_lets_it() {
    let world = World::new().expect("a world");
    let (registry, reference) = published(&world, "oci");
    let other = World::new().expect("another world");
    let to = format!("{}/mirror/busybox:1", registry.address());
    let copy = |allowed: &[&str]| {
        let words = ["copy", "--from", "busybox:latest", "--to", &to];
        other.wharf([&["call", "-q", "-m", &reference][..], allowed, &words].concat())
    };
    let line = format!("--allow registry={}/mirror/busybox", registry.address());
    copy(&[])
        .exits(3)
        .says("wharf:oci may not use registry")
        .says(&line);
    let asked = registry.requests();
    assert!(
        asked.iter().all(|request| !request.path.contains("/mirror/")),
        "nothing was asked of the destination"
    );
    let allowed: Vec<_> = line.split(' ').collect();
    assert!(copy(&allowed).ok().contains("/mirror/busybox@sha256:"));
}

#[test]
fn a_module_of_the_shelf_has_only_the_rights_that_its_caller_grants() {
    let world = World::new().expect("a world");
    let (registry, _) = published(&world, "python");
    python_package(&world);
    let sdk = paths::workspace().join("sdk-guest/rust");
    let manifest = |grants: &str| {
        format!(
            "[module]\nname = \"acme:caller\"\nversion = \"0.1.0\"\nsdk = \"rust\"\n\n[dependencies]\n\
             \"wharf:python\" = {{ oci = \"{}/wharf/python\", version = \"0.1.0\" }}\n\n{grants}",
            registry.address()
        )
    };
    world.write("caller/wharf.toml", manifest(""));
    world.write(
        "caller/Cargo.toml",
        format!(
            "[package]\nname = \"caller\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n\
             [lib]\ncrate-type = [\"cdylib\"]\n[dependencies]\nwharf-sdk = {{ path = {sdk:?} }}\n"
        ),
    );
    world.write("caller/src/lib.rs", include_str!("shelf/caller.rs"));
    let test = || {
        world.wharf([
            "call", "-q", "-m", "caller", "test", "--source", "package", "--image", PYTHON,
        ])
    };
    test()
        .exits(3)
        .says("wharf:python (called by acme:caller) may not use caches")
        .says("caches = [\"pip\"] under [grants.\"wharf:python\"] of ")
        .says("caller/wharf.toml");
    let grants = "[grants.\"wharf:python\"]\nnetwork = true\ncaches = [\"pip\"]\n";
    world.write("caller/wharf.toml", manifest(grants));
    assert!(test().ok().contains("1 passed"));
}
