//! Directories that another engine makes: what runs where, and what is brought from one to another.

use std::path::Path;

use wharf_client::{Connection, Connector, SessionOptions, proto::event};
use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script},
    guests,
};
use wharf_graph::{
    Container, Directory, Error, Service,
    build::Edit,
    op::{Filter, HostPort},
    read::Question,
};
use wharf_testkit::World;

use super::{Machine, ONE, SEEN, call, world};

/// A run of one engine that knows others by these names.
fn run(own: &TestEngine, targets: &[(&'static str, &TestEngine)], cache: &Path) -> Run {
    let run = own.run_with(SessionOptions {
        stat_cache: cache.to_owned(),
        ..SessionOptions::default()
    });
    let sockets: Vec<_> = targets
        .iter()
        .map(|(name, engine)| (*name, engine.socket()))
        .collect();
    run.session.offer_targets(Box::new(move |wanted| {
        let found = sockets.iter().find(|(name, _)| *name == wanted);
        let (_, socket) = found.ok_or_else(|| Error::NotFound(format!("there is no target {wanted}")))?;
        let socket = socket.clone();
        let connector: Connector = Box::new(move || {
            let socket = socket.clone();
            Box::pin(async move { Connection::open(&socket).await })
        });
        Ok(connector)
    }));
    run
}

/// What a container makes at `/made`.
fn made(container: &Container, text: &str) -> Directory {
    script(container, text).directory("/made")
}

/// A step that says what is in a directory.
fn reads(directory: &Directory, text: &str) -> Container {
    script(&busybox().with_mounted_directory("/made", directory, None), text)
}

/// Titles of what began, in order, and what of it was there already.
async fn told(run: &mut Run) -> (Vec<String>, Vec<String>) {
    let (mut titles, mut hits) = (Vec::new(), Vec::new());
    let mut names = std::collections::HashMap::new();
    while let Some(event) = run.next_event().await {
        match event.what {
            Some(event::What::Started(started)) => {
                names.insert(event.key, started.title.clone());
                titles.push(started.title);
            }
            Some(event::What::Finished(finished))
                if finished.outcome() == wharf_client::proto::Outcome::Hit =>
            {
                hits.extend(names.get(&event.key).cloned());
            }
            _ => {}
        }
    }
    (titles, hits)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_made_where_the_gpu_is_and_used_here() {
    let (here, there) = (TestEngine::start(), Machine::with(1));
    let cache = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    std::fs::write(source.path().join("words"), "of this host\n").unwrap();
    let source = Directory::host(source.path().to_str().unwrap(), Filter::default());
    let makes = format!(
        "mkdir -p /made/deep; {{ {SEEN}; cat /source/words; }} > /made/seen; ln -s seen /made/link; echo x > /made/deep/run; \
         chmod 755 /made/deep/run; mkdir /made/empty; head -c 3000000 /dev/urandom > /made/large"
    );
    let on_gpu = busybox()
        .with_gpus(Some(ONE))
        .with_mounted_directory("/source", &source, None);
    let dated = made(&on_gpu, &makes).edit(Edit::timestamps(981_173_106));
    let directory = dated.on_target("box");
    let look = "cat /made/link; stat -c '%n %a %u' /made/deep/run /made/empty; date -r /made/seen +%Y; ls /dev | grep fake || echo none";
    let mut first = run(&here, &[("box", &there.engine)], cache.path());
    let seen = first.stdout(&reads(&directory, look)).await.unwrap();
    assert_eq!(
        seen,
        "fake0 fakectl GPU 0\nFAKE_DRIVER=570.86.10\nFAKE_GPU_0=yes\n/usr/lib/fake a library\nof this host\n\
         /made/deep/run 755 0\n/made/empty 755 0\n2001\nnone\n"
    );
    let (titles, _) = told(&mut first).await;
    let of_box = titles.iter().filter(|title| title.starts_with("box: ")).count();
    assert!(of_box > 1, "{titles:?}");
    assert!(titles.contains(&"bring what box makes".to_owned()), "{titles:?}");
    // Nothing is left of what was on its way.
    let left = std::fs::read_dir(cache.path()).unwrap().flatten();
    let left: Vec<_> = left
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("on-its-way"))
        .collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());

    // Again: the step there is remembered, and nothing is brought.
    let mut again = run(&here, &[("box", &there.engine)], cache.path());
    assert_eq!(again.stdout(&reads(&directory, look)).await.unwrap(), seen);
    let (_, hits) = told(&mut again).await;
    assert!(hits.contains(&"bring what box makes".to_owned()), "{hits:?}");

    // An engine that has never had it gets it.
    let other = TestEngine::start();
    let mut of_other = run(&other, &[("box", &there.engine)], cache.path());
    assert_eq!(of_other.stdout(&reads(&directory, look)).await.unwrap(), seen);
    let (titles, hits) = told(&mut of_other).await;
    assert!(titles.contains(&"bring what box makes".to_owned()), "{titles:?}");
    assert!(!hits.contains(&"bring what box makes".to_owned()), "{hits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_target_makes_is_brought_to_the_next() {
    let (here, one, other) = (TestEngine::start(), TestEngine::start(), TestEngine::start());
    let cache = tempfile::tempdir().unwrap();
    let run = run(&here, &[("one", &one), ("other", &other)], cache.path());
    let first = made(&busybox(), "mkdir /made; echo one > /made/text").on_target("one");
    let onto = busybox().with_mounted_directory("/before", &first, None);
    let second = made(
        &onto,
        "mkdir /made; cat /before/text > /made/text; echo other >> /made/text",
    );
    let text = run
        .contents(&second.on_target("other").file("text"))
        .await
        .unwrap();
    assert_eq!(text, "one\nother\n");
    // The run's own engine has run nothing: what it has it was sent.
    let mut alone = here.run();
    let sync = script(&busybox(), "true");
    alone.ask(sync.node(), Question::Sync).await.unwrap();
    let (ran, hit) = alone.steps().await;
    assert_eq!((ran.len(), hit.len()), (1, 0), "{ran:?} {hit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_work_at_once() {
    let (here, one, other) = (TestEngine::start(), TestEngine::start(), TestEngine::start());
    let cache = tempfile::tempdir().unwrap();
    let port = meeting_of_two();
    let run = run(&here, &[("one", &one), ("other", &other)], cache.path());
    run.session.allow_dial("127.0.0.1", port);
    let ports = [HostPort {
        host: port,
        service: port,
    }];
    let host = Service::host("127.0.0.1", &ports);
    let there = |name: &str| {
        let bound = busybox().with_service("meeting", &host);
        let text = format!("mkdir /made; echo {name} | nc meeting {port} > /made/{name}");
        made(&bound, &text).on_target(name)
    };
    let both = busybox()
        .with_mounted_directory("/one", &there("one"), None)
        .with_mounted_directory("/other", &there("other"), None);
    let seen = run
        .stdout(&script(&both, "cat /one/one /other/other"))
        .await
        .unwrap();
    assert_eq!(seen, "go\ngo\n");
}

/// A port of this process that answers two who say something when both have.
fn meeting_of_two() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut waiting = Vec::new();
        while waiting.len() < 2 {
            let mut stream = listener.accept().unwrap().0;
            let mut said = [0; 16];
            // Whoever only looks whether somebody answers says nothing.
            if std::io::Read::read(&mut stream, &mut said).is_ok_and(|length| length > 0) {
                waiting.push(stream);
            }
        }
        for mut stream in waiting {
            std::io::Write::write_all(&mut stream, b"go\n").unwrap();
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_there_fails_here_and_says_so() {
    let (here, there) = (TestEngine::start(), TestEngine::start());
    let cache = tempfile::tempdir().unwrap();
    let mut run = run(&here, &[("box", &there)], cache.path());
    let fails = made(&busybox(), "echo no room >&2; exit 3").on_target("box");
    let error = run.stdout(&reads(&fails, "true")).await.unwrap_err();
    let Error::Exec(failure) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (failure.exit_code, failure.stderr_tail.as_str()),
        (3, "no room\n")
    );
    let (titles, _) = told(&mut run).await;
    assert!(
        titles.iter().any(|title| title.starts_with("box: ")),
        "{titles:?}"
    );
    let unknown = made(&busybox(), "mkdir /made").on_target("nowhere");
    let error = run.stdout(&reads(&unknown, "true")).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound(why) if why.contains("nowhere")),
        "{error:?}"
    );
}

#[test]
fn users_send_directories_to_targets_and_secrets_follow() {
    let (mut near, far) = (World::new().expect("a world"), world(1));
    let module = guests::sdk(&near);
    far.wharf(["engine", "start"]).exits(0);
    near.set_targets(&far.as_target("box")).expect("a file");
    let secret = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel's");
    let secret = secret.trim();
    near.set("TOKEN", secret);
    let script = "mkdir /made; ls /run/fake > /made/gpu; printf %s $TOKEN | wc -c > /made/length";
    let words = [
        "on-target",
        "--image",
        "busybox",
        "--script",
        script,
        "--token",
        "env:TOKEN",
        "--target",
    ];
    let done = call(
        &near,
        &module,
        &["--progress", "plain"],
        &[&words[..], &["box"]].concat(),
    );
    assert_eq!(done.ok(), format!("0\n{}\nhere: 0", secret.len()));
    assert!(done.stderr.contains("box: "), "{}", done.stderr);
    assert!(!done.stderr.contains(secret));
    call(&near, &module, &["-q"], &[&words[..], &["gone"]].concat())
        .exits(1)
        .says("there is no target gone in")
        .says("targets.toml: it names box");
    // On the command line, behind a function that returns a directory.
    let added = [
        "add",
        "--source",
        ".",
        "--path",
        "new",
        "--contents",
        "text",
        "on-target",
        "--target",
        "box",
        "entries",
    ];
    near.write("old", "text");
    assert_eq!(call(&near, &module, &["-q"], &added).ok(), "new\nold");
    far.wharf(["engine", "stop"]).exits(0);
    call(&near, &module, &["-q"], &[&words[..], &["box"]].concat())
        .exits(4)
        .says("the target box: no engine answers on");
}
