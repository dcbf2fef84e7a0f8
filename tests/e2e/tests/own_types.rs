//! Functions over types of the author's own, as callers meet them.

use std::path::Path;

use serde_json::json;
use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

/// Calls a function of a module.
fn call(world: &World, module: &Path, words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module).args(words);
    Done::of(command)
}

fn world() -> (World, std::path::PathBuf) {
    let world = World::new().expect("a world");
    let module = guests::types(&world);
    (world, module)
}

#[test]
fn values_of_own_types_arrive_as_they_were_written() {
    let (world, module) = world();
    world.write("source/a.txt", "a\n");
    let none = call(&world, &module, &["describe"]);
    assert_eq!(none.ok(), "None VerySlow [] []");
    let words = [
        "describe",
        "--job",
        "{text: hello, level: fast, source: ./source, type: (7, 'x')}",
        "--level",
        "fast",
        "--origins",
        "here",
        "--origins",
        "weighed(\"a b\", 3)",
        "--origins",
        "{\"git\": {\"url\": \"https://example.org/x\", \"level\": \"very-slow\"}}",
        "--pairs",
        "[(fast, 1), (very-slow, 2)]",
    ];
    let said = call(&world, &module, &words);
    let said = said.ok();
    for part in [
        "Some(Job { text: \"hello\", level: Fast, source: Some(Directory(",
        "type: Some((7, 'x')) }) Fast [Here, Weighed(\"a b\", 3), Git { url: \"https://example.org/x\", level: Some(VerySlow) }]",
        "[(Fast, 1), (VerySlow, 2)]",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn a_record_shows_its_plain_fields_and_names_its_handles() {
    let (world, module) = world();
    let report = call(
        &world,
        &module,
        &["work", "--job", "{text: hello, level: very-slow}", "--json"],
    );
    let report: serde_json::Value = serde_json::from_str(report.ok()).expect("JSON");
    assert_eq!(
        report,
        json!({
            "tree": "<directory>", "file": "<file>", "letters": 5, "level": "very-slow",
            "origins": ["here", {"tree": "<directory>"}],
        })
    );
    let git = "{\"git\":{\"level\":null,\"url\":\"x\"}}";
    let origin = call(
        &world,
        &module,
        &["origin", "--origin", "git({url: x})", "--json"],
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(origin.ok()).expect("JSON"),
        serde_json::from_str::<serde_json::Value>(git).expect("JSON")
    );
}

#[test]
fn handles_inside_a_record_are_read_by_the_function() {
    let (world, module) = world();
    world.write("tree/inside.txt", "x\n");
    world.write("file.txt", "what it says");
    let words = [
        "open",
        "--report",
        "{tree: tree, file: file.txt, letters: 3, level: fast, origins: [here, tree(./tree)]}",
    ];
    assert_eq!(
        call(&world, &module, &words).ok(),
        "inside.txt\nwhat it says\nFast 3 2"
    );
}

#[test]
fn a_default_path_is_the_modules_own() {
    let (world, module) = world();
    // Called from elsewhere: what counts is where the module lies.
    assert_eq!(call(&world, &module, &["note"]).ok(), "the module's own");
    world.write("mine/note.txt", "mine\n");
    assert_eq!(call(&world, &module, &["note", "--data", "mine"]).ok(), "mine");
}

#[test]
fn b47_what_is_wrong_in_a_record_is_said_with_its_field() {
    let (world, module) = world();
    for (words, why) in [
        (
            ["work", "--job", "{text: x, level: medium}"],
            "--job: level: \"medium\" is no level: write one of fast, very-slow",
        ),
        (
            ["work", "--job", "{text: x}"],
            "--job: job needs a field level, a level",
        ),
        (
            ["work", "--job", "{text: x, level: fast, sauce: x}"],
            "--job: job has no field sauce; it has text, level, source, type",
        ),
        (
            ["origin", "--origin", "git(x)"],
            "--origin: git: this is no origin-git: write {url: \"...\", level: fast}",
        ),
        (
            ["origin", "--origin", "svn"],
            "write one of here, tree, weighed, git",
        ),
        (["work", "--job", "{text: x, level"], "--job: this is no job: "),
    ] {
        call(&world, &module, &words)
            .exits(2)
            .says(why)
            .says(&format!("Usage: wharf call {} ", words[0]));
    }
}

#[test]
fn own_types_are_explained() {
    let (world, module) = world();
    let help = call(&world, &module, &["work", "--help"]);
    let lines: Vec<String> = help
        .ok()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "Usage: wharf call work --job JOB",
        "Returns: report",
        "Type job: What is to be done.",
        "text: string What is written.",
        "type: option<tuple<u8, char>>",
        "Type level: How hard to try.",
        "very-slow With patience.",
        "Type origin: Where something comes from.",
        "git(origin-git) A repository.",
        "Type origin-git: A repository.",
    ] {
        assert!(
            lines.iter().any(|found| found == line),
            "{line} is not in\n{}",
            help.ok()
        );
    }
    let mut list = world.command(["functions", "-q", "-m"]);
    list.arg(&module);
    let list = Done::of(list);
    assert!(list.ok().contains("(job: job) -> report"), "{}", list.ok());
    let mut inspect = world.command(["inspect", "--json"]);
    inspect.arg(&module);
    let about: serde_json::Value = serde_json::from_str(Done::of(inspect).ok()).expect("JSON");
    let functions = about["functions"].as_array().expect("functions");
    let note = functions.iter().find(|one| one["name"] == "note").expect("note");
    assert_eq!(note["params"][0]["default_path"], "data");
    let work = functions.iter().find(|one| one["name"] == "work").expect("work");
    assert_eq!(work["types"][0]["members"][0]["docs"], "What is written.");
}
