//! The kit's Docker daemon is a real one: it loads our base images, runs them, and builds on them with BuildKit.

use wharf_testkit::docker::Daemon;
use wharf_testkit::{answers, fixtures};

#[test]
fn the_daemon_runs_and_builds_on_the_base_images() {
    let daemon = Daemon::existing_or_start().unwrap();
    for image in fixtures::all().unwrap() {
        daemon.load(&image).unwrap();
        daemon.load(&image).unwrap();
    }
    let python = daemon
        .run([
            "run",
            "--rm",
            "--network=none",
            "python:3.11-slim",
            "python",
            "--version",
        ])
        .unwrap();
    assert!(String::from_utf8_lossy(&python.stdout).starts_with("Python 3.11."));
    let pip = daemon
        .run([
            "run",
            "--rm",
            "--network=none",
            "python:3.11-slim",
            "pip",
            "--version",
        ])
        .unwrap();
    assert!(String::from_utf8_lossy(&pip.stdout).starts_with("pip "));
    let user = daemon
        .run([
            "run",
            "--rm",
            "--network=none",
            "--user=app",
            "busybox",
            "id",
            "-u",
        ])
        .unwrap();
    assert_eq!(user.stdout, b"1000\n");

    let context = tempfile::tempdir().unwrap();
    std::fs::write(
        context.path().join("Dockerfile"),
        "FROM busybox:latest\nRUN echo built > /made\n",
    )
    .unwrap();
    let build = daemon
        .buildkit()
        .unwrap()
        .args(["--network=none", "--tag=kit-built"])
        .arg(context.path())
        .output();
    let build = build.unwrap();
    assert!(
        build.status.success(),
        "{}",
        String::from_utf8_lossy(&build.stderr)
    );
    let made = daemon
        .run(["run", "--rm", "--network=none", "kit-built", "cat", "/made"])
        .unwrap();
    assert_eq!(made.stdout, b"built\n");
    daemon.run(["image", "rm", "kit-built"]).unwrap();
    assert!(daemon.gateway().unwrap().is_ipv4());
}

#[test]
fn every_recorded_answer_is_still_dockers() {
    let daemon = Daemon::existing_or_start().unwrap();
    let mut asked = 0;
    for entry in std::fs::read_dir(answers::recorded()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        answers::answer_from(&answers::recorded(), name, Some(&daemon)).unwrap();
        answers::answer_from(&answers::recorded(), name, None).unwrap();
        asked += 1;
    }
    assert!(asked > 10, "{asked} answers are recorded");
}
