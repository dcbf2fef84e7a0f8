//! Completions, asked for as shells ask.

use std::{path::Path, process::Command};

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

/// What bash offers, sorted, for a line whose last word is being typed.
fn bash(world: &World, directory: &Path, words: &[&str]) -> Vec<String> {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    let last = words.len() - 1;
    let line = format!(
        "source <(wharf completions bash)\n\
         COMP_WORDS=({}); COMP_CWORD={last}; COMP_TYPE=9\n\
         _clap_complete_wharf wharf '{}' ''\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        quoted.join(" "),
        words[last]
    );
    let done = Done::of(world.shell(directory, &line));
    let mut offered: Vec<String> = done.ok().lines().map(str::to_owned).collect();
    offered.sort();
    offered
}

#[test]
fn bash_is_offered_commands_functions_flags_values_and_methods() {
    let world = World::new().expect("a world");
    guests::sdk(&world);
    let module = guests::source("behaviours");
    let offered = |words: &[&str]| bash(&world, &module, words);
    assert_eq!(offered(&["wharf", "comp"]), ["completions"]);
    assert_eq!(
        offered(&["wharf", "call", "--progress", ""]),
        ["auto", "json", "plain", "tty"]
    );
    assert_eq!(offered(&["wharf", "call", "fails"]), ["fails", "fails-with-text"]);
    assert_eq!(offered(&["wharf", "call", "-q", "add", "--so"]), ["--source"]);
    assert_eq!(offered(&["wharf", "call", "add", "--source", "sr"]), ["src/"]);
    assert_eq!(
        offered(&[
            "wharf",
            "call",
            "made",
            "--image",
            "busybox",
            "directory",
            "--path",
            "/etc",
            "entr"
        ]),
        ["entries"]
    );
    assert_eq!(
        offered(&["wharf", "check", "step"]),
        ["step-breaks", "step-holds"]
    );
    // A module elsewhere is named before the function.
    let from_afar = bash(
        &world,
        &world.path("work"),
        &[
            "wharf",
            "call",
            "-m",
            module.to_str().expect("a path in UTF-8"),
            "spi",
        ],
    );
    assert_eq!(from_afar, ["spins"]);
    assert!(
        world.processes().is_empty(),
        "an engine was started to complete a word"
    );
}

#[test]
fn nothing_is_built_to_complete_a_word() {
    let world = World::new().expect("a world");
    world.wharf(["init", "fresh"]).exits(0);
    let module = world.path("work/fresh");
    assert_eq!(
        bash(&world, &module, &["wharf", "call", "hel"]),
        Vec::<String>::new()
    );
    assert!(!module.join(".wharf/module.wasm").exists());
    assert!(!module.join(".wharf/target").exists());
}

#[test]
fn each_shell_has_a_script_that_it_can_read() {
    let world = World::new().expect("a world");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = world.wharf(["completions", shell]);
        assert!(done.ok().contains("WHARF_COMPLETE"), "{shell}: {}", done.text());
        let installed = Command::new(shell).arg("--version").output().is_ok();
        if installed && shell != "elvish" && shell != "powershell" {
            let script = world.write(format!("script.{shell}"), done.text());
            let checked = Command::new(shell)
                .arg("-n")
                .arg(&script)
                .output()
                .expect("it runs");
            assert!(
                checked.status.success(),
                "{shell}: {}",
                String::from_utf8_lossy(&checked.stderr)
            );
        }
    }
    world.wharf(["completions", "tcsh"]).exits(2).says("tcsh");
}
