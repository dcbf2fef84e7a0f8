//! `wharf check`: which checks hold, which do not, and what is said of those.

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

fn check(world: &World, words: &[&str]) -> Done {
    let module = guests::sdk(world);
    let mut command = world.command(["check", "-q", "-m"]);
    command.arg(&module).args(words);
    Done::of(command)
}

/// Words and names of the table that `wharf check` prints.
fn rows(text: &str) -> Vec<(&str, &str)> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?, words.next()?))
        })
        .collect()
}

#[test]
fn checks_that_hold_end_well() {
    let world = World::new().expect("a world");
    let done = check(&world, &["holds", "step_holds"]);
    assert_eq!(rows(done.ok()), [("passed", "holds"), ("passed", "step-holds")]);
}

#[test]
fn checks_that_do_not_hold_are_shown_with_their_reasons() {
    let world = World::new().expect("a world");
    let done = check(&world, &[]);
    done.exits(1)
        .says("2 of 4 checks failed")
        .says("step-breaks: `sh -c 'echo a thing is broken >&2; exit 3'` failed: exit code 3")
        .says("  | a thing is broken")
        .says("`wharf engine logs ")
        .says("says-no: says-no returned false");
    assert_eq!(
        rows(done.text()),
        [
            ("passed", "holds"),
            ("passed", "step-holds"),
            ("failed", "step-breaks"),
            ("failed", "says-no")
        ]
    );
    let done = check(&world, &["--json", "says-no", "holds"]);
    done.exits(1);
    let found: serde_json::Value = serde_json::from_str(done.text()).expect("JSON");
    assert_eq!(found[0]["name"], "says-no");
    assert_eq!(found[0]["passed"], false);
    assert_eq!(found[0]["error"], "says-no returned false");
    assert_eq!(found[1]["passed"], true);
    assert!(found[1]["milliseconds"].is_u64() && found[1]["error"].is_null());
}

#[test]
fn checks_are_listed_and_run_nothing() {
    let world = World::new().expect("a world");
    let done = check(&world, &["--list"]);
    assert!(done.ok().starts_with("holds        Holds.\n"), "{}", done.text());
    assert_eq!(done.text().lines().count(), 4);
    assert!(world.processes().is_empty(), "an engine was started for a list");
}

#[test]
fn b47_a_check_that_is_none_is_told_apart_from_a_typo() {
    let world = World::new().expect("a world");
    check(&world, &["hold"])
        .exits(2)
        .says("has no check hold; did you mean holds?")
        .says("holds, step-holds, step-breaks, says-no");
    check(&world, &["fails"])
        .exits(2)
        .says("fails is a function of wharf-tests:behaviours and no check")
        .says("`wharf call fails`");
    let by_hand = guests::by_hand(&world.path("work"));
    let mut command = world.command(["check", "-m"]);
    command.arg(by_hand);
    Done::of(command).exits(2).says("has no checks").says("#[check]");
}
