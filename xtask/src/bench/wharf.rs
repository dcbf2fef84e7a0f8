//! `wharf`, as a user calls it: a process for each call, with the settings that users have.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use wharf_testkit::{World, paths};

use super::data::{check, expected};
use crate::shell::Failure;

/// The module that is called.
const MODULE: &str = "examples/bench";

/// The program in its world.
pub(super) struct Wharf<'a> {
    world: &'a World,
}

/// A call that ended well.
pub(super) struct Call {
    /// From start to exit of its process.
    pub(super) took: Duration,
    /// From start to the first of what it printed.
    pub(super) answered: Duration,
    /// What it printed.
    pub(super) printed: String,
    /// When the ends of its steps were told.
    pub(super) ends: Vec<Instant>,
    /// How many steps ran; the others were remembered.
    pub(super) run: u64,
}

impl Call {
    /// The whole process, in milliseconds.
    pub(super) fn milliseconds(&self) -> f64 {
        milliseconds(self.took)
    }
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl<'a> Wharf<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self { world }
    }

    pub(super) fn world(&self) -> &World {
        self.world
    }

    /// One step after the other, each adding its line to a file.
    pub(super) fn chain(&self, steps: u32, nonce: &str, network: bool) -> Result<Call, Failure> {
        self.lines("chain", steps, nonce, network)
    }

    /// The commands of a chain in one step.
    pub(super) fn together(&self, steps: u32, nonce: &str, network: bool) -> Result<Call, Failure> {
        self.lines("together", steps, nonce, network)
    }

    fn lines(&self, function: &str, steps: u32, nonce: &str, network: bool) -> Result<Call, Failure> {
        let count = steps.to_string();
        let mut words = vec![function, "--steps", &count, "--nonce", nonce];
        words.extend(network.then_some("--network"));
        let call = self.call(&words)?;
        check(&call.printed, &expected(steps, nonce))?;
        Ok(call)
    }

    /// Calls a function of the benchmark's module.
    pub(super) fn call(&self, words: &[&str]) -> Result<Call, Failure> {
        follow(self.command(words), words)
    }

    /// A call that is not run yet. Progress as JSON tells when steps end, and costs what lines of text do.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = self.world.command(["call", "--progress", "json", "-m"]);
        command.arg(paths::workspace().join(MODULE)).args(words);
        command
    }

    /// What a subcommand of `wharf engine` takes.
    pub(super) fn engine(&self, words: &[&str]) -> Result<Duration, Failure> {
        self.time(&[&["engine"], words].concat())
    }

    /// What a command takes that has to succeed.
    pub(super) fn time(&self, words: &[&str]) -> Result<Duration, Failure> {
        let start = Instant::now();
        let done = self.world.wharf(words);
        let took = start.elapsed();
        if done.code == 0 {
            return Ok(took);
        }
        Err(format!("`wharf {}` failed:\n{}", words.join(" "), done.stderr).into())
    }

    /// Forgets everything that the engine remembers, images too.
    pub(super) fn forget(&self) -> Result<(), Failure> {
        let done = self.world.wharf(["cache", "prune", "--all"]);
        if done.code == 0 {
            return Ok(());
        }
        Err(format!("`wharf cache prune --all` failed:\n{}", done.stderr).into())
    }
}

/// Runs a call to its end, and takes the time of each line of its progress.
pub(super) fn follow(mut command: Command, words: &[&str]) -> Result<Call, Failure> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let lines = thread::spawn(move || {
        let lines = BufReader::new(stderr.expect("it was piped")).lines();
        lines
            .map_while(Result::ok)
            .map(|line| (Instant::now(), line))
            .collect::<Vec<_>>()
    });
    let mut stdout = stdout.expect("it was piped");
    let mut printed = vec![0; 4096];
    let first = stdout.read(&mut printed)?;
    let answered = start.elapsed();
    printed.truncate(first);
    stdout.read_to_end(&mut printed)?;
    let status = child.wait()?;
    let took = start.elapsed();
    let lines = lines.join().map_err(|_| "reading its progress panicked")?;
    if !status.success() {
        let said: Vec<_> = lines.into_iter().map(|(_, line)| line).collect();
        return Err(format!("`wharf call {}` failed:\n{}", words.join(" "), said.join("\n")).into());
    }
    let mut call = Call {
        took,
        answered,
        printed: String::from_utf8(printed)?.trim_end().to_owned(),
        ends: Vec::new(),
        run: 0,
    };
    let mut steps = std::collections::HashSet::new();
    for (at, line) in lines {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        let key = event["key"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("started") if event["kind"] == "step" => {
                steps.insert(key);
            }
            Some("finished") if steps.contains(&key) => call.ends.push(at),
            Some("summary") => call.run = event["run"].as_u64().unwrap_or_default(),
            _ => {}
        }
    }
    Ok(call)
}
