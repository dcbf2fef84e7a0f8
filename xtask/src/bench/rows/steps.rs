//! Steps that run: one after the other, and beside each other.
//!
//! A step's cost is what it takes over its command's own time. The median comes from whole processes: a chain, less one step
//! that runs the same commands, by the number of steps that the chain has more. The 95th percentile needs a time for each
//! step: that between the ends of two, as a client is told of them, less the command's own time.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::data;
use super::super::figures::{Budget, Figures, Measured, Outcome, Unit};
use super::super::wharf::{Call, milliseconds};
use super::super::{Bench, Failure};
use super::{DOCKER_BUILD, Row};
use crate::machine::kibibytes;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "step",
        what: "a step without network, over its command's own time",
        unit: Unit::Milliseconds,
        budget: Budget::Median(5.0),
        peer: DOCKER_BUILD,
        measure: |bench| step(bench, false).map(Outcome::from),
    },
    Row {
        name: "step-network",
        what: "a step with network, over its command's own time",
        unit: Unit::Milliseconds,
        budget: Budget::Median(10.0),
        peer: DOCKER_BUILD,
        measure: |bench| step(bench, true).map(Outcome::from),
    },
    Row {
        name: "step-dirty",
        what: "a step without network, beside 1 GiB that is not yet on the disk",
        unit: Unit::Milliseconds,
        budget: Budget::Tail(5.0),
        peer: DOCKER_BUILD,
        measure: |bench| dirty(bench).map(Outcome::from),
    },
    Row {
        name: "sleeps",
        what: "8 steps `sleep 1` beside each other",
        unit: Unit::Milliseconds,
        budget: Budget::Median(1100.0),
        peer: DOCKER_BUILD,
        measure: |bench| sleeps(bench).map(Outcome::from),
    },
];

fn step(bench: &Bench<'_>, network: bool) -> Result<Measured, Failure> {
    let steps = bench.sizes.steps;
    let own = command_alone(bench, network)?;
    let (mut ours, mut each, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let together = bench.wharf.together(steps, &data::nonce(), network)?;
        let chain = bench.wharf.chain(steps, &data::nonce(), network)?;
        ours.push(over(chain.took, together.took, steps));
        each.extend(between_ends(&chain, own));
        if let Some(peer) = &bench.peer {
            let together = peer.together(steps, &data::nonce(), network)?;
            let chain = peer.chain(steps, &data::nonce(), network, false)?;
            peers.push(over(chain, together, steps));
        }
    }
    let peers = bench.peer.is_some().then(|| Figures::of(peers));
    Ok(Measured {
        ours: Figures::of(ours).with_tail_of(&each),
        peers,
        note: Some(format!("a command's own time, {own:.2} ms, is not in it")),
    })
}

/// What each step of a chain costs over the same commands in one step, in milliseconds.
pub(super) fn over(chain: Duration, together: Duration, steps: u32) -> f64 {
    (milliseconds(chain) - milliseconds(together)) / f64::from(steps - 1)
}

/// A command's own time in a step that runs many, in milliseconds: what each further one adds.
fn command_alone(bench: &Bench<'_>, network: bool) -> Result<f64, Failure> {
    let steps = bench.sizes.steps;
    let of = |count| bench.alone(|nonce| Ok(bench.wharf.together(count, nonce, network)?.milliseconds()));
    Ok(((of(steps)?.median - of(1)?.median) / f64::from(steps - 1)).max(0.0))
}

/// The times between the ends of a chain's steps less the command's own, in milliseconds.
fn between_ends(chain: &Call, own: f64) -> Vec<f64> {
    let pairs = chain.ends.windows(2);
    pairs.map(|pair| milliseconds(pair[1] - pair[0]) - own).collect()
}

fn dirty(bench: &Bench<'_>) -> Result<Measured, Failure> {
    let steps = bench.sizes.steps;
    let own = command_alone(bench, false)?;
    let (mut ours, mut each, mut peers, mut unwritten) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let together = bench.wharf.together(steps, &data::nonce(), false)?;
        let _file = Unwritten::new(&bench.wharf.world().path("unwritten"), bench.sizes.dirty)?;
        let chain = bench.wharf.chain(steps, &data::nonce(), false)?;
        unwritten.push(kibibytes("Dirty").unwrap_or_default() as f64 / 1024.0);
        ours.push(over(chain.took, together.took, steps));
        each.extend(between_ends(&chain, own));
        if let Some(peer) = &bench.peer {
            let chain = peer.chain(steps, &data::nonce(), false, false)?;
            let together = peer.together(steps, &data::nonce(), false)?;
            peers.push(over(chain, together, steps));
        }
    }
    let peers = bench.peer.is_some().then(|| Figures::of(peers));
    let left = Figures::of(unwritten).median;
    Ok(Measured {
        ours: Figures::of(ours).with_tail_of(&each),
        peers,
        note: Some(format!(
            "{left:.0} MiB were still not on the disk after the steps"
        )),
    })
}

/// A file whose bytes the kernel has yet to write; removed in the end.
struct Unwritten(PathBuf);

impl Unwritten {
    fn new(path: &Path, bytes: u64) -> Result<Self, Failure> {
        let unwritten = Self(path.to_owned());
        let mut file = File::create(path)?;
        let piece = vec![0x5a; 1 << 20];
        for _ in 0..bytes >> 20 {
            file.write_all(&piece)?;
        }
        Ok(unwritten)
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn sleeps(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let count = bench.sizes.sleeps;
    let words = count.to_string();
    bench.compare(
        |nonce| {
            let call = bench
                .wharf
                .call(&["sleeps", "--count", &words, "--nonce", nonce])?;
            data::check(&call.printed, &data::expected(count, nonce))?;
            Ok(call.milliseconds())
        },
        |peer, nonce| Ok(milliseconds(peer.sleeps(count, nonce)?)),
    )
}
