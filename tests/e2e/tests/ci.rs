//! In CI: the files that make a system run checks, and what a log of GitHub's gets from a run.

use std::{fs, path::Path};

use serde_json::Value;
use wharf_e2e::guests;
use wharf_testkit::{World, paths, world::Done};

fn world() -> World {
    World::new().expect("a world")
}

fn yaml(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()))
}

#[test]
fn the_files_for_ci_call_the_same_command_and_are_written_once() {
    let world = world();
    let work = world.path("work");
    fs::create_dir(work.join(".git")).expect("a repository");
    // A new module, and its file in the repository's root.
    world
        .wharf(["init", "ci/pipeline", "--ci", "github"])
        .exits(0)
        .says("marked #[check]");
    let github = yaml(&work.join(".github/workflows/wharf.yml"));
    assert_eq!(github["env"]["MODULE"], "ci/pipeline");
    assert_eq!(github["permissions"]["contents"], "read");
    let steps = github["jobs"]["check"]["steps"].as_array().expect("steps");
    let last = steps.last().expect("a step")["run"].as_str().expect("a command");
    assert_eq!(last, "wharf check --no-input --module \"$MODULE\"");
    let cache = steps.iter().find(|step| {
        step["uses"]
            .as_str()
            .is_some_and(|uses| uses.starts_with("actions/cache@"))
    });
    let cached = cache.expect("a cache")["with"]["path"].as_str().expect("paths");
    assert_eq!(
        cached.lines().collect::<Vec<_>>(),
        ["~/.cache/wharf", "~/.cargo/registry", "ci/pipeline/.wharf"]
    );
    assert!(steps.iter().any(|step| step["uses"] == "actions/checkout@v4"));

    // The same module, another system.
    world.wharf(["init", "ci/pipeline", "--ci", "gitlab"]).exits(0);
    let gitlab = yaml(&work.join(".gitlab-ci.yml"));
    let job = &gitlab["wharf"];
    assert_eq!(job["variables"]["MODULE"], "ci/pipeline");
    assert_eq!(
        job["script"][0],
        "wharf check --no-input --module \"$MODULE\" --junit wharf-checks.xml"
    );
    assert_eq!(job["cache"]["paths"][0], "ci/pipeline/.wharf/");
    assert_eq!(job["artifacts"]["reports"]["junit"], "wharf-checks.xml");

    world.wharf(["init", "ci/pipeline", "--ci", "jenkins"]).exits(0);
    let jenkins = fs::read_to_string(work.join("Jenkinsfile")).expect("a Jenkinsfile");
    assert!(jenkins.contains("MODULE = 'ci/pipeline'"), "{jenkins}");
    assert_eq!(jenkins.matches('{').count(), jenkins.matches('}').count());

    // What is there stays, and nothing else is begun.
    let before = fs::read_to_string(work.join(".gitlab-ci.yml")).expect("the file");
    world
        .wharf(["init", "other", "--ci", "gitlab"])
        .exits(2)
        .says(".gitlab-ci.yml is there already")
        .says("wharf check --no-input");
    assert!(!work.join("other").exists());
    assert_eq!(
        fs::read_to_string(work.join(".gitlab-ci.yml")).expect("the file"),
        before
    );
    world
        .wharf(["init", "ci/pipeline", "--ci", "travis"])
        .exits(2)
        .says("github, gitlab, jenkins");
    // The module that was begun is whole.
    world.wharf(["functions", "-m", "ci/pipeline"]).exits(0);
}

/// What the runner makes of a log: commands, but for those that are stopped; a second form of commands is one wherever it
/// stands in a line.
fn commands(log: &str) -> Vec<(String, String, String)> {
    let mut stopped: Option<String> = None;
    let mut found = Vec::new();
    for line in log.lines() {
        let parsed = line
            .trim_start()
            .strip_prefix("::")
            .and_then(|rest| rest.split_once("::"));
        let Some((head, data)) = parsed else {
            assert!(stopped.is_some() || !line.contains("##["), "{line}");
            continue;
        };
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        match &stopped {
            Some(word) if name == word => stopped = None,
            Some(_) => {}
            None if name == "stop-commands" => stopped = Some(data.to_owned()),
            None => found.push((name.to_owned(), properties.to_owned(), data.to_owned())),
        }
    }
    assert_eq!(stopped, None, "commands are left stopped:\n{log}");
    found
}

/// A world in a job of GitHub's, and the file of its summary.
fn on_github() -> (World, std::path::PathBuf) {
    let mut world = world();
    let summary = world.path("summary.md");
    for (name, value) in [("GITHUB_ACTIONS", "true"), ("CI", "true")] {
        world.set(name, value);
    }
    world.set("GITHUB_STEP_SUMMARY", &summary);
    (world, summary)
}

fn call(world: &World, options: &[&str], words: &[&str]) -> Done {
    let module = guests::sdk(world);
    let mut command = world.command(["call"]);
    command.args(options).arg("-m").arg(module).args(words);
    Done::of(command)
}

const EVIL: &str = "echo ::error::forged; echo '  ::add-mask::x'; echo '##[error]forged' >&2; echo ::endgroup::; \
                    echo ::stop-commands::mine; printf '\\033[0m::warning::forged\\n::notice::forged'";

#[test]
fn what_a_step_prints_is_no_command_on_github() {
    let (world, summary) = on_github();
    for code in ["0", "3"] {
        let script = format!("--args={EVIL}; exit {code}");
        let words = [
            "run",
            "--image",
            "busybox:latest",
            "--args=sh",
            "--args=-c",
            &script,
        ];
        for options in [&["--progress", "auto"][..], &["--progress", "plain"], &["-q"]] {
            let done = call(&world, options, &words);
            assert_eq!(done.code == 0, code == "0", "{}", done.stderr);
            let found = commands(&done.stderr);
            let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
            let expected: &[&str] = match (code, options[0]) {
                // A hit prints nothing; the first run of the two that show it is what fills it.
                ("0", _) if names.is_empty() => &[],
                ("0", _) => &["group", "endgroup"],
                (_, "-q") => &["error"],
                _ => &["group", "endgroup", "error"],
            };
            assert_eq!(names, expected, "{}", done.stderr);
            if let Some((_, properties, data)) = found.iter().find(|(name, ..)| name == "error") {
                assert_eq!(properties, "title=wharf");
                assert!(data.contains("failed: exit code 3"), "{data}");
            }
        }
        let json = call(&world, &["--progress", "json"], &words);
        let events = json.stderr.lines().filter(|line| line.starts_with('{'));
        for line in events {
            serde_json::from_str::<Value>(line).expect("JSON");
        }
        commands(&json.stderr);
    }
    let summary = fs::read_to_string(summary).expect("the job's summary");
    assert!(
        summary.contains("</code>: done\n") && summary.contains("</code>: failed\n"),
        "{summary}"
    );
    assert!(summary.contains("| --- |"), "{summary}");
}

#[test]
fn words_about_files_are_at_the_files() {
    let (world, _) = on_github();
    let done = call(&world, &[], &["talks"]);
    done.exits(0);
    let found = commands(&done.stderr);
    let module = "title=wharf-tests%3Abehaviours";
    assert_eq!(
        found,
        [
            ("group", "", "wharf-tests:behaviours: checks"),
            ("warning", module, "one is slow"),
            ("endgroup", "", ""),
            ("error", &format!("file=src/lib.rs,line=7,{module}"), "unused"),
        ]
        .map(|(name, properties, data)| (name.to_owned(), properties.to_owned(), data.to_owned()))
    );
}

#[test]
fn results_of_checks_are_written_as_junit() {
    let world = world();
    let module = guests::sdk(&world);
    let check = |path: &str| {
        let mut command = world.command(["check", "-q", "-m"]);
        command.arg(&module).args(["--junit", path]);
        Done::of(command)
    };
    check("nowhere/checks.xml")
        .exits(2)
        .says("--junit nowhere/checks.xml");
    check("checks.xml").exits(1);
    let text = fs::read_to_string(world.path("work/checks.xml")).expect("the file");
    assert!(text.contains("tests=\"4\" failures=\"2\""), "{text}");
    assert!(
        text.contains("name=\"says-no\"") && text.contains("<failure message="),
        "{text}"
    );
    // As a reader of XML sees it.
    let read = "import sys, xml.etree.ElementTree as t; \
                print(len(t.parse(sys.argv[1]).getroot().findall('.//failure')))";
    let counted = std::process::Command::new("python3")
        .args(["-c", read])
        .arg(world.path("work/checks.xml"))
        .output()
        .expect("python3");
    assert_eq!(String::from_utf8_lossy(&counted.stdout), "2\n");
}

/// The blocks of a page in one language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let (mut found, mut inside) = (Vec::new(), false);
    for line in page.lines() {
        match (line.strip_prefix("```"), inside) {
            (Some(fence), false) if fence == language => {
                inside = true;
                found.push(String::new());
            }
            (Some(_), true) => inside = false,
            (None, true) => {
                if let Some(block) = found.last_mut() {
                    block.push_str(line);
                    block.push('\n');
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn the_module_beside_the_workflow_builds_and_the_workflows_are_yaml() {
    let world = world();
    let page = paths::workspace().join("docs/guide/from-github-actions.md");
    let page = fs::read_to_string(page).expect("the guide");
    world
        .wharf(["init", "release", "--name", "acme:release"])
        .exits(0);
    let modules = blocks(&page, "rust");
    let module = modules.first().expect("a module");
    fs::write(world.path("work/release/src/lib.rs"), module).expect("the module");
    let listed = world.wharf(["functions", "-m", "release", "--json"]);
    let functions: Value = serde_json::from_str(listed.ok()).expect("JSON");
    let names: Vec<_> = functions
        .as_array()
        .expect("functions")
        .iter()
        .filter_map(|function| function["name"].as_str())
        .collect();
    assert_eq!(names, ["build", "smoke-test", "release"]);
    let workflows = blocks(&page, "yaml");
    assert_eq!(workflows.len(), 2);
    for workflow in workflows {
        let workflow: Value = serde_saphyr::from_str(&workflow).expect("YAML");
        assert!(workflow["jobs"].is_object(), "{workflow}");
    }
}
