//! The first hour: what docs/guide/first-module.md has a newcomer type, typed, and what it says they see, compared.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use wharf_testkit::{World, paths, world::Done};

/// A command of the guide and what it prints, as the guide has it.
struct Shown {
    command: String,
    prints: Vec<String>,
}

/// The commands of a page: lines of its console blocks that begin with `$ `. What follows one is what it prints: on
/// standard output, or on standard error when it fails.
fn commands(page: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(fence), false) => inside = fence == "console",
            (Some(_), true) => inside = false,
            (None, true) => match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push(Shown {
                    command: command.to_owned(),
                    prints: Vec::new(),
                }),
                (None, Some(last)) => last.prints.push(line.to_owned()),
                (None, None) => panic!("output before any command: {line}"),
            },
            (None, false) => {}
        }
    }
    commands
}

/// Whether lines are as expected: `...` stands for any lines, `[..]` for any text in one.
fn fits(expected: &[String], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((line, rest)) if line == "..." => (0..=found.len()).any(|skipped| fits(rest, &found[skipped..])),
        Some((line, rest)) => found
            .split_first()
            .is_some_and(|(first, others)| fits_line(line, first) && fits(rest, others)),
    }
}

fn fits_line(expected: &str, found: &str) -> bool {
    let Some((before, after)) = expected.split_once("[..]") else {
        return expected == found;
    };
    found.strip_prefix(before).is_some_and(|found| {
        (0..=found.len()).any(|at| found.get(at..).is_some_and(|found| fits_line(after, found)))
    })
}

#[test]
fn the_guide_prints_what_it_says() {
    let world = World::new().expect("a world");
    let page = fs::read_to_string(paths::workspace().join("docs/guide/first-module.md")).expect("the guide");
    let mut directory = world.path("work");
    let shown = commands(&page);
    assert!(shown.len() > 15, "the guide's commands were found");
    for Shown { command, prints } in shown {
        if let Some(to) = command.strip_prefix("cd ") {
            directory.push(to);
            continue;
        }
        let done = Done::of(world.shell(&directory, &command));
        let printed = if done.code == 0 {
            done.text()
        } else {
            done.stderr.trim_end()
        };
        // A command without an output in the guide has to succeed, and may say something.
        let is_right = match &prints[..] {
            [] => done.code == 0,
            expected => fits(expected, &printed.lines().collect::<Vec<_>>()),
        };
        assert!(
            is_right,
            "$ {command}\nexit code {}; it prints\n{printed}\nand should print\n{}\n{}",
            done.code,
            prints.join("\n"),
            done.stderr
        );
    }
}

/// Runs in a network namespace that has loopback alone, with a cargo that knows no registry and has nothing stored.
fn offline(world: &World, directory: &Path, line: &str) -> Done {
    let line = format!("CARGO_HOME=$HOME/empty-cargo unshare --net sh -c 'ip link set lo up && {line}'");
    Done::of(world.shell(directory, &line))
}

#[test]
fn a_new_module_builds_without_a_network() {
    let world = World::new().expect("a world");
    let work = world.path("work");
    offline(&world, &work, "wharf init tools --name acme:tools").exits(0);
    let module = work.join("tools");
    offline(&world, &module, "wharf call hello").exits(0);
    let lock = fs::read_to_string(module.join("Cargo.lock")).expect("a lock");

    // A crate that lies beside the SDK is there to be used, with the registry's own checksum.
    let manifest = module.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap() + "serde_json = \"1\"\n";
    fs::write(&manifest, &text).unwrap();
    offline(&world, &module, "wharf call hello").exits(0);
    assert!(lock.contains("checksum = "));

    // One that does not is asked of the registry, which says that there is no network.
    fs::write(&manifest, text + "no-such-crate-anywhere = \"1\"\n").unwrap();
    let refused = offline(&world, &module, "wharf call hello");
    refused.exits(1).says("cargo could not build");
    assert!(!refused.stderr.contains("directory source"), "{}", refused.stderr);
}

#[test]
fn an_sdk_of_another_version_is_put_there_again() {
    let world = World::new().expect("a world");
    let work = world.path("work");
    world.wharf(["init", "tools"]).exits(0);
    let module = work.join("tools");
    let names = |words: &str| {
        Done::of(world.shell(&module, &format!("wharf {words}")))
            .ok()
            .to_owned()
    };
    let before = names("functions");
    fs::write(module.join(".wharf/sdk/DIGEST"), "older").unwrap();
    fs::write(module.join(".wharf/sdk/guest/rust/src/lib.rs"), "what is no SDK").unwrap();
    assert_eq!(names("functions"), before);
}

/// Builds the module that `wharf init tools` begins in a new world, with another greeting; its component.
fn component(greeting: &str) -> Vec<u8> {
    let world = World::new().expect("a world");
    world.wharf(["init", "tools"]).exits(0);
    let module = world.path("work/tools");
    let source = module.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    assert!(text.contains("Hello, "), "{text}");
    fs::write(&source, text.replace("Hello, ", greeting)).unwrap();
    // As of a checkout that is older than what was compiled of others.
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let file = fs::File::options().write(true).open(&source).unwrap();
    file.set_modified(long_ago).unwrap();
    let said = world.wharf(["call", "-m", "tools", "hello"]).ok().to_owned();
    assert_eq!(said, format!("{greeting}world!"));
    fs::read(module.join(".wharf/module.wasm")).unwrap()
}

#[test]
fn modules_share_what_is_compiled_and_are_never_taken_for_each_other() {
    let first = component("Hello, ");
    assert!(component("Good day, ") != first);
    assert!(component("Hello, ") == first, "one source gives one component");
}

#[test]
fn init_writes_over_nothing() {
    let world = World::new().expect("a world");
    world.write("Cargo.toml", "[package]\nname = \"mine\"\n");
    world
        .wharf(["init"])
        .exits(2)
        .says("Cargo.toml is there already")
        .says("`wharf init ci`");
    world.wharf(["init", "ci"]).exits(0);
    world
        .wharf(["init", "ci"])
        .exits(2)
        .says("wharf.toml is there already")
        .says("`wharf functions`");
    world
        .wharf(["init", "x", "--name", "Mine"])
        .exits(2)
        .says("`namespace:name` in lower case");
    assert!(!world.path("work/x").exists());
}
