//! A directory of the host that comes in: all of it, and once more as it is.
//!
//! Wharf's figures hold the step that looks at what came; the peer's image is looked at when its time is taken.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::data;
use super::super::figures::{Budget, Figures, Outcome, Unit};
use super::super::wharf::{Wharf, milliseconds};
use super::super::{Bench, Failure};
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "upload",
        what: "1 GiB in 20,000 files into a container, for the first time",
        unit: Unit::Milliseconds,
        budget: Budget::Median(2500.0),
        peer: "docker build, COPY",
        measure: |bench| cold(bench).map(Outcome::from),
    },
    Row {
        name: "upload-unchanged",
        what: "the same directory again, unchanged",
        unit: Unit::Milliseconds,
        budget: Budget::Median(120.0),
        peer: "docker build, COPY",
        measure: |bench| unchanged(bench).map(Outcome::from),
    },
];

/// A directory of the host, removed in the end.
pub(super) struct Source {
    root: PathBuf,
    /// What a step that looks at it prints.
    seen: String,
}

impl Source {
    pub(super) fn new(bench: &Bench<'_>, nonce: &str) -> Result<Self, Failure> {
        let source = Self {
            root: data::place()?.join(nonce),
            seen: format!("{nonce}\n{}", bench.sizes.upload_files),
        };
        data::tree(
            &source.root,
            bench.sizes.upload_files,
            bench.sizes.upload_bytes,
            nonce,
        )?;
        // What the kernel has yet to write of it is not what is measured.
        rustix::fs::sync();
        Ok(source)
    }

    pub(super) fn take(&self, wharf: &Wharf<'_>) -> Result<f64, Failure> {
        let root: &Path = &self.root;
        let call = wharf.call(&["take", "--source", &root.display().to_string()])?;
        data::check(&call.printed, &self.seen)?;
        Ok(call.milliseconds())
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn cold(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    // All are kept to the end: after many files were removed, new ones take longer for minutes.
    let sources = (0..bench.rounds).map(|_| Source::new(bench, &data::nonce()));
    for source in &sources.collect::<Result<Vec<_>, _>>()? {
        ours.push(source.take(&bench.wharf)?);
        if let Some(peer) = &bench.peer {
            rustix::fs::sync();
            peers.push(milliseconds(peer.take(&source.root, &source.seen)?));
        }
    }
    let peers = bench.peer.is_some().then(|| Figures::of(peers));
    Ok((Figures::of(ours), peers))
}

fn unchanged(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let source = Source::new(bench, &data::nonce())?;
    source.take(&bench.wharf)?;
    if let Some(peer) = &bench.peer {
        peer.take(&source.root, &source.seen)?;
    }
    bench.compare(
        |_| source.take(&bench.wharf),
        |peer, _| Ok(milliseconds(peer.take(&source.root, &source.seen)?)),
    )
}
