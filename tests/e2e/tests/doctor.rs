//! `wharf doctor`: what it finds on this host, with and without what an engine needs.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use serde_json::Value;
use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

fn world() -> World {
    let mut world = World::new().expect("a world");
    world.set("WHARF_ENGINE", "auto");
    world.set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    world
}

fn findings(done: &Done) -> Value {
    serde_json::from_str(done.text())
        .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", done.text(), done.stderr))
}

/// State, text and next step of what has this name.
fn found(findings: &Value, name: &str) -> (String, String, String) {
    let all = findings["findings"].as_array().expect("findings");
    let finding = all
        .iter()
        .find(|finding| finding["name"] == name)
        .unwrap_or_else(|| panic!("nothing is said of {name}: {findings:#}"));
    let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("text"), text("next"))
}

fn state(findings: &Value, name: &str) -> String {
    found(findings, name).0
}

/// A directory of programs that stands for PATH.
fn programs(world: &World, programs: &[(&str, &str)]) -> std::path::PathBuf {
    let directory = world.path("programs");
    fs::create_dir_all(&directory).expect("a directory");
    for (name, script) in programs {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it can be run");
    }
    directory
}

#[test]
fn without_docker_the_engine_is_on_this_host() {
    let world = world();
    let done = world.wharf(["doctor", "--json"]);
    done.exits(0);
    let all = findings(&done);
    assert_eq!(all["engine"], "local");
    // One of two places is enough.
    let (docker, text, next) = found(&all, "docker");
    assert_eq!(docker, "warn");
    assert!(text.contains("/nonexistent/docker.sock"), "{text}");
    assert!(!next.is_empty());
    for name in [
        "root",
        "namespaces",
        "overlay",
        "seccomp",
        "store",
        "socket",
        "cargo",
        "target",
        "git",
    ] {
        assert_eq!(state(&all, name), "ok", "{name}: {all:#}");
    }
    assert!(found(&all, "store").1.contains("wharf/store on "), "{all:#}");
    // What was tried has left nothing behind, and no engine.
    let left: Vec<_> = fs::read_dir(world.path("wharf"))
        .expect("the world's files")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(world.processes().is_empty());
}

#[test]
fn people_get_a_table_with_marks() {
    let world = world();
    let done = world.wharf(["doctor"]);
    let text = done.ok();
    assert!(
        text.starts_with("Pipelines can run: the engine is a process on this host.\n"),
        "{text}"
    );
    assert!(text.contains("\n  ok       cargo"), "{text}");
    assert!(text.contains("\n  warn     docker"), "{text}");
    assert!(text.contains("next: "), "{text}");
    assert!(!text.contains('\x1b'), "colours for no terminal: {text}");
}

#[test]
fn an_engine_that_runs_is_described() {
    let world = world();
    let mut call = world.command(["call", "-q", "--engine", "local", "-m"]);
    call.arg(guests::by_hand(&world.path("work")))
        .args(["greeting", "--image", "busybox:latest"]);
    Done::of(call).ok();
    let all = findings(&world.wharf(["doctor", "--json"]));
    let (running, text, _) = found(&all, "running");
    assert_eq!(running, "ok");
    assert!(
        text.contains("runs as process") && text.contains("wharf/store"),
        "{text}"
    );
}

#[test]
fn a_docker_that_says_nothing_is_not_waited_for_long() {
    let mut world = world();
    let socket = world.path("silent.sock");
    let _listens = UnixListener::bind(&socket).expect("a socket");
    world.set("DOCKER_HOST", format!("unix://{}", socket.display()));
    let all = findings(&world.wharf(["doctor", "--json"]));
    let (docker, text, _) = found(&all, "docker");
    assert_eq!((docker.as_str(), all["engine"].as_str()), ("warn", Some("local")));
    assert!(text.contains("does not answer"), "{text}");
    // Asked for by name, there is no other place.
    let done = world.wharf(["doctor", "--json", "--engine", "docker"]);
    done.exits(4);
    assert_eq!(findings(&done)["engine"], Value::Null);
    assert_eq!(state(&findings(&done), "docker"), "missing");
}

#[test]
fn who_may_make_no_namespaces_is_told_that_no_engine_can_run() {
    let mut world = world();
    let open = tempfile::tempdir().expect("a directory");
    fs::set_permissions(open.path(), PermissionsExt::from_mode(0o777)).expect("it is open");
    world.set("WHARF_HOME", open.path().join("home"));
    world.set("WHARF_STORE", open.path().join("home/store"));
    let done = Done::of(world.command_without_namespaces(open.path(), &["doctor"]));
    done.exits(4);
    let text = done.text();
    assert!(
        text.starts_with("No pipeline can run: there is no place for an engine.\n"),
        "{text}"
    );
    assert!(text.contains("missing  namespaces"), "{text}");
    assert!(text.contains("missing  docker"), "{text}");
    assert!(
        text.contains("next: sudo sysctl user.max_user_namespaces="),
        "{text}"
    );
}

#[test]
fn a_toolchain_that_lacks_something_is_no_reason_to_fail() {
    let mut world = world();
    let with_rustup = programs(
        &world,
        &[
            ("cargo", "echo cargo 1.0.0"),
            ("rustup", "echo rustup 1.0.0"),
            ("rustc", "echo /nonexistent/lib"),
        ],
    );
    world.set("PATH", &with_rustup);
    let done = world.wharf(["doctor", "--json"]);
    done.exits(0);
    let all = findings(&done);
    assert_eq!(state(&all, "cargo"), "ok");
    let (target, text, next) = found(&all, "target");
    assert_eq!(target, "missing");
    assert!(text.contains("wasm32-wasip2 is not installed"), "{text}");
    assert_eq!(next, "rustup target add wasm32-wasip2");
    assert_eq!(state(&all, "git"), "warn");

    world.set("PATH", "/nonexistent");
    let all = findings(&world.wharf(["doctor", "--json"]));
    let (cargo, text, next) = found(&all, "cargo");
    assert_eq!(cargo, "missing");
    assert!(text.contains("cargo is not installed"), "{text}");
    assert!(next.contains("rustup.rs"), "{next}");

    // A program that hangs is not waited for.
    programs(&world, &[("cargo", "exec /bin/sleep 60")]);
    world.set("PATH", &with_rustup);
    let all = findings(&world.wharf(["doctor", "--json"]));
    assert!(found(&all, "cargo").1.contains("says nothing"), "{all:#}");
}

#[test]
fn what_is_set_wrongly_is_found_and_no_error() {
    let mut world = world();
    world.set("WHARF_ENGINE", "podman");
    let done = world.wharf(["doctor", "--json"]);
    done.exits(4);
    assert!(
        found(&findings(&done), "choice")
            .1
            .contains("auto, docker, local, unix://")
    );
    world.set("WHARF_ENGINE", "unix:///nonexistent/engine.sock");
    let done = world.wharf(["doctor", "--json"]);
    done.exits(4);
    assert!(
        found(&findings(&done), "socket")
            .2
            .contains("wharf engine serve --socket")
    );
}
