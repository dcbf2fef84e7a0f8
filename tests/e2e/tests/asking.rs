//! What dependencies ask for: shown and asked once on a terminal, and never elsewhere. And what steps expose to their files.

use std::fs;

use wharf_e2e::guests;
use wharf_testkit::{Terminal, World, world::Done};

const CALL: [&str; 4] = ["caches", "--image", "busybox", "--json"];

/// A module that grants nothing to those that it calls.
fn project() -> World {
    let world = World::new().expect("a world");
    let raw = guests::raw();
    let caller = guests::caller(&world).join(".wharf/module.wasm");
    let helper = guests::source("helper").join(".wharf/module.wasm");
    world.write(
        "app/wharf.toml",
        format!(
            "# Ours.\n[module]\nname = \"my:app\"\nversion = \"0.1.0\"\nsdk = \"none\"\ncomponent = \"app.wasm\"\n\n\
             [dependencies]\n\"wharf-tests:helper\" = {{ path = {helper:?} }} # the helper\n\"foreign:raw\" = {{ path = {raw:?} }}\n"
        ),
    );
    fs::copy(caller, world.path("work/app/app.wasm")).expect("the component is copied");
    world
}

fn on_terminal(world: &World, options: &[&str]) -> Terminal {
    let mut command = world.command(["call"]);
    command
        .args(options)
        .args(CALL)
        .current_dir(world.path("work/app"));
    command.env_remove("CI");
    Terminal::start(&command, (40, 120))
}

fn file(world: &World, name: &str) -> String {
    fs::read_to_string(world.path("work/app").join(name)).unwrap_or_default()
}

#[test]
fn what_a_dependency_asks_for_is_asked_once_and_written_down() {
    let world = project();
    let mut terminal = on_terminal(&world, &[]);
    terminal.sees("foreign:raw");
    terminal.sees("grant it that, in wharf.toml? [y/N] ");
    terminal.types("\n");
    terminal.sees("wharf-tests:helper 0.2.0 asks for this, which wharf.toml does not grant:");
    terminal.sees("caches = true: to ");
    terminal.sees("grant it that, in wharf.toml? [y/N] ");
    terminal.types("y\n");
    assert_eq!(terminal.ends(), 0, "{}", terminal.all());
    let manifest = file(&world, "wharf.toml");
    assert!(
        manifest.contains("[grants.\"wharf-tests:helper\"]") && manifest.contains("caches = true"),
        "{manifest}"
    );
    assert!(
        manifest.contains("# the helper") && !manifest.contains("grants.\"foreign:raw\""),
        "{manifest}"
    );
    let mut again = on_terminal(&world, &[]);
    assert_eq!(again.ends(), 0, "{}", again.all());
    assert!(!again.all().contains("[y/N]"), "{}", again.all());
}

#[test]
fn a_no_is_remembered_until_more_is_asked_for() {
    let world = project();
    let mut terminal = on_terminal(&world, &[]);
    for _ in 0..2 {
        terminal.sees("[y/N] ");
        terminal.types("n\n");
    }
    assert_eq!(terminal.ends(), 3, "{}", terminal.all());
    terminal.sees("may not use caches");
    assert!(!file(&world, "wharf.toml").contains("grants"));
    let mut again = on_terminal(&world, &[]);
    assert_eq!(again.ends(), 3, "{}", again.all());
    assert!(!again.all().contains("[y/N]"), "{}", again.all());
    // Another version that asks for more than the one that was noted.
    let lock = file(&world, "wharf.lock");
    let less: Vec<_> = lock
        .split(", ")
        .filter(|line| !line.contains("caches = true"))
        .collect();
    world.write("app/wharf.lock", less.join(", "));
    let mut more = on_terminal(&world, &[]);
    more.sees("wharf-tests:helper 0.2.0 asks for more than before");
    more.sees("caches = true: to ");
    more.types("n\n");
    assert_eq!(more.ends(), 3, "{}", more.all());
}

#[test]
fn nobody_is_asked_who_is_not_there() {
    let world = project();
    let mut silent = on_terminal(&world, &["--no-input"]);
    assert_eq!(silent.ends(), 3, "{}", silent.all());
    assert!(!silent.all().contains("[y/N]"), "{}", silent.all());
    let mut command = world.command(["call", "-q"]);
    command.args(CALL).current_dir(world.path("work/app"));
    Done::of(command)
        .exits(3)
        .says("this line grants it: caches = [\"other\"] under [grants.\"wharf-tests:helper\"]");
    assert_eq!(file(&world, "wharf.lock"), "");
}

#[test]
fn a_secret_in_files_of_another_module_is_told_of_or_refused() {
    let mut world = World::new().expect("a world");
    guests::raw();
    let caller = guests::caller(&world);
    world.set("PASSED", "passed-value");
    let call = |options: &[&str]| {
        let mut command = world.command(["call", "--progress", "plain"]);
        command.args(options).arg("-m").arg(&caller);
        command.args([
            "exposes",
            "--image",
            "busybox",
            "--secret",
            "env:PASSED",
            "--script",
            "echo ran",
        ]);
        Done::of(command)
    };
    let told = call(&[]);
    assert_eq!(told.ok(), "ran");
    told.says("`sh -c 'echo ran'` has the secret OWN with files that wharf-tests:helper made");
    call(&["--strict"])
        .exits(3)
        .says("wharf-tests:helper made")
        .says("the secret OWN");
}
