//! Behaviours 41, 42 and 44: what a module sees, and what it is given by name.

use std::path::Path;

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

fn world() -> World {
    World::new().expect("a world")
}

fn random() -> String {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn call(world: &World, module: &Path, options: &[&str], words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q"]);
    command.args(options).arg("-m").arg(module).args(words);
    Done::of(command)
}

#[test]
fn b41_b44_a_secret_is_seen_only_with_the_right_to_reveal() {
    let mut world = world();
    let value = random();
    world.set("B41_TOKEN", &value);
    let module = guests::sdk(&world);
    let words = ["reveal-secret", "--secret", "env:B41_TOKEN"];
    let denied = call(&world, &module, &[], &words);
    denied
        .exits(3)
        .says("wharf-tests:behaviours may not use reveal")
        .says("`wharf call --allow reveal=B41_TOKEN` grants it");
    assert!(!denied.text().contains(&value));
    for right in ["reveal", "reveal=B41_TOKEN"] {
        let allowed = call(&world, &module, &["--allow", right], &words);
        assert_eq!(allowed.ok().trim(), value);
    }
    call(&world, &module, &["--allow", "reveal=OTHER"], &words).exits(3);
    call(&world, &module, &["--allow", "sudo"], &words)
        .exits(2)
        .says("the capability \"sudo\" is not known");
}

#[test]
fn b41_nothing_that_a_module_can_call_tells_a_secret() {
    let mut world = world();
    let value = random();
    world.set("B41_TOKEN", &value);
    let module = guests::sdk(&world);
    let tries = [
        "tries-to-see",
        "--variable",
        "B41_TOKEN",
        "--path",
        "token",
        "--secret",
    ];
    let seen = call(&world, &module, &[], &[&tries[..], &["env:B41_TOKEN"]].concat());
    assert!(!seen.ok().contains(&value), "{}", seen.text());
    for part in ["B41_TOKEN", "env", "Denied"] {
        assert!(seen.text().contains(part), "{part}: {}", seen.text());
    }
    // From a file of the project: neither by the secret nor by the file.
    world.write("token", &value);
    world.write("x/other", "other");
    let seen = call(&world, &module, &[], &[&tries[..], &["file:token"]].concat());
    let without_variable = seen.ok().replace(&format!("Ok(Some(\"{value}\"))"), "");
    assert!(!without_variable.contains(&value), "{}", seen.text());
}

#[test]
fn a_value_that_a_module_made_is_a_secret_like_others() {
    let world = world();
    let module = guests::sdk(&world);
    let value = random();
    let words = ["made-secret", "--image", "busybox", "--token", &value];
    assert_eq!(call(&world, &module, &[], &words).ok().trim(), "32 ***");
}

#[test]
fn b42_a_module_sees_nothing_that_it_was_not_passed() {
    let world = world();
    let module = guests::sdk(&world);
    let knows = call(&world, &module, &[], &["knows-itself"]);
    let knows = knows.ok();
    let lines: Vec<_> = knows.lines().collect();
    assert_eq!(lines[0], "wharf-tests:behaviours");
    assert!(lines[2].starts_with("b3:") && lines[3] == "false true", "{knows}");
    // Called by its component, it has no source; called from its source, it has that.
    call(&world, &module, &[], &["own-source"])
        .exits(1)
        .says("was not called from its source");
    let source = guests::source("behaviours");
    let names = call(&world, &source, &[], &["own-source"]);
    assert!(names.ok().contains("Cargo.toml") && names.ok().contains("wharf.toml"));
    // Through WASI there is nothing: no arguments, no variables, no files.
    assert_eq!(call(&world, &module, &[], &["looks-around"]).ok(), "nothing");
}

#[test]
fn words_are_shown_with_their_group_and_place() {
    let world = world();
    let module = guests::sdk(&world);
    let mut command = world.command(["call", "--progress", "plain", "-m"]);
    command.arg(&module).arg("talks");
    Done::of(command)
        .says("wharf-tests:behaviours: info: checks")
        .says("wharf-tests:behaviours: warning: checks: one is slow")
        .says("wharf-tests:behaviours: checks: 1 of 2")
        .says("wharf-tests:behaviours: error: src/lib.rs:7: unused");
    let mut command = world.command(["call", "--progress", "json", "-m"]);
    command.arg(&module).arg("talks");
    Done::of(command)
        .says("\"group\":\"checks\"")
        .says("\"file\":\"src/lib.rs\"")
        .says("\"line\":7");
}

#[test]
fn a_changeset_is_shown_as_a_patch_and_has_methods() {
    let world = world();
    let module = guests::sdk(&world);
    world.write("tree/a.txt", "TODO one\nrest\n");
    world.write("tree/old.txt", "old\n");
    let words = ["finished", "--source", "tree"];
    let patch = call(&world, &module, &[], &words);
    for part in [
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n-TODO one\n+DONE one\n rest\n",
        "deleted file mode 100644\n--- a/old.txt\n+++ /dev/null",
    ] {
        assert!(patch.ok().contains(part), "{}", patch.text());
    }
    let modified = call(&world, &module, &[], &[&words[..], &["modified-paths"]].concat());
    assert_eq!(modified.ok().trim(), "a.txt");
    let after = call(
        &world,
        &module,
        &[],
        &[&words[..], &["after", "entries"]].concat(),
    );
    assert_eq!(after.ok().trim(), "a.txt");
    // The patch, given back to a module with the same tree.
    let words = ["again", "--source", "tree", "--patch"];
    let again = call(
        &world,
        &module,
        &[],
        &[&words[..], &["hello", "entries"]].concat(),
    );
    again.exits(1).says("no unified diff");
    let only_a = patch
        .ok()
        .split("diff --git a/old.txt")
        .next()
        .unwrap()
        .to_owned();
    let again = call(
        &world,
        &module,
        &[],
        &[&words[..], &[&only_a, "entries"]].concat(),
    );
    assert_eq!(again.ok().trim(), "a.txt\nnew.txt");
}
