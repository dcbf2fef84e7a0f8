//! Whatever the kit starts ends with the process that started it, however that ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use wharf_testkit::{Registry, process};

/// Set in the process that starts a registry and waits to be killed.
const ROLE: &str = "WHARF_KIT_TEST_OWNER";

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    if std::env::var_os(ROLE).is_some() {
        // From a thread that ends at once, as a test's does.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let registry = std::thread::spawn(move || Registry::start(&path).unwrap())
            .join()
            .unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(registry.requests(), [], "it answers");
        println!("registry has pid {}", registry.pid());
        loop {
            std::thread::park();
        }
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "a_server_ends_with_the_process_that_started_it",
            "--exact",
            "--nocapture",
        ])
        .env(ROLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let pid = lines
        .find_map(|line| {
            line.unwrap()
                .split("registry has pid ")
                .nth(1)?
                .parse::<u32>()
                .ok()
        })
        .expect("the owner says which process it has started");
    let running = || Path::new(&format!("/proc/{pid}/exe")).exists();
    assert!(running());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let ended = process::wait_for(Duration::from_secs(20), || (!running()).then_some(()));
    assert!(ended.is_some(), "the registry outlives its owner");
}
