//! Behaviours 1 to 8: what a step is given and how it ends. Each runs on the built-in runner, on runc, on crun and on the engine
//! in Docker; where Docker defines the answer, Docker is asked.

use std::sync::Arc;

use wharf_client::SessionOptions;
use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script, sh},
};
use wharf_graph::{
    Container, Directory, Error, ExecFailure, Secret,
    op::{Configure, ExecOptions, Expect, Limits, SecretId, Stdin},
    read::{Answer, Question},
};
use wharf_testkit::answers::{self, docker_answers};

/// Tests of these bodies in the module that says how the engine is made.
macro_rules! on {
    ($place:ident, $engine:expr, $($body:ident)+) => {
        mod $place {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $body() {
                    let engine = $engine;
                    super::$body(&engine).await;
                }
            )+
        }
    };
}

macro_rules! everywhere {
    ($($body:ident)+) => {
        on!(given, wharf_e2e::TestEngine::start(), $($body)+);
        mod crun {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $body() {
                    if let Some(engine) = wharf_e2e::TestEngine::with_crun() {
                        super::$body(&engine).await;
                    }
                }
            )+
        }
        on!(runc, wharf_e2e::TestEngine::with_runtime("runc"), $($body)+);
        on!(docker, wharf_e2e::TestEngine::on_docker(), $($body)+);
    };
}

everywhere! {
    b01_the_entrypoint_is_used_only_when_asked_for
    b02_failures_are_judged_and_never_remembered
    b03_input_and_redirects
    b04_an_error_holds_the_end_of_a_log_and_the_stream_all_of_it
    b05_b06_b07_steps_are_as_docker_runs_them
    b05_ends_are_told_apart
    b07_env_expands_only_when_asked
    b08_a_step_sees_nothing_of_the_host
}

mod signals {
    on!(
        built_in,
        wharf_e2e::TestEngine::with_runtime("builtin"),
        b05_a_death_by_signal_is_told
    );
    on!(
        docker,
        wharf_e2e::TestEngine::on_docker(),
        b05_a_death_by_signal_is_told
    );
    use super::b05_a_death_by_signal_is_told;
}

fn words(args: &[&str]) -> Vec<String> {
    args.iter().map(|arg| (*arg).to_owned()).collect()
}

async fn exit_code(run: &Run, container: &Container) -> Result<i32, Error> {
    match run.ask(container.node(), Question::ExitCode).await? {
        Answer::ExitCode(code) => Ok(code),
        other => panic!("{other:?} is no exit code"),
    }
}

async fn failure(run: &Run, container: &Container) -> ExecFailure {
    match run.stdout(container).await {
        Err(Error::Exec(failure)) => *failure,
        other => panic!("{other:?} is no failed step"),
    }
}

fn any() -> ExecOptions {
    ExecOptions {
        expect: Expect::Any,
        ..ExecOptions::default()
    }
}

async fn b01_the_entrypoint_is_used_only_when_asked_for(engine: &TestEngine) {
    let run = engine.run();
    let entrypoint = |args: &[&str], keep_default_args| Configure::Entrypoint {
        args: words(args),
        keep_default_args,
    };
    let with_entrypoint = ExecOptions {
        use_entrypoint: true,
        ..ExecOptions::default()
    };
    let base = busybox()
        .configure(Configure::DefaultArgs(words(&["echo", "default"])))
        .configure(entrypoint(&["echo", "entry"], true));
    let plain = base.with_exec(&words(&["echo", "plain"]), ExecOptions::default());
    assert_eq!(run.stdout(&plain).await.unwrap(), "plain\n");
    let asked = base.with_exec(&words(&["argument"]), with_entrypoint.clone());
    assert_eq!(run.stdout(&asked).await.unwrap(), "entry argument\n");
    let default = base.with_exec(&[], with_entrypoint.clone());
    assert_eq!(run.stdout(&default).await.unwrap(), "entry echo default\n");
    // Another entrypoint takes the default arguments away, as they were meant for the one before.
    let reset = base.configure(entrypoint(&["echo", "other"], false));
    assert_eq!(
        run.stdout(&reset.with_exec(&[], with_entrypoint)).await.unwrap(),
        "other\n"
    );
    let nothing = reset.with_exec(&[], ExecOptions::default());
    assert!(matches!(run.stdout(&nothing).await, Err(Error::Invalid(_))));
}

async fn b02_failures_are_judged_and_never_remembered(engine: &TestEngine) {
    let expecting = |expect| ExecOptions {
        expect,
        ..ExecOptions::default()
    };
    let fails = sh("echo ran; exit 3");
    let strict = busybox().with_exec(&fails, expecting(Expect::Success));
    for _ in 0..2 {
        let mut run = engine.run();
        assert_eq!(failure(&run, &strict).await.exit_code, 3);
        let (ran, hit) = run.steps().await;
        assert_eq!((ran.len(), hit.len()), (1, 0), "a failure runs again");
    }
    // The same step accepted is a result, and a hit afterwards for whoever accepts it.
    let accepted = busybox().with_exec(&fails, expecting(Expect::Any));
    assert_eq!(exit_code(&engine.run(), &accepted).await.unwrap(), 3);
    let mut again = engine.run();
    assert_eq!(exit_code(&again, &accepted).await.unwrap(), 3);
    let failing = busybox().with_exec(&fails, expecting(Expect::Failure));
    assert_eq!(again.stdout(&failing).await.unwrap(), "ran\n");
    assert!(
        again.steps().await.0.is_empty(),
        "an accepted failure is remembered"
    );
    // For one who wants success it is a failure still.
    let mut run = engine.run();
    assert_eq!(failure(&run, &strict).await.exit_code, 3);
    assert_eq!(run.steps().await.1.len(), 0);
    let succeeds = busybox().with_exec(&sh("true"), expecting(Expect::Failure));
    assert_eq!(failure(&run, &succeeds).await.exit_code, 0);
}

async fn b03_input_and_redirects(engine: &TestEngine) {
    let run = engine.run();
    let text = busybox().with_exec(&sh("cat"), ExecOptions::default().with_stdin("a\nb\n"));
    assert_eq!(run.stdout(&text).await.unwrap(), "a\nb\n");
    let none = script(&busybox(), "wc -c");
    assert_eq!(run.stdout(&none).await.unwrap().trim(), "0");

    let value = format!("secret-{:x}", rand());
    let file = engine.path().join("token");
    std::fs::write(&file, &value).unwrap();
    let id = SecretId {
        owner: "tests".to_owned(),
        uri: format!("file:{}", file.display()),
    };
    run.session.register_secret(id.clone());
    let from_secret = busybox().with_exec(
        &sh("wc -c"),
        ExecOptions {
            stdin: Stdin::Secret(id.clone()),
            ..ExecOptions::default()
        },
    );
    assert_eq!(
        run.stdout(&from_secret).await.unwrap().trim(),
        value.len().to_string()
    );
    // What it prints of the secret is masked.
    let mounted = busybox().with_mounted_secret(
        "/run/token",
        &Secret {
            name: "token".to_owned(),
            id,
        },
        None,
        None,
    );
    let shown = script(&mounted, "cat /run/token; stat -c ' %a' /run/token");
    assert_eq!(run.stdout(&shown).await.unwrap(), "*** 400\n");

    let redirected = busybox().with_exec(
        &sh("echo out; echo err >&2"),
        ExecOptions {
            redirect_stdout: Some("/out.txt".to_owned()),
            redirect_stderr: Some("/deep/err.txt".to_owned()),
            ..ExecOptions::default()
        },
    );
    assert_eq!(run.text(&redirected, "/out.txt").await.unwrap(), "out\n");
    assert_eq!(run.text(&redirected, "/deep/err.txt").await.unwrap(), "err\n");
    let reader = script(&redirected, "cat /out.txt /deep/err.txt");
    assert_eq!(run.stdout(&reader).await.unwrap(), "out\nerr\n");
}

async fn b04_an_error_holds_the_end_of_a_log_and_the_stream_all_of_it(engine: &TestEngine) {
    let mut run = engine.run();
    // About 7 MB.
    let noisy = script(&busybox(), "seq 1000000; echo last words >&2; exit 1");
    let failure = failure(&run, &noisy).await;
    assert!(
        failure.stdout_tail.len() <= 8 * 1024,
        "{}",
        failure.stdout_tail.len()
    );
    assert!(failure.stdout_tail.ends_with("999999\n1000000\n"));
    assert_eq!(failure.stderr_tail, "last words\n");
    let streamed = run.log().await;
    let expected: u64 = (1..=1_000_000_u64)
        .map(|number| number.to_string().len() as u64 + 1)
        .sum();
    assert_eq!(streamed.len() as u64, expected + "last words\n".len() as u64);
    // And it can be read again.
    let log = run.failed_log(&failure.log).await;
    assert_eq!(log.len(), streamed.len());
}

/// Environment, users, exit codes, devices, capabilities: every recorded case.
async fn b05_b06_b07_steps_are_as_docker_runs_them(engine: &TestEngine) {
    let run = engine.run();
    let cases = std::fs::read_dir(wharf_testkit::answers::recorded()).unwrap();
    let mut names: Vec<_> = cases
        .filter_map(|case| Some(case.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() > 25, "{names:?}");
    let mut wrong = Vec::new();
    // The built-in runner puts an init before the program, as `docker run --init` does: it is process 2.
    names.retain(|name| name != "pid-1");
    for name in names {
        let (question, answer) = docker_answers(&name).unwrap();
        let mut container = Container::image(&question.image, None);
        for (name, value) in &question.env {
            container = container.configure(Configure::Env {
                name: name.clone(),
                value: value.clone(),
                expand: false,
            });
        }
        if let Some(user) = &question.user {
            container = container.configure(Configure::User(user.clone()));
        }
        if let Some(workdir) = &question.workdir {
            container = container.configure(Configure::Workdir(workdir.clone()));
        }
        let step = container.with_exec(&question.args, any());
        let ours = match exit_code(&run, &step).await {
            Ok(code) => answers::Answer {
                code,
                stdout: run.stdout(&step).await.unwrap(),
            },
            // Docker says 125 where no container comes to be.
            Err(Error::Invalid(_) | Error::NotFound(_)) => answers::Answer {
                code: 125,
                stdout: String::new(),
            },
            Err(error) => panic!("{name}: {error}"),
        };
        let theirs = answers::Answer {
            stdout: answer.stdout.replace("CONTAINER", "wharf"),
            ..answer
        };
        if !question.same(&ours, &theirs) {
            wrong.push(format!("{name}: ours {ours:?}, Docker's {theirs:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn b05_ends_are_told_apart(engine: &TestEngine) {
    let run = engine.run();
    for (args, code, reason) in [
        (sh("exit 42"), 42, "exit code 42"),
        (words(&["no-such-program"]), 127, "not found"),
        (words(&["/no/such/program"]), 127, "no such file"),
        (words(&["/etc/passwd"]), 126, "permission denied"),
    ] {
        let failure = failure(&run, &busybox().with_exec(&args, ExecOptions::default())).await;
        assert_eq!(failure.exit_code, code, "{args:?}");
        assert!(failure.reason.contains(reason), "{args:?}: {}", failure.reason);
    }
    let hungry = busybox().with_exec(
        &sh("x=x; while true; do x=$x$x; done"),
        ExecOptions {
            limits: Limits {
                memory: Some(32 << 20),
                ..Limits::default()
            },
            ..ExecOptions::default()
        },
    );
    let failure = failure(&run, &hungry).await;
    assert!(
        failure.reason.contains("out of memory (limit 32 MiB)"),
        "{}",
        failure.reason
    );
}

/// Where the step's program is not process 1, which the kernel keeps from such signals of its own.
async fn b05_a_death_by_signal_is_told(engine: &TestEngine) {
    let run = engine.run();
    for (signal, code) in [("TERM", 143), ("SEGV", 139), ("KILL", 137)] {
        let failure = failure(&run, &script(&busybox(), &format!("kill -{signal} $$"))).await;
        assert_eq!(failure.exit_code, code);
        let reason = format!("ended by signal {}", code - 128);
        assert!(failure.reason.contains(&reason), "{}", failure.reason);
    }
}

async fn b07_env_expands_only_when_asked(engine: &TestEngine) {
    let run = engine.run();
    let env = |name: &str, value: &str, expand| Configure::Env {
        name: name.to_owned(),
        value: value.to_owned(),
        expand,
    };
    let base = busybox()
        .configure(env("A", "one", false))
        .configure(env("PLAIN", "$A", false))
        .configure(env("EXPANDED", "${A}-two", true))
        .configure(env("EMPTY", "", false))
        .configure(env("GONE", "x", false))
        .configure(Configure::UnsetEnv("GONE".to_owned()));
    let seen = script(
        &base,
        "echo \"$PLAIN $EXPANDED [$EMPTY] ${EMPTY-unset} ${GONE-unset}\"",
    );
    assert_eq!(run.stdout(&seen).await.unwrap(), "$A one-two []  unset\n");
    let literal = base.with_exec(&words(&["echo", "$A ${EXPANDED}"]), ExecOptions::default());
    assert_eq!(run.stdout(&literal).await.unwrap(), "$A ${EXPANDED}\n");
    let expanded = base.with_exec(
        &words(&["echo", "$A ${EXPANDED}"]),
        ExecOptions {
            expand: true,
            ..ExecOptions::default()
        },
    );
    assert_eq!(run.stdout(&expanded).await.unwrap(), "one one-two\n");
}

async fn b08_a_step_sees_nothing_of_the_host(engine: &TestEngine) {
    let run = engine.run();
    let looks = "ls -d /proc/[0-9]* | wc -l; env | grep -c -e CARGO -e WHARF -e NEXTEST; \
                 ls -A /run /tmp | grep -c sock; wc -l < /proc/net/unix; hostname; \
                 grep -c -v -e overlay -e proc -e tmpfs -e devpts -e mqueue -e sysfs -e cgroup -e [[:space:]]/etc/ /proc/mounts";
    let seen = busybox().with_exec(&sh(looks), any());
    let text = run.stdout(&seen).await.unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    // The shell, the pipe's two ends and perhaps the init: never the host's.
    assert!(lines[0].parse::<u32>().unwrap() <= 4, "{text}");
    assert_eq!(&lines[1..], ["0", "0", "1", "wharf", "0"], "{text}");
    let orphans = script(
        &busybox(),
        "(sleep 0.05 &); (sleep 0.05 &); sleep 0.5; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l; echo alive",
    );
    assert_eq!(run.stdout(&orphans).await.unwrap().trim(), "0\nalive");
    let writes = busybox().with_exec(
        &sh(
            "echo x > /proc/sys/kernel/hostname && echo wrote; mount -t tmpfs none /mnt && echo mounted; \
             mknod /dev/sdx b 8 0 && head -c 1 /dev/sdx && echo read; true",
        ),
        any(),
    );
    assert_eq!(run.stdout(&writes).await.unwrap(), "");
}

/// Something that no other run has.
fn rand() -> u128 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    now.as_nanos() ^ u128::from(std::process::id())
}

/// Directories of the host, options of a session: used by the tests of other engines' places.
#[tokio::test(flavor = "multi_thread")]
async fn b02_no_cache_runs_again() {
    let engine = TestEngine::start();
    let container = script(&busybox(), "cat /proc/sys/kernel/random/uuid");
    let first = engine.run().stdout(&container).await.unwrap();
    assert_eq!(engine.run().stdout(&container).await.unwrap(), first);
    let again = engine.run_with(SessionOptions {
        no_cache: true,
        ..SessionOptions::default()
    });
    assert_ne!(again.stdout(&container).await.unwrap(), first);
    let own = Arc::clone(Directory::empty().node());
    assert_eq!(
        again.ask(&own, Question::Entries("/".to_owned())).await.unwrap(),
        Answer::Names(Vec::new())
    );
}
