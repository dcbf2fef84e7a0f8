//! How steps end, and that nothing of them is left.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use wharf_runner::{Exit, Runner, Runtime};

use crate::{
    with_both,
    world::{World, config, processes_with, run, sh},
};

with_both!(
    b05_ends_are_told_apart,
    b05_programs_that_cannot_run_are_said_as_docker_says_them,
    b05_a_program_is_looked_up_in_the_steps_own_path,
    b10_cancelling_ends_every_process,
    b10_a_timeout_ends_every_process,
    b10_dropping_the_run_ends_every_process,
    background_processes_end_with_the_step,
    many_steps_run_at_once,
    nothing_is_left_of_a_step,
);

async fn b05_ends_are_told_apart(world: World) {
    for (script, exit) in [
        ("true", Exit::Code(0)),
        ("exit 3", Exit::Code(3)),
        ("exit 126", Exit::Code(126)),
        ("exit 127", Exit::Code(127)),
        ("exit 137", Exit::Code(137)),
        ("exit 255", Exit::Code(255)),
    ] {
        assert_eq!(world.run(sh(script)).await.step.exit, exit, "{script}");
    }
    // A process 1 cannot end itself by a signal that it does not handle: this one is a child of it in both runtimes.
    let outcome = world.run(sh("sh -c 'kill -TERM $$'; exit $?")).await;
    assert_eq!(outcome.step.exit.code(), 143);
    assert_eq!(
        (
            Exit::Signal(15).code(),
            Exit::NotFound.code(),
            Exit::NotExecutable.code()
        ),
        (143, 127, 126)
    );
}

async fn b05_programs_that_cannot_run_are_said_as_docker_says_them(world: World) {
    let layer = world.directory("layer");
    fs::write(layer.join("plain"), "no program").unwrap();
    for (program, exit, message) in [
        (
            "missing",
            Exit::NotFound,
            "exec: \"missing\": executable file not found in $PATH",
        ),
        (
            "/missing",
            Exit::NotFound,
            "exec: \"/missing\": no such file or directory",
        ),
        (
            "/plain",
            Exit::NotExecutable,
            "exec: \"/plain\": permission denied",
        ),
        ("/etc", Exit::NotExecutable, "exec: \"/etc\": permission denied"),
    ] {
        let mut wanted = run(&[program]);
        wanted.layers = vec![layer.clone()];
        let outcome = world.run(wanted).await;
        assert_eq!(outcome.step.exit, exit, "{program}");
        let said = outcome.step.message.unwrap();
        assert!(
            said == message || program == "/etc" && said.ends_with("is a directory"),
            "{said}"
        );
    }
}

async fn b05_a_program_is_looked_up_in_the_steps_own_path(world: World) {
    let layer = world.directory("layer");
    fs::create_dir(layer.join("own")).unwrap();
    fs::write(layer.join("own/greet"), "#!/bin/sh\necho hello").unwrap();
    fs::set_permissions(
        layer.join("own/greet"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut wanted = run(&["greet"]);
    wanted.layers = vec![layer];
    wanted.process.env = vec!["PATH=/nowhere:/own".to_owned()];
    assert_eq!(world.output(wanted).await, "hello");
}

/// A name that no other process's arguments hold.
fn mark(world: &World) -> String {
    let directory = world.directory("mark");
    directory.file_name().unwrap().to_string_lossy().into_owned() + &std::process::id().to_string()
}

/// A script with processes in several sessions that would go on for long.
fn stubborn(mark: &str) -> String {
    format!(
        "trap '' TERM INT HUP; for i in 1 2 3; do setsid sh -c 'sleep 600; : {mark}' & done; sleep 600; : {mark}"
    )
}

async fn until(mark: &str, running: bool) {
    for _ in 0..500 {
        if (processes_with(mark) >= 4) == running && (running || processes_with(mark) == 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are {} processes", processes_with(mark));
}

async fn b10_cancelling_ends_every_process(world: World) {
    let mark = mark(&world);
    let cancel = CancellationToken::new();
    let mut wanted = sh(&stubborn(&mark));
    wanted.cancel = cancel.clone();
    let cancelled = async {
        until(&mark, true).await;
        cancel.cancel();
        Instant::now()
    };
    let (outcome, since) = tokio::join!(world.run(wanted), cancelled);
    assert_eq!(outcome.step.exit, Exit::Cancelled);
    assert_eq!(processes_with(&mark), 0);
    // The behaviour's own promise, which is a second; the limit here is for a busy machine.
    assert!(since.elapsed() < Duration::from_secs(10));
}

async fn b10_a_timeout_ends_every_process(world: World) {
    let mark = mark(&world);
    let mut wanted = sh(&stubborn(&mark));
    wanted.timeout = Some(Duration::from_millis(300));
    assert_eq!(world.run(wanted).await.step.exit, Exit::TimedOut);
    assert_eq!(processes_with(&mark), 0);
}

async fn b10_dropping_the_run_ends_every_process(world: World) {
    let mark = mark(&world);
    tokio::select! {
        _ = world.run(sh(&stubborn(&mark))) => panic!("it ended"),
        () = until(&mark, true) => {}
    }
    until(&mark, false).await;
}

async fn background_processes_end_with_the_step(world: World) {
    let mark = mark(&world);
    let script = format!("setsid sh -c 'sleep 600; : {mark}' & sleep 0.1; exit 4");
    assert_eq!(world.run(sh(&script)).await.step.exit, Exit::Code(4));
    assert_eq!(processes_with(&mark), 0);
}

async fn many_steps_run_at_once(world: World) {
    let scripts: Vec<_> = (0..24)
        .map(|number| format!("sleep 0.05; echo {number}; exit {number}"))
        .collect();
    let runs = scripts.iter().map(|script| world.run(sh(script)));
    let mut all = Vec::new();
    for run in runs {
        all.push(run);
    }
    for (number, outcome) in futures_in_order(all).await.into_iter().enumerate() {
        assert_eq!(outcome.step.exit, Exit::Code(number as i32));
        assert_eq!(outcome.stdout.trim(), number.to_string());
    }
}

/// Waits for all, which run at the same time.
async fn futures_in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut pinned: Vec<_> = futures
        .into_iter()
        .map(|future| (Box::pin(future), None))
        .collect();
    std::future::poll_fn(|context| {
        let mut all = true;
        for (future, output) in &mut pinned {
            if output.is_none() {
                if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                    *output = Some(value);
                } else {
                    all = false;
                }
            }
        }
        if all {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    pinned.into_iter().filter_map(|(_, output)| output).collect()
}

/// Directories there are below a place.
fn directories(place: &Path) -> usize {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).count()
}

/// Cleaning up goes on behind a step's back; it has to come to its end.
async fn comes_to_be(what: &str, done: impl Fn() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

async fn nothing_is_left_of_a_step(world: World) {
    let mut wanted = sh("true");
    wanted.process.memory = Some(64 << 20);
    wanted.process.pids = Some(20);
    let outcome = world.run(wanted).await;
    let scratch = outcome.upper.parent().unwrap().to_owned();
    let own = format!("wharf-test-{}", std::process::id());
    let groups = |controller: &str| directories(&Path::new("/sys/fs/cgroup").join(controller).join(&own));
    comes_to_be("a step's directory stays", || {
        directories(&scratch.join("state/steps")) == 0
    })
    .await;
    // A container that waits for a step has none of these yet.
    comes_to_be("a step's control group stays", || groups("pids") == 0).await;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(scratch.to_str().unwrap()), "{mounts}");
    world.runner.shutdown().await;
    comes_to_be("a control group outlives its runner", || groups("memory") == 0).await;
}

/// The helper is the parent of every step: when it is gone, they are.
#[tokio::test]
async fn steps_end_with_the_runner() {
    let world = World::built_in().await;
    let mark = mark(&world);
    let stopped = async {
        until(&mark, true).await;
        world.runner.shutdown().await;
    };
    let (outcome, ()) = tokio::join!(world.run(sh(&stubborn(&mark))), stopped);
    assert_eq!(outcome.step.exit, Exit::Signal(9));
    assert_eq!(processes_with(&mark), 0);
    let after = world.try_run(sh("true")).await;
    assert!(after.is_err_and(|error| error.to_string().contains("has ended")));
}

/// What an engine that was killed left behind is ended by the next one of the same name.
#[tokio::test]
async fn leftovers_of_an_earlier_runner_are_ended() {
    let world = World::runc().await;
    let mark = mark(&world);
    let mut wanted = sh(&stubborn(&mark));
    wanted.process.pids = Some(50);
    let next = async {
        until(&mark, true).await;
        let scratch = world.root.parent().unwrap();
        let next = Runner::start(config(Runtime::BuiltIn, scratch)).await.unwrap();
        until(&mark, false).await;
        next
    };
    let (_, next) = tokio::join!(world.try_run(wanted), next);
    next.shutdown().await;
}
