//! A large file that is fetched over HTTP, from a server beside us that hangs up in the middle of it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wharf_testkit::http::{HttpServer, Reply};
use wharf_testkit::process;

use super::super::data::{self, Random};
use super::super::figures::{Budget, Measured, Outcome, Unit};
use super::super::wharf::milliseconds;
use super::super::{Bench, Failure};
use super::Row;

pub(super) const ROWS: &[Row] = &[Row {
    name: "fetch-cut",
    what: "fetch a file of 2 GiB from a server that hangs up in the middle, once",
    unit: Unit::Milliseconds,
    budget: Budget::OfPeer(1.2),
    peer: "curl -C -",
    measure: fetch,
}];

/// What is compared of the middle, in bytes.
const BLOCK: u64 = 64 << 10;
/// How often curl is started at most.
const STARTS: usize = 5;

/// A file, kept between runs: it is named by its size.
struct Large {
    path: PathBuf,
    bytes: u64,
    last_line: String,
}

impl Large {
    fn make(bytes: u64) -> Result<Self, Failure> {
        let path = data::place()?.join(format!("file-{bytes}"));
        let last_line = format!("the end of {bytes} bytes");
        if !path.metadata().is_ok_and(|facts| facts.len() == bytes) {
            let pool = Random::new(bytes).bytes(1 << 20);
            let mut file = BufWriter::new(File::create(&path)?);
            let end = format!("\n{last_line}\n");
            let mut left = bytes - end.len() as u64;
            for number in 0_u64.. {
                if left == 0 {
                    break;
                }
                // No two of its parts are equal.
                file.write_all(&number.to_le_bytes()[..left.min(8) as usize])?;
                left -= left.min(8);
                let length = left.min(pool.len() as u64);
                file.write_all(&pool[..length as usize])?;
                left -= length;
            }
            file.write_all(end.as_bytes())?;
            file.flush()?;
        }
        Ok(Self {
            path,
            bytes,
            last_line,
        })
    }

    /// The part in which the server hangs up.
    fn block(&self) -> u64 {
        self.bytes / 2 / BLOCK
    }

    /// What tells that a file is this one: its length, its last line, the digest of its middle.
    fn facts(&self, path: &Path) -> Result<String, Failure> {
        let mut file = File::open(path)?;
        let mut middle = vec![0; BLOCK as usize];
        file.seek(SeekFrom::Start(self.block() * BLOCK))?;
        file.read_exact(&mut middle)?;
        let draft = tempfile::NamedTempFile::new()?;
        fs::write(draft.path(), middle)?;
        let sum = process::run(Command::new("sha256sum").arg(draft.path()))?;
        let digest = String::from_utf8_lossy(&sum.stdout[..64]).into_owned();
        file.seek(SeekFrom::End(-100))?;
        let mut end = Vec::new();
        file.read_to_end(&mut end)?;
        let end = String::from_utf8_lossy(&end).into_owned();
        let last_line = end.trim_end().rsplit('\n').next().unwrap_or_default();
        Ok(format!("{}\n{last_line}\n{digest}", file.metadata()?.len()))
    }

    /// A server of it under any path. The first answer of each that has the middle in it ends there.
    fn serve(&self) -> Result<(HttpServer, Arc<Mutex<HashSet<String>>>), Failure> {
        let cuts: Arc<Mutex<HashSet<String>>> = Arc::default();
        let (cut, path, middle) = (Arc::clone(&cuts), self.path.clone(), self.bytes / 2);
        let server = HttpServer::start(move |asked| {
            let reply = Reply::on_disk(asked, &path, "large").unwrap_or_else(|_| Reply::status(500));
            let Some(before) = reply.bytes_before(middle) else {
                return reply;
            };
            let mut cut = cut.lock().unwrap_or_else(PoisonError::into_inner);
            if cut.insert(asked.path.clone()) {
                reply.cut_after(before)
            } else {
                reply
            }
        })?;
        Ok((server, cuts))
    }
}

fn fetch(bench: &Bench<'_>) -> Result<Outcome, Failure> {
    if bench.wharf.world().daemon().is_some() {
        let why = "an engine in a container does not reach a server on this machine's loopback";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    let large = Large::make(bench.sizes.fetch_bytes)?;
    let facts = large.facts(&large.path)?;
    debug_assert!(facts.contains(&large.last_line));
    let (server, cuts) = large.serve()?;
    let was_cut = |path: &str| {
        let cuts = cuts.lock().unwrap_or_else(PoisonError::into_inner);
        if cuts.contains(path) {
            return Ok(());
        }
        Err(Failure::from(format!("nothing of {path} was cut off")))
    };
    let block = large.block().to_string();
    let (ours, peers) = bench.beside(
        |nonce| {
            bench.wharf.forget()?;
            let path = format!("/{nonce}");
            let call = bench
                .wharf
                .call(&["fetched", "--url", &server.url(&path), "--block", &block])?;
            data::check(&call.printed, &facts)?;
            was_cut(&path)?;
            Ok(call.milliseconds())
        },
        |nonce| {
            let path = format!("/{nonce}");
            let (took, file) = with_curl(&server.url(&path))?;
            data::check(&large.facts(file.path())?, &facts)?;
            was_cut(&path)?;
            Ok(milliseconds(took))
        },
    )?;
    bench.wharf.forget()?;
    Ok(Measured {
        ours,
        peers,
        note: Some(
            "curl is started again with `-C -` until it has all; ours looks at the file in a step".to_owned(),
        ),
    }
    .into())
}

/// Has curl fetch a file, starting it again for the rest after a cut.
fn with_curl(url: &str) -> Result<(Duration, tempfile::NamedTempFile), Failure> {
    let file = tempfile::NamedTempFile::new_in(data::place()?)?;
    let start = Instant::now();
    for _ in 0..STARTS {
        let mut curl = Command::new(process::require("curl", "curl")?);
        curl.args(["--silent", "--fail", "-C", "-", "--output"])
            .arg(file.path())
            .arg(url);
        if curl.status()?.success() {
            return Ok((start.elapsed(), file));
        }
    }
    Err(format!("curl was started {STARTS} times and has not all").into())
}
