//! Programs on the user's terminal: in a container when a module asks for it, and where a step failed when the user does.

use std::{path::Path, time::Duration};

use wharf_e2e::guests;
use wharf_testkit::{Terminal, World, process, shared, world::Done};

const SIZE: (u16, u16) = (40, 120);

fn world() -> World {
    World::new().expect("a world")
}

/// `wharf call` on a terminal.
fn on_terminal(world: &World, module: &Path, options: &[&str], words: &[&str]) -> Terminal {
    let mut command = world.command(["call"]);
    command.args(options).arg("-m").arg(module).args(words);
    Terminal::start(&command, SIZE)
}

const STOPS: [&str; 3] = ["stops", "--image", "busybox"];

#[test]
fn a_module_stops_for_its_user_and_goes_on() {
    let world = world();
    let module = guests::sdk(&world);
    let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &STOPS);
    let before = terminal.settings();
    terminal.sees("`sh` runs in the container; the run goes on when it ends");
    terminal.sees("# ");
    assert_ne!(terminal.settings(), before);
    terminal.types("cat /made; stty size; echo kind:$TERM\n");
    terminal.sees("by the pipeline\r\n40 120\r\nkind:xterm-256color\r\n");
    terminal.resize((50, 100));
    // The size travels behind the keys' back.
    terminal.types("until test \"$(stty size)\" = '50 100'; do sleep 0.05; done; echo res''ized\n");
    terminal.sees("resized");
    terminal.types("touch /typed; exit 5\n");
    assert_eq!(terminal.ends(), 0, "{}", terminal.all());
    terminal.sees("code 5, kept 0");
    assert_eq!(terminal.settings(), before);
}

#[test]
fn keys_that_interrupt_and_stop_are_the_shells() {
    let world = world();
    let module = guests::sdk(&world);
    let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &STOPS);
    terminal.sees("# ");
    // It is in the foreground before it says anything.
    terminal.types("sh -c \"echo asl''eep; exec sleep 1000\"\n");
    terminal.sees("asleep\r\n");
    terminal.types("\x03");
    terminal.sees("# ");
    terminal.types("echo after:$?\n");
    terminal.sees("after:130");
    terminal.types("sh -c \"echo asl''eep; exec sleep 1001\"\n");
    terminal.sees("asleep\r\n");
    terminal.types("\x1a");
    terminal.sees("# ");
    terminal.types("jobs\n");
    terminal.sees("Stopped");
    terminal.types("kill %1; exit\n");
    terminal.types("exit\n");
    assert_eq!(terminal.ends(), 0, "{}", terminal.all());
}

#[test]
fn another_program_is_run_as_it_is_asked_for_and_one_that_is_missing_is_said() {
    let world = world();
    let module = guests::sdk(&world);
    let words = [&STOPS[..], &["--command", "echo", "--command", "only this"]].concat();
    let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &words);
    terminal.sees("`echo 'only this'` runs in the container");
    terminal.sees("only this\r\n");
    assert_eq!(terminal.ends(), 0, "{}", terminal.all());
    let words = [&STOPS[..], &["--command", "bash"]].concat();
    let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &words);
    assert_eq!(terminal.ends(), 1, "{}", terminal.all());
    terminal.sees("executable file not found");
}

#[test]
fn b44_a_module_opens_no_terminal_without_the_right() {
    let world = world();
    let module = guests::sdk(&world);
    let mut terminal = on_terminal(&world, &module, &[], &STOPS);
    assert_eq!(terminal.ends(), 3, "{}", terminal.all());
    terminal.sees("wharf-tests:behaviours may not use debug");
    terminal.sees("`wharf call --allow debug` grants it");
    // Where there is no terminal that is said, once there is the right.
    let call = |options: &[&str]| {
        let mut command = world.command(["call", "-q"]);
        command.args(options).arg("-m").arg(&module).args(STOPS);
        Done::of(command)
    };
    call(&[]).exits(3);
    call(&["--allow", "debug"])
        .exits(1)
        .says("there is no terminal to open: standard input is none");
    call(&["--interactive"])
        .exits(2)
        .says("--interactive: there is no terminal to open");
}

#[test]
fn a_terminal_is_one_programs_at_a_time() {
    let world = world();
    let module = guests::sdk(&world);
    let words = ["stops-often", "--image", "busybox"];
    let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &words);
    let mut seen = Vec::new();
    for _ in 0..2 {
        terminal.sees("runs in the container");
        terminal.types("echo is:$WHICH:\n");
        terminal.sees("\nis:");
        seen.push(terminal.sees(":"));
        terminal.types("exit 4\n");
    }
    seen.sort();
    assert_eq!(seen, ["one", "other"]);
    terminal.sees("runs in the container");
    terminal.types("pwd; cat file; exit 6\n");
    terminal.sees("/work\r\nin the directory");
    assert_eq!(terminal.ends(), 0, "{}", terminal.all());
    terminal.sees("4 4 6");
}

#[test]
fn a_container_is_looked_at_by_name_without_a_right() {
    let world = world();
    let module = guests::sdk(&world);
    let words = [
        "made", "--image", "busybox", "--args", "touch", "--args", "/there", "terminal",
    ];
    let mut terminal = on_terminal(&world, &module, &[], &words);
    terminal.sees("runs in the container");
    terminal.types("ls -d /there; exit 9\n");
    terminal.sees("\n/there");
    assert_eq!(terminal.ends(), 0, "{}", terminal.all());
}

/// Looks into a step that failed, and leaves.
fn looks_into_a_failure(mut world: World) {
    const TOKEN: &str = "hunter22-of-the-terminal";
    world.set("TERMINAL_TOKEN", TOKEN);
    world.write("tree/file", "from the caller\n");
    let module = guests::sdk(&world);
    let words = [
        "breaks",
        "--image",
        "busybox",
        "--source",
        "tree",
        "--token",
        "env:TERMINAL_TOKEN",
    ];
    let mut terminal = on_terminal(&world, &module, &["-i"], &words);
    let before = terminal.settings();
    terminal.sees("it broke");
    terminal.sees("failed: exit code 3");
    terminal.sees("`sh` runs where it failed");
    terminal.sees("# ");
    terminal.types("cat /left left file; pwd; echo $GREETING\n");
    terminal.sees("root\r\nmount\r\nfrom the caller\r\n/src\r\nhello\r\n");
    terminal.types("echo \"[$TOKEN]\"; printf %s \"$TOKEN\" | wc -c\n");
    terminal.sees(&format!("[***]\r\n{}\r\n", TOKEN.len()));
    terminal.types("exit\n");
    assert_eq!(terminal.ends(), 1, "{}", terminal.all());
    terminal.sees("exit code 3");
    assert!(!terminal.all().contains(TOKEN), "{}", terminal.all());
    assert_eq!(terminal.settings(), before);
    // Nothing of it is remembered: it fails again.
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(&module).args(words);
    Done::of(command).exits(1).says("exit code 3");
}

#[test]
fn b39_a_shell_where_a_step_failed_finds_what_the_step_had() {
    looks_into_a_failure(world());
}

mod runc {
    #[test]
    fn b39_a_shell_where_a_step_failed_finds_what_the_step_had() {
        super::looks_into_a_failure(super::world().with_runtime("runc"));
    }
}

mod docker {
    use wharf_testkit::{World, world::Engine};

    #[test]
    fn b39_a_shell_where_a_step_failed_finds_what_the_step_had() {
        super::looks_into_a_failure(World::on(Engine::Docker).expect("a world with Docker"));
    }
}

/// Are there processes whose arguments hold the text?
fn runs(text: &str) -> bool {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes.into_iter().any(|entry| {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(text)
    })
}

fn engine_of(world: &World) -> u32 {
    let own = |pid: &u32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == b"serve")
    };
    let found = world.processes().into_iter().find(own);
    found.unwrap_or_else(|| shared::needs_its_own_engine())
}

#[test]
fn b10_a_terminal_is_what_it_was_when_the_engine_dies() {
    let world = world();
    let module = guests::sdk(&world);
    let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &STOPS);
    let before = terminal.settings();
    terminal.sees("# ");
    process::kill(engine_of(&world));
    assert_ne!(terminal.ends(), 0, "{}", terminal.all());
    assert_eq!(terminal.settings(), before);
}

#[test]
fn b10_a_shell_ends_with_its_client() {
    let world = world();
    let module = guests::sdk(&world);
    for (number, signal) in [("1101", "TERM"), ("1102", "HUP"), ("1103", "KILL")] {
        let mut terminal = on_terminal(&world, &module, &["--allow", "debug"], &STOPS);
        let before = terminal.settings();
        terminal.sees("# ");
        let sleep = format!("sleep\0{number}");
        terminal.types(&format!("sleep {number}\n"));
        assert!(process::wait_for(Duration::from_secs(30), || runs(&sleep).then_some(())).is_some());
        match signal {
            "KILL" => process::kill(terminal.pid()),
            "TERM" => process::terminate(terminal.pid()),
            _ => {
                let pid = rustix::process::Pid::from_raw(terminal.pid().cast_signed()).expect("a process");
                rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("a signal");
            }
        }
        let code = terminal.ends();
        assert!(
            process::wait_for(Duration::from_secs(30), || (!runs(&sleep)).then_some(())).is_some(),
            "the shell outlives its client"
        );
        // Nobody can tidy up after a process that is killed; shells do so themselves.
        if signal != "KILL" {
            assert_eq!(code, 130, "{}", terminal.all());
            assert_eq!(terminal.settings(), before);
        }
    }
}
