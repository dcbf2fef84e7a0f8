//! `cargo xtask conformance`: runs the tests that are named after behaviours, on any engine and runtime, and says behaviour
//! by behaviour what holds: as a table, and as JSON under target/.

use std::{collections::BTreeMap, fs, path::Path, process::Stdio};

use clap::Args;
use serde_json::{Value, json};
use wharf_testkit::{ordinary::User, paths, shared};

use crate::{
    ordinary, setup,
    shell::{self, Done, Failure},
    test,
};

/// What tests say that need an engine of their own and were given another.
const NEEDS_ITS_OWN: &str = "this test needs an engine of its own";
/// The tests of the runner, which need no engine.
const RUNNERS: &str = "package(wharf-runner)";
/// Packages whose tests run steps.
const RUNNING_STEPS: [&str; 3] = ["wharf-cli", "wharf-e2e", "wharf-runner"];
/// Modules of tests that choose for themselves what runs the steps, named after it.
const MODULES: [&str; 4] = ["built_in", "runc", "crun", "docker"];

/// Which engine and runtime.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The engine: local (each test starts one), rootless (the same, of an ordinary user), docker, or unix://SOCKET
    #[arg(long, default_value = "local")]
    engine: String,
    /// What runs steps: builtin, runc, crun or an OCI runtime's path
    #[arg(long, default_value = "builtin")]
    runtime: String,
    /// Only these behaviours, such as 1-10,38
    #[arg(long, value_name = "NUMBERS", value_parser = numbers)]
    only: Option<Numbers>,
}

impl Options {
    /// Is this what everybody has? The tests of all packages belong to it.
    fn is_usual(&self) -> bool {
        self.engine == "local" && self.runtime == "builtin"
    }

    /// The module of tests that choose this engine and runtime.
    fn module(&self) -> &str {
        match (self.engine.as_str(), self.runtime.as_str()) {
            ("docker", _) => "docker",
            ("local" | shared::ROOTLESS, "builtin") => "built_in",
            ("local", runtime) => runtime.rsplit('/').next().unwrap_or(runtime),
            _ => "",
        }
    }
}

/// Numbers of behaviours.
#[derive(Clone, Debug)]
struct Numbers(Vec<u8>);

/// Numbers and ranges of numbers, with commas.
fn numbers(text: &str) -> Result<Numbers, String> {
    let number = |text: &str| {
        text.trim()
            .parse::<u8>()
            .map_err(|_| format!("{text:?} is no number of a behaviour"))
    };
    let mut all = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((first, last)) => all.extend(number(first)?..=number(last)?),
            None => all.push(number(part)?),
        }
    }
    Ok(Numbers(all))
}

/// What the contract promises.
struct Behaviour {
    number: u8,
    title: String,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Holds,
    Fails(String),
    Skipped(String),
    /// It fails, as is known, for this reason.
    Excepted(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Fails(_) => "fails",
            Self::Skipped(_) => "skipped",
            Self::Excepted(_) => "excepted",
        }
    }

    fn why(&self) -> Option<&str> {
        match self {
            Self::Holds => None,
            Self::Fails(why) | Self::Skipped(why) | Self::Excepted(why) => Some(why),
        }
    }
}

/// Tests and how they ended, by behaviour.
type Outcomes = BTreeMap<u8, Vec<(String, Outcome)>>;

/// Runs the tests and reports.
pub(crate) fn run(options: &Options) -> Done {
    setup::run()?;
    let behaviours = behaviours(&fs::read_to_string(
        paths::workspace().join("tests/behaviours.txt"),
    )?)?;
    let is_wanted = |number: u8| options.only.as_ref().is_none_or(|only| only.0.contains(&number));
    // Bins and tests in one go and of all packages: built apart, their dependencies would be compiled twice with other features.
    shell::run(shell::cargo().args(["build", "--workspace", "--bins", "--tests"]))?;
    let resources = test::share(options.engine != "docker")?;
    let filter = filter(&behaviours, is_wanted, options);
    let mut outcomes = Outcomes::new();
    if options.engine == shared::ROOTLESS {
        let mut user = ordinary::user()?;
        outcomes.extend(nextest(
            options,
            user.as_ref(),
            &resources,
            &format!("({filter}) & not {RUNNERS}"),
        )?);
        // The runner's own tests are where an engine is.
        if let Some(user) = &mut user {
            user.inside = true;
            let more = nextest(
                options,
                Some(user),
                &resources,
                &format!("({filter}) & {RUNNERS}"),
            )?;
            for (number, tests) in more {
                outcomes.entry(number).or_default().extend(tests);
            }
        }
    } else {
        outcomes.extend(nextest(options, None, &resources, &filter)?);
    }
    drop(resources);
    if outcomes.is_empty() {
        return Err("no test ran: cargo-nextest, which `cargo xtask setup` installs, is needed".into());
    }
    let exceptions = Exceptions::of(&options.engine)?;
    let stale = exceptions.apply(&mut outcomes);
    let behaviours: Vec<_> = behaviours
        .into_iter()
        .filter(|behaviour| is_wanted(behaviour.number))
        .collect();
    println!("{}", table(&behaviours, &outcomes));
    let path = paths::target().join("conformance.json");
    fs::write(&path, format!("{:#}\n", report(options, &behaviours, &outcomes)))?;
    eprintln!("wrote {}", path.display());
    for name in &stale {
        println!(
            "{name} holds, and is listed as an exception in {}",
            exceptions.file
        );
    }
    let failing = outcomes
        .values()
        .flatten()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Fails(_)))
        .count();
    match (failing, stale.len()) {
        (0, 0) => Ok(()),
        (0, stale) => Err(format!("{stale} exceptions hold: take them out of the list").into()),
        (failing, _) => Err(format!("{failing} tests do not hold").into()),
    }
}

/// Runs the tests that are selected.
fn nextest(
    options: &Options,
    user: Option<&User>,
    resources: &test::Shared,
    filter: &str,
) -> Result<Outcomes, Failure> {
    let mut command = match user {
        Some(user) => {
            let mut command = ordinary::command(Some(user), Path::new(shell::cargo().get_program()));
            command.current_dir(paths::workspace());
            command
        }
        None => shell::cargo(),
    };
    command
        .args([
            "nextest",
            "run",
            "--no-fail-fast",
            "--message-format",
            "libtest-json",
            "--workspace",
        ])
        .args(["-E", filter])
        .env("NEXTEST_EXPERIMENTAL_LIBTEST_JSON", "1")
        .env(shared::ENGINE, &options.engine)
        .env(shared::RUNTIME, &options.runtime)
        .envs(resources.variables())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    eprintln!("$ {}", shell::line_of(&command));
    let output = command.spawn()?.wait_with_output()?;
    Ok(outcomes(
        &String::from_utf8_lossy(&output.stdout),
        options.engine == "docker",
    ))
}

/// Tests that do not hold on an engine, as is known, and why: lines of a test's name and a reason.
struct Exceptions {
    file: String,
    /// The end of a test's name, with its modules, and the reason.
    all: Vec<(String, String)>,
}

impl Exceptions {
    /// Those of this engine; there may be none.
    fn of(engine: &str) -> Result<Self, Failure> {
        let file = format!("tests/exceptions-{engine}.txt");
        let path = paths::workspace().join(&file);
        let text = if engine == shared::ROOTLESS {
            fs::read_to_string(path)?
        } else {
            String::new()
        };
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let all = lines.map(|line| {
            let (name, reason) = line
                .split_once(' ')
                .ok_or_else(|| format!("{file}: {line:?} has no reason"))?;
            Ok((name.to_owned(), reason.trim().to_owned()))
        });
        Ok(Self {
            all: all.collect::<Result<_, Failure>>()?,
            file,
        })
    }

    /// Takes known failures out of the failures; returns which of those that ran hold after all.
    fn apply(&self, outcomes: &mut Outcomes) -> Vec<String> {
        let mut stale = Vec::new();
        for (name, outcome) in outcomes.values_mut().flatten() {
            let known = self.all.iter().find(|(known, _)| {
                let rest = name.strip_suffix(known.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with("::"))
            });
            match (known, &outcome) {
                (Some((_, reason)), Outcome::Fails(_)) => *outcome = Outcome::Excepted(reason.clone()),
                (Some((known, _)), Outcome::Holds) if !stale.contains(known) => stale.push(known.clone()),
                _ => {}
            }
        }
        stale
    }
}

/// The behaviours, one a line: number, whether runtimes matter, title.
fn behaviours(text: &str) -> Result<Vec<Behaviour>, Failure> {
    let line = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let number = parts.next()?.parse().ok()?;
        let title = parts.nth(1)?.to_owned();
        Some(Behaviour { number, title })
    };
    let lines = text.lines().map(|text| line(text).ok_or(text));
    lines
        .collect::<Result<_, _>>()
        .map_err(|line| format!("tests/behaviours.txt: {line:?} is no behaviour").into())
}

/// What selects the tests of the wanted behaviours, on this engine and runtime.
fn filter(behaviours: &[Behaviour], is_wanted: impl Fn(u8) -> bool, options: &Options) -> String {
    let wanted: Vec<_> = behaviours
        .iter()
        .filter(|behaviour| is_wanted(behaviour.number))
        .map(|behaviour| format!("{:02}", behaviour.number))
        .collect();
    let others: Vec<_> = MODULES
        .into_iter()
        .filter(|module| *module != options.module())
        .collect();
    let mut filter = format!(
        "test(/(^|::|_)b({})_/) & not test(/(^|::)({})::/)",
        wanted.join("|"),
        others.join("|")
    );
    if !options.is_usual() || options.engine == shared::ROOTLESS {
        let running = RUNNING_STEPS.map(|package| format!("package({package})"));
        filter = format!("({}) & {filter}", running.join(" | "));
    }
    filter
}

/// Reads the test runner's messages.
fn outcomes(messages: &str, is_in_docker: bool) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for message in messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
    {
        let message: Value = message;
        if message["type"] != "test" {
            continue;
        }
        let text = |key: &str| message[key].as_str().unwrap_or_default();
        let outcome = match text("event") {
            "ok" => Outcome::Holds,
            "ignored" => Outcome::Skipped("ignored".to_owned()),
            "failed" if text("stdout").contains(NEEDS_ITS_OWN) => {
                Outcome::Skipped("needs an engine of its own".to_owned())
            }
            "failed" if is_in_docker && is_out_of_reach(text("stdout")) => Outcome::Skipped(
                "its server is on this host's loopback, where an engine in Docker does not reach it"
                    .to_owned(),
            ),
            "failed" => Outcome::Fails(panic_message(text("stdout"))),
            _ => continue,
        };
        let name = text("name").replace('$', "::");
        for number in numbers_in(&name) {
            let tests = outcomes.entry(number).or_default();
            tests.push((name.clone(), outcome.clone()));
        }
    }
    outcomes
}

/// Did the engine look for a server of the test's on its own loopback, which is another than the test's?
fn is_out_of_reach(output: &str) -> bool {
    // The second is git's way of saying it.
    output.lines().any(|line| {
        let refused = line.contains("127.0.0.1:") && line.contains("Connection refused");
        refused || line.contains("Failed to connect to 127.0.0.1")
    })
}

/// The behaviours in a test's name: those that it begins with.
fn numbers_in(name: &str) -> Vec<u8> {
    let own = name.rsplit("::").next().unwrap_or(name);
    own.split('_')
        .map_while(|part| part.strip_prefix('b')?.parse().ok())
        .collect()
}

/// The line behind a panic's place, or the last line.
fn panic_message(output: &str) -> String {
    let mut lines = output.lines();
    let after = lines
        .by_ref()
        .find(|line| line.contains(" panicked at "))
        .and_then(|_| lines.next());
    let last = || output.lines().rfind(|line| !line.trim().is_empty());
    after.or_else(last).unwrap_or("says nothing").trim().to_owned()
}

/// How all tests of a behaviour together ended.
fn together(tests: &[(String, Outcome)]) -> &'static str {
    let any = |word| tests.iter().any(|(_, outcome)| outcome.word() == word);
    match () {
        () if any("fails") => "fails",
        () if any("excepted") && any("holds") => "partly",
        () if any("excepted") => "excepted",
        () if any("holds") => "holds",
        () if any("skipped") => "skipped",
        () => "no test",
    }
}

fn table(behaviours: &[Behaviour], outcomes: &Outcomes) -> String {
    let mut lines = Vec::new();
    let mut counts = BTreeMap::new();
    for Behaviour { number, title } in behaviours {
        let tests = outcomes.get(number).map(Vec::as_slice).unwrap_or_default();
        let word = together(tests);
        *counts.entry(word).or_insert(0) += 1;
        lines.push(format!("{number:>2}  {word:<8} {:>2}  {title}", tests.len()));
        let told = tests.iter().filter_map(|(name, outcome)| {
            let why = outcome.why()?;
            Some(format!("{:18}{} {name}: {why}", "", outcome.word()))
        });
        lines.extend(told);
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    format!(
        " b  outcome tests  behaviour\n{}\n{}",
        lines.join("\n"),
        counts.join(", ")
    )
}

fn report(options: &Options, behaviours: &[Behaviour], outcomes: &Outcomes) -> Value {
    let test = |(name, outcome): &(String, Outcome)| json!({"name": name, "outcome": outcome.word(), "why": outcome.why()});
    let behaviour = |behaviour: &Behaviour| {
        let tests = outcomes
            .get(&behaviour.number)
            .map(Vec::as_slice)
            .unwrap_or_default();
        json!({
            "number": behaviour.number, "title": behaviour.title, "outcome": together(tests),
            "tests": tests.iter().map(test).collect::<Vec<_>>(),
        })
    };
    json!({
        "engine": options.engine, "runtime": options.runtime,
        "behaviours": behaviours.iter().map(behaviour).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_for_the_behaviours_that_they_name() {
        let message = |name: &str, event: &str, stdout: &str| {
            json!({"type": "test", "name": name, "event": event, "stdout": stdout}).to_string()
        };
        let messages = [
            message(
                "wharf-e2e::steps$b05_b06_b07_steps_are_as_docker_runs_them",
                "ok",
                "",
            ),
            message(
                "wharf-e2e::steps$b07_env",
                "failed",
                "\nthread 'b07_env' panicked at tests/steps.rs:1:2:\nnot equal\nnote: more\n",
            ),
            message(
                "wharf-e2e::cache$b35_kill",
                "failed",
                &format!("x\n{NEEDS_ITS_OWN}\n"),
            ),
            message("wharf-e2e::cache$other", "ok", ""),
        ]
        .join("\n");
        let outcomes = outcomes(&messages, false);
        let words: Vec<_> = outcomes
            .iter()
            .map(|(number, tests)| (*number, together(tests)))
            .collect();
        assert_eq!(words, [(5, "holds"), (6, "holds"), (7, "fails"), (35, "skipped")]);
        assert_eq!(outcomes[&7][1].1, Outcome::Fails("not equal".to_owned()));
    }

    #[test]
    fn servers_that_an_engine_in_docker_does_not_reach_are_no_failures_of_its() {
        let message = |stdout: &str| {
            json!({"type": "test", "name": "a$b13_x", "event": "failed", "stdout": stdout}).to_string()
        };
        let word = |stdout: &str, is_in_docker| outcomes(&message(stdout), is_in_docker)[&13][0].1.word();
        let refused = "thread 'x' panicked at y:\nhttp://127.0.0.1:5000: Connection refused (os error 111)\n";
        assert_eq!(word(refused, true), "skipped");
        assert_eq!(word(refused, false), "fails");
        assert_eq!(word("thread 'x' panicked at y:\nleft != right\n", true), "fails");
    }

    #[test]
    fn known_failures_are_told_from_others_and_those_that_hold_are_told() {
        let test = |name: &str, outcome: Outcome| (name.to_owned(), outcome);
        let failed = || Outcome::Fails("no".to_owned());
        let mut outcomes = Outcomes::from([(
            9,
            vec![
                test("wharf-e2e::steps::b09_limits", failed()),
                test("wharf-e2e::steps::more_b09_limits", failed()),
                test("wharf-e2e::steps::b09_pids", Outcome::Holds),
            ],
        )]);
        let exceptions = Exceptions {
            file: String::new(),
            all: [("b09_limits", "no groups"), ("steps::b09_pids", "the same")]
                .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
                .into(),
        };
        assert_eq!(exceptions.apply(&mut outcomes), ["steps::b09_pids"]);
        assert_eq!(outcomes[&9][0].1, Outcome::Excepted("no groups".to_owned()));
        assert_eq!(together(&outcomes[&9]), "fails");
        outcomes.get_mut(&9).unwrap().remove(1);
        assert_eq!(together(&outcomes[&9]), "partly");
    }

    #[test]
    fn behaviours_are_numbered_without_gaps() {
        let text = fs::read_to_string(paths::workspace().join("tests/behaviours.txt")).unwrap();
        let behaviours = behaviours(&text).unwrap();
        assert!(behaviours.iter().map(|behaviour| behaviour.number).eq(1..=50));
        let options = |engine: &str, runtime: &str| Options {
            engine: engine.to_owned(),
            runtime: runtime.to_owned(),
            only: None,
        };
        assert_eq!(
            filter(&behaviours[..2], |_| true, &options("local", "builtin")),
            "test(/(^|::|_)b(01|02)_/) & not test(/(^|::)(runc|crun|docker)::/)"
        );
        assert_eq!(
            filter(&behaviours[..1], |_| true, &options("local", "/usr/bin/runc")),
            "(package(wharf-cli) | package(wharf-e2e) | package(wharf-runner)) & test(/(^|::|_)b(01)_/) & not \
             test(/(^|::)(built_in|crun|docker)::/)"
        );
        assert_eq!(numbers("1-3,38").unwrap().0, [1, 2, 3, 38]);
        assert!(numbers("x").is_err());
    }
}
