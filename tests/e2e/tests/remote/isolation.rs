//! Clients of one engine have nothing of each other: sessions, secrets, volumes, logs, turns.

use std::os::unix::fs::MetadataExt;

use tonic::Code;
use wharf_client::{
    Connection,
    proto::{ExportRequest, PublishRequest, StepLogRequest},
};
use wharf_e2e::engine::{Run, busybox, script};
use wharf_graph::{
    Container, Error,
    build::Volume,
    op::{Configure, ExecOptions},
    read::Question,
};
use wharf_testkit::process;

use crate::{PATIENCE, Server, random};

/// A step that says something that only who has the secret's value can know, and that no scrubbing takes out.
fn telling(name: &str, secret: &wharf_graph::Secret) -> Container {
    let variable = Configure::SecretEnv("TOKEN".to_owned(), secret.id.clone());
    script(
        &busybox().configure(variable),
        &format!(": {name}; printf %s \"$TOKEN\" | sha256sum"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_another_value_under_the_same_name_is_given_nothing() {
    let server = Server::start();
    let (of_ann, of_bob, name) = (random(), random(), random());
    let mut run = server.run("ann");
    let secret = server.secret(&run, &of_ann);
    let said = run.stdout(&telling(&name, &secret)).await.expect("it runs");
    assert_eq!(run.steps().await.0.len(), 1);
    let mut again = server.run("ann");
    let secret = server.secret(&again, &of_ann);
    assert_eq!(again.stdout(&telling(&name, &secret)).await.expect("a hit"), said);
    assert_eq!(again.steps().await.0.len(), 0, "ann's own is remembered");
    let mut other = server.run("bob");
    let secret = server.secret(&other, &of_bob);
    let told = other.stdout(&telling(&name, &secret)).await.expect("it runs");
    assert_ne!(told, said, "bob's step was given ann's result");
    assert_eq!(other.steps().await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_modules_make_reach_their_steps() {
    let server = Server::start();
    let value = random();
    let run = server.run("ann");
    let id = run.session.hold_secret("team", value.clone().into_bytes().into());
    let secret = wharf_graph::Secret {
        name: "made".to_owned(),
        id,
    };
    let said = run.stdout(&telling("made", &secret)).await.expect("it runs");
    let expected = server.run("bob");
    let plain = script(&busybox(), &format!("printf %s {value} | sha256sum"));
    assert_eq!(expected.stdout(&plain).await.expect("it runs"), said);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_cache_volumes_of_their_own() {
    let server = Server::start();
    let kept = random();
    let with_volume = busybox().with_mounted_cache("/cache", &Volume::new("team", "shared"));
    let write = script(
        &with_volume,
        &format!("echo {kept} > /cache/kept; cat /cache/kept"),
    );
    assert_eq!(
        server
            .run("ann")
            .stdout(&write)
            .await
            .expect("it runs")
            .trim_end(),
        kept
    );
    let look = |name: &str| {
        script(
            &with_volume,
            &format!(": {name}; ls /cache; cat /cache/* 2>&1 || true"),
        )
    };
    let seen = server.run("bob").stdout(&look("bob")).await.expect("it runs");
    assert!(!seen.contains(&kept) && !seen.contains("kept"), "{seen}");
    let seen = server.run("ann").stdout(&look("ann")).await.expect("it runs");
    assert!(seen.contains(&kept), "{seen}");
}

/// What the engine says to who names a session.
async fn export(connection: &Connection, session: u64) -> Code {
    let request = ExportRequest {
        session,
        node: vec![0; 32],
        ..ExportRequest::default()
    };
    match connection.client().export(request).await {
        Ok(_) => Code::Ok,
        Err(status) => status.code(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_clients_alone() {
    let server = Server::start();
    let run = server.run("ann");
    run.stdout(&script(&busybox(), "echo open"))
        .await
        .expect("it runs");
    let (ann, bob) = (server.connection("ann").await, server.connection("bob").await);
    let mut own = 0;
    for session in 1..=8 {
        own += usize::from(export(&ann, session).await == Code::Ok);
        assert_eq!(
            export(&bob, session).await,
            Code::FailedPrecondition,
            "session {session}"
        );
        let request = PublishRequest {
            session,
            ..PublishRequest::default()
        };
        let refused = bob
            .client()
            .publish(request)
            .await
            .expect_err("no session of bob's");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.message(), "the session has ended", "as if there was none");
    }
    assert_eq!(
        own, 1,
        "ann's own session is there for ann, on whatever connection"
    );
}

/// What the engine has of a log, or why not.
async fn log(connection: &Connection, log: &str) -> Result<Vec<u8>, Code> {
    let request = StepLogRequest { log: log.to_owned() };
    let pieces = connection.client().step_log(request).await;
    let mut pieces = pieces.map_err(|status| status.code())?.into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.expect("a piece") {
        bytes.extend(piece.bytes);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_failed_step_is_for_who_was_told_of_it() {
    let server = Server::start();
    let said = random();
    let run = server.run("ann");
    let failing = script(&busybox(), &format!("echo {said}; exit 3"));
    let Err(Error::Exec(failure)) = run.stdout(&failing).await else {
        panic!("it fails")
    };
    let own = log(&server.connection("ann").await, &failure.log)
        .await
        .expect("ann's own");
    assert_eq!(String::from_utf8_lossy(&own).trim_end(), said);
    assert_eq!(
        log(&server.connection("bob").await, &failure.log).await,
        Err(Code::NotFound)
    );
}

/// Does a process with this argument run on this machine?
fn runs(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("the kernel's").flatten();
    entries
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == 0))
        .any(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|own| own == argument.as_bytes())
        })
}

/// A step that goes on until it is cancelled, and a mark in its arguments.
fn endless(mark: &str) -> Container {
    let args = ["sh", "-c", "while :; do sleep 1; done", mark].map(str::to_owned);
    busybox().with_exec(&args, ExecOptions::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_cancels_their_own_work_alone() {
    let server = Server::start();
    let marks = [random(), random()];
    let begin = |client: &str, mark: &str| {
        let (run, step) = (server.run(client), endless(mark));
        tokio::spawn(async move { run.ask(step.node(), Question::Stdout).await.map(|_| ()) })
    };
    let tasks = [begin("ann", &marks[0]), begin("bob", &marks[1])];
    let come = |mark: &str| process::wait_for(PATIENCE, || runs(mark).then_some(()));
    let gone = |mark: &str| process::wait_for(PATIENCE, || (!runs(mark)).then_some(()));
    for mark in &marks {
        assert!(come(mark).is_some(), "it runs: {}", server.log());
    }
    let [of_ann, of_bob] = tasks;
    of_ann.abort();
    assert!(of_ann.await.is_err_and(|error| error.is_cancelled()));
    assert!(gone(&marks[0]).is_some(), "ann's step ends with ann");
    assert!(runs(&marks[1]) && !of_bob.is_finished(), "bob's goes on");
    of_bob.abort();
    assert!(gone(&marks[1]).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_as_many_runs_and_steps_as_it_may() {
    let server = Server::with(&["127.0.0.1"], &["--peer-runs", "2", "--peer-steps", "1"]);
    let open = async |run: &Run| run.session.connection().await;
    let runs = [
        server.run("ann"),
        server.run("ann"),
        server.run("ann"),
        server.run("bob"),
    ];
    open(&runs[0]).await.expect("the first");
    open(&runs[1]).await.expect("the second");
    let error = open(&runs[2])
        .await
        .expect_err("the third is one too many")
        .to_string();
    assert!(
        error.contains("ann has 2 runs") && error.contains("--peer-runs"),
        "{error}"
    );
    open(&runs[3]).await.expect("bob has none yet");
    // Of ann's one step runs at a time, whichever of her runs wants it.
    let marks = [random(), random()];
    let [first, second, _, of_bob] = runs;
    let begin = |run: Run, mark: &str| {
        let step = endless(mark);
        tokio::spawn(async move { run.ask(step.node(), Question::Stdout).await.map(|_| ()) })
    };
    let running = begin(first, &marks[0]);
    assert!(
        process::wait_for(PATIENCE, || runs_now(&marks[0])).is_some(),
        "{}",
        server.log()
    );
    let waiting = begin(second, &marks[1]);
    of_bob
        .stdout(&script(&busybox(), "echo meanwhile"))
        .await
        .expect("bob is not held up");
    assert!(!self::runs(&marks[1]), "ann's second step has no turn yet");
    running.abort();
    assert!(
        process::wait_for(PATIENCE, || runs_now(&marks[1])).is_some(),
        "{}",
        server.log()
    );
    waiting.abort();
}

fn runs_now(mark: &str) -> Option<()> {
    runs(mark).then_some(())
}
