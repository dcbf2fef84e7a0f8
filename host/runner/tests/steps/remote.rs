//! What is asked of a step while it runs.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
    time::Duration,
};

use wharf_runner::{Error, Exit, Remote, StepIo};

use crate::{
    with_both,
    world::{World, processes_with, run, sh},
};

with_both!(
    a_signal_reaches_the_program_and_no_other,
    programs_beside_the_steps_run_as_it_does,
    programs_beside_a_step_end_with_their_time_and_with_it,
    programs_start_with_no_signal_ignored_or_held_back,
);

const LONG: Duration = Duration::from_mins(1);

/// Runs a shell script beside the step; how it ended, and what it wrote.
async fn beside(remote: &Remote, script: &str, timeout: Duration) -> (Result<Exit, Error>, String) {
    let mut output = tempfile::tempfile().unwrap();
    let copy = |file: &File| file.try_clone().unwrap().into();
    let io = StepIo {
        stdin: File::open("/dev/null").unwrap().into(),
        stdout: copy(&output),
        stderr: copy(&output),
    };
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let exit = remote.beside(args, io, timeout).await;
    let mut text = String::new();
    output.rewind().unwrap();
    output.read_to_string(&mut text).unwrap();
    (exit, text)
}

/// Waits until the step has made a file.
async fn until_there(remote: &Remote, path: &str) {
    let script = format!("until test -e {path}; do sleep 0.01; done");
    assert_eq!(beside(remote, &script, LONG).await.0.unwrap(), Exit::Code(0));
}

async fn a_signal_reaches_the_program_and_no_other(world: World) {
    let (remote, asks) = Remote::new();
    let script = "trap 'echo usr1' USR1; trap 'echo last words; exit 7' TERM; touch /ready; while :; do sleep 0.01; done";
    let (outcome, ()) = tokio::join!(world.run_asked(sh(script), asks), async {
        until_there(&remote, "/ready").await;
        remote.signal(10);
        tokio::time::sleep(Duration::from_millis(100)).await;
        remote.signal(15);
    });
    assert_eq!(outcome.step.exit, Exit::Code(7), "{outcome:?}");
    assert_eq!(outcome.stdout, "usr1\nlast words\n");
}

async fn programs_beside_the_steps_run_as_it_does(world: World) {
    let (remote, asks) = Remote::new();
    let mut step = sh("umask 077; echo content > /file; until test -e /done; do sleep 0.01; done");
    step.process.env.push("GREETING=hello".to_owned());
    "/tmp".clone_into(&mut step.process.cwd);
    "here".clone_into(&mut step.process.hostname);
    let (outcome, ()) = tokio::join!(world.run_asked(step, asks), async {
        until_there(&remote, "/file").await;
        let script = "cat /file; echo $GREETING; pwd; hostname; id -u; grep -c . /proc/1/cmdline; grep CapEff /proc/self/status";
        let (exit, text) = beside(&remote, script, LONG).await;
        assert_eq!(exit.unwrap(), Exit::Code(0), "{text}");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..5], ["content", "hello", "/tmp", "here", "0"], "{text}");
        assert_eq!(lines[6], "CapEff:\t00000000a80425fb", "Docker's usual ones");
        assert_eq!(beside(&remote, "exit 3", LONG).await.0.unwrap(), Exit::Code(3));
        assert_eq!(
            beside(&remote, "kill -KILL $$", LONG).await.0.unwrap(),
            Exit::Signal(9)
        );
        let io = || StepIo {
            stdin: File::open("/dev/null").unwrap().into(),
            stdout: File::open("/dev/null").unwrap().into(),
            stderr: File::open("/dev/null").unwrap().into(),
        };
        let missing = remote
            .beside(vec!["no-such-program".to_owned()], io(), LONG)
            .await;
        assert_eq!(missing.unwrap(), Exit::NotFound);
        // The step may end before this has.
        let last = beside(&remote, "touch /done", LONG).await.0;
        assert!(matches!(last, Ok(Exit::Code(0)) | Err(Error::Ended)), "{last:?}");
    });
    assert_eq!(outcome.step.exit, Exit::Code(0), "{outcome:?}");
    assert!(outcome.upper.join("done").exists());
    let gone = beside(&remote, "true", LONG).await.0;
    assert!(matches!(gone, Err(Error::Ended)), "{gone:?}");
}

async fn programs_beside_a_step_end_with_their_time_and_with_it(world: World) {
    let (remote, asks) = Remote::new();
    let mark = |world: &World, name: &str| {
        let path = world.directory(name);
        path.file_name()
            .and_then(|name| name.to_str())
            .unwrap()
            .to_owned()
            + &std::process::id().to_string()
    };
    let (slow, slower) = (mark(&world, "slow"), mark(&world, "slower"));
    let sleeping = |mark: &str| format!(": {mark}; while :; do sleep 1; done");
    let step = sh("until test -e /done; do sleep 0.01; done");
    let ((outcome, ended), ()) = tokio::join!(
        async {
            let outcome = world.run_asked(step, asks).await;
            (outcome, processes_with(&slower))
        },
        async {
            let (exit, _) = beside(&remote, &sleeping(&slow), Duration::from_millis(300)).await;
            assert_eq!(exit.unwrap(), Exit::TimedOut);
            assert_eq!(processes_with(&slow), 0);
            let forever = sleeping(&slower);
            let (left, done) = tokio::join!(beside(&remote, &forever, LONG), async {
                while processes_with(&slower) == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                beside(&remote, "touch /done", LONG).await
            });
            drop(done);
            // Where it is no child of ours, its end is seen before the step's.
            assert!(
                matches!(left.0, Err(Error::Ended) | Ok(Exit::Signal(9))),
                "{left:?}"
            );
        }
    );
    assert_eq!(outcome.step.exit, Exit::Code(0), "{outcome:?}");
    assert_eq!(ended, 0);
    assert!(!Path::new("/done").exists());
}

async fn programs_start_with_no_signal_ignored_or_held_back(world: World) {
    // Not by a shell, which has its own ideas of signals.
    let text = world
        .output(run(&[
            "grep",
            "-e",
            "SigBlk",
            "-e",
            "SigIgn",
            "/proc/self/status",
        ]))
        .await;
    // What whoever runs the tests has them ignore other runtimes hand on. Those without names are the C library's.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find(|line| line.starts_with("SigIgn:")).unwrap();
    let mask = |line: &str| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap() & 0x7fff_ffff;
    let pipe = 1 << 12;
    for line in text.lines() {
        assert_eq!(mask(line) & !(mask(own) & !pipe), 0, "{line}, {own}");
    }
    assert_eq!(text.lines().count(), 2, "{text}");
}
