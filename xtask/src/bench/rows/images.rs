//! An image that is pulled from a registry beside us, and unpacked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_testkit::image::{Builder, Image};
use wharf_testkit::{Registry, fixtures, process};

use super::super::data::{self, Random};
use super::super::figures::{Budget, Figures, Outcome, Unit};
use super::super::wharf::milliseconds;
use super::super::{Bench, Failure};
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "pull",
        what: "pull an image of six layers, 1 GiB unpacked, and unpack it",
        unit: Unit::Milliseconds,
        budget: Budget::OfPeer(0.6),
        peer: "docker pull",
        measure: |bench| pull(bench).map(Outcome::from),
    },
    Row {
        name: "pull-beside-skopeo",
        what: "pull the same image",
        unit: Unit::Milliseconds,
        budget: Budget::OfPeer(0.6),
        peer: "skopeo copy",
        measure: |bench| pull_beside_skopeo(bench).map(Outcome::from),
    },
];

/// Shares of the content that the layers above the base have, in sixteenths: one has most of it.
const LAYERS: [u64; 4] = [1, 1, 12, 2];
/// Repository and tag.
const NAME: &str = "bench/large";
/// Goes up when the same size is made of other content.
const RECIPE: u32 = 1;

/// The large image in a registry, as the engine and as the peers name it.
struct Served {
    ours: String,
    peers: String,
    /// What a file in it holds.
    nonce: String,
    _registries: [Option<Registry>; 2],
}

impl Served {
    fn start(bench: &Bench<'_>) -> Result<Self, Failure> {
        let image = large_image(bench.sizes.image_bytes)?;
        let content = data::place()?.join("registry");
        let registry = Registry::start(&content)?;
        registry.push(&image, NAME, "latest")?;
        // An engine in a container reaches the host by its bridge; Docker itself trusts loopback alone.
        let daemon = bench.wharf.world().daemon();
        let bridge = daemon
            .map(|daemon| Registry::start_on(&content, daemon.gateway()?))
            .transpose()?;
        let reference = |registry: &Registry| format!("{}/{NAME}:latest", registry.address());
        Ok(Self {
            ours: reference(bridge.as_ref().unwrap_or(&registry)),
            peers: reference(&registry),
            nonce: fs::read_to_string(image.layout.join("nonce"))?,
            _registries: [Some(registry), bridge],
        })
    }

    /// Pulls it into an empty store and has a step look at it.
    fn pull(&self, bench: &Bench<'_>) -> Result<f64, Failure> {
        bench.wharf.forget()?;
        let call = bench.wharf.call(&["pulled", "--reference", &self.ours])?;
        data::check(&call.printed, &self.nonce)?;
        Ok(call.milliseconds())
    }
}

fn pull(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let served = Served::start(bench)?;
    bench.compare(
        |_| served.pull(bench),
        |peer, _| Ok(milliseconds(peer.pull(&served.peers, &served.nonce)?)),
    )
}

fn pull_beside_skopeo(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let served = Served::start(bench)?;
    bench.beside(
        |_| served.pull(bench),
        |_| Ok(milliseconds(unpack_with_skopeo(&served.peers, &served.nonce)?)),
    )
}

/// Copies an image into a store of containers that is empty, which unpacks it.
fn unpack_with_skopeo(reference: &str, nonce: &str) -> Result<Duration, Failure> {
    let store = tempfile::tempdir_in(data::place()?)?;
    let (root, run) = (store.path().join("root"), store.path().join("run"));
    let mut copy = Command::new(process::require("skopeo", "skopeo")?);
    copy.args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"])
        .arg(format!("docker://{reference}"))
        .arg(format!(
            "containers-storage:[overlay@{}+{}]localhost/bench:latest",
            root.display(),
            run.display()
        ));
    let start = Instant::now();
    process::run(&mut copy)?;
    let took = start.elapsed();
    // Each layer has a directory, and one of them the file.
    let layers = fs::read_dir(root.join("overlay"))?.flatten();
    let found = layers.filter_map(|layer| fs::read_to_string(layer.path().join("diff/nonce")).ok());
    let found = found.collect::<String>();
    // Where it is mounted to itself its files cannot be removed.
    let _ = Command::new("umount").arg(root.join("overlay")).status();
    data::check(&found, nonce)?;
    Ok(took)
}

/// Busybox's image with four more layers, kept between runs.
pub(super) fn large_image(bytes: u64) -> Result<Image, Failure> {
    let place = data::place()?;
    let layout = place.join(format!("image-{RECIPE}-{bytes}"));
    if layout.join("index.json").is_file() {
        return Ok(Image::open(NAME, &layout));
    }
    let _lock = process::lock(&place.join("image.lock"))?;
    let scratch = tempfile::tempdir_in(&place)?;
    let made = scratch.path().join("layout");
    let mut builder = Builder::new(&made)?;
    let base = scratch.path().join("base");
    fs::create_dir(&base)?;
    fixtures::busybox()?.unpack(&base)?;
    builder.layer(&base)?;
    let nonce = data::nonce();
    let last = scratch.path().join("nonce");
    fs::create_dir(&last)?;
    fs::write(last.join("nonce"), &nonce)?;
    for (at, share) in LAYERS.iter().enumerate() {
        let layer = scratch.path().join(format!("layer{at}"));
        fill(
            &layer.join(format!("opt/part{at}")),
            bytes * share / 16,
            at as u64,
        )?;
        builder.layer(&layer)?;
        fs::remove_dir_all(&layer)?;
    }
    builder.layer(&last)?;
    builder.finish(NAME, &json!({ "Cmd": ["sh"] }))?;
    fs::write(made.join("nonce"), &nonce)?;
    fs::rename(&made, &layout)?;
    Ok(Image::open(NAME, &layout))
}

/// Files as programs and their libraries are: a few large ones, many small ones, and to be compressed to about half.
fn fill(root: &Path, bytes: u64, seed: u64) -> Result<(), Failure> {
    let mut random = Random::new(seed + 1);
    let words: Vec<Vec<u8>> = (0..4096).map(|_| random.bytes(12)).collect();
    let mut left = bytes;
    let mut count = 0;
    while left > 0 {
        let size = match random.next() % 400 {
            0 => 16 << 20,
            1..20 => 256 << 10,
            _ => 1 + random.next() % (24 << 10),
        };
        let size = size.min(left);
        let directory: PathBuf = root.join(format!("d{}", count / 64));
        if count % 64 == 0 {
            fs::create_dir_all(&directory)?;
        }
        fs::write(
            directory.join(format!("f{count}")),
            content(&mut random, &words, size as usize),
        )?;
        left -= size;
        count += 1;
    }
    Ok(())
}

/// Words of a vocabulary, and between them bytes that do not come again.
fn content(random: &mut Random, words: &[Vec<u8>], size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        let number = random.next();
        bytes.extend_from_slice(&words[number as usize % words.len()]);
        bytes.extend_from_slice(&number.to_le_bytes()[4..]);
    }
    bytes.truncate(size);
    bytes
}
