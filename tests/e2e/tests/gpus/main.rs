//! GPUs: what a step sees of them, who has which, and who may. No machine of ours has one: the library that tells of them is
//! built by the test, and the devices are device nodes that do no harm.

mod targets;

use std::path::Path;

use wharf_client::proto::event;
use wharf_e2e::{
    TestEngine,
    engine::{How, Run, busybox, script, sh},
    guests,
};
use wharf_graph::{
    Container, Error, Volume,
    gpu::{GpuRequest, GpuSharing, WhenBusy},
    op::ExecOptions,
    read::{Answer, Question},
};
use wharf_testkit::{
    World,
    gpus::{FakeGpu, FakeGpus},
    world::Done,
};

const ONE: GpuRequest = GpuRequest {
    count: 1,
    minimum_memory: 0,
    sharing: GpuSharing::Exclusive,
    when_busy: WhenBusy::Wait,
};

/// What a step says of its GPUs.
const SEEN: &str = "echo $(ls /dev | grep fake) $(cat /run/fake/*); env | grep FAKE | sort; \
                    echo $LD_LIBRARY_PATH $(cat /usr/lib/fake/libfake.so.1)";

/// GPUs and an engine that has them, whose steps this runs.
struct Machine {
    engine: TestEngine,
    _directory: tempfile::TempDir,
}

impl Machine {
    fn with(count: usize) -> Self {
        Self::on("builtin", count)
    }

    fn on(runtime: &str, count: usize) -> Self {
        let gpus: Vec<_> = (0..count).map(|number| FakeGpu::new(number, 16)).collect();
        let directory = tempfile::tempdir().expect("a directory");
        let fake = FakeGpus::of(directory.path(), &gpus).expect("GPUs");
        Self {
            engine: TestEngine::started(How {
                runtime: runtime.to_owned(),
                variables: fake.variables().to_vec(),
                ..How::default()
            }),
            _directory: directory,
        }
    }

    fn run(&self) -> Run {
        self.engine.run()
    }
}

/// A container whose steps share a directory, and have what they ask for.
fn sharing(request: GpuRequest) -> Container {
    plain().with_gpus(Some(request))
}

fn plain() -> Container {
    busybox().with_mounted_cache("/cache", &Volume::new("gpus", "shared"))
}

/// How many of the engine's GPUs nobody has.
async fn free(run: &Run) -> usize {
    let gpus = run.session.gpus().await.expect("an inventory");
    gpus.iter().filter(|gpu| gpu.is_free).count()
}

/// Until so many are free.
async fn until_free(run: &Run, count: usize) {
    while free(run).await != count {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

async fn a_step_sees_exactly_its_gpu(runtime: &str) {
    let machine = Machine::on(runtime, 2);
    // Each waits until the other one is there, too: so they have different ones.
    let meets = |name: &str| {
        let (mine, theirs) = (FakeGpus::node(0), FakeGpus::node(1));
        let opens = format!(
            "for node in /dev/fake*; do : < $node && echo opened; done; \
             mknod /tmp/a c {} {}; mknod /tmp/b c {} {}; for node in /tmp/a /tmp/b; do (: < $node) 2> /dev/null || echo refused; done",
            mine.0, mine.1, theirs.0, theirs.1
        );
        script(
            &sharing(ONE),
            &format!(
                "touch /cache/{name}; until test -e /cache/one -a -e /cache/other; do sleep 0.01; done; {SEEN}; {opens}; \
                 : > /dev/fakectl && echo control"
            ),
        )
    };
    let (one, other) = (meets("one"), meets("other"));
    let (run, run_other) = (machine.run(), machine.run());
    let (one_seen, other_seen) = tokio::join!(run.stdout(&one), run_other.stdout(&other));
    let mut seen = [one_seen.unwrap(), other_seen.unwrap()];
    seen.sort();
    let expected = |number: u32| {
        format!(
            "fake{number} fakectl GPU {number}\nFAKE_DRIVER=570.86.10\nFAKE_GPU_{number}=yes\n/usr/lib/fake a library\n\
             opened\nopened\nrefused\ncontrol\n"
        )
    };
    assert_eq!(seen, [expected(0), expected(1)]);
    // Nothing of it is in what the step made.
    for path in ["/run/fake", "/usr/lib/fake", "/dev/fakectl"] {
        let there = run
            .ask(one.node(), Question::Exists(path.to_owned()))
            .await
            .unwrap();
        assert_eq!(there, Answer::Bool(false), "{path}");
    }
    until_free(&run, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_sees_exactly_the_gpu_that_it_has() {
    a_step_sees_exactly_its_gpu("builtin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_runc_runs_sees_exactly_the_gpu_that_it_has() {
    a_step_sees_exactly_its_gpu("runc").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_asked_for_none_has_none_and_gets_at_none() {
    let machine = Machine::with(1);
    let run = machine.run();
    let (major, minor) = FakeGpus::node(0);
    let looks = format!(
        "ls /dev | grep -c fake; env | grep -c FAKE; mknod /tmp/gpu c {major} {minor}; (: < /tmp/gpu) 2> /dev/null || echo refused"
    );
    assert_eq!(
        run.stdout(&script(&busybox(), &looks)).await.unwrap(),
        "0\n0\nrefused\n"
    );
    let without = busybox().with_gpus(Some(ONE)).with_gpus(None);
    assert_eq!(
        run.stdout(&script(&without, &looks)).await.unwrap(),
        "0\n0\nrefused\n"
    );
    let all = busybox().with_gpus(Some(ONE));
    assert_eq!(
        run.stdout(&script(&all, "ls /dev | grep fake")).await.unwrap(),
        "fake0\nfakectl\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_never_have_one_gpu_at_once() {
    let machine = Machine::with(4);
    let clients = (0..16_u32).map(|client| {
        let run = machine.run();
        async move {
            for turn in 0..2 {
                let request = GpuRequest {
                    count: 1 + (client + turn) % 3,
                    ..ONE
                };
                // A directory is made by one alone: whoever finds a GPU's there has another one's GPU.
                let takes = script(
                    &sharing(request),
                    &format!(
                        "for n in $(ls /run/fake); do mkdir /cache/$n || exit 9; done; sleep 0.02; \
                         for n in $(ls /run/fake); do rmdir /cache/$n; done; ls /run/fake | wc -l; : {client} {turn}"
                    ),
                );
                assert_eq!(run.stdout(&takes).await.unwrap().trim(), request.count.to_string());
            }
        }
    });
    futures::future::join_all(clients).await;
    until_free(&machine.run(), 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_will_not_wait_fails_and_who_waits_has_it_afterwards() {
    let machine = Machine::with(1);
    let (run, looking) = (machine.run(), machine.run());
    let holds = script(
        &sharing(ONE),
        "until test -e /cache/go; do sleep 0.01; done; echo held",
    );
    let held = tokio::spawn(async move { run.stdout(&holds).await });
    until_free(&looking, 0).await;
    let at_once = GpuRequest {
        when_busy: WhenBusy::Fail,
        ..ONE
    };
    let refused = looking
        .stdout(&script(&sharing(at_once), "echo never"))
        .await
        .unwrap_err();
    let Error::Unavailable(words) = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        words.contains("this engine has 1 GPU (1 × NVIDIA Test 16 with 16.0 GiB), 1 taken"),
        "{words}"
    );
    // One who waits and gives up, and one who stays.
    let gone = machine.run();
    let gives_up = tokio::spawn(async move { gone.stdout(&script(&sharing(ONE), "echo gone")).await });
    let stays = machine.run();
    let stays = tokio::spawn(async move { stays.stdout(&script(&sharing(ONE), "echo stays")).await });
    gives_up.abort();
    gives_up.await.unwrap_err();
    looking
        .stdout(&script(&plain(), "touch /cache/go"))
        .await
        .unwrap();
    assert_eq!(held.await.unwrap().unwrap(), "held\n");
    assert_eq!(stays.await.unwrap().unwrap(), "stays\n");
    until_free(&looking, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_share_a_gpu_as_long_as_its_memory_lasts() {
    let machine = Machine::with(1);
    let with = |gibibytes: u64, when_busy| GpuRequest {
        minimum_memory: gibibytes << 30,
        sharing: GpuSharing::Shared,
        when_busy,
        ..ONE
    };
    let meets = |mine: &str, theirs: &str| {
        script(
            &sharing(with(8, WhenBusy::Wait)),
            &format!(
                "touch /cache/{mine}; until test -e /cache/{theirs} -a -e /cache/go; do sleep 0.01; done; ls /run/fake"
            ),
        )
    };
    let (one, other) = (meets("one", "other"), meets("other", "one"));
    let (run, run_other, third) = (machine.run(), machine.run(), machine.run());
    let pair = tokio::spawn(async move { tokio::join!(run.stdout(&one), run_other.stdout(&other)) });
    let both = "until test -e /cache/one -a -e /cache/other; do sleep 0.01; done";
    third.stdout(&script(&plain(), both)).await.unwrap();
    let more = sharing(with(1, WhenBusy::Fail));
    let refused = third.stdout(&script(&more, "true")).await.unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    third.stdout(&script(&plain(), "touch /cache/go")).await.unwrap();
    let (one, other) = pair.await.unwrap();
    assert_eq!(
        (one.unwrap(), other.unwrap()),
        ("0\n".to_owned(), "0\n".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_had_fails_before_anything_runs() {
    let machine = Machine::with(2);
    let mut run = machine.run();
    let input = script(&busybox(), "echo an hour of work > /input");
    let wants = |request: GpuRequest| script(&input.with_gpus(Some(request)), "true");
    for (request, words) in [
        (
            GpuRequest { count: 3, ..ONE },
            "a step asks for 3 GPUs, and this engine can never give that: it has 2 GPUs",
        ),
        (
            GpuRequest {
                minimum_memory: 80 << 30,
                ..ONE
            },
            "a step asks for 1 GPU with at least 80.0 GiB of memory, and",
        ),
        (GpuRequest { count: 0, ..ONE }, "ask for 1 at least"),
    ] {
        let refused = run.stdout(&wants(request)).await.unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
    }
    // A step with its service: each could have one, not both.
    let serves = busybox()
        .with_gpus(Some(GpuRequest { count: 2, ..ONE }))
        .as_service(wharf_graph::op::ServiceOptions {
            args: sh("sleep 1000"),
            ..Default::default()
        });
    let bound = input.with_gpus(Some(ONE)).with_service("served", &serves);
    let refused = run.stdout(&script(&bound, "true")).await.unwrap_err();
    assert!(
        refused.to_string().contains("a step and its services ask for"),
        "{refused}"
    );
    let (ran, _) = run.steps().await;
    assert_eq!(ran, Vec::<String>::new());
    // An engine without any.
    let none = TestEngine::start();
    let refused = none.run().stdout(&wants(ONE)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Other { code, message } if code == "no-gpu" && message.contains("has none to give")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_remembered_whichever_gpu_it_had() {
    let machine = Machine::with(2);
    let step = |request| script(&busybox().with_gpus(Some(request)), "echo $RANDOM > /made");
    let mut run = machine.run();
    let first = run.text(&step(ONE), "/made").await.unwrap();
    run.steps().await;
    let other_ways = GpuRequest {
        minimum_memory: 1 << 30,
        when_busy: WhenBusy::Fail,
        sharing: GpuSharing::Shared,
        ..ONE
    };
    let mut again = machine.run();
    assert_eq!(again.text(&step(other_ways), "/made").await.unwrap(), first);
    let (ran, hit) = again.steps().await;
    assert_eq!((ran.len(), hit.len()), (0, 1));
    again
        .text(&step(GpuRequest { count: 2, ..ONE }), "/made")
        .await
        .unwrap();
    assert_eq!(again.steps().await.0.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_step_tells_how_many_gpus_it_had() {
    let machine = Machine::with(2);
    let mut run = machine.run();
    for (request, count) in [
        (None, 0),
        (Some(ONE), 1),
        (Some(GpuRequest { count: 2, ..ONE }), 2),
    ] {
        let step = busybox()
            .with_gpus(request)
            .with_exec(&sh(&format!("true {count}")), ExecOptions::default());
        run.stdout(&step).await.unwrap();
        let mut had = Vec::new();
        while let Some(event) = run.next_event().await {
            if let Some(event::What::Finished(finished)) = event.what {
                had.push(finished.gpus);
            }
        }
        assert_eq!(had.last(), Some(&count), "{had:?}");
    }
}

/// A world whose engines find GPUs.
fn world(count: usize) -> World {
    let mut world = World::new().expect("a world");
    let directory = world.path("gpus");
    std::fs::create_dir_all(&directory).expect("a directory");
    for (name, value) in FakeGpus::equal(&directory, count).expect("GPUs").variables() {
        world.set(name, value);
    }
    world
}

fn call(world: &World, module: &Path, options: &[&str], words: &[&str]) -> Done {
    let mut command = world.command(["call"]);
    command.args(options).arg("-m").arg(module).args(words);
    Done::of(command)
}

#[test]
fn the_engine_and_the_doctor_say_what_there_is() {
    let mut world = world(2);
    let line = "NVIDIA Test 16, 12.0 GiB of 16.0 GiB free, compute capability 8.9, driver 570.86.10";
    let tells = |world: &World, command: &[&str], text: &str| {
        let told = world.wharf(command);
        assert!(told.ok().contains(text), "{command:?}: {}", told.text());
    };
    tells(&world, &["doctor", "--engine", "local"], line);
    tells(
        &world,
        &["doctor", "--engine", "local"],
        "enable-cuda-compat` is not run",
    );
    world.wharf(["engine", "start"]).exits(0);
    tells(&world, &["engine", "status"], line);
    let status = world.wharf(["engine", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(status.ok()).expect("JSON");
    assert_eq!(
        status["gpus"]["devices"][1]["uuid"],
        "GPU-00000000-0000-4000-8000-000000000001"
    );
    assert_eq!(status["gpus"]["devices"][0]["memory-total"], 16_u64 << 30);
    // Another library is another setting: the engine is replaced, and has none.
    world.set("WHARF_NVML", "/nowhere/libnvidia-ml.so.1");
    world.wharf(["engine", "start"]).exits(0);
    for command in [&["engine", "status"][..], &["doctor", "--engine", "local"]] {
        tells(
            &world,
            command,
            "none: /nowhere/libnvidia-ml.so.1 cannot be loaded",
        );
    }
}

#[test]
fn modules_ask_for_gpus_and_know_what_there_is() {
    let world = world(2);
    let module = guests::sdk(&world);
    let devices = call(&world, &module, &["-q"], &["gpus"]);
    assert_eq!(
        devices.ok().lines().collect::<Vec<_>>(),
        ["NVIDIA Test 16 17179869184 8.9 true"; 2]
    );
    let words = ["on-gpus", "--image", "busybox", "--script", "ls /run/fake"];
    assert_eq!(
        call(
            &world,
            &module,
            &["-q"],
            &[&words[..], &["--count", "2"]].concat()
        )
        .ok(),
        "0\n1"
    );
    let told = call(&world, &module, &["--progress", "json"], &words);
    assert_eq!(told.ok(), "0");
    let summary = told.stderr.lines().last().expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(summary).expect("JSON");
    assert!(
        summary["gpu-seconds"].as_f64().expect("a number") > 0.0,
        "{summary}"
    );
    call(
        &world,
        &module,
        &["-q"],
        &[&words[..], &["--count", "3"]].concat(),
    )
    .exits(1)
    .says("this engine can never give that: it has 2 GPUs");
}

#[test]
fn a_module_chooses_among_the_engines_that_the_user_has_named() {
    let world = world(2);
    let module = guests::sdk(&world);
    assert_eq!(call(&world, &module, &["-q"], &["targets"]).ok(), "");
    world.wharf(["engine", "start"]).exits(0);
    let gone = "[targets.gone]\nengine = \"unix:///nowhere/engine.sock\"\n";
    let text = format!("{}labels = [\"large\"]\n{gone}", world.as_target("box"));
    world.set_targets(&text).expect("a file");
    let targets = call(&world, &module, &["-q"], &["targets"]);
    let lines: Vec<_> = targets.ok().lines().collect();
    assert_eq!(lines[0], "box large 2 free");
    assert!(
        lines[1].starts_with("gone  no engine answers on /nowhere/engine.sock"),
        "{lines:?}"
    );
    let doctor = world.wharf(["doctor"]);
    for line in [
        "ok       target        box: NVIDIA Test 16, 2 of 2 free",
        "warn     target        gone: no engine answers on /nowhere/engine.sock",
    ] {
        assert!(doctor.ok().contains(line), "{line}: {}", doctor.text());
    }
    world.set_targets("[targets.box]\nengines = 1\n").expect("a file");
    call(&world, &module, &["-q"], &["targets"])
        .exits(1)
        .says("targets.toml");
}

#[test]
fn a_dependency_has_no_gpu_unless_it_was_granted() {
    let world = world(1);
    let module = guests::caller(&world);
    let tries = |what: &str, without_guard: Option<&str>| {
        let mut command = world.command(["call", "-q", "-m"]);
        command.arg(&module).args([
            "tries",
            "--image",
            "busybox",
            "--what",
            what,
            "--value",
            "ls /run/fake",
        ]);
        command.envs(without_guard.map(|guard| ("WHARF_TEST_WITHOUT_GUARD", guard)));
        Done::of(command)
    };
    for what in ["gpu", "gpus", "targets", "on-target"] {
        let denied = tries(what, None);
        denied
            .exits(3)
            .says("wharf-tests:helper (called by wharf-tests:caller) may not use gpu")
            .says("gpu = true under [grants.\"wharf-tests:helper\"]");
        assert_eq!(denied.text(), "");
    }
    assert_eq!(tries("gpu", Some("gpu")).ok(), "0");
    assert_eq!(tries("gpus", Some("gpu")).ok(), "1");
}
