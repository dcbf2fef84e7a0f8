//! Behaviours 42, 44, 45, 46 and 49: modules that call each other, and what each may do then.

use std::path::{Path, PathBuf};

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

/// A world, and the module that calls others, built in it.
fn world() -> (World, PathBuf) {
    let world = World::new().expect("a world");
    guests::raw();
    let module = guests::caller(&world);
    (world, module)
}

fn call(world: &World, module: &Path, words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module).args(words);
    Done::of(command)
}

#[test]
fn b45_values_and_handles_go_from_one_module_to_another_and_back() {
    let (world, module) = world();
    assert_eq!(
        call(&world, &module, &["tree", "entries"]).ok(),
        "one\nthree\ntwo"
    );
    assert_eq!(
        call(&world, &module, &["values"]).ok(),
        "3 times x at deep nowhere | VeryHigh Some(VeryHigh) [(\"b\", 2), (\"a\", 1)] | \
         true é 255 -3 18446744073709551615 -9223372036854775808 0.5 1.25 Some(\"m\")"
    );
    let many = call(&world, &module, &["many", "--image", "busybox", "--count", "8"]);
    assert_eq!(many.ok(), "0 1 2 3 4 5 6 7 ");
}

#[test]
fn b45_what_breaks_in_a_dependency_is_an_error_that_its_caller_can_handle() {
    let (world, module) = world();
    let failures = call(&world, &module, &["failures"]);
    let lines: Vec<_> = failures.ok().lines().collect();
    assert!(
        lines[0].starts_with("module-broke: breaks of wharf-tests:helper panicked: the moon is full"),
        "{lines:?}"
    );
    assert_eq!(
        lines[1..],
        ["not found: the moon is full", "failed: the moon is full"]
    );
}

#[test]
fn b45_the_end_of_a_call_ends_those_that_it_made() {
    let (world, module) = world();
    // Given up by its caller.
    let quick = call(&world, &module, &["gives-up", "--image", "busybox"]);
    assert_eq!(quick.ok(), "quick");
    // Ended with the time of the whole call.
    let mut command = world.command(["call", "-q", "--timeout", "1s", "-m"]);
    command.arg(&module).args(["waits", "--image", "busybox"]);
    Done::of(command).exits(1).says("took longer than 1 s");
    let mut command = world.command(["call", "-q", "--timeout", "1s", "-m"]);
    command.arg(&module).arg("spins");
    Done::of(command).exits(1).says("took longer than 1 s");
}

#[test]
fn b49_a_module_made_without_the_sdk_composes_like_any_other() {
    let (world, module) = world();
    let foreign = call(&world, &module, &["foreign", "--image", "busybox"]);
    assert_eq!(foreign.ok(), "AHOY 5 [\"first\\n\", \"second\\n\"] 3 hello");
}

#[test]
fn b49_a_module_written_in_python_composes_like_any_other() {
    let Some(python) = guests::python() else {
        return;
    };
    let world = World::new().expect("a world");
    let alone = call(&world, &python, &["shout", "--text", "ahoy", "--level", "high"]);
    assert_eq!(alone.ok(), "AHOY");
    let module = guests::python_caller(&world);
    let foreign = |image: &str| call(&world, &module, &["foreign", "--image", image]);
    assert_eq!(
        foreign("busybox").ok(),
        "AHOY [\"first\\n\", \"second\\n\"] 3 hello"
    );
    foreign("alpine")
        .exits(3)
        .says("foreign:python (called by wharf-tests:python-caller) may not use images")
        .says("[grants.\"foreign:python\"]");
}

#[test]
fn b42_b44_a_dependency_may_do_only_what_it_was_granted() {
    let (mut world, module) = world();
    world.set("B42_VARIABLE", "a value of the caller's");
    world.write("file.txt", "a file of the caller's");
    let tries = |what: &str, value: &str| {
        let words = ["tries", "--image", "busybox", "--what", what, "--value", value];
        call(&world, &module, &words)
    };
    let out = world.path("work/written");
    for (what, value, right) in [
        ("env", "B42_VARIABLE", "host-env"),
        ("file", "file.txt", "host-read"),
        ("directory", ".", "host-read"),
        ("find-up", "file.txt", "host-read"),
        ("write", out.to_str().unwrap(), "host-write"),
        ("image", "alpine", "images"),
        ("docker", "busybox", "docker"),
        ("http", "http://127.0.0.1:9/x", "http"),
        ("git", "https://127.0.0.1:9/x.git", "git"),
        ("network", "true", "network"),
        ("cache", "not-granted", "caches"),
        ("publish", "127.0.0.1:9/x/y", "registry"),
    ] {
        let denied = tries(what, value);
        denied
            .exits(3)
            .says("wharf-tests:helper (called by wharf-tests:caller) may not use")
            .says(right)
            .says("[grants.\"wharf-tests:helper\"]")
            .says("tests/guests/caller/wharf.toml");
        assert_eq!(denied.text(), "");
    }
    assert!(!out.exists());
    assert_eq!(tries("cache", "other").ok(), "");
    tries("source", "")
        .exits(1)
        .says("was not called from its source");
    // It sees that, too.
    let words = [
        "granted",
        "--capabilities",
        "container",
        "--capabilities",
        "images",
    ];
    let more = ["--capabilities", "caches=other", "--capabilities", "caches=x"];
    let granted = call(&world, &module, &[&words[..], &more[..], &["--json"]].concat());
    assert_eq!(granted.ok().replace([' ', '\n'], ""), "[true,false,true,false]");
}

#[test]
fn b41_b44_a_secret_is_handed_over_only_by_a_granted_name() {
    let (mut world, module) = world();
    world.set("PASSED", "passed-value");
    world.set("OTHER", "other-value");
    let hands = |secret: &str, more: &[&str]| {
        let words = ["hands-secret", "--image", "busybox", "--secret", secret];
        call(&world, &module, &[&words[..], more].concat())
    };
    assert_eq!(hands("env:PASSED", &[]).ok().trim(), "12");
    hands("env:OTHER", &[])
        .exits(3)
        .says("may not use secrets")
        .says("secrets = [\"OTHER\"]");
    let seen = hands("env:PASSED", &["--plain"]);
    seen.exits(3)
        .says("may not use reveal")
        .says("reveal = [\"PASSED\"]");
    assert!(!seen.stderr.contains("passed-value"));
}

#[test]
fn b46_a_container_is_sealed_when_it_is_handed_over() {
    let (mut world, module) = world();
    world.set("PASSED", "passed-value");
    let script = "cat /cache/who /secret 2>/dev/null; echo \"[$SECRET$HELPER_KEY]\"; ls /sys/class/net | wc -l; cat /made /seen 2>/dev/null; true";
    let words = ["--image", "busybox", "--script", script];
    let handed = call(
        &world,
        &module,
        &[&["hands-container", "--secret", "env:PASSED"][..], &words[..]].concat(),
    );
    let (theirs, own) = handed.ok().split_once("own: ").expect("both");
    assert_eq!(theirs, "theirs: []\n1\nmade\n");
    assert!(own.starts_with("caller\n***[***]\n2\nmade"), "{own}");
    let taken = call(&world, &module, &[&["takes-container"][..], &words[..]].concat());
    let (own, theirs) = taken.ok().split_once("theirs: ").expect("both");
    assert_eq!(own, "own: []\n1\nseen\n");
    assert!(
        theirs.starts_with("helper\n[") && !theirs.starts_with("helper\n[]"),
        "{theirs}"
    );
}

#[test]
fn b31_caches_of_one_name_in_two_modules_are_two() {
    let (world, module) = world();
    let found = call(&world, &module, &["caches", "--image", "busybox"]);
    assert_eq!(found.ok(), "[]");
}
