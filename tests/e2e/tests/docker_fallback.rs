//! A Docker that refuses the engine what it needs to make containers: each step is a container of that daemon.

use std::time::Duration;

use wharf_client::{Connection, SessionOptions};
use wharf_e2e::{
    Run, TestEngine,
    engine::{busybox, script, sh},
    guests,
};
use wharf_graph::{
    Container, Directory, Error, Secret, Volume,
    build::Edit,
    op::{Configure, ExecOptions, Expect, Limits, Network, SecretId, Sharing, Stdin},
    read::{Answer, Question},
};
use wharf_testkit::{
    World,
    hardened::Hardened,
    world::{Done, Engine},
};

/// A world on the run's Docker daemon, behind something that refuses rights; what it leaves there is removed at the end.
struct OnHardened {
    world: World,
    hardened: Hardened,
    name: String,
}

impl OnHardened {
    fn new() -> Self {
        let mut world = World::on(Engine::Docker).expect("a Docker daemon");
        let hardened = wharf_e2e::docker::before_daemon(&mut world);
        let directory = world.path("wharf/run/docker");
        let name =
            wharf_digest::Digest::of(directory.as_os_str().as_encoded_bytes()).to_hex()[..12].to_owned();
        Self {
            world,
            hardened,
            name,
        }
    }

    /// What Docker prints, asked without anything before it.
    fn docker(&self, args: &[&str]) -> String {
        let output = self.world.daemon().expect("a daemon").run(args).expect("docker");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// What the daemon has of steps: containers, images, volumes.
    fn of_steps(&self) -> [String; 3] {
        let label = format!("label=dev.wharf.step={}", self.name);
        let filter = ["--filter", label.as_str()];
        [
            ["ps", "-aq"].as_slice(),
            &["image", "ls", "-q"],
            &["volume", "ls", "-q"],
        ]
        .map(|list| self.docker(&[list, &filter].concat()))
    }

    /// A run on the engine, which was started.
    fn run(&self) -> Run {
        let socket = self.world.path("wharf/run/docker/engine.sock");
        let options = SessionOptions {
            stat_cache: self.world.path("stat"),
            ..SessionOptions::default()
        };
        let connector = Box::new(move || {
            let socket = socket.clone();
            Box::pin(async move { Connection::open(&socket).await }) as futures::future::BoxFuture<'static, _>
        });
        Run::over(connector, options)
    }

    /// Waits until no step's container is left.
    fn has_no_containers(&self) {
        let none = || self.of_steps()[0].is_empty();
        let waited = wharf_testkit::process::wait_for(Duration::from_secs(60), || none().then_some(()));
        assert!(waited.is_some(), "{:?}", self.of_steps());
    }

    fn call(&self, words: &[&str]) -> Done {
        let module = guests::by_hand(&self.world.path("work"));
        let mut command = self.world.command(["call", "--progress", "plain", "-m"]);
        command.arg(module).args(words);
        Done::of(command)
    }
}

impl Drop for OnHardened {
    fn drop(&mut self) {
        self.world.wharf(["engine", "stop"]);
        let volume = format!("wharf-steps-{}", self.name);
        if let Some(daemon) = self.world.daemon() {
            let _ = daemon.run(["volume", "rm", "--force", &volume]);
        }
    }
}

#[test]
fn a_docker_that_refuses_rights_runs_each_step_and_it_is_said() {
    let place = OnHardened::new();
    let greet = ["greeting", "--image", "busybox:latest"];
    let first = place.call(&greet);
    assert_eq!(first.ok(), "hello from wat");
    first
        .says("each step runs as a container of it, slower")
        .says("authorization denied by plugin hardened");
    assert_eq!(place.hardened.refusals(), 1);
    assert!(
        place
            .world
            .wharf(["engine", "status"])
            .ok()
            .contains("each step is a container of Docker")
    );
    // Remembered: the result, and that there is no use in trying.
    place.call(&greet).exits(0).says("1 remembered, 0 run");
    assert_eq!(place.hardened.refusals(), 1);
    assert_eq!(place.world.wharf(["engine", "stop"]).ok(), "the engine has ended");
    assert_eq!(place.of_steps(), ["", "", ""]);
}

fn any() -> ExecOptions {
    ExecOptions {
        expect: Expect::Any,
        ..ExecOptions::default()
    }
}

fn secret(path: &std::path::Path) -> Secret {
    Secret {
        name: "token".to_owned(),
        id: SecretId {
            owner: "me".to_owned(),
            uri: format!("file:{}", path.display()),
        },
    }
}

/// Changes of every kind, in several steps that stand on each other.
fn changed() -> [Container; 3] {
    let made = script(
        &busybox(),
        "mkdir -p /w/sub /w/gone/deep /w/kept && echo one > /w/one && echo two > /w/sub/two && ln /w/one /w/hard && ln -s one /w/soft \
         && mkfifo /w/pipe && mknod /w/null c 1 3 && touch /w/gone/deep/x /w/kept/a /w/kept/b && chown -R 1000:1001 /w/sub \
         && chmod 2751 /w/sub && chmod 4755 /w/kept/a && touch -d 2001-02-03 /w/kept/b",
    );
    let changed = script(
        &made,
        "rm -r /w/gone /w/sub && mkdir /w/sub && echo new > /w/sub/new && mv /w/one /w/moved && chown 5:6 /w/kept && chmod 600 /w/hard \
         && rm /w/soft && mkdir /w/soft && mv /w/kept/b /w/pipe && stat -c '%n %a %u:%g %h %F' /w/* /w/*/*",
    );
    let again = script(
        &changed,
        "rm -r /w/soft /w/kept; mkdir /w/kept; stat -c '%n %A %u:%g %F' /w /w/*",
    );
    [made, changed, again]
}

/// What a step is given, said by itself.
fn given(token: &Secret) -> Container {
    let source = Directory::empty()
        .edit(Edit::new_file("a", b"in a tree", Some(0o640), None))
        .edit(Edit::new_directory("inner", Some(0o1777), None));
    let own = busybox()
        .edit(Edit::new_file("/tree/hidden", b"below", None, None))
        .with_mounted_directory("/tree", &source, Some("7:8"))
        .with_mounted_file("/etc/some/file", &source.file("a"), Some("9:9"))
        .with_mounted_secret("/run/secrets/token", token, Some("1000:1000"), Some(0o440))
        .with_mounted_temp("/memory", Some(1 << 20))
        .configure(Configure::SecretEnv("TOKEN".to_owned(), token.id.clone()))
        .configure(Configure::Workdir("/tmp".to_owned()))
        .configure(Configure::User("1000:1000".to_owned()));
    let options = ExecOptions {
        stdin: Stdin::Text("typed".to_owned()),
        redirect_stderr: Some("/said".to_owned()),
        ..ExecOptions::default()
    };
    let says = "id; pwd; cat; hostname; stat -c '%n %A %u:%g' /tree /tree/*; cat /etc/some/file; \
                stat -Lc '%a %u:%g' /run/secrets/token /etc/some/file /memory; wc -c < /run/secrets/token; echo ${#TOKEN}; \
                cat /run/secrets/token; echo to stderr >&2; grep Cap /proc/self/status; echo x > /memory/y && cat /memory/y; touch /no 2>&1";
    own.with_exec(&sh(&format!("{says}; true")), options)
}

/// Answers that have to be the same wherever steps run.
async fn answers(run: &Run, token: &Secret) -> Vec<String> {
    let mut all = Vec::new();
    let [made, changed, again] = changed();
    for container in [&again, &changed, &made] {
        all.push(run.stdout(container).await.expect("a step"));
        for question in [Question::Digest, Question::Glob("**".to_owned())] {
            let answer = run.ask(container.directory("/w").node(), question).await;
            all.push(format!("{answer:?}"));
        }
        all.push(format!(
            "{:?}",
            run.ask(container.rootfs().node(), Question::Digest).await
        ));
    }
    let given = given(token);
    all.push(run.stdout(&given).await.expect("a step"));
    all.push(run.text(&given, "/said").await.expect("a file"));
    all.push(format!(
        "{:?}",
        run.ask(given.rootfs().node(), Question::Digest).await
    ));
    for (command, options) in [
        (sh("echo out; echo err >&2; exit 3"), any()),
        (sh("kill -TERM $$"), any()),
        (sh("exit 4"), ExecOptions::default()),
        (sh("kill -KILL $$"), ExecOptions::default()),
        (vec!["no-such-program".to_owned()], ExecOptions::default()),
        (vec!["/no/such".to_owned()], any()),
        (vec!["/etc".to_owned()], ExecOptions::default()),
    ] {
        let ended = busybox().with_exec(&command, options);
        let answer = run.ask(ended.node(), Question::ExitCode).await;
        all.push(match answer {
            Err(Error::Exec(failure)) => format!("{} {}", failure.exit_code, failure.reason),
            answer => format!("{answer:?}"),
        });
    }
    let cache = Volume::new("me", "lines");
    let keeps = |line: &str| {
        let seed = Directory::empty().edit(Edit::new_file("lines", b"seed\n", None, None));
        let volume = cache
            .clone()
            .with_source(&seed)
            .with_owner("0:3")
            .with_sharing(Sharing::Locked);
        script(
            &busybox().with_mounted_cache("/cache", &volume),
            &format!("echo {line} >> /cache/lines; cat /cache/lines; stat -c %u:%g /cache"),
        )
    };
    for line in ["first", "second"] {
        all.push(run.stdout(&keeps(line)).await.expect("a step"));
    }
    let beside = |number: usize| {
        script(
            &busybox(),
            &format!("seq 1 20000 | tail -n {number}; echo {number} > /n"),
        )
    };
    let beside: Vec<Container> = (1..5).map(beside).collect();
    let printed = futures::future::join_all(beside.iter().map(|container| run.stdout(container))).await;
    all.extend(printed.into_iter().map(|text| text.expect("a step")));
    let greedy = ExecOptions {
        limits: Limits {
            memory: Some(64 << 20),
            ..Limits::default()
        },
        ..ExecOptions::default()
    };
    let greedy = busybox().with_exec(&sh("head -c 200m /dev/zero | tail"), greedy);
    match run.ask(greedy.node(), Question::Sync).await {
        Err(Error::Exec(failure)) => all.push(failure.reason),
        other => panic!("{other:?}"),
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_as_containers_of_docker_do_what_steps_do() {
    let place = OnHardened::new();
    place.world.wharf(["engine", "start"]).exits(0);
    let value = format!("{:032x}", rand_value());
    let token = place.world.write("token", &value);
    let token = secret(&token);
    let mut run = place.run();
    run.session.register_secret(token.id.clone());
    let here = answers(&run, &token).await;
    let own = TestEngine::with_runtime("builtin");
    let other = own.run();
    other.session.register_secret(token.id.clone());
    let there = answers(&other, &token).await;
    for (one, another) in here.iter().zip(&there) {
        assert_eq!(one, another);
    }
    assert!(!here.iter().any(|text| text.contains(&value)), "a secret is told");

    // All of it is remembered.
    run.steps().await;
    let mut second = place.run();
    second.session.register_secret(token.id.clone());
    let [.., last] = changed();
    second.stdout(&last).await.expect("a remembered step");
    second.stdout(&given(&token)).await.expect("a remembered step");
    let (ran, _) = second.steps().await;
    assert_eq!(ran, Vec::<String>::new());

    // Networks: none, and a way out.
    let routes = |network| {
        script(
            &busybox().with_network(network),
            "ip route | grep -c default; true",
        )
    };
    assert_eq!(run.stdout(&routes(Network::None)).await.expect("a step"), "0\n");
    assert_eq!(run.stdout(&routes(Network::All)).await.expect("a step"), "1\n");

    // What cannot be had is refused by name.
    let service = busybox().as_service(wharf_graph::op::ServiceOptions::default());
    let bound = script(&busybox().with_service("db", &service), "true");
    let refused = run.stdout(&bound).await.expect_err("a service").to_string();
    assert!(refused.contains("this Docker refuses"), "{refused}");

    // A secret is in nothing that Docker tells, and a cancelled step is gone at once.
    let sleeps = busybox().with_mounted_secret("/token", &token, None, None);
    let sleeps = sleeps.configure(Configure::SecretEnv("TOKEN".to_owned(), token.id.clone()));
    let sleeps = script(&sleeps, "echo asleep; sleep 1000");
    let ends = place.run();
    ends.session.register_secret(token.id.clone());
    let asked = {
        let (session, node) = (ends.session.clone(), sleeps.node().clone());
        tokio::spawn(async move { session.read(&node, Question::Stdout).await })
    };
    let running = wharf_testkit::process::wait_for(Duration::from_secs(60), || {
        let ids = place.docker(&[
            "ps",
            "-q",
            "--filter",
            &format!("label=dev.wharf.step={}", place.name),
        ]);
        let id = ids.lines().next()?.to_owned();
        place.docker(&["top", &id]).contains("sleep").then_some(id)
    });
    let id = running.expect("a step's container");
    assert!(!place.docker(&["inspect", &id]).contains(&value));
    asked.abort();
    drop(ends);
    place.has_no_containers();

    // An engine that dies takes its steps with it, and the next one starts where it was.
    let session = place.run();
    session.session.register_secret(token.id.clone());
    let asked = {
        let (session, node) = (session.session.clone(), sleeps.node().clone());
        tokio::spawn(async move { session.read(&node, Question::Stdout).await })
    };
    let started = wharf_testkit::process::wait_for(Duration::from_secs(60), || {
        (!place.of_steps()[0].is_empty()).then_some(())
    });
    assert!(started.is_some());
    place.docker(&["kill", "--signal=KILL", &format!("wharf-engine-{}", place.name)]);
    asked.await.ok();
    place.has_no_containers();
    place.world.wharf(["engine", "start"]).exits(0);
    let mut after = place.run();
    assert!(matches!(
        after.ask(last.node(), Question::ExitCode).await,
        Ok(Answer::ExitCode(0))
    ));
    assert_eq!(after.steps().await.0, Vec::<String>::new());

    // Forgotten caches go.
    let caches = || {
        place.docker(&[
            "volume",
            "ls",
            "-q",
            "--filter",
            &format!("label=dev.wharf.cache={}", place.name),
        ])
    };
    assert_eq!(caches().lines().count(), 1);
    place
        .world
        .wharf(["cache", "prune", "--all", "--volumes"])
        .exits(0);
    assert_eq!(caches(), "");
    assert_eq!(place.world.wharf(["engine", "stop"]).ok(), "the engine has ended");
    assert_eq!(place.of_steps(), ["", "", ""]);
}

/// A value that no other run has.
fn rand_value() -> u128 {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    u128::from_le_bytes(bytes)
}
