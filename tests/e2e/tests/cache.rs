//! Behaviours 27 to 29 and 33 to 35: what is remembered, for whom, and through what.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    time::Duration,
};

use wharf_client::{
    SessionOptions,
    proto::{Finished, Kind, Outcome, event::What},
};
use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script},
};
use wharf_graph::{
    Container, Directory, Error, Secret, Volume,
    build::Edit,
    op::{Configure, CopyOptions, Filter, SecretId},
    read::{Answer, Question},
};

fn host(path: &Path) -> Directory {
    Directory::host(path.to_str().expect("a path in UTF-8"), Filter::default())
}

fn env(name: &str, value: &str) -> Configure {
    Configure::Env {
        name: name.to_owned(),
        value: value.to_owned(),
        expand: false,
    }
}

/// How many steps ran, and how many were remembered.
async fn counts(run: &mut Run) -> (usize, usize) {
    let (ran, hit) = run.steps().await;
    (ran.len(), hit.len())
}

async fn stdout(run: &Run, container: &Container) -> String {
    run.stdout(container).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn b27_same_inputs_same_key_in_another_directory() {
    let engine = TestEngine::start();
    let mut first = None;
    for name in ["one", "another"] {
        let source = engine.path().join(name).join("project");
        std::fs::create_dir_all(source.join("src")).unwrap();
        std::fs::write(source.join("src/a.txt"), "same").unwrap();
        let copied = busybox().edit(Edit::copy_directory("/p", &host(&source), CopyOptions::default()));
        let mounted = copied.with_mounted_directory("/m", &host(&source), None);
        let step = script(
            &mounted,
            "cat /p/src/a.txt /m/src/a.txt; cat /proc/sys/kernel/random/uuid",
        );
        let mut run = engine.run();
        let text = stdout(&run, &step).await;
        let expected = if first.is_none() { (1, 0) } else { (0, 1) };
        assert_eq!(counts(&mut run).await, expected, "{name}");
        assert_eq!(first.get_or_insert_with(|| text.clone()), &text);
    }
}

/// How steps ended, by key.
async fn endings(run: &mut Run) -> HashMap<Vec<u8>, Finished> {
    let (mut steps, mut endings) = (HashSet::new(), HashMap::new());
    while let Some(event) = run.next_event().await {
        match event.what {
            Some(What::Started(started)) if started.kind() == Kind::Step => {
                steps.insert(event.key);
            }
            Some(What::Finished(finished)) if steps.contains(&event.key) => {
                endings.insert(event.key, finished);
            }
            _ => {}
        }
    }
    endings
}

#[tokio::test(flavor = "multi_thread")]
async fn hits_tell_what_they_took_and_those_below_them() {
    let engine = TestEngine::start();
    let below = script(
        &busybox(),
        "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; echo a > /a",
    );
    let chain = script(&script(&below, "cat /a > /b"), "cat /b");
    let mut run = engine.run();
    assert_eq!(stdout(&run, &chain).await, "a\n");
    let ran = endings(&mut run).await;
    let mut again = engine.run();
    assert_eq!(stdout(&again, &chain).await, "a\n");
    let hits = endings(&mut again).await;
    assert_eq!((ran.len(), hits.len()), (3, 3));
    for (key, ran) in &ran {
        let hit = &hits[key];
        assert_eq!((ran.outcome(), hit.outcome()), (Outcome::Done, Outcome::Hit));
        assert_eq!(hit.cpu_microseconds, ran.cpu_microseconds);
        assert_eq!(hit.peak_memory, ran.peak_memory);
        // What is told of a run has its publication in it, what is remembered does not.
        assert!(hit.microseconds > 0 && hit.microseconds <= ran.microseconds);
    }
    assert!(ran.values().any(|step| step.cpu_microseconds > Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn b27_secrets_and_caches_share_only_with_their_owner() {
    let engine = TestEngine::start();
    let file = engine.path().join("token");
    std::fs::write(&file, "first value").unwrap();
    let secret = |owner: &str, uri: String| Secret {
        name: "token".to_owned(),
        id: SecretId {
            owner: owner.to_owned(),
            uri,
        },
    };
    let uri = || format!("file:{}", file.display());
    let other_file = engine.path().join("other");
    std::fs::write(&other_file, "first value").unwrap();
    let uses = |secret: &Secret| {
        script(
            &busybox().with_mounted_secret("/token", secret, None, None),
            "wc -c < /token",
        )
    };
    let ask = async |secret: &Secret| {
        let mut run = engine.run();
        run.session.register_secret(secret.id.clone());
        stdout(&run, &uses(secret)).await;
        counts(&mut run).await
    };
    let mine = secret("me", uri());
    assert_eq!(ask(&mine).await, (1, 0));
    assert_eq!(ask(&mine).await, (0, 1));
    // 32: the value is in no key.
    std::fs::write(&file, "a value that is another").unwrap();
    assert_eq!(ask(&mine).await, (0, 1));
    assert_eq!(ask(&secret("you", uri())).await, (1, 0), "another owner's");
    assert_eq!(
        ask(&secret("me", format!("file:{}", other_file.display()))).await,
        (1, 0),
        "another source"
    );
    let cached = |scope: &str| {
        let volume = Volume::new(scope, "packages");
        script(
            &busybox().with_mounted_cache("/cache", &volume),
            "echo x >> /cache/n; wc -l < /cache/n",
        )
    };
    assert_eq!(stdout(&engine.run(), &cached("me")).await.trim(), "1");
    assert_eq!(stdout(&engine.run(), &cached("you")).await.trim(), "1");
    let mut run = engine.run();
    assert_eq!(stdout(&run, &cached("me")).await.trim(), "1");
    assert_eq!(counts(&mut run).await, (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn b28_order_of_settings_is_no_part_of_the_key_and_order_of_steps_is() {
    let engine = TestEngine::start();
    let settings = [
        env("A", "1"),
        env("B", "2"),
        Configure::Workdir("/work".to_owned()),
        Configure::User("app".to_owned()),
        Configure::Label("any".to_owned(), "label".to_owned()),
    ];
    let step = |order: &[usize]| {
        let base = order
            .iter()
            .fold(busybox(), |base, at| base.configure(settings[*at].clone()));
        script(&base, "echo $A$B; pwd; id -un")
    };
    let mut run = engine.run();
    assert_eq!(stdout(&run, &step(&[0, 1, 2, 3, 4])).await, "12\n/work\napp\n");
    assert_eq!(counts(&mut run).await, (1, 0));
    for order in [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3]] {
        let mut run = engine.run();
        stdout(&run, &step(&order)).await;
        assert_eq!(counts(&mut run).await, (0, 1), "{order:?}");
    }
    // A label is nothing that a process sees.
    let mut run = engine.run();
    stdout(&run, &step(&[0, 1, 2, 3])).await;
    assert_eq!(counts(&mut run).await, (0, 1));
    let (one, two) = ("echo one >> /log", "echo two >> /log");
    let mut run = engine.run();
    let forwards = script(&script(&busybox(), one), two);
    let backwards = script(&script(&busybox(), two), one);
    assert_eq!(run.text(&forwards, "/log").await.unwrap(), "one\ntwo\n");
    assert_eq!(run.text(&backwards, "/log").await.unwrap(), "two\none\n");
    assert_eq!(counts(&mut run).await, (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn b29_what_was_rebuilt_with_equal_content_runs_nothing_downstream() {
    let engine = TestEngine::start();
    let consumer = |producer: &Container| {
        let base = busybox().with_mounted_directory("/in", &producer.directory("/out"), None);
        script(
            &script(&base, "cat /in/result > /seen"),
            "cat /seen; cat /proc/sys/kernel/random/uuid",
        )
    };
    // Its log differs each time, and what is taken from it does not.
    let producer = |comment: &str| {
        script(
            &busybox(),
            &format!(
                "mkdir /out; echo equal > /out/result; cat /proc/sys/kernel/random/uuid > /log # {comment}"
            ),
        )
    };
    let first = stdout(&engine.run(), &consumer(&producer("first"))).await;
    let mut run = engine.run();
    assert_eq!(stdout(&run, &consumer(&producer("second"))).await, first);
    let (ran, hit) = run.steps().await;
    assert_eq!((ran.len(), hit.len()), (1, 2), "ran {ran:?}, remembered {hit:?}");
    let other = script(&busybox(), "mkdir /out; echo different > /out/result");
    let mut run = engine.run();
    assert_ne!(stdout(&run, &consumer(&other)).await, first);
    assert_eq!(counts(&mut run).await, (3, 0));
}

/// A build tool that compares times, as make does, on sources that go from A to B and back.
#[tokio::test(flavor = "multi_thread")]
async fn b29_a_then_b_then_a_again_is_rebuilt_by_a_tool_with_a_cache() {
    let engine = TestEngine::start();
    let source = engine.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let build = |salt: &str| {
        let volume = Volume::new("tests", "objects");
        let base = busybox()
            .with_mounted_cache("/cache", &volume)
            .with_mounted_directory("/src", &host(&source), None)
            .configure(env("SALT", salt));
        script(
            &base,
            "if [ ! -e /cache/object ] || [ /src/main.c -nt /cache/object ]; then cat /src/main.c > /cache/object; fi; \
             cat /cache/object",
        )
    };
    for (round, text) in ["A", "B", "A"].into_iter().enumerate() {
        std::fs::write(source.join("main.c"), text).unwrap();
        // The shell compares whole seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert_eq!(
            stdout(&engine.run(), &build(&round.to_string())).await,
            text,
            "round {round}"
        );
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b33_two_clients_one_run() {
    let engine = TestEngine::start();
    let slow = script(&busybox(), "sleep 1; cat /proc/sys/kernel/random/uuid");
    let (mut one, mut two) = (engine.run(), engine.run());
    let (first, second) = tokio::join!(one.stdout(&slow), two.stdout(&slow));
    assert_eq!(first.unwrap(), second.unwrap());
    let ran = counts(&mut one).await.0 + counts(&mut two).await.0;
    assert!((1..=2).contains(&ran), "{ran}");
    // The first gives up: the second has its result from the same run.
    let slow = script(
        &busybox(),
        "echo begun; sleep 3; cat /proc/sys/kernel/random/uuid; ls /proc | grep -c '^[0-9]'",
    );
    let (mut one, two) = (engine.run(), engine.run());
    let gives_up = async {
        let outcome = tokio::time::timeout(Duration::from_millis(1500), one.stdout(&slow)).await;
        assert!(outcome.is_err(), "it ended: {outcome:?}");
        assert!(String::from_utf8(one.log().await).unwrap().contains("begun"));
        drop(one);
    };
    let waits = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stdout(&two, &slow).await
    };
    let ((), text) = tokio::join!(gives_up, waits);
    assert!(text.starts_with("begun\n"), "{text}");
    let mut third = engine.run();
    assert_eq!(stdout(&third, &slow).await, text);
    assert_eq!(counts(&mut third).await, (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_a_question_that_nobody_waits_for_ends_its_step() {
    let engine = TestEngine::start();
    let run = engine.run();
    let endless = script(&busybox(), "while true; do sleep 1; done");
    let running = async |wanted: u64| {
        let patience = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let client = run.session.connection().await.unwrap().client();
            let status = client.clone().status(wharf_client::proto::StatusRequest {}).await;
            let running = status.unwrap().into_inner().running_steps;
            if running == wanted {
                return;
            }
            assert!(tokio::time::Instant::now() < patience, "{running} steps run");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        answer = run.stdout(&endless) => panic!("it ended: {answer:?}"),
        () = running(1) => {}
    }
    running(0).await;
    // The run itself goes on.
    assert_eq!(stdout(&run, &script(&busybox(), "echo well")).await, "well\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn b34_prune_breaks_no_running_work() {
    let engine = TestEngine::start();
    let base = script(
        &busybox(),
        "mkdir /data; seq 10000 > /data/a; seq 20000 > /data/b",
    );
    let chain = (0..6).fold(base, |base, step| {
        script(
            &base,
            &format!("sleep 0.2; cat /data/a /data/b | md5sum > /data/sum-{step}"),
        )
    });
    let run = engine.run();
    let prune = async {
        let client = engine.run();
        for _ in 0..12 {
            let connection = client.session.connection().await.unwrap();
            let request = wharf_client::proto::PruneRequest {
                keep_seconds: 0,
                volumes: true,
            };
            connection.client().prune(request).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let sums = async {
        let mut sums = Vec::new();
        for step in 0..6 {
            sums.push(run.text(&chain, &format!("/data/sum-{step}")).await);
        }
        sums
    };
    let (sums, ()) = tokio::join!(sums, prune);
    let sums: Vec<String> = sums.into_iter().map(Result::unwrap).collect();
    assert!(
        sums.iter().all(|sum| *sum == sums[0] && sum.len() > 32),
        "{sums:?}"
    );
    // Whatever is still offered is whole.
    drop(run);
    let run = engine.run();
    assert_eq!(run.text(&chain, "/data/sum-5").await.unwrap(), sums[0]);
}

/// How often the engine is killed: 200 with `WHARF_TEST_KILLS=200`.
fn kills(usual: usize) -> usize {
    std::env::var("WHARF_TEST_KILLS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(usual)
}

#[tokio::test(flavor = "multi_thread")]
async fn b35_what_was_reported_done_survives_a_kill() {
    survives(TestEngine::start(), kills(40)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b35_what_was_reported_done_survives_a_kill_in_docker() {
    survives(TestEngine::on_docker(), kills(8)).await;
}

/// Kills the engine at random moments of work and compares all that it has reported with what it offers afterwards.
async fn survives(mut engine: TestEngine, rounds: usize) {
    let mut moment = 0x2545_f491_4f6c_dd1d_u64 ^ u64::from(std::process::id());
    let mut random = move |below: u64| {
        moment ^= moment << 13;
        moment ^= moment >> 7;
        moment ^= moment << 17;
        moment % below
    };
    // Warm: the image is there.
    stdout(&engine.run(), &script(&busybox(), "true")).await;
    let mut reported: Vec<(Container, String)> = Vec::new();
    for round in 0..rounds {
        let run = engine.run();
        let work = async {
            let mut done = Vec::new();
            let chains = (0..4).map(|lane| {
                let run = &run;
                async move {
                    let mut done = Vec::new();
                    let mut chain = busybox();
                    for step in 0..8 {
                        chain = script(
                            &chain,
                            &format!("cat /proc/sys/kernel/random/uuid >> /r; head -c 20000 /dev/urandom > /f{step}; md5sum /f* >> /r # {round} {lane}"),
                        );
                        // A read forces it; its answer is the report.
                        match run.text(&chain, "/r").await {
                            Ok(text) => done.push((chain.clone(), text)),
                            Err(_) => break,
                        }
                    }
                    done
                }
            });
            for lane in futures::future::join_all(chains).await {
                done.extend(lane);
            }
            done
        };
        // On a busy machine nothing is done so soon: then there is more time.
        let longest = if reported.len() <= round {
            300 + 100 * round as u64
        } else {
            300
        };
        let pause = Duration::from_millis(5 + random(longest));
        let kill = tokio::time::sleep(pause);
        tokio::pin!(work);
        let finished = tokio::select! {
            done = &mut work => Some(done),
            () = kill => None,
        };
        engine.kill();
        let done = match finished {
            Some(done) => done,
            None => work.await,
        };
        engine.launch();
        reported.extend(done);
        let mut run = engine.run_with(SessionOptions::default());
        // The last ones of this round, and some of all earlier ones.
        let recent = reported.len().saturating_sub(8)..reported.len();
        let older: Vec<usize> = (0..4)
            .filter(|_| !reported.is_empty())
            .map(|_| random(reported.len() as u64) as usize)
            .collect();
        for at in recent.chain(older) {
            let (container, text) = &reported[at];
            assert_eq!(&stdout_of_record(&run, container).await, text, "round {round}");
        }
        let (ran, _) = run.steps().await;
        assert!(ran.is_empty(), "round {round}: ran again: {ran:?}");
    }
    assert!(
        reported.len() > rounds,
        "{} reports in {rounds} rounds",
        reported.len()
    );
}

async fn stdout_of_record(run: &Run, container: &Container) -> String {
    match run.ask(container.file("/r").node(), Question::Contents).await {
        Ok(Answer::Bytes(bytes)) => String::from_utf8(bytes).unwrap(),
        Ok(other) => panic!("{other:?}"),
        Err(Error::Other { message, .. }) => panic!("{message}"),
        Err(error) => panic!("{error}"),
    }
}
