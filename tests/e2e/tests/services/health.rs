//! What images say of their services: a check of their health, and a signal by which they are asked to end.

use std::time::Duration;

use serde_json::{Value, json};
use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, runtimes, script, sh},
};
use wharf_graph::{
    Container, Error, Service,
    op::{Configure, SecretId, ServiceOptions},
    read::Question,
};
use wharf_testkit::{fixtures, image::Builder, registry::Registry};

use crate::{ask, failure, nonce, processes_with, wait_until_gone, within};

/// A second, as Docker counts.
const SECOND: u64 = 1_000_000_000;

/// A registry with images of our own.
struct Images {
    registry: Registry,
    directory: tempfile::TempDir,
}

impl Images {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::start(&directory.path().join("registry")).unwrap();
        Self { registry, directory }
    }

    /// Busybox with this configuration.
    fn image(&self, name: &str, config: &Value) -> Container {
        let (root, layout) = (
            self.directory.path().join(format!("{name}-root")),
            self.directory.path().join(format!("{name}-layout")),
        );
        std::fs::create_dir(&root).unwrap();
        fixtures::busybox().unwrap().unpack(&root).unwrap();
        let mut builder = Builder::new(&layout).unwrap();
        builder.layer(&root).unwrap();
        let image = builder.finish(name, config).unwrap();
        self.registry.push(&image, name, "1").unwrap();
        Container::image(&format!("{}/{name}:1", self.registry.address()), None)
    }

    /// A service of an image with a check of its health.
    fn checked(&self, name: &str, serve: &str, check: &Value, options: ServiceOptions) -> Service {
        let config = json!({ "Cmd": sh(serve), "Env": ["PLACE=/srv"], "Healthcheck": check });
        self.image(name, &config).as_service(options)
    }
}

/// What a step that is bound to a service sees of it.
async fn seen(run: &Run, service: &Service) -> Result<String, Error> {
    let client = busybox().with_service("web", service);
    run.stdout(&script(&client, "nc web 80 < /dev/null")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_a_service_with_a_check_counts_when_the_check_passes() {
    for runtime in runtimes() {
        let (engine, images) = (TestEngine::with_runtime(runtime), Images::new());
        let run = engine.run();
        // It listens at once, and is healthy only after its check has failed a few times.
        let serve = "mkdir -p /srv; (exec nc -ll -p 80 -e cat /srv/state) & echo early > /srv/state; \
                     while ! grep -q ... /srv/tries; do sleep 0.02; done; echo late > /srv/state; wait";
        let check = json!({
            "Test": ["CMD-SHELL", "printf . >> $PLACE/tries; grep -q late /srv/state"],
            "Interval": SECOND,
        });
        let web = images.checked("late", serve, &check, ServiceOptions::default());
        assert_eq!(seen(&run, &web).await.unwrap(), "late\n", "{runtime}");
        // Once it has passed it is not run again.
        let counting =
            json!({ "Test": ["CMD", "sh", "-c", "echo try >> /srv/state"], "Interval": SECOND / 10 });
        let serve = "mkdir -p /srv; exec nc -ll -p 80 -e cat /srv/state";
        let web = images.checked("counting", serve, &counting, ServiceOptions::default());
        let client = busybox().with_service("web", &web);
        let counted = run
            .stdout(&script(&client, "sleep 1; nc web 80 < /dev/null"))
            .await;
        assert_eq!(counted.unwrap(), "try\n", "{runtime}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_a_service_whose_check_never_passes_fails_with_its_log_and_what_the_check_said() {
    for runtime in runtimes() {
        let (engine, images) = (TestEngine::with_runtime(runtime), Images::new());
        let run = engine.run();
        let nonce = nonce();
        let serve = format!("echo thinking; (exec sleep {nonce}) & exec nc -ll -p 80 -e cat");
        let client = |service: &Service| script(&busybox().with_service("db", service), "echo never");
        let failing = json!({ "Test": ["CMD-SHELL", "echo not yet; exit 3"], "Interval": SECOND / 5 });
        let sick = images.checked("sick", &serve, &failing, within(1500));
        let failed = failure(&run, &client(&sick)).await;
        assert_eq!(
            failed.reason,
            "the service was not healthy after 1.5s: its check `/bin/sh -c 'echo not yet; exit 3'` ended with exit code 3: \
             not yet"
        );
        assert_eq!(failed.stdout_tail, "thinking\n");
        assert_eq!(run.failed_log(&failed.log).await, b"thinking\n");
        assert_eq!(processes_with(&nonce), 0);
        // A check that hangs is ended, and one that is not there is said.
        let hanging = json!({ "Test": ["CMD", "sleep", nonce], "Timeout": SECOND / 10 });
        let sick = images.checked("hanging", "exec nc -ll -p 80 -e cat", &hanging, within(1500));
        let reason = failure(&run, &client(&sick)).await.reason;
        assert!(
            reason.ends_with(&format!("its check `sleep {nonce}` took too long")),
            "{reason}"
        );
        assert_eq!(processes_with(&nonce), 0);
        let missing = json!({ "Test": ["CMD", "no-such-program"] });
        let sick = images.checked("missing", "exec nc -ll -p 80 -e cat", &missing, within(1500));
        let reason = failure(&run, &client(&sick)).await.reason;
        assert!(
            reason.contains("its check `no-such-program` was not found"),
            "{reason}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_a_check_that_is_none_is_not_run_and_one_that_cannot_be_understood_is_said() {
    let (engine, images) = (TestEngine::start(), Images::new());
    let run = engine.run();
    let serve = "exec nc -ll -p 80 -e echo up";
    for (name, check) in [
        ("none", json!({ "Test": ["NONE"] })),
        ("empty", json!({ "Test": [] })),
    ] {
        let web = images.image(name, &json!({ "Cmd": sh(serve), "Healthcheck": check }));
        let web = web.configure(Configure::Expose("80/tcp".to_owned()));
        let web = web.as_service(ServiceOptions::default());
        assert_eq!(seen(&run, &web).await.unwrap(), "up\n", "{name}");
    }
    let strange = json!({ "Test": ["SHELL", "true"] });
    let web = images.checked("strange", serve, &strange, ServiceOptions::default());
    let refused = seen(&run, &web).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(message)) if message.contains("HEALTHCHECK is [\"SHELL\", \"true\"]")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_says_holds_no_secret() {
    let (engine, images) = (TestEngine::start(), Images::new());
    let run = engine.run();
    let value = format!("secret-{}", nonce());
    let file = engine.path().join("token");
    std::fs::write(&file, &value).unwrap();
    let id = SecretId {
        owner: "tests".to_owned(),
        uri: format!("file:{}", file.display()),
    };
    run.session.register_secret(id.clone());
    let check = json!({ "Test": ["CMD-SHELL", "echo the token is $TOKEN; exit 1"] });
    let config = json!({ "Cmd": sh("exec nc -ll -p 80 -e cat"), "Healthcheck": check });
    let sick = images
        .image("telling", &config)
        .configure(Configure::SecretEnv("TOKEN".to_owned(), id))
        .as_service(within(1500));
    let failed = failure(&run, &script(&busybox().with_service("db", &sick), "true")).await;
    assert!(failed.reason.ends_with("the token is ***"), "{}", failed.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_a_service_is_asked_to_end_and_its_last_words_are_in_its_log() {
    for runtime in runtimes() {
        let (engine, images) = (TestEngine::with_runtime(runtime), Images::new());
        let run = engine.run();
        let serve = |signals: &str| {
            let words =
                "for signal in TERM USR1; do trap \"echo last words after $signal; exit 0\" $signal; done";
            sh(&format!(
                "{words}; echo up; {signals} while :; do sleep 0.05; done"
            ))
        };
        let usual = busybox()
            .configure(Configure::DefaultArgs(serve("")))
            .as_service(ServiceOptions::default());
        let other = json!({ "Cmd": serve(":;"), "StopSignal": "SIGUSR1" });
        let other = images
            .image("other", &other)
            .as_service(ServiceOptions::default());
        for (service, signal) in [(&usual, "TERM"), (&other, "USR1")] {
            ask(&run, service, Question::Start).await.unwrap();
            while ask(&run, service, Question::Logs).await.unwrap() != "up\n" {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ask(&run, service, Question::Stop).await.unwrap();
            let log = ask(&run, service, Question::Logs).await.unwrap();
            assert_eq!(log, format!("up\nlast words after {signal}\n"), "{runtime}");
        }
        let unknown = images.image("unknown", &json!({ "Cmd": ["true"], "StopSignal": "SIGNAL" }));
        let refused = ask(
            &run,
            &unknown.as_service(ServiceOptions::default()),
            Question::Start,
        )
        .await;
        assert!(
            matches!(&refused, Err(Error::Invalid(message)) if message.contains("STOPSIGNAL is SIGNAL")),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_a_service_that_does_not_want_to_end_is_ended_with_its_run() {
    for runtime in runtimes() {
        let engine = TestEngine::with_runtime(runtime);
        let run = engine.run();
        let nonce = nonce();
        let stubborn = busybox()
            .configure(Configure::DefaultArgs(sh(&format!(
                "trap '' TERM; while :; do sleep {nonce}; done"
            ))))
            .as_service(ServiceOptions::default());
        ask(&run, &stubborn, Question::Start).await.unwrap();
        while processes_with(&nonce) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(run);
        wait_until_gone(&nonce, Duration::from_secs(1)).await;
    }
}
