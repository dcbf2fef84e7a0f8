//! Behaviour 50, and 10 and 11 as far as services are concerned: processes that steps reach by name while they run.

mod health;
mod host;
mod lifecycle;

use std::time::{Duration, Instant};

use wharf_e2e::engine::{Run, busybox, script, sh};
use wharf_graph::{
    Container, Error, ExecFailure, Service,
    op::{Configure, ServiceOptions},
    read::{Answer, Question},
};

/// A service that serves a file over HTTP, whose content tells one start from another.
fn web(port: u16) -> Service {
    let serve = format!(
        "echo began; mkdir -p /srv; cat /proc/sys/kernel/random/uuid > /srv/id; exec httpd -f -p {port} -h /srv"
    );
    serving(&serve, &[port], ServiceOptions::default())
}

/// A service that a shell script is.
fn serving(script: &str, ports: &[u16], options: ServiceOptions) -> Service {
    let mut container = busybox().configure(Configure::DefaultArgs(sh(script)));
    for port in ports {
        container = container.configure(Configure::Expose(format!("{port}/tcp")));
    }
    container.as_service(options)
}

fn within(milliseconds: u64) -> ServiceOptions {
    ServiceOptions {
        start_timeout: Some(Duration::from_millis(milliseconds)),
        ..ServiceOptions::default()
    }
}

/// Asks a web service, and says which number of question it is, so that each is a step of its own.
fn asks(container: &Container, name: &str, number: u32) -> Container {
    script(container, &format!("wget -q -O - http://{name}/id; : {number}"))
}

async fn failure(run: &Run, container: &Container) -> ExecFailure {
    match run.stdout(container).await {
        Err(Error::Exec(failure)) => *failure,
        other => panic!("{other:?} is no failed step"),
    }
}

async fn ask(run: &Run, service: &Service, question: Question) -> Result<String, Error> {
    match run.ask(service.node(), question).await? {
        Answer::Text(text) => Ok(text),
        Answer::Done => Ok(String::new()),
        other => panic!("{other:?} is no text"),
    }
}

/// Processes of this machine whose arguments hold the text.
fn processes_with(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&arguments).contains(text)
        })
        .count()
}

/// A number of seconds to sleep that no other test has: it names the process.
fn nonce() -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    format!("{}", 1_000_000 + now.as_nanos() % 1_000_000_000)
}

async fn wait_until_gone(text: &str, limit: Duration) {
    let begun = Instant::now();
    while processes_with(text) > 0 {
        assert!(begun.elapsed() < limit, "`{text}` still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
