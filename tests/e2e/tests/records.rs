//! What runs leave behind: records of what they did, used and saved, and none of what nobody is to know.

use std::{fs, path::PathBuf};

use serde_json::Value;
use wharf_e2e::guests;
use wharf_testkit::{World, world::Done};

struct Place {
    world: World,
    module: PathBuf,
}

impl Place {
    fn new() -> Self {
        let world = World::new().expect("a world");
        let module = guests::sdk(&world);
        Self { world, module }
    }

    fn call(&self, options: &[&str], words: &[&str]) -> Done {
        let mut command = self.world.command(["call"]);
        command.args(options).arg("-m").arg(&self.module).args(words);
        Done::of(command)
    }

    fn json(&self, words: &[&str]) -> Value {
        let done = self.world.wharf(words);
        serde_json::from_str(done.ok()).expect("JSON")
    }

    fn runs(&self) -> PathBuf {
        self.world.path("wharf/state/runs")
    }
}

/// Arguments of a step that computes for a while; its last argument is a comment that makes it another.
fn busy(mark: &str) -> Vec<String> {
    let script = format!("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo {mark}");
    ["run", "--image", "busybox:latest", "--args=sh", "--args=-c"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("--args={script}")])
        .collect()
}

fn words(owned: &[String]) -> Vec<&str> {
    owned.iter().map(String::as_str).collect()
}

#[test]
fn a_run_leaves_what_it_used_and_a_hit_what_it_saved() {
    let place = Place::new();
    place
        .world
        .wharf(["runs"])
        .exits(0)
        .says("nothing has been run yet");
    place
        .world
        .wharf(["report"])
        .exits(1)
        .says("nothing has been run yet");
    let step = busy("record");
    assert_eq!(place.call(&["-q"], &words(&step)).ok(), "record");
    assert_eq!(place.call(&["-q"], &words(&step)).ok(), "record");
    let runs = place.json(&["runs", "--json"]);
    assert_eq!(runs.as_array().expect("a list").len(), 2);
    let (second, first) = (&runs[0], &runs[1]);
    assert_eq!(first["module"], "wharf-tests:behaviours");
    assert_eq!(first["functions"], serde_json::json!(["run"]));
    assert_eq!(
        (&first["result"], &second["result"]),
        (&"done".into(), &"done".into())
    );
    assert!(first["steps"].is_null(), "a list has no steps");
    let used = &first["totals"]["used"];
    assert_eq!(first["totals"]["run"], 1);
    assert!(used["cpu-microseconds"].as_u64() > Some(0), "{used}");
    assert!(used["microseconds"].as_u64() > Some(0), "{used}");
    let totals = &second["totals"];
    assert_eq!((&totals["remembered"], &totals["run"]), (&1.into(), &0.into()));
    assert_eq!(totals["used"]["microseconds"], 0);
    // What the hit saved is what the first run has used.
    assert_eq!(totals["saved"]["cpu-microseconds"], used["cpu-microseconds"]);
    assert!(totals["saved"]["microseconds"].as_u64() > Some(0), "{totals}");

    // A run is found by the beginning of its name, and the newest without one.
    let id = first["id"].as_str().expect("a name");
    let shown = place.json(&["runs", &id[..6], "--json"]);
    assert_eq!(shown["id"], *id);
    let steps = shown["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["kind"] == "step").expect("a step");
    assert_eq!(step["outcome"], "done");
    assert!(step["peak-memory"].as_u64() > Some(0), "{step}");
    assert_eq!(place.json(&["report", "--json"])["id"], second["id"]);
    let text = place.world.wharf(["report", id]);
    assert!(text.ok().contains("1 run, 0 failed"), "{}", text.text());
    assert!(text.text().contains("while [ $i -lt"), "{}", text.text());
    let table = place.world.wharf(["runs"]);
    assert_eq!(table.ok().lines().count(), 3);
    assert!(table.text().lines().nth(2).is_some_and(|row| row.starts_with(id)));
    place
        .world
        .wharf(["runs", "zz"])
        .exits(2)
        .says("no record of a run zz");
}

#[test]
fn prices_become_money_and_wrong_ones_are_told() {
    let place = Place::new();
    let prices = place.world.path("wharf/config/prices.toml");
    fs::create_dir_all(prices.parent().expect("a directory")).expect("a directory");
    fs::write(&prices, "currency = \"EUR\"\ncpu-hour = 36000.0\n").expect("prices");
    let step = busy("prices");
    place
        .call(&["--progress", "plain"], &words(&step))
        .exits(0)
        .says(" EUR");
    let run = place.json(&["report", "--json"]);
    let cpu = run["totals"]["used"]["cpu-microseconds"]
        .as_f64()
        .expect("a number");
    let cost = run["cost"]["used"].as_f64().expect("a number");
    assert!((cost - cpu / 1e6 * 10.0).abs() < 1e-6, "{cost} {cpu}");
    assert_eq!(run["cost"]["currency"], "EUR");
    fs::write(&prices, "cpu-hour = -1.0\n").expect("prices");
    place
        .call(&["-q"], &words(&step))
        .exits(0)
        .says("nothing is said of costs")
        .says("prices.toml");
    place.world.wharf(["runs"]).exits(2).says("cpu-hour is -1");
}

#[test]
fn runs_that_fail_say_why_and_what_they_used() {
    let place = Place::new();
    let fails = busy("fails; exit 3");
    place.call(&["-q"], &words(&fails)).exits(1);
    let report = place.json(&["report", "--json"]);
    assert_eq!(report["result"], "failed");
    assert!(
        report["error"]
            .as_str()
            .is_some_and(|why| why.contains("failed: exit code 3"))
    );
    assert_eq!(report["totals"]["failed"], 1);
    assert!(
        report["totals"]["used"]["cpu-microseconds"].as_u64() > Some(0),
        "{report}"
    );

    let mut command = place.world.command(["check", "-q", "-m"]);
    command.arg(&place.module);
    Done::of(command).exits(1);
    let report = place.json(&["report", "--json"]);
    assert_eq!(
        (&report["command"], &report["result"]),
        (&"check".into(), &"failed".into())
    );
    assert_eq!(report["error"], "failed: step-breaks, says-no");
}

#[test]
fn b38_no_secret_is_in_a_record() {
    let mut place = Place::new();
    let secret = format!("{:016x}{:016x}", rand(), rand());
    place.world.set("TOKEN", &secret);
    // The module sees it, and makes it part of a step's arguments, which are the step's title, and of an error.
    let made = ["reveal-secret", "--secret", "env:TOKEN"];
    assert_eq!(place.call(&["-q", "--allow", "reveal"], &made).ok(), secret);
    let tells = [
        "tells-a-secret",
        "--image",
        "busybox:latest",
        "--secret",
        "env:TOKEN",
    ];
    place.call(&["-q", "--allow", "reveal"], &tells).exits(1);
    let report = place.json(&["report", "--json"]);
    assert_eq!(report["totals"]["failed"], 1);
    let step = report["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .find(|step| step["kind"] == "step");
    let title = step.expect("the step")["title"].as_str().expect("a title");
    assert!(title.contains("***"), "{title}");
    let kept: Vec<_> = fs::read_dir(place.runs()).expect("records").flatten().collect();
    assert_eq!(kept.len(), 2);
    for file in kept {
        let text = fs::read_to_string(file.path()).expect("a record");
        assert!(!text.contains(&secret), "{text}");
    }
}

fn rand() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    u64::from_ne_bytes(bytes)
}

#[test]
fn damaged_records_are_told_and_no_obstacle() {
    let place = Place::new();
    place.call(&["-q"], &["looks-around"]).exits(0);
    fs::write(place.runs().join("9999999999999-0badbad0.json"), "{\"format\":").expect("a file");
    let listed = place.world.wharf(["runs", "--json"]);
    let runs: Value = serde_json::from_str(listed.ok()).expect("JSON");
    assert_eq!(runs.as_array().map(Vec::len), Some(1));
    listed.says("0badbad0.json is no record of a run");
    place
        .world
        .wharf(["runs", "0bad"])
        .exits(1)
        .says("it can be removed");
    // Where none can be kept, the run goes on.
    fs::remove_dir_all(place.runs()).expect("the records");
    fs::write(place.runs(), "in the way").expect("a file");
    place
        .call(&["-q"], &["looks-around"])
        .exits(0)
        .says("this run leaves no record");
}
