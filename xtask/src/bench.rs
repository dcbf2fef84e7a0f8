//! `cargo xtask bench`: what Wharf's work costs here, beside its peer doing the same in the same run.
//!
//! Every step writes a nonce, and what comes out is compared with what was asked for: a figure is the time of work that
//! was really done, by the program as users run it. Nothing here fails because something is slow.

mod data;
mod figures;
mod peer;
mod report;
mod rows;
mod wharf;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use wharf_testkit::docker::Daemon;
use wharf_testkit::{World, paths};

use crate::machine::Machine;
use crate::setup;
use crate::shell::{self, Done, Failure};
use figures::{Figures, Outcome};
use peer::Peer;
use wharf::Wharf;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each row is measured; the middle one counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Measure this row alone; may be repeated.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(rows::names()))]
    only: Vec<String>,
    /// Small sizes, to see that every row works; the figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// Measure without a peer, and so without Docker.
    #[arg(long)]
    no_docker: bool,
    /// Run Wharf's engine in the Docker daemon instead of on the host.
    #[arg(long, conflicts_with = "no_docker")]
    docker_engine: bool,
    /// Measure this `wharf` instead of building a release.
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
    /// Write the table into docs/performance.md.
    #[arg(long, conflicts_with_all = ["quick", "only", "program", "no_docker"])]
    write: bool,
}

/// How large the work is.
struct Sizes {
    /// Steps of a chain, and of a long one.
    steps: u32,
    many_steps: u32,
    /// Steps that sleep beside each other.
    sleeps: u32,
    /// Nodes of a graph that is made and not run.
    nodes: u32,
    /// What is not yet on the disk while steps run, in bytes.
    dirty: u64,
    /// Files that come in, and how large they are together.
    upload_files: u32,
    upload_bytes: u64,
    /// Files of a directory that is handed from step to step, few and many, and how large it is.
    few_files: u32,
    many_files: u32,
    tree_megabytes: u32,
    /// Content of an image, in bytes.
    image_bytes: u64,
    /// A layer that is changed and published.
    layer_megabytes: u32,
    /// A file that is fetched, in bytes.
    fetch_bytes: u64,
}

const FULL: Sizes = Sizes {
    steps: 50,
    many_steps: 1000,
    sleeps: 8,
    nodes: 10_000,
    dirty: 1 << 30,
    upload_files: 20_000,
    upload_bytes: 1 << 30,
    few_files: 100,
    many_files: 100_000,
    tree_megabytes: 10 * 1024,
    image_bytes: 1 << 30,
    layer_megabytes: 64,
    fetch_bytes: 2 << 30,
};

const QUICK: Sizes = Sizes {
    steps: 5,
    many_steps: 20,
    sleeps: 2,
    nodes: 200,
    dirty: 16 << 20,
    upload_files: 200,
    upload_bytes: 8 << 20,
    few_files: 10,
    many_files: 200,
    tree_megabytes: 32,
    image_bytes: 16 << 20,
    layer_megabytes: 2,
    fetch_bytes: 48 << 20,
};

/// What has to be free of the disk before all rows are measured, in bytes: 38 GB were not enough.
const ROOM: u64 = 45_000_000_000;

/// What rows are measured with.
struct Bench<'a> {
    wharf: Wharf<'a>,
    /// The same program with its engine in Docker, beside one that has it on this host.
    in_docker: Option<Wharf<'a>>,
    peer: Option<Peer<'a>>,
    sizes: &'static Sizes,
    rounds: u32,
}

impl Bench<'_> {
    /// Measures ours and the peer's in turn, each round with a nonce of its own.
    fn compare(
        &self,
        ours: impl Fn(&str) -> Result<f64, Failure>,
        peers: impl Fn(&Peer<'_>, &str) -> Result<f64, Failure>,
    ) -> Result<(Figures, Option<Figures>), Failure> {
        match &self.peer {
            Some(peer) => self.beside(ours, |nonce| peers(peer, nonce)),
            None => Ok((self.alone(ours)?, None)),
        }
    }

    /// The same beside a program of this machine, which takes no Docker.
    fn beside(
        &self,
        ours: impl Fn(&str) -> Result<f64, Failure>,
        peers: impl Fn(&str) -> Result<f64, Failure>,
    ) -> Result<(Figures, Option<Figures>), Failure> {
        let (mut our_samples, mut peer_samples) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            our_samples.push(ours(&data::nonce())?);
            peer_samples.push(peers(&data::nonce())?);
        }
        Ok((Figures::of(our_samples), Some(Figures::of(peer_samples))))
    }

    /// Measures what has no peer here.
    fn alone(&self, ours: impl Fn(&str) -> Result<f64, Failure>) -> Result<Figures, Failure> {
        let samples = (0..self.rounds)
            .map(|_| ours(&data::nonce()))
            .collect::<Result<_, _>>()?;
        Ok(Figures::of(samples))
    }
}

/// A disk that fills up after an hour costs the hour.
fn look_for_room() -> Done {
    for place in [env::temp_dir(), paths::workspace().to_owned()] {
        let disk = rustix::fs::statvfs(&place)?;
        let free = disk.f_bavail * disk.f_frsize;
        if free < ROOM {
            let gigabytes = |bytes| bytes / 1_000_000_000;
            return Err(format!(
                "all rows together want {} GB of the disk, and {} has {} GB free: make room, set TMPDIR to another place, or measure \
                 rows one by one with --only",
                gigabytes(ROOM),
                place.display(),
                gigabytes(free)
            )
            .into());
        }
    }
    Ok(())
}

/// Measures, and prints a table.
pub(crate) fn run(options: &Options) -> Done {
    if options.only.is_empty() && !options.quick {
        look_for_room()?;
    }
    setup::run()?;
    let program = match &options.program {
        Some(program) => program.canonicalize()?,
        None => {
            shell::run(shell::cargo().args(["build", "--locked", "--release", "--package", "wharf-cli"]))?;
            paths::target().join("release/wharf")
        }
    };
    let daemon = if options.no_docker {
        None
    } else {
        Some(Daemon::existing_or_start()?)
    };
    let engine = daemon.clone().filter(|_| options.docker_engine);
    let beside = daemon.clone().filter(|_| !options.docker_engine);
    let docker_world = beside
        .map(|daemon| World::of(program.clone(), Some(daemon)))
        .transpose()?;
    let world = World::of(program, engine)?;
    let bench = Bench {
        wharf: Wharf::new(&world),
        in_docker: docker_world.as_ref().map(Wharf::new),
        peer: daemon.as_ref().map(Peer::new).transpose()?,
        sizes: if options.quick { &QUICK } else { &FULL },
        rounds: options.rounds,
    };
    // Builds the module, starts the engine and pulls the image; none of it is a row's cost.
    bench.wharf.chain(1, &data::nonce(), true)?;
    if let Some(docker) = &bench.in_docker {
        docker.chain(1, &data::nonce(), true)?;
    }

    let engine = if world.daemon().is_some() {
        "docker"
    } else {
        "local"
    };
    let machine = Machine::look(&world.path("wharf"), engine, daemon.as_ref());
    let mut results = Vec::new();
    for row in rows::all() {
        if options.only.is_empty() || options.only.iter().any(|name| name == row.name) {
            // One that breaks down takes nothing of the others with it: what it says is on standard error.
            let measured = catch_unwind(AssertUnwindSafe(|| (row.measure)(&bench)));
            let outcome = match measured {
                Ok(outcome) => outcome.unwrap_or_else(|error| Outcome::Failed(error.to_string())),
                Err(_) => Outcome::Failed("the measurement broke down".to_owned()),
            };
            eprintln!("{}", report::line(row, &outcome));
            results.push((row, outcome));
        }
    }
    let report = report::Report {
        machine,
        rounds: options.rounds,
        quick: options.quick,
        results,
    };
    println!("\n{}", report.markdown());
    report.save()?;
    if options.write {
        report.write_into(&paths::workspace().join("docs/performance.md"))?;
    }
    match report.failed() {
        0 => Ok(()),
        count => Err(format!("{count} of the rows could not be measured").into()),
    }
}
