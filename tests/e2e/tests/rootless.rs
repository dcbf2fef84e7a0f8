//! The engine of an ordinary user: with ids and a way out, with neither, and what is left of it when it is killed. The tests are
//! root, and become a user of their own in a view of the machine of their own.

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind,
    net::TcpListener,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use wharf_client::{Connection, SessionOptions};
use wharf_e2e::{
    Run,
    engine::{busybox, script},
    guests,
    internet::{GREETING, Internet},
};
use wharf_graph::op::{Configure, Network};
use wharf_testkit::{
    World,
    ordinary::{ID, IDS},
    paths,
    process::{kill, wait_for},
    world::Engine,
};

/// How long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A world of an ordinary user, and a module in it.
fn world() -> (World, PathBuf) {
    let world = World::on(Engine::Local).expect("a world");
    let module = guests::by_hand(&world.path("work"));
    (world.of_an_ordinary_user().expect("a user"), module)
}

fn json(world: &World, args: &[&str]) -> Value {
    serde_json::from_str(world.wharf(args).ok()).expect("JSON")
}

/// State, text and next step of what the doctor has found under this name.
fn found(doctor: &Value, name: &str) -> [String; 3] {
    let all = doctor["findings"].as_array().expect("findings");
    let finding = all.iter().find(|finding| finding["name"] == name);
    let finding = finding.unwrap_or_else(|| panic!("nothing is said of {name}: {doctor:#}"));
    ["state", "text", "next"].map(|field| finding[field].as_str().unwrap_or_default().to_owned())
}

/// A run on the world's engine, which runs.
fn run(world: &World) -> Run {
    let socket = world.path("wharf/run/engine.sock");
    let options = SessionOptions {
        stat_cache: world.path("stat"),
        ..SessionOptions::default()
    };
    let connector = Box::new(move || {
        let socket = socket.clone();
        Box::pin(async move { Connection::open(&socket).await }) as futures::future::BoxFuture<'static, _>
    });
    Run::over(connector, options)
}

fn call(world: &World, module: &Path) -> String {
    let module = module.display().to_string();
    let args = [
        "call",
        "--progress",
        "plain",
        "-m",
        &module,
        "greeting",
        "--image",
        "busybox:latest",
    ];
    let done = world.wharf(args);
    assert_eq!(done.ok(), "hello from wat");
    done.stderr.clone()
}

fn parent(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    line.and_then(|number| number.trim().parse().ok())
        .expect("a parent")
}

/// Owners of what is below a directory.
fn owners(directory: &Path, into: &mut HashSet<u32>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let facts = entry.metadata().expect("facts");
        into.insert(facts.uid());
        if facts.is_dir() {
            owners(&entry.path(), into);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_user_is_the_root_of_an_engine() {
    let internet = Internet::start(&[]);
    let (world, module) = world();
    let doctor = json(&world, &["doctor", "--json"]);
    assert_eq!(doctor["engine"], "local", "{doctor:#}");
    assert!(found(&doctor, "root")[1].contains("user namespace"), "{doctor:#}");
    for name in [
        "ids",
        "namespaces",
        "overlay",
        "seccomp",
        "network",
        "store",
        "socket",
    ] {
        assert_eq!(found(&doctor, name)[0], "ok", "{name}: {doctor:#}");
    }
    assert!(
        found(&doctor, "ids")[1].contains(&format!("from 0 to {}", IDS.1)),
        "{doctor:#}"
    );

    // What it makes is the user's.
    call(&world, &module);
    let module_path = module.display().to_string();
    let made = [
        "call",
        "-q",
        "-m",
        &module_path,
        "made",
        "--image",
        "busybox:latest",
    ];
    world
        .wharf(
            made.into_iter()
                .chain(["directory", "--path", "/etc", "-o", "out"]),
        )
        .ok();
    let exported = fs::metadata(world.path("work/out/passwd")).expect("what was exported");
    assert_eq!((exported.uid(), exported.gid()), (ID, ID));

    steps_are_as_root_runs_them(&world).await;
    steps_reach_the_world_and_not_the_machine(&world, &internet).await;

    // Whichever process is killed, nothing is left, and what was done is remembered.
    for generation in 0..3 {
        let status = json(&world, &["engine", "status", "--json"]);
        assert!(
            status["rights"]
                .as_str()
                .is_some_and(|rights| rights.contains("user namespace"))
        );
        let engine = status["pid"].as_u64().expect("a process") as u32;
        let process = (0..generation).fold(engine, |process, _| parent(process));
        kill(process);
        let gone = wait_for(PATIENCE, || world.processes().is_empty().then_some(()));
        assert!(
            gone.is_some(),
            "{:?} are left of generation {generation}",
            world.processes()
        );
        let said = call(&world, &module);
        assert!(said.contains("1 remembered, 0 run"), "{said}");
    }

    // Its files are not the user's to remove, and it removes them.
    let mut all = HashSet::new();
    owners(&world.path("wharf/store"), &mut all);
    assert!(all.contains(&(IDS.0 + 999)), "{all:?}");
    world.wharf(["engine", "reset"]).ok();
    assert!(!world.path("wharf/store").exists());
}

async fn steps_are_as_root_runs_them(world: &World) {
    let run = run(world);
    let said = run
        .stdout(&script(
            &busybox(),
            "id -u; touch /mine; chown 1000:1000 /mine; stat -c %u:%g /mine; echo x > /dev/null && head -c 1 /dev/zero | wc -c",
        ))
        .await;
    assert_eq!(said.as_deref(), Ok("0\n1000:1000\n1\n"));
    let user = busybox().configure(Configure::User("1000:1000".to_owned()));
    let said = run
        .stdout(&script(&user, "id -u; id -g; touch /tmp/x && stat -c %u /tmp/x"))
        .await;
    assert_eq!(said.as_deref(), Ok("1000\n1000\n1000\n"));
    // What a step takes away, and puts in its place, is so for the next step and for whoever reads it.
    let changed = script(
        &busybox(),
        "rm /etc/group; rm -r /home; mkdir /home; touch /home/new",
    );
    let said = run
        .stdout(&script(&changed, "ls /home; test -e /etc/group || echo gone"))
        .await;
    assert_eq!(said.as_deref(), Ok("new\ngone\n"));
    assert_eq!(run.entries(&changed, "/home").await, Ok(vec!["new".to_owned()]));
    let files = run.entries(&changed, "/etc").await.expect("names");
    assert!(!files.iter().any(|name| name == "group"), "{files:?}");
    // No device can be made, and none of the machine's is there.
    let device = script(&busybox(), "mknod /disk b 8 0; ls /dev");
    let said = run.stdout(&device).await.expect("what it prints");
    assert!(!said.contains("sda") && !said.contains("vda"), "{said}");
}

/// Waits for what a server says first, and says nothing itself: its end of the connection stays open meanwhile.
fn hello(internet: &Internet) -> String {
    format!(
        "mkfifo /tmp/open; exec 3<> /tmp/open; nc {} {} < /tmp/open > /tmp/said & \
         for try in $(seq 100); do grep -q . /tmp/said && break; sleep 0.1; done; kill $!; cat /tmp/said",
        internet.address(10),
        GREETING.0
    )
}

/// Asks a server three times, each time when the last answer has come. Both ends of the connection stay open meanwhile.
fn answers(internet: &Internet) -> String {
    format!(
        "mkfifo /tmp/asked; exec 4<> /tmp/asked; nc {} 80 < /tmp/asked > /tmp/answers & for count in 1 2 3; do \
         printf 'GET / HTTP/1.1\\r\\nHost: here\\r\\n\\r\\n' > /tmp/asked; for try in $(seq 100); do \
         test $(grep -o 'this is here' /tmp/answers | wc -l) -ge $count && echo answered && break; sleep 0.1; done; done; kill $!",
        internet.address(10)
    )
}

async fn steps_reach_the_world_and_not_the_machine(world: &World, internet: &Internet) {
    let run = run(world);
    let connected = busybox().with_network(Network::All);
    let (_, text) = GREETING;
    let said = run.stdout(&script(&connected, &hello(internet))).await;
    assert_eq!(said.as_deref(), Ok(text));
    let said = run.stdout(&script(&connected, &answers(internet))).await;
    assert_eq!(said.as_deref(), Ok("answered\nanswered\nanswered\n"));
    // An address that the machine had, one that it is given while the engine runs, loopback, and the program that connects
    // steps. Nothing comes to servers there.
    let later = Internet::start(&[]);
    let servers: Vec<_> = [internet.address(1), later.address(1), [127, 0, 0, 1].into()]
        .into_iter()
        .map(|address| TcpListener::bind((address, 0)).expect("a server"))
        .collect();
    let mut tries: Vec<_> = servers
        .iter()
        .map(|server| server.local_addr().expect("an address"))
        .map(|address| format!("{} {}", address.ip(), address.port()))
        .collect();
    let loopback = servers[2].local_addr().expect("an address").port();
    tries.extend(
        ["10.88.255.1", "10.88.255.2", "10.88.0.1", "169.254.169.254"].map(|at| format!("{at} {loopback}")),
    );
    let script_of = |at: &String| format!("nc -w 1 {at} < /dev/null && echo open {at};");
    let tried: String = tries.iter().map(script_of).collect();
    let said = run.stdout(&script(&connected, &(tried + " echo tried"))).await;
    assert_eq!(said.as_deref(), Ok("tried\n"));
    for server in servers {
        server.set_nonblocking(true).expect("a setting");
        let came = server.accept().map(|_| ()).map_err(|error| error.kind());
        assert_eq!(came, Err(ErrorKind::WouldBlock));
    }
    // The way to the one that was there later is not what was closed.
    let said = run.stdout(&script(&connected, &hello(&later))).await;
    assert_eq!(said.as_deref(), Ok(text));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_id_and_no_way_out_what_does_not_work_is_said() {
    let (mut world, module) = world();
    let programs = ["pasta", "slirp4netns"].map(paths::program);
    world.change_user(|user| {
        user.has_ids = false;
        user.hidden = programs.into_iter().flatten().collect();
    });
    let doctor = json(&world, &["doctor", "--json"]);
    assert_eq!(doctor["engine"], "local", "{doctor:#}");
    let [state, text, next] = found(&doctor, "ids");
    assert_eq!(state, "warn");
    assert!(
        text.contains("/etc/subuid sets no ids aside") && text.contains("_apt"),
        "{text}"
    );
    assert!(next.contains("usermod --add-subuids"), "{next}");
    let [state, text, _] = found(&doctor, "network");
    assert_eq!(state, "warn");
    assert!(text.contains("apt-get install passt"), "{text}");

    let said = call(&world, &module);
    assert_eq!(said.matches("has one user id").count(), 1, "{said}");
    let status = json(&world, &["engine", "status", "--json"]);
    assert!(
        status["missing"].to_string().contains("one user id"),
        "{status:#}"
    );
    let mut run = run(&world);
    let first = script(
        &busybox(),
        "stat -c %u /etc/passwd; touch /x; chown 1000 /x || echo refused",
    );
    assert_eq!(run.stdout(&first).await.as_deref(), Ok("0\nrefused\n"));
    assert_eq!(run.stdout(&script(&first, "id -u")).await.as_deref(), Ok("0\n"));
    let told = run.notices().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("/etc/subuid") && told[0].contains("chown"),
        "{told:?}"
    );
    let user = busybox().configure(Configure::User("1000".to_owned()));
    let error = run
        .stdout(&script(&user, "id"))
        .await
        .expect_err("there is no such user");
    assert!(error.to_string().contains("there is no user 1000"), "{error}");
    let connected = busybox().with_network(Network::All);
    let error = run
        .stdout(&script(&connected, "id"))
        .await
        .expect_err("there is no way out");
    assert!(error.to_string().contains("apt-get install passt"), "{error}");

    drop(run);

    // What such an engine has made is not for one with more ids.
    world.wharf(["engine", "stop"]).ok();
    world.change_user(|user| user.has_ids = true);
    let module_path = module.display().to_string();
    let greeting = [
        "call",
        "-q",
        "-m",
        &module_path,
        "greeting",
        "--image",
        "busybox:latest",
    ];
    world.wharf(greeting).exits(4).says("wharf engine reset");
    world.wharf(["engine", "reset"]).ok();
    call(&world, &module);
}
