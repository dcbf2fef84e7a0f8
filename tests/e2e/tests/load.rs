//! The engine under load: many clients, many steps, large graphs and logs. What one client asks does not keep others from
//! theirs, memory stays flat, and nothing is left behind.

use std::{
    collections::HashSet,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use futures::future::join_all;
use wharf_client::{Connection, proto::StatusRequest};
use wharf_digest::Hasher;
use wharf_e2e::{
    Footprint, Run, TestEngine,
    engine::{busybox, script, sh},
};
use wharf_graph::{
    Container, Directory, Error, Secret, Volume,
    build::Edit,
    op::{Configure, CopyOptions, ExecOptions, Filter, Network, SecretId, Sharing},
};

/// How much more memory an engine may use after some load than after a little of each kind.
const GROWTH: u64 = 64 << 20;
/// How much more memory a graph of ten thousand nodes may take.
const LARGE_GRAPH: u64 = 200 << 20;
/// The most bytes that the index's log of writes may have.
const INDEX_LOG: u64 = 64 << 20;
/// The most open files of the index.
const INDEX_CONNECTIONS: usize = 64;

/// A variable that every process has: what is secret here is that it is used as one.
const SECRET: &str = "PATH";

/// An engine that has done a little of everything, with what it holds then.
async fn warm_engine() -> (TestEngine, Footprint) {
    let engine = TestEngine::start();
    let run = engine.run();
    let networked = busybox().with_network(Network::All);
    for container in [busybox(), networked] {
        let steps = (0..4).map(|step| script(&container, &format!("echo warm {step}")));
        let steps: Vec<_> = steps.collect();
        join_all(steps.iter().map(|step| run.stdout(step))).await;
    }
    drop(run);
    let before = Footprint::settled(&engine).await;
    (engine, before)
}

async fn leaves_nothing_behind(engine: &TestEngine, before: &Footprint) {
    before.is_left_by(engine).await;
    assert!(engine.index_log() <= INDEX_LOG, "{}", engine.index_log());
    let connections = engine.index_connections();
    assert!(connections <= INDEX_CONNECTIONS, "{connections}");
}

fn secret() -> Secret {
    Secret {
        name: "token".to_owned(),
        id: SecretId {
            owner: "tests".to_owned(),
            uri: format!("env:{SECRET}"),
        },
    }
}

fn env(container: &Container, name: &str, value: &str) -> Container {
    container.configure(Configure::Env {
        name: name.to_owned(),
        value: value.to_owned(),
        expand: false,
    })
}

/// What one of many clients does: its own work and work that others want, too.
async fn client(engine: &TestEngine, number: usize, source: &Directory) -> (String, usize) {
    let mut run = engine.run();
    let secret = secret();
    run.session.register_secret(secret.id.clone());
    let shared = script(
        &busybox(),
        &format!("echo {}; cat /proc/sys/kernel/random/uuid", number % 8),
    );
    let own = busybox()
        .with_network(if number.is_multiple_of(2) {
            Network::All
        } else {
            Network::None
        })
        .with_mounted_secret("/run/token", &secret, None, None)
        .with_mounted_directory("/source", source, None)
        .with_mounted_cache("/cache", &Volume::new("tests", &format!("cache {}", number % 4)));
    let own = script(
        &own,
        &format!("cp /source/file /cache/{number}; wc -c < /run/token; cat /source/file"),
    );
    let after = script(&env(&own, "NUMBER", &number.to_string()), "echo $NUMBER");
    let (shared, own, after) = tokio::join!(run.stdout(&shared), run.stdout(&own), run.stdout(&after));
    let length = std::env::var(SECRET).unwrap().len();
    assert_eq!(own.unwrap(), format!("{length}\nsource\n"));
    assert_eq!(after.unwrap(), format!("{number}\n"));
    (shared.unwrap(), run.steps().await.0.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_at_once() {
    let (engine, before) = warm_engine().await;
    let source = engine.path().join("source");
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("file"), "source\n").unwrap();
    let source = Directory::host(source.to_str().unwrap(), Filter::default());
    let outcomes = join_all((0..64).map(|number| client(&engine, number, &source))).await;
    let shared: HashSet<_> = outcomes.iter().map(|(shared, _)| shared).collect();
    assert_eq!(shared.len(), 8, "one key ran more than once");
    leaves_nothing_behind(&engine, &before).await;

    // Again, with all of it remembered, and none of it in a secret's or a volume's name.
    let memory = engine.memory();
    for _ in 0..3 {
        let again = join_all((0..64).map(|number| client(&engine, number, &source))).await;
        let ran: usize = again.iter().map(|(_, ran)| ran).sum();
        assert_eq!(ran, 0, "what is remembered ran again");
    }
    leaves_nothing_behind(&engine, &before).await;
    gives_memory_back(&engine, memory).await;
}

/// Steps of one client that have ended, counted while it waits for all of them.
async fn many(run: &Run, steps: &[Container], done: &AtomicUsize) -> Vec<Result<String, Error>> {
    join_all(steps.iter().map(|step| async {
        let outcome = run.stdout(step).await;
        done.fetch_add(1, Ordering::Relaxed);
        outcome
    }))
    .await
}

/// Waits until the engine uses little more memory than before: threads that waited for the disk are kept for some seconds, with what
/// their stacks have taken.
async fn gives_memory_back(engine: &TestEngine, before: u64) {
    let grown = || engine.memory().saturating_sub(before);
    for _ in 0..300 {
        if grown() <= GROWTH {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the engine grew by {} bytes", grown());
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_steps_of_one_client_hold_up_no_other() {
    let (engine, before) = warm_engine().await;
    let memory = engine.memory();
    let steps = |name: &str, count: usize| -> Vec<_> {
        let step = |step| script(&busybox(), &format!("sleep 0.01; echo {name} {step}"));
        (0..count).map(step).collect()
    };
    let (busy, quick) = (engine.run(), engine.run());
    let (thousand, three) = (steps("busy", 1000), steps("quick", 3));
    let done = AtomicUsize::new(0);
    let quick_done = async {
        until("a step of the busy client", || done.load(Ordering::Relaxed) >= 20).await;
        let came = done.load(Ordering::Relaxed);
        many(&quick, &three, &AtomicUsize::new(0)).await;
        done.load(Ordering::Relaxed) - came
    };
    let (outcomes, meanwhile) = tokio::join!(many(&busy, &thousand, &done), quick_done);
    for (step, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), format!("busy {step}\n"));
    }
    // Those that ran when it came, those that were let in between its own, and the engine's other work about them.
    assert!(
        meanwhile < 300,
        "{meanwhile} of the busy client's steps ended before three of another"
    );
    drop((busy, quick));
    leaves_nothing_behind(&engine, &before).await;
    gives_memory_back(&engine, memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_steps_that_wait_for_volumes_hold_up_nobody() {
    let (engine, before) = warm_engine().await;
    let volume = |name| Volume::new("tests", name).with_sharing(Sharing::Locked);
    let (one, two) = (volume("one"), volume("two"));
    // More than may run at once, each with both volumes, in one order or the other, and one of them twice.
    let wants_both = |step: usize| {
        let (first, last) = if step.is_multiple_of(2) {
            (&one, &two)
        } else {
            (&two, &one)
        };
        let container = [("/first", first), ("/last", last), ("/again", first)]
            .into_iter()
            .fold(busybox(), |container, (path, volume)| {
                container.with_mounted_cache(path, volume)
            });
        let count = "for at in /first /last; do echo x >> $at/count; done; wc -l < /again/count";
        script(&container, &format!("{count} # {step}"))
    };
    let steps: Vec<_> = (0..64).map(wants_both).collect();
    let (busy, quick) = (engine.run(), engine.run());
    let done = AtomicUsize::new(0);
    let quick_done = async {
        until("a step of the busy client", || done.load(Ordering::Relaxed) >= 1).await;
        let came = done.load(Ordering::Relaxed);
        quick.stdout(&script(&busybox(), "echo quick")).await.unwrap();
        done.load(Ordering::Relaxed) - came
    };
    let (outcomes, meanwhile) = tokio::join!(many(&busy, &steps, &done), quick_done);
    let mut counts: Vec<usize> = outcomes
        .into_iter()
        .map(|outcome| outcome.unwrap().trim().parse().unwrap())
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=64).collect::<Vec<_>>(), "two had a volume at once");
    assert!(
        meanwhile < 32,
        "{meanwhile} steps ended before one that waits for no volume"
    );
    drop((busy, quick));
    leaves_nothing_behind(&engine, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_b33_a_client_that_goes_frees_its_thousand_steps_and_no_others() {
    let (engine, before) = warm_engine().await;
    let (goes, stays) = (engine.run(), engine.run());
    // What another one waits for as well, below what the first alone asked for, is the other's from then on.
    let below = script(&busybox(), "sleep 2; echo below");
    let shared = script(&below, "echo shared");
    let mut endless: Vec<_> = (0..1000)
        .map(|step| script(&busybox(), &format!("sleep 600; echo {step}")))
        .collect();
    endless.insert(0, shared.clone());
    let asked = tokio::spawn(async move { many(&goes, &endless, &AtomicUsize::new(0)).await });
    let status = || async {
        let connection = Connection::open(&engine.socket())
            .await
            .expect("the engine answers");
        let mut client = connection.client();
        let status = client.status(StatusRequest {}).await;
        status.expect("the engine answers").into_inner()
    };
    while status().await.running_steps < 32 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let goes_on = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        asked.abort();
    };
    let own = script(&busybox(), "echo own");
    let (shared, own, ()) = tokio::join!(stays.stdout(&shared), stays.stdout(&own), goes_on);
    assert_eq!(shared.unwrap(), "shared\n");
    assert_eq!(own.unwrap(), "own\n");
    let after = status().await;
    assert_eq!((after.sessions, after.running_steps), (1, 0));
    drop(stays);
    leaves_nothing_behind(&engine, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_steps_over_their_time_end_with_all_their_processes() {
    let (engine, before) = warm_engine().await;
    let run = engine.run();
    let step = |step: usize| {
        let command = sh(&format!(
            "(setsid sleep 600 &); trap '' TERM INT; sleep 600; echo {step}"
        ));
        busybox().with_exec(
            &command,
            ExecOptions::default().with_timeout(Duration::from_millis(300)),
        )
    };
    let steps: Vec<_> = (0..20).map(step).collect();
    for outcome in many(&run, &steps, &AtomicUsize::new(0)).await {
        assert!(matches!(outcome, Err(Error::TimedOut(_))), "{outcome:?}");
    }
    drop(run);
    leaves_nothing_behind(&engine, &before).await;
}

/// A log of 1 GiB: what its step runs, and the digest of what it prints.
fn gigabyte() -> (Container, String) {
    let step = "dd if=/dev/zero bs=1M count=1 2>/dev/null | tr '\\0' x > /block; \
                block=0; while [ $block -lt 1024 ]; do echo $block; cat /block; block=$((block + 1)); done; exit 1";
    let mut hasher = Hasher::default();
    let block = vec![b'x'; 1 << 20];
    for number in 0..1024 {
        hasher.write_all(format!("{number}\n").as_bytes()).unwrap();
        hasher.write_all(&block).unwrap();
    }
    // Who comes later sees what is printed from then on: there is time to come.
    let begun = script(&busybox(), "sleep 2");
    (script(&begun, step), hasher.finish().to_hex())
}

/// A client that watches a step, stops in the midst of its first words and goes on when it is told to. The thread returns
/// the digest of all that it saw.
fn sleepy_client(engine: &TestEngine, step: Container, go_on: mpsc::Receiver<()>) -> JoinHandle<String> {
    let mut run = engine.run();
    std::thread::spawn(move || {
        let client = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut hasher = Hasher::default();
        let mut slept = false;
        let watched = run.watch(&step, |piece| {
            // The whole client stands still: nobody reads what comes.
            slept = slept || go_on.recv().is_ok();
            hasher.write_all(piece).unwrap();
        });
        client.unwrap().block_on(watched).expect_err("the step fails");
        hasher.finish().to_hex()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_a_log_of_a_gigabyte_takes_no_memory_and_is_whole() {
    let (engine, before) = warm_engine().await;
    let (step, printed) = gigabyte();
    let memory = engine.memory();
    engine.forget_peak();
    let (wake, go_on) = mpsc::channel();
    let sleepy = sleepy_client(&engine, step.clone(), go_on);
    let mut run = engine.run();
    let mut seen = Hasher::default();
    let outcome = run.watch(&step, |piece| seen.write_all(piece).unwrap()).await;
    let Err(Error::Exec(failure)) = outcome else {
        panic!("{outcome:?} is no failed step")
    };
    assert_eq!(
        seen.finish().to_hex(),
        printed,
        "the client that reads misses something"
    );
    assert!(failure.stdout_tail.len() <= 8 * 1024 && failure.stdout_tail.ends_with('x'));
    wake.send(()).unwrap();
    let late = tokio::task::spawn_blocking(|| sleepy.join().unwrap())
        .await
        .unwrap();
    assert_eq!(late, printed, "the client that slept misses something");
    let mut kept = Hasher::default();
    run.failed_log_pieces(&failure.log, |piece| kept.write_all(piece).unwrap())
        .await;
    assert_eq!(
        kept.finish().to_hex(),
        printed,
        "the log that was kept is not whole"
    );
    let grown = engine.peak_memory().saturating_sub(memory);
    assert!(grown <= GROWTH, "the engine grew by {grown} bytes");
    drop(run);
    leaves_nothing_behind(&engine, &before).await;
}

/// A hundred steps, each with seventy-five settings and a directory of twenty-five files, and a last one on what they made.
fn wide_graph() -> Container {
    let file = |directory: usize| {
        let files = (0..25).fold(Directory::empty(), |files, number| {
            let text = format!("{directory} {number}\n");
            files.edit(Edit::new_file(&format!("/{number}"), text.as_bytes(), None, None))
        });
        let container = (0..75).fold(busybox(), |container, number| {
            env(&container, &format!("NUMBER_{number}"), &format!("{directory}"))
        });
        let container = container.with_mounted_directory("/files", &files, None);
        script(&container, "echo $NUMBER_74 $(cat /files/* | wc -l) > /sum").file("/sum")
    };
    let sums = (0..100).fold(Directory::empty(), |sums, number| {
        let path = format!("/{number}");
        sums.edit(Edit::copy_file(&path, &file(number), CopyOptions::default()))
    });
    script(
        &busybox().with_mounted_directory("/sums", &sums, None),
        "ls /sums | wc -l; cat /sums/* | sort -n | sha256sum",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_of_ten_thousand_nodes() {
    let (engine, before) = warm_engine().await;
    let memory = engine.memory();
    let last = wide_graph();
    assert!(last.node().closure(|_| false).len() >= 10_000);
    let mut run = engine.run();
    let text = run.stdout(&last).await.unwrap();
    assert_eq!(run.steps().await.0.len(), 101);
    let expected: String = (0..100).map(|number| format!("{number} 25\n")).collect();
    let checked = script(&busybox(), &format!("printf '{expected}' | sha256sum"));
    assert_eq!(text, format!("100\n{}", run.stdout(&checked).await.unwrap()));
    drop(run);
    leaves_nothing_behind(&engine, &before).await;
    let grown = engine.memory().saturating_sub(memory);
    assert!(grown <= LARGE_GRAPH, "the engine grew by {grown} bytes");
    // What the allocator keeps for the next time levels off; a leak does not.
    let mut level = 0;
    for _ in 0..2 {
        level = engine.memory();
        for _ in 0..3 {
            let mut again = engine.run();
            assert_eq!(again.stdout(&last).await.unwrap(), text);
            assert_eq!(again.steps().await.0.len(), 0);
        }
        leaves_nothing_behind(&engine, &before).await;
    }
    let grown = engine.memory().saturating_sub(level);
    assert!(grown <= GROWTH, "the engine grew by {grown} bytes again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_killed_under_load_leaves_nothing_to_the_next() {
    let (mut engine, before) = warm_engine().await;
    let secret = secret();
    let base = busybox()
        .with_network(Network::All)
        .with_mounted_secret("/run/token", &secret, None, None);
    let steps = |name: &str, script_of: &str| -> Vec<_> {
        let step = |step| script(&base, &format!("{script_of}; echo {name} {step}"));
        (0..40).map(step).collect()
    };
    let (endless, short) = (steps("endless", "sleep 600"), steps("short", "sleep 0.1"));
    let done = Arc::new(AtomicUsize::new(0));
    let mut clients = Vec::new();
    for steps in [endless, short.clone()] {
        let run = engine.run();
        run.session.register_secret(secret.id.clone());
        let done = Arc::clone(&done);
        clients.push(tokio::spawn(async move { many(&run, &steps, &done).await }));
    }
    until("a step's end", || done.load(Ordering::Relaxed) >= 10).await;
    engine.kill();
    let mut reported = HashSet::new();
    for client in clients {
        for outcome in client.await.unwrap() {
            match outcome {
                Ok(text) => assert!(reported.insert(text)),
                Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error}"),
            }
        }
    }
    engine.launch();
    // A secret of the one that was killed lies nowhere.
    before.is_left_by(&engine).await;
    let mut run = engine.run();
    run.session.register_secret(secret.id.clone());
    let outcomes = many(&run, &short, &done).await;
    for (step, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.unwrap(), format!("short {step}\n"));
    }
    let (ran, hit) = run.steps().await;
    assert_eq!(ran.len() + hit.len(), short.len());
    assert!(
        hit.len() >= reported.len(),
        "{} of {} are remembered",
        hit.len(),
        reported.len()
    );
    drop(run);
    leaves_nothing_behind(&engine, &before).await;
}
