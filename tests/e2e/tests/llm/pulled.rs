//! The image that was published, pulled and run by others.

use std::{process::Command, time::Duration};

use serde_json::Value;
use wharf_testkit::{Podman, docker::Daemon, process};

use crate::deploy::{SENTENCES, Setting};

/// What hangs is a defect.
const PATIENCE: Duration = Duration::from_secs(120);
/// Asks the server in the container for what the first argument says, once it is well.
const ASK: &str = "import sys, time, urllib.request\n\
    def ask(path, body=None):\n\
    \x20   head = {'Content-Type': 'application/json'}\n\
    \x20   return urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:8000' + path, body, head)).read()\n\
    for attempt in range(1200):\n\
    \x20   try:\n\
    \x20       ask('/health')\n\
    \x20       break\n\
    \x20   except OSError:\n\
    \x20       time.sleep(0.1)\n\
    print(ask('/predict', sys.argv[1].encode()).decode())";

fn text(command: &mut Command) -> String {
    let output = process::run(command).unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// What it answers in Docker, which finds it healthy by the image's own check.
pub(crate) fn by_docker(setting: &Setting, reference: &str) -> Value {
    let daemon = Daemon::existing_or_start().expect("a Docker daemon");
    let docker = |args: &[&str]| {
        let mut command = daemon.docker();
        command.env("DOCKER_CONFIG", setting.world.path("docker"));
        text(command.args(args))
    };
    let (address, password) = (setting.registry.address(), &setting.secrets[1]);
    docker(&["login", "--username", "ann", "--password", password, address]);
    docker(&["pull", "--quiet", reference]);
    let container = docker(&[
        "run",
        "--detach",
        "--network=none",
        "--health-interval=200ms",
        reference,
    ]);
    let state = || docker(&["inspect", "--format", "{{json .State}}", &container]);
    let healthy = process::wait_for(PATIENCE, || {
        let state: Value = serde_json::from_str(&state()).expect("JSON");
        (state["Health"]["Status"] == "healthy").then_some(())
    });
    assert!(healthy.is_some(), "{}", state());
    let answer = docker(&["exec", &container, "python3", "-c", ASK, SENTENCES]);
    assert_eq!(docker(&["exec", &container, "id", "-u"]), "10001");
    docker(&["rm", "--force", &container]);
    docker(&["image", "rm", "--force", reference]);
    serde_json::from_str(&answer).expect("JSON")
}

/// What it answers in Podman.
pub(crate) fn by_podman(setting: &Setting, reference: &str) -> Value {
    let podman = Podman::new().expect("podman");
    let login = format!("--creds=ann:{}", setting.secrets[1]);
    text(
        podman
            .command()
            .args(["pull", "--quiet", "--tls-verify=false", &login, reference]),
    );
    let container = text(&mut podman.run_command(&["--detach", reference]));
    let exec = ["exec", &container, "python3", "-c", ASK, SENTENCES];
    let answer = text(podman.command().args(exec));
    serde_json::from_str(&answer).expect("JSON")
}
