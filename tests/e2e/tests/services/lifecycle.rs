//! From a service's start to its end, and who reaches it in between.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script, sh},
};
use wharf_graph::{
    Container, Error, Service,
    op::{CacheVolume, Configure, ExecOptions, Mount, Network, ServiceOptions, Sharing},
    read::Question,
};

use crate::{ask, asks, failure, nonce, processes_with, serving, wait_until_gone, web, within};

/// Tests of these bodies on each runtime.
macro_rules! on_each_runtime {
    ($($body:ident)+) => {
        mod built_in {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $body() {
                    super::$body(&wharf_e2e::TestEngine::with_runtime("builtin")).await;
                }
            )+
        }
        mod runc {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $body() {
                    super::$body(&wharf_e2e::TestEngine::with_runtime("runc")).await;
                }
            )+
        }
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
    };
}

on_each_runtime! {
    b50_a_service_is_started_once_for_all_that_need_it
    b50_the_end_of_a_service_fails_its_clients_at_once_with_its_log
    b50_a_service_that_never_is_healthy_fails_with_its_log
    b11_only_what_is_bound_reaches_a_service
    b10_what_is_cancelled_takes_its_services_with_it
}

async fn b50_a_service_is_started_once_for_all_that_need_it(engine: &TestEngine) {
    let service = web(80);
    let run = engine.run();
    let bound = busybox().with_service("web", &service);
    // Two beside each other, and one that needs the first's result.
    let (one, two) = (asks(&bound, "web", 1), asks(&bound, "web", 2));
    let (first, second) = tokio::join!(run.stdout(&one), run.stdout(&two));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.len(), 37, "{first:?}");
    assert_eq!(first, second);
    assert_eq!(run.stdout(&asks(&one, "web", 3)).await.unwrap(), first);
    assert_eq!(ask(&run, &service, Question::Logs).await.unwrap(), "began\n");
    // Under another name and by its own, on the port that it exposes.
    let hostname = ask(&run, &service, Question::Hostname).await.unwrap();
    let by_other_names = busybox()
        .with_service("api.test", &service)
        .with_service("web", &service);
    for (number, name) in ["api.test", "web", hostname.as_str()].into_iter().enumerate() {
        let asked = asks(&by_other_names, name, 10 + number as u32);
        assert_eq!(run.stdout(&asked).await.unwrap(), first, "{name}");
    }
    // What was asked is remembered, and starts nothing; another run has a service of its own.
    let mut other = engine.run();
    assert_eq!(other.stdout(&one).await.unwrap(), first);
    assert_eq!(other.steps().await.0.len(), 0);
    assert_ne!(other.stdout(&asks(&bound, "web", 4)).await.unwrap(), first);
}

async fn b50_the_end_of_a_service_fails_its_clients_at_once_with_its_log(engine: &TestEngine) {
    let mut run = engine.run();
    let dies = serving(
        "echo going; nc -ll -p 80 -e cat & sleep 1; echo gone >&2; exit 3",
        &[80],
        ServiceOptions::default(),
    );
    // It would take a minute by itself.
    let client = script(&busybox().with_service("db", &dies), "echo waits; sleep 60");
    let begun = Instant::now();
    let failure = failure(&run, &client).await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(failure.args.join(" ").contains("nc -ll"), "{failure:?}");
    assert_eq!(failure.exit_code, 3);
    assert!(
        failure
            .reason
            .starts_with("the service ended while it was needed: "),
        "{failure:?}"
    );
    assert_eq!(
        (failure.stdout_tail.as_str(), failure.stderr_tail.as_str()),
        ("going\n", "gone\n")
    );
    assert_eq!(run.failed_log(&failure.log).await, b"going\ngone\n");
    // The client that was cut short is no result: it runs again, and so does the service.
    run.steps().await;
    assert!(run.stdout(&client).await.is_err());
    assert_eq!(run.steps().await.1.len(), 0);
}

async fn b50_a_service_that_never_is_healthy_fails_with_its_log(engine: &TestEngine) {
    let run = engine.run();
    let nonce = nonce();
    let deaf = serving(
        &format!("echo thinking; exec sleep {nonce}"),
        &[80, 81],
        within(500),
    );
    let client = script(&busybox().with_service("db", &deaf), "echo never");
    let failure_of = failure(&run, &client).await;
    assert_eq!(
        failure_of.reason,
        "the service was not healthy after 500ms: nothing listens on 80/tcp and 81/tcp"
    );
    assert_eq!(failure_of.stdout_tail, "thinking\n");
    assert_eq!(run.failed_log(&failure_of.log).await, b"thinking\n");
    assert_eq!(processes_with(&nonce), 0);
    // One that listens for itself alone is not reached by others, and so is not healthy.
    let private = serving("exec httpd -f -p 127.0.0.1:80", &[80], within(500));
    let client = script(&busybox().with_service("db", &private), "echo never");
    assert!(
        failure(&run, &client)
            .await
            .reason
            .contains("nothing listens on 80/tcp")
    );
    // One that cannot be run says so.
    let missing = busybox()
        .configure(Configure::DefaultArgs(vec!["no-such-program".to_owned()]))
        .configure(Configure::Expose("80/tcp".to_owned()))
        .as_service(ServiceOptions::default());
    let client = script(&busybox().with_service("db", &missing), "echo never");
    let failure = failure(&run, &client).await;
    assert!(
        failure.reason.contains("executable file not found"),
        "{failure:?}"
    );
}

async fn b11_only_what_is_bound_reaches_a_service(engine: &TestEngine) {
    let run = engine.run();
    let (one, two) = (
        web(80),
        serving("exec nc -ll -p 80 -e echo two", &[80], within(10_000)),
    );
    let both = busybox().with_service("one", &one).with_service("two", &two);
    // Both listen on port 80, and the step on port 80 of its own.
    let looks = "nc -ll -p 80 -e echo mine & until nc 127.0.0.1 80 < /dev/null; do sleep 0.05; done; nc two 80 < /dev/null; \
                 wget -q -O - http://one/id | wc -c; grep two /etc/hosts | cut -f 1 | head -n 1";
    let text = run.stdout(&script(&both, looks)).await.unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["mine", "two", "37"], "{text}");
    let address = lines[3];
    // There is no way out beside the services, and no way from one service to the other.
    let out = script(
        &both,
        "ip route | grep -c default; ip -o link | grep -c -v -e lo: -e to[0-9]",
    );
    let out = out_of(&run, &out).await;
    assert_eq!(out, "0\n0\n");
    // Who is not bound knows neither the name nor a way to the address, with or without a network.
    for network in [Network::None, Network::All] {
        for target in ["two", address] {
            let outsider = busybox().with_network(network.clone());
            let tried = script(
                &outsider,
                &format!("nc -w 2 {target} 80 < /dev/null || echo none"),
            );
            assert_eq!(
                run.stdout(&tried).await.unwrap(),
                "none\n",
                "{network:?} {target}"
            );
        }
    }
    // A network does not take the services away.
    let connected = both.with_network(Network::All);
    let text = run
        .stdout(&script(
            &connected,
            "wget -q -O - http://one/id | wc -c; ip route | grep -c default",
        ))
        .await
        .unwrap();
    assert_eq!(text, "37\n1\n");
}

/// Output of a step that may fail.
async fn out_of(run: &Run, container: &Container) -> String {
    match run.stdout(container).await {
        Ok(text) => text,
        Err(Error::Exec(failure)) => failure.stdout_tail,
        Err(error) => panic!("{error}"),
    }
}

async fn b10_what_is_cancelled_takes_its_services_with_it(engine: &TestEngine) {
    let (nonce, client_nonce) = (nonce(), format!("{}.5", nonce()));
    let service = serving(
        &format!("(exec sleep {nonce}) & exec nc -ll -p 80 -e cat"),
        &[80],
        ServiceOptions::default(),
    );
    let client = script(
        &busybox().with_service("db", &service),
        &format!("exec sleep {client_nonce}"),
    );
    let run = engine.run();
    let waiting = tokio::spawn({
        let (session, node) = (run.session.clone(), client.node().clone());
        async move { session.read(&node, Question::Sync).await }
    });
    while processes_with(&client_nonce) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(processes_with(&nonce) > 0, "the service runs beside its client");
    waiting.abort();
    drop(run);
    wait_until_gone(&client_nonce, Duration::from_secs(1)).await;
    wait_until_gone(&nonce, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_services_of_services_start_before_them_and_names_in_a_circle_are_refused() {
    let engine = TestEngine::start();
    let run = engine.run();
    let back = web(8080);
    let front = busybox()
        .with_service("back", &back)
        .configure(Configure::DefaultArgs(sh(
            "exec nc -ll -p 80 -e wget -q -O - http://back:8080/id",
        )))
        .configure(Configure::Expose("80/tcp".to_owned()))
        .as_service(ServiceOptions::default());
    let client = script(
        &busybox().with_service("front", &front),
        "nc front 80 < /dev/null",
    );
    assert_eq!(run.stdout(&client).await.unwrap().len(), 37);
    // What stands behind a service is not reached by those who are bound to it.
    let through = script(
        &busybox().with_service("front", &front),
        "nc -w 2 back 8080 < /dev/null || echo none",
    );
    assert_eq!(run.stdout(&through).await.unwrap(), "none\n");
    let circle = script(&busybox().with_service("back", &front), "true");
    let Err(Error::Invalid(message)) = run.stdout(&circle).await else {
        panic!("a circle of names is refused");
    };
    assert_eq!(
        message,
        "services cannot depend on each other: back needs back; give one of them another name"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_a_service_and_its_client_do_not_wait_for_each_others_volume() {
    let engine = TestEngine::start();
    let run = engine.run();
    let with = |container: Container, name: &str, sharing: Sharing| {
        let volume = CacheVolume {
            scope: "tests".to_owned(),
            name: name.to_owned(),
            sharing,
            source: None,
            owner: None,
        };
        container.configure(Configure::Mount("/data".to_owned(), Mount::Cache(volume)))
    };
    let serving_by = |program: &str, sharing| {
        with(busybox(), "data", sharing)
            .configure(Configure::DefaultArgs(sh(program)))
            .configure(Configure::Expose("80/tcp".to_owned()))
            .as_service(ServiceOptions::default())
    };
    let serving = |sharing| serving_by("exec nc -ll -p 80 -e cat", sharing);
    let asking = |container: &Container| script(container, "echo hello | nc db 80");
    let refused = async |container: &Container| match run.stdout(&asking(container)).await {
        Err(Error::Invalid(message)) => message,
        other => panic!("{other:?} is not refused"),
    };
    for (theirs, ours) in [
        (Sharing::Locked, Sharing::Locked),
        (Sharing::Locked, Sharing::ReadOnly),
        (Sharing::Shared, Sharing::Locked),
    ] {
        let client = with(busybox().with_service("db", &serving(theirs)), "data", ours);
        let message = refused(&client).await;
        for part in ["cache volume data", "nc db 80", "the service db", "locked"] {
            assert!(message.contains(part), "{message}");
        }
    }
    // Two services of one step run together, too; so does what stands behind one of them.
    let front = busybox()
        .with_service("behind", &serving(Sharing::Locked))
        .configure(Configure::DefaultArgs(sh("exec nc -ll -p 80 -e cat")))
        .configure(Configure::Expose("80/tcp".to_owned()))
        .as_service(ServiceOptions::default());
    let both = busybox()
        .with_service("db", &front)
        .with_service("other", &serving_by("exec nc -ll -p 80 -e tac", Sharing::Shared));
    let message = refused(&both).await;
    assert!(
        message.contains("the service behind") && message.contains("the service other"),
        "{message}"
    );
    // Who mounts another one, or shares it, or knows one service by two names, is served.
    let locked = serving(Sharing::Locked);
    let other = with(busybox().with_service("db", &locked), "other", Sharing::Locked);
    let shared = with(
        busybox().with_service("db", &serving(Sharing::Shared)),
        "data",
        Sharing::Shared,
    );
    let named_twice = busybox()
        .with_service("db", &locked)
        .with_service("again", &locked);
    for container in [other, shared, named_twice] {
        assert_eq!(run.stdout(&asking(&container)).await.unwrap(), "hello\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_what_a_step_reaches_is_in_its_key() {
    let engine = TestEngine::start();
    let answering = |text: &str| {
        serving(
            &format!("exec nc -ll -p 80 -e echo {text}"),
            &[80],
            ServiceOptions::default(),
        )
    };
    let asked = |service: &Service| script(&busybox().with_service("db", service), "nc db 80 < /dev/null");
    let mut run = engine.run();
    assert_eq!(run.stdout(&asked(&answering("one"))).await.unwrap(), "one\n");
    assert_eq!(run.stdout(&asked(&answering("two"))).await.unwrap(), "two\n");
    assert_eq!(run.steps().await.0.len(), 2);
    // Time limits are no part of what it is.
    let patient = ServiceOptions {
        start_timeout: Some(Duration::from_secs(5)),
        ..ServiceOptions::default()
    };
    let patient = serving("exec nc -ll -p 80 -e echo one", &[80], patient);
    let mut again = engine.run();
    assert_eq!(again.stdout(&asked(&patient)).await.unwrap(), "one\n");
    assert_eq!(again.steps().await.0.len(), 0);
    // What it is made of is compared by content, as other inputs are.
    let made = |nonce: &str| {
        let root = script(&busybox(), &format!("echo same > /answer; : {nonce}"));
        root.configure(Configure::DefaultArgs(sh("exec nc -ll -p 80 -e cat /answer")))
            .configure(Configure::Expose("80/tcp".to_owned()))
            .as_service(ServiceOptions::default())
    };
    assert_eq!(again.stdout(&asked(&made("a"))).await.unwrap(), "same\n");
    again.steps().await;
    assert_eq!(again.stdout(&asked(&made("b"))).await.unwrap(), "same\n");
    let (ran, hit) = again.steps().await;
    assert!(ran.len() == 1 && ran[0].ends_with("b'"), "{ran:?}");
    assert!(hit.iter().any(|title| title.contains("nc db")), "{hit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_a_service_is_started_and_stopped_by_name() {
    let engine = TestEngine::start();
    let run = engine.run();
    let nonce = nonce();
    let service = serving(
        &format!("echo up; (exec sleep {nonce}) & exec nc -ll -p 80 -e cat"),
        &[80],
        ServiceOptions::default(),
    );
    ask(&run, &service, Question::Start).await.unwrap();
    assert!(processes_with(&nonce) > 0);
    assert_eq!(ask(&run, &service, Question::Logs).await.unwrap(), "up\n");
    let client = script(&busybox().with_service("db", &service), "echo hi | nc db 80");
    assert_eq!(run.stdout(&client).await.unwrap(), "hi\n");
    ask(&run, &service, Question::Stop).await.unwrap();
    assert_eq!(processes_with(&nonce), 0);
    // Its log is still there, and stopping what does not run is no error.
    assert_eq!(ask(&run, &service, Question::Logs).await.unwrap(), "up\n");
    ask(&run, &service, Question::Stop).await.unwrap();
    // A step that uses it fails when it is stopped.
    ask(&run, &service, Question::Start).await.unwrap();
    let long = script(&busybox().with_service("db", &service), "sleep 60");
    let (outcome, stopped) = tokio::join!(run.stdout(&long), async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        ask(&run, &service, Question::Stop).await
    });
    stopped.unwrap();
    assert!(matches!(outcome, Err(Error::Unavailable(_))), "{outcome:?}");
    // What was started by name ends with its run.
    ask(&run, &service, Question::Start).await.unwrap();
    drop(run);
    wait_until_gone(&nonce, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b35_services_die_with_their_engine() {
    let mut engine = TestEngine::start();
    let run = engine.run();
    let nonce = nonce();
    let service = serving(
        &format!("(exec sleep {nonce}) & exec nc -ll -p 80 -e cat"),
        &[80],
        ServiceOptions::default(),
    );
    ask(&run, &service, Question::Start).await.unwrap();
    assert!(processes_with(&nonce) > 0);
    engine.kill();
    wait_until_gone(&nonce, Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_keeps_its_secrets_and_its_ports_to_itself() {
    let engine = TestEngine::start();
    let run = engine.run();
    let value = format!("secret-{}", nonce());
    let file = engine.path().join("token");
    std::fs::write(&file, &value).unwrap();
    let id = secret(&file);
    run.session.register_secret(id.clone());
    let service = busybox()
        .configure(Configure::SecretEnv("TOKEN".to_owned(), id))
        .configure(Configure::DefaultArgs(sh(
            "echo token $TOKEN; exec nc -ll -p 80 -e sh -c 'echo $TOKEN | wc -c'",
        )))
        .configure(Configure::Expose("80/tcp".to_owned()))
        .as_service(ServiceOptions::default());
    let client = script(
        &busybox().with_service("db", &service),
        "nc db 80 < /dev/null; env",
    );
    let seen = run.stdout(&client).await.unwrap();
    assert!(seen.starts_with(&format!("{}\n", value.len() + 1)), "{seen}");
    assert!(!seen.contains(&value));
    assert_eq!(ask(&run, &service, Question::Logs).await.unwrap(), "token ***\n");
    let bad = busybox()
        .configure(Configure::Expose("http".to_owned()))
        .configure(Configure::DefaultArgs(sh("true")))
        .as_service(ServiceOptions::default());
    let refused = ask(&run, &bad, Question::Start).await;
    assert!(matches!(refused, Err(Error::Invalid(message)) if message.contains("exposes http")));
    let wrong = run
        .stdout(
            &busybox()
                .with_service("a b", &service)
                .with_exec(&sh("true"), ExecOptions::default()),
        )
        .await;
    assert!(
        matches!(wrong, Err(Error::Invalid(message)) if message.contains("cannot be the name of a service"))
    );
}

fn secret(file: &Path) -> wharf_graph::op::SecretId {
    wharf_graph::op::SecretId {
        owner: "tests".to_owned(),
        uri: format!("file:{}", file.display()),
    }
}
