//! The modules under modules/: run as users run them, and published.

use std::path::PathBuf;

use wharf_testkit::{World, git::Repository, paths, registry::Registry, world::Done};

fn module(name: &str) -> PathBuf {
    paths::workspace().join("modules").join(name)
}

fn call(world: &World, name: &str, words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module(name)).args(words);
    Done::of(command)
}

#[test]
fn the_next_version_follows_from_commits() {
    let world = World::new().expect("a world");
    let source = Repository::new(&world.path("work/source")).expect("a repository");
    let commit = |subject: &str| {
        source.git(&["commit", "-q", "--allow-empty", "-m", subject]).expect("a commit");
    };
    let release = |function: &str| call(&world, "git-release", &[function, "--repository", "source/.git"]);
    commit("feat: begin");
    assert_eq!(release("next-version").ok(), "0.1.0");
    source.git(&["tag", "v1.4.2"]).expect("a tag");
    source.git(&["tag", "no-version"]).expect("a tag");
    release("next-version").exits(1).says("nothing since 1.4.2 asks for a version");
    commit("docs: a page");
    commit("fix(io): close files");
    assert_eq!(release("next-version").ok(), "1.4.3");
    commit("feat: read arrays");
    assert_eq!(release("next-version").ok(), "1.5.0");
    let notes = release("notes");
    for part in ["## 1.5.0", "### Features", "- read arrays (", "- **io:** close files ("] {
        assert!(notes.ok().contains(part), "{part}: {}", notes.text());
    }
    assert!(!notes.text().contains("a page") && !notes.text().contains("begin"));
    commit("refactor!: drop the old form");
    assert_eq!(release("next-version").ok(), "2.0.0");
}

#[test]
fn images_are_copied_retagged_and_promoted_once() {
    let world = World::new().expect("a world");
    let registry = Registry::start(&world.path("registry")).expect("a registry");
    let name = |name: &str| format!("{}/{name}", registry.address());
    let oci = |words: &[&str]| call(&world, "oci", words);
    let copied = oci(&["copy", "--from", "busybox:latest", "--to", &name("staging/app:1.0.0"), "--tags", "edge"]);
    let digest = copied.ok().split_once('@').expect("a digest").1.to_owned();
    let retagged = oci(&["retag", "--image", &name("staging/app:edge"), "--tag", "tested"]);
    assert!(retagged.ok().starts_with(&name("staging/app@sha256:")), "{}", retagged.text());
    let promote = || oci(&["promote", "--image", &name("staging/app:1.0.0"), "--to", &name("production/app")]);
    assert!(promote().ok().starts_with(&name("production/app@sha256:")));
    promote().ok();
    // Another image under the same tag is not promoted over it.
    oci(&["copy", "--from", "python:3.11-slim", "--to", &name("staging/app:1.0.0")]).ok();
    promote().exits(1).says("what was promoted is not replaced");
    oci(&["promote", "--image", &name(&format!("staging/app@{digest}")), "--to", &name("production/app")])
        .exits(1)
        .says("has no tag to keep");
    oci(&["copy", "--from", "busybox:latest", "--to", &name("x:1"), "--user", "ann"])
        .exits(1)
        .says("--user and --password go together");
}

#[test]
fn a_module_of_the_shelf_is_published_with_all_that_is_said_of_it() {
    let world = World::new().expect("a world");
    let registry = Registry::start(&world.path("registry")).expect("a registry");
    let to = format!("{}/wharf/git-release", registry.address());
    let mut publish = world.command(["publish", "-q", &to, "-m"]);
    publish.arg(module("git-release"));
    let reference = Done::of(publish).ok().to_owned();
    let inspected = world.wharf(["inspect", &reference]);
    for part in [
        "wharf:git-release",
        "0.1.0",
        "Apache-2.0",
        "next-version",
        "ask git repositories for their commits, tags and branches",
    ] {
        assert!(inspected.ok().contains(part), "{part}: {}", inspected.text());
    }
    let source = Repository::new(&world.path("work/source")).expect("a repository");
    source.commit("README", "one\n").expect("a commit");
    let called = world.wharf(["call", "-q", "-m", &reference, "next-version", "--repository", "source/.git"]);
    assert_eq!(called.ok(), "0.1.0");
}
