//! The pipeline on an engine with a GPU: who gets it, and what the report says. The library that tells of it is built by the test,
//! its device is a device node that does no harm, and what would compute on it is numpy by another name.

use std::{
    fs,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::Value;
use wharf_testkit::{World, gpus::FakeGpus, process, world::Done};

use crate::{
    deploy::{Setting, ran},
    module,
};

/// What hangs is a defect.
const PATIENCE: Duration = Duration::from_secs(120);
/// In place of cupy, which would be a package of 100 MB that needs a real driver: what is there anyway.
pub(crate) const PACKAGE: [&str; 2] = ["--cupy", "numpy"];
/// It computes where the device can be opened, and nowhere else.
const CUPY: &str = r#"import types

import numpy

open("/dev/fake0").close()
NAME = open("/run/fake/0").read().strip()


def __getattr__(name):
    return getattr(numpy, name)


def asnumpy(values):
    return values


cuda = types.SimpleNamespace(
    runtime=types.SimpleNamespace(getDeviceProperties=lambda number: {"name": NAME.encode()})
)
"#;

/// Gives a world's engines a GPU, and the example's copy something that computes on it.
pub(crate) fn give(world: &mut World) {
    lend(world);
    world.write("llm-deploy/minilm/cupy.py", CUPY);
}

fn lend(world: &mut World) {
    let directory = world.path("gpus");
    fs::create_dir_all(&directory).expect("a directory");
    for (name, value) in FakeGpus::equal(&directory, 1).expect("a GPU").variables() {
        world.set(name, value);
    }
}

/// Each level was tried on the GPU, one after the other, and the report says so.
pub(crate) fn had_it(done: &Done) {
    let said = &done.stderr;
    assert!(
        said.contains("the levels are tried on a GPU: NVIDIA Test 16 is free"),
        "{said}"
    );
    assert_eq!(on(done, "GPU 0"), 4, "{said}");
    assert!(ran(done, "evaluate on the GPU") > 0, "{said}");
    assert_eq!(ran(done, "evaluate on the CPU"), 0, "{said}");
    // The summary counts for how long.
    assert!(
        said.lines().last().is_some_and(|line| line.contains("GPU")),
        "{said}"
    );
}

/// While somebody else has it, the levels are tried on the CPU, and on the free GPU of another engine when the user has named one.
pub(crate) fn is_left_to_who_has_it(setting: &Setting) {
    let mut holder = hold(&setting.world);
    let on_cpu = setting.deploy("search/minilm:2", &[]);
    let far = target(&setting.world);
    let on_target = setting.deploy("search/minilm:3", &[]);
    process::terminate(holder.id());
    holder.wait().expect("it ends");
    was_on_the_cpu(&on_cpu);
    was_on_the_target(&on_target);
    drop(far);
}

/// Nobody waits, and nothing else is done again.
fn was_on_the_cpu(done: &Done) {
    done.ok();
    let said = &done.stderr;
    assert!(
        said.contains("the levels are tried on the CPU: no GPU is free"),
        "{said}"
    );
    assert_eq!(on(done, "cpu"), 4, "{said}");
    assert!(ran(done, "evaluate on the CPU") > 0, "{said}");
    for title in ["evaluate on the GPU", "quantize", "/resolve/"] {
        assert_eq!(ran(done, title), 0, "{title}: {said}");
    }
}

/// All that is tried is made there, of weights that it has fetched itself; what is published is made here, and was before.
fn was_on_the_target(done: &Done) {
    done.ok();
    let said = &done.stderr;
    assert!(
        said.contains("the levels are tried on a GPU: NVIDIA Test 16 of box is free"),
        "{said}"
    );
    assert_eq!(on(done, "GPU 0"), 4, "{said}");
    assert!(ran(done, "box: evaluate on the GPU") > 0, "{said}");
    let ran_here: Vec<_> = said
        .lines()
        .filter(|line| !line.contains("remembered") && !line.contains("box: "))
        .filter(|line| {
            ["evaluate on", "quantize", "/resolve/"]
                .iter()
                .any(|title| line.contains(title))
        })
        .collect();
    assert_eq!(ran_here, Vec::<&str>::new());
}

/// Another engine with a GPU, which the user has named.
fn target(near: &World) -> World {
    let mut far = World::new().expect("a world");
    lend(&mut far);
    far.wharf(["engine", "start"]).exits(0);
    near.set_targets(&far.as_target("box")).expect("a file");
    far
}

/// How many levels the report says were tried on this.
fn on(done: &Done, device: &str) -> usize {
    let end = format!("  on {device}");
    done.stderr
        .lines()
        .filter(|line| line.trim_end().ends_with(&end))
        .count()
}

/// A call whose step has the GPU until the call is ended.
fn hold(world: &World) -> Child {
    let mut command = world.command(["call", "-q", "-m"]);
    command.arg(module("serve")).args(["dependencies"]);
    // Those of the example's image, which are there.
    command.args([
        "--packages",
        "numpy>=1.26,<3",
        "--packages",
        "tokenizers>=0.20,<1",
    ]);
    command.args([
        "with-gpu",
        "with-exec",
        "--args",
        "sleep",
        "--args",
        "infinity",
        "stdout",
    ]);
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let taken = process::wait_for(PATIENCE, || {
        let status = world.wharf(["engine", "status", "--json"]);
        let status: Value = serde_json::from_str(status.ok()).expect("JSON");
        (status["gpus"]["devices"][0]["free"] == false).then_some(())
    });
    assert!(taken.is_some(), "nobody has taken the GPU");
    child
}
