//! The kit with which authors test their modules against the real host.

use wharf_e2e::guests;
use wharf_test::Host;
use wharf_testkit::World;

/// A host as an author has it: with this run's program, engine and mirror.
fn host(world: &World) -> Host {
    let settings = world.command(["version"]);
    let of_world = |name: &str| {
        let mut all = settings.get_envs().filter(|(key, _)| *key == name);
        all.find_map(|(_, value)| value.map(std::ffi::OsStr::to_owned))
    };
    let host = Host::new().with_program(settings.get_program());
    [
        "WHARF_ENGINE",
        "WHARF_REGISTRY_MIRRORS",
        "CARGO_HOME",
        "RUSTUP_HOME",
    ]
    .iter()
    .filter_map(|name| Some((name, of_world(name)?)))
    .fold(host, |host, (name, value)| host.with_env(name, value))
}

#[test]
fn a_module_is_tested_with_the_rights_that_a_test_gives_it() {
    let world = World::new().expect("a world");
    let host = host(&world).with_env("TOKEN", "t0k3n");
    let module = host.module(guests::sdk(&world));
    host.write("tree/b", "2");
    let added = module
        .call("add")
        .flag("source", "tree")
        .flag("path", "a")
        .flag("contents", "-1");
    assert_eq!(added.clone().then("entries").text(), "a\nb");
    assert_eq!(added.then("file").flag("path", "a").then("contents").text(), "-1");
    let step = module
        .call("run")
        .flag("image", "busybox:latest")
        .flag("args", "echo")
        .flag("args", "from a step");
    assert_eq!(step.text(), "from a step");
    let see = || module.call("reveal-secret").flag("secret", "env:TOKEN");
    assert!(see().denied("reveal").contains("--allow reveal"));
    assert_eq!(see().allow("reveal").text(), "t0k3n");
    assert!(
        module
            .call("fails")
            .flag("message", "the moon is full")
            .fails()
            .contains("the moon is full")
    );
    assert_eq!(module.call("text").flag("bytes", "3").json(), "\"xxx\"");
}

#[test]
fn nothing_of_a_host_is_left() {
    let world = World::new().expect("a world");
    let host = host(&world);
    let path = host.write("file", "x");
    let module = guests::sdk(&world);
    let made = host
        .module(module)
        .call("made")
        .flag("image", "busybox:latest")
        .flag("args", "true");
    made.then("sync").run();
    drop(host);
    assert!(!path.exists());
}

#[test]
#[should_panic(expected = "ended with 2")]
fn a_call_that_is_none_fails_the_test() {
    let world = World::new().expect("a world");
    host(&world).module("missing.wasm").call("x").text();
}
