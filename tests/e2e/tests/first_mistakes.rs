//! What a newcomer types wrong in the first hour, and what is missing then: each has a message that says what, and what to type
//! next, and the contract's exit code.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

fn world() -> World {
    World::new().expect("a world")
}

/// A module as `wharf init` writes it.
fn fresh(world: &World) -> PathBuf {
    world.wharf(["init", "hello"]).exits(0);
    world.path("work/hello")
}

/// Runs a line in a directory, which has to fail with this code and these words, and no result.
#[track_caller]
fn fails(world: &World, directory: &Path, line: &str, code: i32, words: &[&str]) {
    let done = Done::of(world.shell(directory, line));
    done.exits(code);
    for word in words {
        done.says(word);
    }
    assert_eq!(done.text(), "", "a mistake has no result: {line}");
}

/// A directory with stand-ins for programs: the outermost edge of this host.
fn programs(world: &World, programs: &[(&str, &str)]) -> PathBuf {
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
fn b47_what_is_mistyped_is_answered_with_what_may_be_meant() {
    let world = world();
    let module = fresh(&world);
    let mistakes: [(&str, &[&str]); 13] = [
        ("wharf cal hello", &["unrecognized subcommand 'cal'", "'call'"]),
        (
            "wharf call helo",
            &[
                "my:hello has no function helo; did you mean hello?",
                "It has: hello, count, compress",
            ],
        ),
        (
            "wharf call hello --nmae Ada",
            &[
                "hello has no flag --nmae; did you mean --name?",
                "Usage: wharf call hello [--name TEXT]",
            ],
        ),
        ("wharf call hello --name", &["--name needs a value"]),
        (
            "wharf call hello Ada",
            &["`Ada` is not a flag of hello: values have names, written --name value"],
        ),
        (
            "wharf call count",
            &[
                "count needs --source, a directory",
                "Usage: wharf call count --source DIRECTORY",
            ],
        ),
        (
            "wharf call count --source nowhere",
            &["--source: ", "nowhere does not exist"],
        ),
        (
            "wharf call count --source Cargo.toml",
            &["Cargo.toml is something else"],
        ),
        (
            "wharf call hello --progress plain",
            &["--progress comes before the function: wharf call --progress ... hello"],
        ),
        ("wharf call --nmae Ada hello", &["--nmae"]),
        (
            "wharf call compress --source . -o Cargo.toml",
            &["-o Cargo.toml: a file is in the way"],
        ),
        (
            "wharf call --timeout soon hello",
            &["a time is a number and s, m, h or d: 90s, 30m, 2h"],
        ),
        (
            "wharf call -m ../nowhere hello",
            &[
                "there is no module at ../nowhere",
                "a module is a directory, a component's .wasm file",
            ],
        ),
    ];
    for (line, words) in mistakes {
        fails(&world, &module, line, 2, words);
    }
    assert!(
        world.processes().is_empty(),
        "an engine was started for a mistake"
    );
}

#[test]
fn b47_a_directory_that_is_no_module_is_answered_with_how_to_make_one() {
    let world = world();
    for line in [
        "wharf call hello",
        "wharf functions",
        "wharf inspect",
        "wharf check",
        "wharf build",
    ] {
        let words = [
            "is not a module's directory: it has no wharf.toml",
            "`wharf init` writes one",
        ];
        fails(&world, &world.path("work"), line, 2, &words);
    }
}

#[test]
fn b47_a_mistake_in_the_manifest_is_named_with_its_place() {
    let world = world();
    let module = fresh(&world);
    for (manifest, words) in [
        (
            "[module]\nnmae = \"my:hello\"\nversion = \"0.1.0\"\n",
            "`nmae` in [module] is not known; did you mean `name`?",
        ),
        (
            "[modul]\nname = \"my:hello\"\nversion = \"0.1.0\"\n",
            "[modul] is not known; did you mean `module`?",
        ),
        (
            "[module]\nname = \"hello\"\nversion = \"0.1.0\"\n",
            "namespace:name",
        ),
        (
            "[module]\nname = \"my:hello\"\nversion = 1\n",
            "expected a string",
        ),
        ("[module\nname = \"my:hello\"\n", "line 1"),
        ("[module]\nversion = \"0.1.0\"\n", "missing field `name`"),
    ] {
        fs::write(module.join("wharf.toml"), manifest).expect("the manifest is written");
        fails(&world, &module, "wharf call hello", 2, &["wharf.toml", words]);
    }
}

/// Calls `hello` of the module in a directory, with the world's own PATH.
fn call_here(world: &World, module: &Path) -> Done {
    let mut command = world.command(["call", "-q", "hello"]);
    command.current_dir(module);
    Done::of(command)
}

#[test]
fn b47_a_toolchain_that_is_not_whole_is_answered_with_what_to_install() {
    let mut world = world();
    let module = fresh(&world);
    world.set("PATH", "/nonexistent");
    call_here(&world, &module)
        .exits(1)
        .says("cargo is needed to build")
        .says("https://sh.rustup.rs | sh` installs it");
    // What the compiler says of a target that is not installed.
    let says = "echo '  = note: the wasm32-wasip2 target may not be installed' >&2; exit 101";
    let stand_in = programs(&world, &[("cargo", says)]);
    world.set("PATH", stand_in);
    call_here(&world, &module)
        .exits(1)
        .says("run `rustup target add wasm32-wasip2`")
        .says("`wharf doctor`");
}

#[test]
fn a_store_that_cannot_be_is_named() {
    let mut world = world();
    let by_hand = guests::by_hand(&world.path("work"));
    let file = world.write("a-file", "mine");
    world.set("WHARF_STORE", file.join("store"));
    let mut command = world.command(["call", "-q", "-m"]);
    command
        .arg(&by_hand)
        .args(["greeting", "--image", "busybox:latest"]);
    Done::of(command)
        .exits(4)
        .says("a-file/store")
        .says("`wharf engine logs`");
    assert_eq!(fs::read(file).expect("the file"), b"mine");
}

#[test]
fn a_user_without_any_place_for_an_engine_is_sent_to_the_doctor() {
    let mut world = world();
    let by_hand = guests::by_hand(&world.path("work"));
    // Where another user can read the module, and has a home.
    let open = tempfile::tempdir().expect("a directory");
    fs::set_permissions(open.path(), PermissionsExt::from_mode(0o777)).expect("it is open");
    let module = open.path().join("m.wasm");
    fs::copy(by_hand, &module).expect("the module is copied");
    world.set("WHARF_ENGINE", "auto");
    world.set("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    world.set("WHARF_HOME", open.path().join("home"));
    world.set("WHARF_STORE", open.path().join("home/store"));
    let module = module.display().to_string();
    let args = [
        "call",
        "-q",
        "-m",
        &module,
        "greeting",
        "--image",
        "busybox:latest",
    ];
    let command = world.command_without_namespaces(open.path(), &args);
    Done::of(command)
        .exits(4)
        .says("there is no engine to use")
        .says("there is no Docker at /nonexistent/docker.sock")
        .says("user.max_user_namespaces is 0")
        .says("`wharf doctor` shows where an engine could run");
}
