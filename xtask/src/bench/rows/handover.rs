//! A large directory that goes from step to step.
//!
//! A figure is the time over the same calls with a directory of one small file, so the steps themselves are not in it.

use super::super::data;
use super::super::figures::{Budget, Figures, Measured, Outcome, Unit};
use super::super::{Bench, Failure};
use super::Row;

/// What copies it in the peer's place, in a step of its own.
const CP: &str = "cp -a";
/// What has to be free on the disk for each byte of the directory: it is there twice when it has been copied.
const ROOM: f64 = 3.5;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "handover-few",
        what: "10 GiB in 100 files copied from step to step",
        unit: Unit::Milliseconds,
        budget: Budget::Median(20.0),
        peer: CP,
        measure: |bench| handover(bench, "copied", bench.sizes.few_files, 1.0),
    },
    Row {
        name: "handover-many",
        what: "10 GiB in 100,000 files copied from step to step",
        unit: Unit::Microseconds,
        budget: Budget::Median(15.0),
        peer: CP,
        measure: |bench| {
            let files = bench.sizes.many_files;
            handover(bench, "copied", files, 1000.0 / f64::from(files))
        },
    },
    Row {
        name: "handover-mounted",
        what: "10 GiB in 100,000 files mounted from step to step",
        unit: Unit::Milliseconds,
        budget: Budget::Median(20.0),
        peer: CP,
        measure: |bench| handover(bench, "mounted", bench.sizes.many_files, 1.0),
    },
];

fn handover(bench: &Bench<'_>, function: &str, files: u32, scale: f64) -> Result<Outcome, Failure> {
    let megabytes = bench.sizes.tree_megabytes;
    let disk = rustix::fs::statvfs(bench.wharf.world().path("wharf"))?;
    let free = (disk.f_bavail * disk.f_frsize) >> 20;
    let needed = (f64::from(megabytes) * ROOM) as u64;
    if free < needed {
        let why = format!("it takes {needed} MiB of disk, and {free} are free");
        return Ok(Outcome::Skipped(why));
    }
    bench.wharf.forget()?;
    let measured = measure(bench, function, files, scale);
    bench.wharf.forget()?;
    Ok(measured?.into())
}

fn measure(bench: &Bench<'_>, function: &str, files: u32, scale: f64) -> Result<Measured, Failure> {
    let large = Large {
        bench,
        files,
        megabytes: bench.sizes.tree_megabytes,
    };
    let small = Large {
        bench,
        files: 1,
        megabytes: 1,
    };
    large.make()?;
    small.make()?;
    // What is measured is the handing over, and not how long the disk takes to write what was made.
    rustix::fs::sync();
    let over = |function: &str, nonce: &str| -> Result<f64, Failure> {
        let alone = small.hand_over(function, nonce)?;
        Ok((large.hand_over(function, nonce)? - alone) * scale)
    };
    let ours = bench.alone(|nonce| over(function, nonce))?;
    let peers = over("copied-by-program", &data::nonce())?;
    Ok(Measured {
        ours,
        peers: Some(Figures::of(vec![peers])),
        note: Some(format!("`{CP}` was measured once")),
    })
}

/// A directory that a step makes.
struct Large<'a> {
    bench: &'a Bench<'a>,
    files: u32,
    megabytes: u32,
}

impl Large<'_> {
    /// Has it made, and looks whether all of it is there.
    fn make(&self) -> Result<(), Failure> {
        let printed = self.call("counted", None)?.1;
        let mut numbers = printed.lines().filter_map(|line| line.trim().parse::<u32>().ok());
        let (files, megabytes) = (numbers.next(), numbers.next());
        if files == Some(self.files) && megabytes >= Some(self.megabytes) {
            return Ok(());
        }
        Err(format!("{} files were to be made: {printed:?}", self.files).into())
    }

    /// Hands it over, in milliseconds.
    fn hand_over(&self, function: &str, nonce: &str) -> Result<f64, Failure> {
        let (took, printed) = self.call(function, Some(nonce))?;
        let directories = self.files.min(100);
        let each = self.files / directories;
        data::check(&printed, &format!("{nonce}\n{directories}\n{each}"))?;
        Ok(took)
    }

    fn call(&self, function: &str, nonce: Option<&str>) -> Result<(f64, String), Failure> {
        let (files, megabytes) = (self.files.to_string(), self.megabytes.to_string());
        let mut words = vec![function, "--files", &files, "--megabytes", &megabytes];
        words.extend(nonce.into_iter().flat_map(|nonce| ["--nonce", nonce]));
        let call = self.bench.wharf.call(&words)?;
        Ok((call.milliseconds(), call.printed))
    }
}
