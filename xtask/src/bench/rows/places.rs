//! The engine in Docker beside the same engine on this host: what the place costs, and what it takes to be there.

use super::super::data;
use super::super::figures::{Budget, Figures, Outcome, Unit};
use super::super::wharf::{Wharf, milliseconds};
use super::super::{Bench, Failure};
use super::Row;
use super::steps::over;
use super::uploads::Source;

/// What does the same work.
const LOCAL: &str = "engine on this host";
/// Calls of which the middle one is a sample.
const ASKED: usize = 20;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "docker-step",
        what: "engine in Docker: a step without network, over its command's own time",
        unit: Unit::Milliseconds,
        budget: Budget::OfPeer(1.5),
        peer: LOCAL,
        measure: |bench| in_docker(bench, step),
    },
    Row {
        name: "docker-upload",
        what: "engine in Docker: 1 GiB in 20,000 files into a container, for the first time",
        unit: Unit::Milliseconds,
        budget: Budget::OfPeer(1.5),
        peer: LOCAL,
        measure: |bench| in_docker(bench, upload),
    },
    Row {
        name: "docker-start",
        what: "engine in Docker: its start, until it answers; its image is there",
        unit: Unit::Milliseconds,
        budget: Budget::Median(1500.0),
        peer: LOCAL,
        measure: |bench| in_docker(bench, start),
    },
    Row {
        name: "docker-connect",
        what: "engine in Docker: to find the one that runs and ask it something, over the same program's start",
        unit: Unit::Milliseconds,
        budget: Budget::Median(5.0),
        peer: LOCAL,
        measure: |bench| in_docker(bench, connect),
    },
];

type Pair = (Figures, Option<Figures>);

fn in_docker(
    bench: &Bench<'_>,
    measure: fn(&Bench<'_>, &Wharf<'_>) -> Result<Pair, Failure>,
) -> Result<Outcome, Failure> {
    match &bench.in_docker {
        Some(docker) => measure(bench, docker).map(Outcome::from),
        None => Ok(Outcome::Skipped(
            "there is no engine in Docker beside one on this host".to_owned(),
        )),
    }
}

fn step(bench: &Bench<'_>, docker: &Wharf<'_>) -> Result<Pair, Failure> {
    let steps = bench.sizes.steps;
    let each = |wharf: &Wharf<'_>, nonce: &str| {
        let together = wharf.together(steps, nonce, false)?;
        let chain = wharf.chain(steps, &data::nonce(), false)?;
        Ok(over(chain.took, together.took, steps))
    };
    bench.beside(|nonce| each(docker, nonce), |nonce| each(&bench.wharf, nonce))
}

fn upload(bench: &Bench<'_>, docker: &Wharf<'_>) -> Result<Pair, Failure> {
    // All are kept to the end: after many files were removed, new ones take longer for minutes.
    let sources = (0..bench.rounds).map(|_| Source::new(bench, &data::nonce()));
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for source in &sources.collect::<Result<Vec<_>, _>>()? {
        ours.push(source.take(docker)?);
        rustix::fs::sync();
        peers.push(source.take(&bench.wharf)?);
        rustix::fs::sync();
    }
    Ok((Figures::of(ours), Some(Figures::of(peers))))
}

fn start(bench: &Bench<'_>, docker: &Wharf<'_>) -> Result<Pair, Failure> {
    let start = |wharf: &Wharf<'_>| {
        wharf.engine(&["stop"])?;
        Ok(milliseconds(wharf.engine(&["start"])?))
    };
    bench.beside(|_| start(docker), |_| start(&bench.wharf))
}

fn connect(bench: &Bench<'_>, docker: &Wharf<'_>) -> Result<Pair, Failure> {
    let asked = |wharf: &Wharf<'_>| {
        let time = |words: &'static [&'static str]| {
            let times = (0..ASKED).map(|_| Ok(milliseconds(wharf.time(words)?)));
            Ok::<_, Failure>(Figures::of(times.collect::<Result<Vec<_>, Failure>>()?).median)
        };
        Ok((time(&["engine", "status"])? - time(&["--version"])?).max(0.0))
    };
    bench.beside(|_| asked(docker), |_| asked(&bench.wharf))
}
