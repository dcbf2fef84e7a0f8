//! What a user gets wrong, and what goes wrong around them: each a message that says what and where and what to do, the
//! contract's exit code, and nothing lost.

use std::path::Path;

use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

fn world() -> World {
    World::new().expect("a world")
}

fn call(world: &World, module: &Path, words: &[&str]) -> Done {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module).args(words);
    Done::of(command)
}

fn by_hand(world: &World) -> std::path::PathBuf {
    guests::by_hand(&world.path("work"))
}

/// An address on which nobody listens.
fn closed_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

#[test]
fn an_unknown_function_names_those_there_are() {
    let world = world();
    call(&world, &by_hand(&world), &["greetin", "--image", "busybox"])
        .exits(2)
        .says("has no function greetin; did you mean greeting?")
        .says("add, greeting, made");
}

#[test]
fn b47_flags_that_do_not_fit_show_the_usage() {
    let world = world();
    let module = by_hand(&world);
    call(&world, &module, &["add", "--lefft", "1"])
        .exits(2)
        .says("add has no flag --lefft; did you mean --left?")
        .says("--right");
    call(&world, &module, &["add", "--left", "1"])
        .exits(2)
        .says("add needs --right");
    call(&world, &module, &["add", "--left", "many", "--right", "1"])
        .exits(2)
        .says("--left: \"many\" is no")
        .says("write a number");
    call(&world, &module, &["add", "--left", "4294967296", "--right", "1"])
        .exits(2)
        .says("it goes from 0 to 4294967295");
    call(&world, &module, &["add", "--left"])
        .exits(2)
        .says("--left needs a value");
    call(&world, &module, &["add", "3"])
        .exits(2)
        .says("`3` is not a flag of add");
}

#[test]
fn what_is_no_module_is_refused_with_what_it_is() {
    let world = world();
    let whole = std::fs::read(by_hand(&world)).expect("the component");
    for (name, bytes, says) in [
        ("text.wasm", b"hello, world".to_vec(), "it is not WebAssembly"),
        (
            "core.wasm",
            wat::parse_str("(module)").expect("a core module"),
            "it is a core WebAssembly module, not a component",
        ),
        (
            "empty.wasm",
            wat::parse_str("(component)").expect("a component"),
            "it exports no function",
        ),
        (
            "foreign.wasm",
            wat::parse_str("(component (import \"acme:robots/arm@1.0.0\" (instance)))").expect("a component"),
            "imports acme:robots/arm@1.0.0",
        ),
        ("cut.wasm", whole[..whole.len() / 2].to_vec(), "it may be cut off"),
        ("tiny.wasm", whole[..6].to_vec(), "it is cut off"),
    ] {
        let path = world.write(name, bytes);
        call(&world, &path, &["greeting"]).exits(2).says(name).says(says);
        world
            .wharf(["inspect".as_ref(), path.as_os_str()])
            .exits(2)
            .says(name)
            .says(says);
    }
    call(&world, Path::new("nowhere"), &["greeting"])
        .exits(2)
        .says("there is no module at nowhere");
    std::fs::create_dir(world.path("work/plain")).expect("a directory");
    call(&world, Path::new("plain"), &["greeting"])
        .exits(2)
        .says("wharf.toml");
}

#[test]
fn a_missing_image_is_named() {
    let world = world();
    let registry = wharf_testkit::Registry::start(&world.path("registry")).expect("a registry");
    let image = format!("{}/team/nothing:1", registry.address());
    call(&world, &by_hand(&world), &["greeting", "--image", &image])
        .exits(1)
        .says(&image);
}

#[test]
fn a_registry_that_is_down_is_unreachable() {
    let world = world();
    let image = format!("{}/team/app:1", closed_address());
    call(&world, &by_hand(&world), &["greeting", "--image", &image])
        .exits(4)
        .says(&image);
}

#[test]
fn a_step_that_fails_shows_its_command_its_code_and_its_last_words() {
    let world = world();
    let module = guests::sdk(&world);
    let script = "echo fine; echo 'no such planet' >&2; exit 7";
    let words = [
        "made",
        "--image",
        "busybox:latest",
        "--args",
        "sh",
        "--args=-c",
        "--args",
        script,
    ];
    call(&world, &module, &words)
        .exits(1)
        .says("exit code 7")
        .says("sh -c")
        .says("no such planet");
    // The rest goes on, and what failed is not remembered.
    let words = ["code", "--image", "busybox:latest", "--args", "false"];
    assert_eq!(call(&world, &module, &words).ok(), "1");
}

#[test]
fn a_failed_steps_whole_log_can_be_read_afterwards() {
    let world = world();
    let module = guests::sdk(&world);
    let script = "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done; exit 1";
    let words = [
        "made",
        "--image",
        "busybox:latest",
        "--args",
        "sh",
        "--args=-c",
        "--args",
        script,
    ];
    let failed = call(&world, &module, &words);
    failed.exits(1).says("line 4999");
    assert!(
        !failed.stderr.contains("line 17\n"),
        "the error holds the log's end only"
    );
    let hint = failed
        .stderr
        .lines()
        .find_map(|line| line.split_once("`wharf engine logs ").map(|(_, rest)| rest))
        .and_then(|rest| rest.split_once('`').map(|(id, _)| id.to_owned()))
        .unwrap_or_else(|| panic!("the error says how to read the log:\n{}", failed.stderr));
    let log = world.wharf(["engine", "logs", &hint]);
    let expected: Vec<String> = (0..5000).map(|line| format!("line {line}")).collect();
    assert_eq!(log.ok(), expected.join("\n"));
    world
        .wharf(["engine", "logs", "0123456789ab"])
        .exits(1)
        .says("0123456789ab");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let world = world();
    let module = by_hand(&world);
    let words = ["greeting", "--image", "busybox:latest"];
    call(&world, &module, &words).ok();
    world.wharf(["engine", "stop"]).ok();
    let version = world.path("wharf/store/version");
    let own = std::fs::read_to_string(&version).expect("the store's version");
    std::fs::write(&version, "4000\n").expect("the store's version is written");
    call(&world, &module, &words)
        .exits(4)
        .says("is of version 4000")
        .says("use the newer Wharf");
    std::fs::write(&version, own).expect("the store's version is written");
    let again = world.wharf(
        ["call", "--progress", "plain", "-m"]
            .map(std::ffi::OsStr::new)
            .into_iter()
            .chain([module.as_os_str()])
            .chain(words.map(std::ffi::OsStr::new)),
    );
    again.exits(0).says("1 remembered, 0 run");
}

#[test]
fn an_engine_that_cannot_be_is_said_with_what_to_do() {
    let mut world = world();
    let module = by_hand(&world);
    world.set("WHARF_ENGINE", "unix:///nonexistent/engine.sock");
    call(&world, &module, &["greeting", "--image", "busybox:latest"])
        .exits(4)
        .says("/nonexistent/engine.sock")
        .says("`wharf engine serve --socket");
    for (host, says) in [
        (
            "unix:///nonexistent/docker.sock",
            "there is no Docker at /nonexistent/docker.sock",
        ),
        (
            "tcp://127.0.0.1:1",
            "there is no Docker at tcp://127.0.0.1:1 (DOCKER_HOST)",
        ),
    ] {
        world.set("WHARF_ENGINE", "docker");
        world.set("DOCKER_HOST", host);
        call(&world, &module, &["greeting", "--image", "busybox:latest"])
            .exits(4)
            .says(says)
            .says("`--engine local` on Linux");
    }
    world.set("WHARF_ENGINE", "podman");
    call(&world, &module, &["greeting", "--image", "busybox:latest"])
        .exits(2)
        .says("auto, docker, local, unix://");
    world.set("WHARF_ENGINE", "local");
    let mut other_runtime = world.command(["call", "--runtime", "no-such-runtime", "-m"]);
    other_runtime
        .arg(&module)
        .args(["greeting", "--image", "busybox:latest"]);
    Done::of(other_runtime).exits(2).says("no-such-runtime");
}

#[test]
fn what_cannot_be_written_fails_and_says_where() {
    let world = world();
    let module = guests::sdk(&world);
    let file = world.write("in-the-way", "mine");
    world.write("source/a.txt", "a");
    let target = file.join("out");
    let words = [
        "add",
        "--source",
        "source",
        "--path",
        "b.txt",
        "--contents",
        "b",
        "-o",
        target.to_str().expect("a path in UTF-8"),
    ];
    call(&world, &module, &words)
        .exits(2)
        .says("in-the-way is a file, not a directory");
    assert!(
        world.processes().is_empty(),
        "a pipeline ran for a result without a place"
    );
    assert_eq!(std::fs::read(&file).expect("the file"), b"mine");
    let missing = ["read", "--source", "no-such-directory", "--path", "a.txt"];
    call(&world, &module, &missing)
        .exits(2)
        .says("no-such-directory does not exist");
    let lacking = ["read", "--source", "source", "--path", "z.txt"];
    call(&world, &module, &lacking).exits(1).says("z.txt");
}

#[test]
fn b10_ctrl_c_ends_the_steps_and_says_which() {
    use std::io::{BufRead, BufReader};
    let world = world();
    let module = guests::sdk(&world);
    // A number of seconds that no other process sleeps.
    let nap = format!("{}", 100_000 + std::process::id());
    let mut command = world.command(["call", "--progress", "plain", "-m"]);
    command
        .arg(&module)
        .args([
            "made",
            "--image",
            "busybox:latest",
            "--args",
            "sh",
            "--args=-c",
            "--args",
        ])
        .arg(format!("echo begun; sleep {nap} & sleep {nap}; true"))
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null());
    let mut running = command.spawn().expect("wharf starts");
    let mut lines = BufReader::new(running.stderr.take().expect("its standard error")).lines();
    let begun = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains("| begun"));
    assert!(begun.is_some(), "the step begins");
    while sleepers(&nap) < 2 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it is interrupted");
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(running.wait().expect("it ends").code(), Some(130), "{rest:?}");
    assert!(
        rest.iter().any(|line| line.contains("what ran was stopped")),
        "{rest:?}"
    );
    for _ in 0..100 {
        if sleepers(&nap) == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("{} processes of the step live on", sleepers(&nap));
}

/// How many processes sleep for this long.
fn sleepers(nap: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let command_lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let wanted = format!("sleep\0{nap}\0").into_bytes();
    command_lines.filter(|line| *line == wanted).count()
}

#[test]
fn explain_names_what_changed() {
    let world = world();
    let module = guests::sdk(&world);
    world.write("source/a.txt", "one");
    let words = ["read", "--source", "source", "--path", "a.txt"];
    assert_eq!(call(&world, &module, &words).ok(), "one");
    let image = ["made", "--image", "busybox:latest", "--args", "true"];
    let explained = |options: &[&str]| {
        let mut command = world.command(["call", "--progress", "plain", "--explain"]);
        command.args(options).arg("-m").arg(&module).args(image);
        Done::of(command)
    };
    explained(&[])
        .exits(0)
        .says("not remembered: this command with these settings never ran");
    explained(&[])
        .exits(0)
        .says("remembered: the same command on the same inputs");
    explained(&["--no-cache"]).exits(0).says("1 run");
}

/// A module from source whose function `made` returns a container.
fn made(world: &World, words: &[&str]) -> Done {
    let mut all = vec!["made", "--image", "busybox:latest", "--args", "sh", "--args=-c"];
    all.push("--args=echo said; echo warned >&2; mkdir -p /d/e; echo one > /d/a; echo two > /d/e/b; exit 0");
    all.extend(words);
    call(world, &guests::sdk(world), &all)
}

#[test]
fn methods_follow_what_returns_a_handle() {
    let world = world();
    let prints = |words: &[&str]| made(&world, words).ok().to_owned();
    assert_eq!(prints(&["stdout"]), "said");
    assert_eq!(prints(&["stderr"]), "warned");
    assert_eq!(prints(&["exit-code"]), "0");
    assert_eq!(prints(&["file", "--path", "/d/a"]), "one");
    assert_eq!(prints(&["directory", "--path", "/d", "entries"]), "a\ne/");
    assert_eq!(
        prints(&["directory", "--path=/d", "glob", "--pattern", "**/b", "--json"]),
        "[\"e/b\"]"
    );
    assert_eq!(
        prints(&[
            "directory",
            "--path",
            "/d",
            "directory",
            "--path",
            "e",
            "file",
            "--path",
            "b",
            "contents"
        ]),
        "two"
    );
    assert_eq!(
        prints(&[
            "with-new-file",
            "--path",
            "/n",
            "--contents",
            "new",
            "file",
            "--path",
            "/n",
            "size"
        ]),
        "3"
    );
    assert_eq!(
        prints(&[
            "with_env_variable",
            "--name",
            "X",
            "--value",
            "y",
            "with-exec",
            "--args",
            r#"["sh","-c","echo $X"]"#
        ]),
        "y"
    );
    assert_eq!(
        prints(&[
            "directory",
            "--path",
            "/d",
            "without-file",
            "--path",
            "a",
            "entries"
        ]),
        "e/"
    );
    assert_eq!(
        prints(&[
            "rootfs",
            "filter",
            "--include",
            "/d/**",
            "--exclude",
            "b",
            "directory",
            "--path",
            "d",
            "glob",
            "--pattern",
            "**"
        ]),
        "a\ne"
    );
    made(&world, &["directory", "--path", "/d", "-o", "out"]).exits(0);
    assert_eq!(
        std::fs::read_to_string(world.path("work/out/e/b")).unwrap(),
        "two\n"
    );
    // Files of the caller's go in as arguments of methods do.
    world.write("in/c", "three");
    assert_eq!(
        prints(&[
            "with-directory",
            "--path",
            "/in",
            "--source",
            "in",
            "file",
            "--path",
            "/in/c"
        ]),
        "three"
    );
}

#[test]
fn b47_methods_that_do_not_fit_are_refused_before_anything_runs() {
    let world = world();
    let refused = |words: &[&str], says: &str| {
        made(&world, words).exits(2).says(says);
    };
    refused(
        &["stdot"],
        "made returns a container, which has no method stdot; did you mean stdout?",
    );
    refused(&["file"], "file needs --path");
    refused(&["file", "--pth", "/d/a"], "did you mean --path?");
    refused(&["file", "--path"], "Usage: wharf call made ... file --path TEXT");
    refused(
        &["stdout", "file"],
        "`file` is too much: stdout takes nothing, and returns string",
    );
    refused(
        &["stdout", "-o", "x"],
        "-o writes a directory, file or container; stdout returns string",
    );
    assert!(
        world.processes().is_empty(),
        "an engine was started for what could not be called"
    );
}

#[test]
fn a_terminal_shows_what_is_done_and_keeps_a_failures_log() {
    let world = world();
    let module = guests::sdk(&world);
    let live = |script: &str| {
        let mut command = world.command(["call", "--progress", "tty", "-m"]);
        let script = format!("--args={script}");
        command.arg(&module).args([
            "made",
            "--image",
            "busybox:latest",
            "--args",
            "sh",
            "--args=-c",
            &script,
        ]);
        command.env("NO_COLOR", "1");
        Done::of(command)
    };
    let done = live("echo said; sleep 0.5");
    done.exits(0)
        .says("● sh -c 'echo said; sleep 0.5'")
        .says("  │ said")
        .says("✓ sh -c")
        .says("1 run");
    assert_eq!(done.text(), "said");
    // What is remembered is counted, not listed.
    let again = live("echo said; sleep 0.5");
    again.exits(0).says("1 step: 1 remembered");
    assert!(!again.stderr.contains('✓'), "{}", again.stderr);
    let failed = live("echo before; exit 7");
    failed
        .exits(1)
        .says("✗ sh -c 'echo before; exit 7'")
        .says("  │ before\n")
        .says("exit code 7")
        .says("`wharf engine logs ");
    // What stands above is not said again by the error.
    assert!(!failed.stderr.contains("  | before"), "{}", failed.stderr);
}

#[test]
fn what_a_step_prints_cannot_steer_the_terminal() {
    let world = world();
    let module = guests::sdk(&world);
    let script =
        "printf '\\033[2J\\033]0;title\\007\\033[31mred\\033[0m\\r\\n'; printf '\\033[1A' >&2; exit 1";
    for progress in ["plain", "tty"] {
        let mut command = world.command(["call", "--progress", progress, "-m"]);
        let script = format!("--args={script}");
        command.arg(&module).args([
            "made",
            "--image",
            "busybox:latest",
            "--args",
            "sh",
            "--args=-c",
            &script,
        ]);
        let done = Done::of(command);
        done.exits(1).says("red");
        for sequence in ["\x1b[2J", "\x1b]0;", "\x07", "\x1b[31m"] {
            assert!(!done.stderr.contains(sequence), "{progress}: {:?}", done.stderr);
        }
    }
    // Colours alone pass, where somebody wants them.
    let mut command = world.command(["call", "--progress", "plain", "-m"]);
    let script = format!("--args={script}");
    command
        .arg(&module)
        .args([
            "made",
            "--image",
            "busybox:latest",
            "--args",
            "sh",
            "--args=-c",
            &script,
        ])
        .env("CLICOLOR_FORCE", "1");
    let done = Done::of(command);
    done.exits(1).says("| \x1b[31mred\x1b[0m");
    assert!(!done.stderr.contains("\x1b[2J"), "{:?}", done.stderr);
}

#[test]
fn what_is_damaged_in_the_store_is_found_and_made_again() {
    let world = world();
    let prints = |words: &[&str]| made(&world, words).ok().to_owned();
    assert_eq!(prints(&["file", "--path", "/d/a"]), "one");
    let whole = world.wharf(["cache", "verify"]);
    assert!(whole.ok().ends_with("all whole"), "{}", whole.text());
    // A layer is gone, as after an accident with the disk.
    world.wharf(["engine", "stop"]).ok();
    let layers = std::fs::read_dir(world.path("wharf/store/layers")).expect("the layers");
    for layer in layers.flatten() {
        std::fs::remove_dir_all(layer.path()).expect("a layer is removed");
    }
    let damaged = world.wharf(["cache", "verify", "--json"]);
    damaged.exits(1).says("are forgotten").says("made again");
    let found: serde_json::Value = serde_json::from_str(damaged.text()).expect("JSON");
    assert!(
        found["damaged"].as_array().is_some_and(|all| !all.is_empty()),
        "{found}"
    );
    world.wharf(["cache", "verify"]).exits(0);
    assert_eq!(prints(&["file", "--path", "/d/a"]), "one");
}
