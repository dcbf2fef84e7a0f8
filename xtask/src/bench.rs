//! `cargo xtask bench`: what a step costs here, beside `docker build` with BuildKit on the same image in the same run.
//!
//! Every step writes a nonce, and what comes out is compared with what was asked for: a number is the time of work that
//! was really done. Budgets are the design's; nothing here fails because something is slow.

mod peer;

use std::time::{Duration, Instant};

use clap::Args;
use wharf_testkit::World;
use wharf_testkit::docker::Daemon;
use wharf_testkit::paths;
use wharf_testkit::world::Done as Ended;

use crate::setup;
use crate::shell::{self, Done, Failure};
use peer::Peer;

/// The steps of the chain.
const STEPS: usize = 50;
/// The sleeps that run beside each other.
const SLEEPS: usize = 8;
/// The module that is called.
const MODULE: &str = "examples/bench";

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each is measured; the middle one counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Run Wharf's engine in the Docker daemon instead of on the host.
    #[arg(long)]
    docker_engine: bool,
}

/// One row of the table.
struct Row {
    what: String,
    /// The time is given per unit of this many.
    units: u32,
    ours: Duration,
    peers: Option<Duration>,
}

/// Measures and prints a table.
pub(crate) fn run(options: &Options) -> Done {
    setup::run()?;
    shell::run(shell::cargo().args(["build", "--release", "--package", "wharf-cli"]))?;
    let program = paths::target().join("release/wharf");
    let daemon = match Daemon::existing_or_start() {
        Ok(daemon) => Some(daemon),
        Err(error) => {
            eprintln!("nothing to compare with: {error}");
            None
        }
    };
    let peer = daemon.as_ref().map(Peer::new).transpose()?;
    let engine = if options.docker_engine {
        Some(
            daemon
                .clone()
                .ok_or("there is no Docker daemon for the engine to run in")?,
        )
    } else {
        None
    };
    let world = World::of(program, engine)?;
    let wharf = Wharf { world: &world };
    // The first call builds the module, starts the engine and pulls the image; none of it is a step's cost.
    wharf.chain(1, "warm-up", true)?;

    let mut rows = Vec::new();
    for network in [false, true] {
        let with = if network {
            "with network"
        } else {
            "without network"
        };
        let nonces: Vec<_> = (0..options.rounds.max(1))
            .map(|round| nonce(&format!("chain-{network}-{round}")))
            .collect();
        rows.push(Row {
            what: format!("a step, uncached, {with}"),
            units: STEPS as u32,
            ours: median(&nonces, |nonce| wharf.chain(STEPS, nonce, network))?,
            peers: peer
                .as_ref()
                .map(|peer| median(&nonces, |nonce| peer.chain(STEPS, nonce, network, false)))
                .transpose()?,
        });
        if !network {
            let nonce = &vec![nonces[0].clone(); nonces.len()];
            rows.push(Row {
                what: format!("{STEPS} steps, all remembered"),
                units: 1,
                ours: median(nonce, |nonce| wharf.chain(STEPS, nonce, network))?,
                peers: peer.as_ref().map(|peer| cached(peer, nonce)).transpose()?,
            });
        }
    }
    let nonces: Vec<_> = (0..options.rounds.max(1))
        .map(|round| nonce(&format!("sleeps-{round}")))
        .collect();
    rows.push(Row {
        what: format!("{SLEEPS} times `sleep 1`, beside each other"),
        units: 1,
        ours: median(&nonces, |nonce| wharf.sleeps(SLEEPS, nonce))?,
        peers: peer
            .as_ref()
            .map(|peer| median(&nonces, |nonce| peer.sleeps(SLEEPS, nonce)))
            .transpose()?,
    });
    print(&rows, options);
    Ok(())
}

/// The first build fills the cache, the others are answered by it.
fn cached(peer: &Peer, nonces: &[String]) -> Result<Duration, Failure> {
    peer.chain(STEPS, &nonces[0], false, true)?;
    median(nonces, |nonce| peer.chain(STEPS, nonce, false, true))
}

/// `wharf`, as a user calls it: a process for each call.
struct Wharf<'a> {
    world: &'a World,
}

impl Wharf<'_> {
    fn chain(&self, steps: usize, nonce: &str, network: bool) -> Result<Duration, Failure> {
        let steps_flag = steps.to_string();
        let mut args = vec!["chain", "--steps", &steps_flag, "--nonce", nonce];
        args.extend(network.then_some("--network"));
        self.call(&args, &expected(steps, nonce))
    }

    fn sleeps(&self, count: usize, nonce: &str) -> Result<Duration, Failure> {
        self.call(
            &["sleeps", "--count", &count.to_string(), "--nonce", nonce],
            &expected(count, nonce),
        )
    }

    fn call(&self, args: &[&str], expected: &str) -> Result<Duration, Failure> {
        let module = paths::workspace().join(MODULE);
        let mut command = self.world.command(["call", "-q", "-m"]);
        command.arg(module).args(args);
        let start = Instant::now();
        let ended = Ended::of(command);
        let took = start.elapsed();
        if ended.code != 0 {
            return Err(format!("`wharf call {}` failed:\n{}", args.join(" "), ended.stderr).into());
        }
        check(&ended.stdout, expected)?;
        Ok(took)
    }
}

/// What the steps have written when all of them ran, in their order.
fn expected(steps: usize, nonce: &str) -> String {
    (0..steps)
        .map(|step| format!("{nonce}-{step}"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn check(found: &[u8], expected: &str) -> Done {
    let found = String::from_utf8_lossy(found);
    if found.trim_end() == expected.trim_end() {
        return Ok(());
    }
    Err(format!("the steps did not write what they were asked to: {found:?}").into())
}

/// Something that no earlier run has asked for.
fn nonce(what: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    format!("{what}-{}-{}", std::process::id(), now.as_nanos())
}

/// The middle one of several measurements.
fn median(
    nonces: &[String],
    measure: impl Fn(&str) -> Result<Duration, Failure>,
) -> Result<Duration, Failure> {
    let mut times = nonces
        .iter()
        .map(|nonce| measure(nonce))
        .collect::<Result<Vec<_>, _>>()?;
    times.sort();
    Ok(times[times.len() / 2])
}

fn print(rows: &[Row], options: &Options) {
    let engine = if options.docker_engine { "Docker" } else { "local" };
    println!(
        "\nthe middle of {} rounds, {engine} engine; both columns in milliseconds\n",
        options.rounds.max(1)
    );
    println!(
        "| {:<38} | {:>10} | {:>12} | {:>6} |",
        "work", "wharf", "docker build", "ratio"
    );
    println!("| {:-<38} | {:->10} | {:->12} | {:->6} |", "", ":", ":", ":");
    for row in rows {
        let each = |time: Duration| time.as_secs_f64() * 1000.0 / f64::from(row.units);
        let peer = row
            .peers
            .map_or("-".to_owned(), |time| format!("{:.1}", each(time)));
        let ratio = row.peers.map_or("-".to_owned(), |time| {
            format!("{:.1}", each(time) / each(row.ours))
        });
        println!(
            "| {:<38} | {:>10.1} | {:>12} | {:>6} |",
            row.what,
            each(row.ours),
            peer,
            ratio
        );
    }
}
