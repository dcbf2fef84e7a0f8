//! Services and the user's machine: what it reaches of them, what they reach of it, and `wharf call`.

use std::{
    io::{Read, Write},
    process::Stdio,
    time::{Duration, Instant},
};

use wharf_e2e::{
    TestEngine,
    engine::{busybox, script},
    guests,
};
use wharf_graph::{
    Error, Service,
    op::{HostPort, ServiceOptions},
    read::Question,
};
use wharf_testkit::{World, world::Done};

use crate::{ask, asks, serving, web};

/// Answers each connection with what it sends, in capitals, until its end.
fn shouting_server() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let mut buffer = vec![0; 65_536];
                loop {
                    let count = connection.read(&mut buffer).unwrap_or_default();
                    if count == 0 {
                        return;
                    }
                    buffer[..count].make_ascii_uppercase();
                    connection.write_all(&buffer[..count]).unwrap();
                }
            });
        }
    });
    port
}

/// A port of this machine that is free.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Asks a web server of this machine for a path, until there is one.
fn fetch(port: u16, path: &str) -> String {
    let begun = Instant::now();
    loop {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "nothing answers on {port}"
        );
        let Ok(mut connection) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        };
        connection
            .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
            .unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        return text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_up_lets_this_machine_reach_a_service_until_it_ends() {
    let engine = TestEngine::start();
    let run = engine.run();
    let (service, port) = (web(80), free_port());
    let ports = [HostPort {
        host: port,
        service: 80,
    }];
    let up = tokio::spawn({
        let (session, node) = (run.session.clone(), service.node().clone());
        async move { session.up(&node, &ports).await }
    });
    let asked: Vec<_> = (0..8)
        .map(|_| tokio::task::spawn_blocking(move || fetch(port, "/id")))
        .collect();
    let mut answers = Vec::new();
    for answer in asked {
        answers.push(answer.await.unwrap());
    }
    assert_eq!(answers[0].len(), 37, "{answers:?}");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    // Steps of the run reach the same one.
    let client = asks(&busybox().with_service("web", &service), "web", 0);
    assert_eq!(run.stdout(&client).await.unwrap(), answers[0]);
    // The port is taken, and so nothing is started a second time.
    let taken = run.session.up(service.node(), &ports).await;
    assert!(matches!(taken, Err(Error::Unavailable(message)) if message.contains(&port.to_string())));
    ask(&run, &service, Question::Stop).await.unwrap();
    let ended = up.await.unwrap();
    assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
    let deaf = serving("sleep 60", &[], ServiceOptions::default());
    let nothing = run.session.up(deaf.node(), &[]).await;
    assert!(matches!(nothing, Err(Error::Invalid(_))), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b50_a_step_reaches_what_listens_on_the_callers_machine_when_it_may() {
    let engine = TestEngine::start();
    let run = engine.run();
    let port = shouting_server();
    let ports = [HostPort {
        host: port,
        service: 5432,
    }];
    let service = Service::host("127.0.0.1", &ports);
    let client = script(&busybox().with_service("db", &service), "echo hello | nc db 5432");
    // Nobody has allowed it.
    let denied = run.stdout(&client).await;
    assert!(
        matches!(&denied, Err(Error::Unavailable(message)) if message.contains("was not passed to this run")),
        "{denied:?}"
    );
    run.session.allow_dial("127.0.0.1", port);
    assert_eq!(run.stdout(&client).await.unwrap(), "HELLO\n");
    let much = script(
        &busybox().with_service("db", &service),
        "head -c 5000000 /dev/zero | tr '\\0' a | nc db 5432 | tr -d A | wc -c; \
         head -c 5000000 /dev/zero | tr '\\0' a | nc db 5432 | wc -c",
    );
    assert_eq!(run.stdout(&much).await.unwrap(), "0\n5000000\n");
    // It is the way to one port, not to the machine.
    let other = script(
        &busybox().with_service("db", &service),
        &format!("nc -w 2 db {port} < /dev/null || echo none"),
    );
    assert_eq!(run.stdout(&other).await.unwrap(), "none\n");
    let nobody = free_port();
    run.session.allow_dial("127.0.0.1", nobody);
    let silent = Service::host(
        "127.0.0.1",
        &[HostPort {
            host: nobody,
            service: 1,
        }],
    );
    let refused = run
        .stdout(&script(&busybox().with_service("db", &silent), "true"))
        .await;
    assert!(
        matches!(&refused, Err(Error::Unavailable(message)) if message.contains("cannot be reached")),
        "{refused:?}"
    );
}

#[test]
fn b50_services_on_the_command_line() {
    let world = World::new().expect("a world");
    let module = guests::sdk(&world);
    let call = |words: &[&str]| {
        let mut command = world.command(["call", "-m"]);
        command.arg(&module).args(words);
        Done::of(command)
    };
    let web = ["web", "--image", "busybox:latest"];
    let of_web = |words: &[&str]| call(&[&web[..], words].concat());
    assert_eq!(of_web(&[]).says("healthy after").ok(), "80/tcp");
    assert_eq!(of_web(&["logs"]).ok(), "serving");
    assert_eq!(of_web(&["ports", "--json"]).ok(), r#"["80/tcp"]"#);
    let endpoint = of_web(&["endpoint", "--scheme", "http"]);
    assert!(endpoint.ok().starts_with("http://service-") && endpoint.ok().ends_with(":80"));
    of_web(&["endpoint", "--port", "81"])
        .exits(1)
        .says("the service has no port 81: it has 80/tcp");
    of_web(&["up", "--ports", "http"])
        .exits(1)
        .says("such as 8080:80");
    of_web(&["-o", "x"]).exits(2);
    // What the user's machine offers, as a flag and from a module's own code.
    let port = shouting_server().to_string();
    let (place, line) = (format!("tcp://127.0.0.1:{port}"), ["--line", "hello"]);
    let ask = [
        "ask",
        "--image",
        "busybox:latest",
        "--service",
        &place,
        "--port",
        &port,
    ];
    assert_eq!(call(&[&ask[..], &line].concat()).ok(), "HELLO");
    let ask = ["ask-host", "--image", "busybox:latest", "--port", &port];
    assert_eq!(call(&[&ask[..], &line].concat()).ok(), "HELLO");
    call(&[
        "ask",
        "--image",
        "busybox:latest",
        "--service",
        "localhost",
        "--port",
        "1",
        "--line",
        "x",
    ])
    .exits(2)
    .says("tcp://localhost:5432");
    // Until Ctrl-C.
    let free = free_port();
    let mut command = world.command(["call", "-m"]);
    command
        .arg(&module)
        .args(web)
        .args(["up", "--ports", &format!("{free}:80")])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let running = command.spawn().expect("wharf starts");
    assert_eq!(fetch(free, "/"), "hello\n");
    let pid = rustix::process::Pid::from_raw(running.id().cast_signed()).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(
        said.contains(&format!("127.0.0.1:{free} leads to port 80 of the service")),
        "{said}"
    );
    assert!(said.contains("httpd -f -p 80"), "{said}");
}
