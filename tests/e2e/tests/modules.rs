//! Modules through `wharf`: those that misbehave, and those made without the SDK.

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

/// Calls a function of a module.
fn call(world: &World, module: &std::path::Path, words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module).args(words);
    Done::of(command)
}

fn world() -> World {
    World::new().expect("a world")
}

#[test]
fn b43_a_guest_that_breaks_is_named_with_its_function() {
    let world = world();
    let module = guests::sdk(&world);
    call(&world, &module, &["panics", "--message", "no such tree"])
        .exits(1)
        .says("panics of wharf-tests:behaviours panicked: no such tree (at src/lib.rs:");
    call(&world, &module, &["allocates", "--bytes", "4294967296"])
        .exits(1)
        .says("allocates of wharf-tests:behaviours needed more than 1 GiB of memory");
    call(&world, &module, &["recurses", "--depth", "100000000"])
        .exits(1)
        .says("recurses of wharf-tests:behaviours reached outside its memory: it may recurse too deeply");
    call(&world, &module, &["handles", "--count", "1000000"])
        .exits(1)
        .says("handles of wharf-tests:behaviours held more than 200000 handles");
    call(&world, &module, &["text", "--bytes", "104857600"])
        .exits(1)
        .says("text of wharf-tests:behaviours handed over more than 32 MiB");
    assert_eq!(call(&world, &module, &["text", "--bytes", "4"]).ok(), "xxxx");
}

#[test]
fn b43_an_endless_loop_ends_with_the_calls_time() {
    let world = world();
    let module = guests::sdk(&world);
    let mut command = world.command(["call", "-q", "--timeout", "1s", "-m"]);
    command.arg(&module).arg("spins");
    Done::of(command)
        .exits(1)
        .says("spins of wharf-tests:behaviours took longer than 1 s");
}

#[test]
fn errors_of_a_function_are_shown_in_its_words() {
    let world = world();
    let module = guests::sdk(&world);
    call(&world, &module, &["fails", "--message", "the moon is full"])
        .exits(1)
        .says("the moon is full");
    call(
        &world,
        &module,
        &["fails-with-text", "--message", "so is the sea"],
    )
    .exits(1)
    .says("so is the sea");
}

#[test]
fn every_plain_type_arrives_as_it_was_written() {
    let world = world();
    let module = guests::sdk(&world);
    let words = [
        "echo",
        "--flag",
        "--letter",
        "é",
        "--text",
        "a b",
        "--small",
        "255",
        "--whole=-3",
        "--big",
        "18446744073709551615",
        "--fraction",
        "0.5",
        "--list",
        "1",
        "--list",
        "2",
        "--pair",
        "[\"x\",-1]",
    ];
    assert_eq!(
        call(&world, &module, &words).ok(),
        "true 'é' \"a b\" 255 -3 18446744073709551615 0.5 [1, 2] (\"x\", -1) 7 None"
    );
}

#[test]
fn b49_a_guest_in_raw_wit_bindgen_works_the_same() {
    let world = world();
    let module = guests::raw();
    assert_eq!(
        call(&world, &module, &["shout", "--text", "ahoy", "--level", "high"]).ok(),
        "AHOY"
    );
    assert_eq!(
        call(&world, &module, &["plain", "--left", "2", "--right", "3"]).ok(),
        "5"
    );
    let report = call(&world, &module, &["both", "--image", "busybox:latest", "--json"]);
    let report: serde_json::Value = serde_json::from_str(report.ok()).expect("JSON");
    assert_eq!(
        report,
        serde_json::json!({"lines": ["first\n", "second\n"], "code": 3})
    );
    world.write("source/hello.txt", "hello\n");
    let out = world.path("out");
    let out_text = out.to_str().expect("a path in UTF-8");
    let words = [
        "put",
        "--source",
        "source",
        "--image",
        "busybox:latest",
        "-o",
        out_text,
    ];
    call(&world, &module, &words).ok();
    assert!(
        out.metadata().is_ok_and(|facts| facts.len() > 0),
        "an archive is written"
    );
}

#[test]
fn b49_a_guest_written_by_hand_works_the_same() {
    let world = world();
    let module = guests::by_hand(&world.path("work"));
    assert_eq!(
        call(&world, &module, &["add", "--left", "2", "--right", "3"]).ok(),
        "5"
    );
    assert_eq!(
        call(&world, &module, &["greeting", "--image", "busybox:latest"]).ok(),
        "hello from wat"
    );
    assert_eq!(
        call(&world, &module, &["made", "--image", "busybox:latest"]).ok(),
        "hello from wat"
    );
    let inspected = world.wharf(["inspect".as_ref(), module.as_os_str()]);
    for name in ["image", "eval", "greeting"] {
        assert!(inspected.ok().contains(name), "{}", inspected.ok());
    }
}

#[test]
fn b49_what_foreign_guests_forget_is_refused_by_name() {
    let world = world();
    let module = guests::by_hand(&world.path("work"));
    call(&world, &module, &["greeting", "--image", "no such image"])
        .exits(1)
        .says("no such image");
}
