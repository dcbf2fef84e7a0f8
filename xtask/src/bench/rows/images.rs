//! An image that is pulled from a registry beside us, and unpacked.

use std::cell::RefCell;
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
const RECIPE: u32 = 2;

/// A large image in a registry, as the engine and as the peers name it. Each pull is of another one: nothing of it is there, and
/// nothing has to be removed before, after which the file system would be slower for minutes.
struct Served {
    ours: String,
    peers: String,
    /// What a file in it holds.
    nonce: String,
    _registries: [Option<Registry>; 2],
}

impl Served {
    fn start(bench: &Bench<'_>, variant: u32) -> Result<Self, Failure> {
        let image = large_image(bench.sizes.image_bytes, variant)?;
        let content = data::place()?.join("registry");
        let registry = Registry::start(&content)?;
        let tag = format!("v{variant}");
        registry.push(&image, NAME, &tag)?;
        // An engine in a container reaches the host by its bridge; Docker itself trusts loopback alone.
        let daemon = bench.wharf.world().daemon();
        let bridge = daemon
            .map(|daemon| Registry::start_on(&content, daemon.gateway()?))
            .transpose()?;
        let reference = |registry: &Registry| format!("{}/{NAME}:{tag}", registry.address());
        Ok(Self {
            ours: reference(bridge.as_ref().unwrap_or(&registry)),
            peers: reference(&registry),
            nonce: fs::read_to_string(image.layout.join("nonce"))?,
            _registries: [Some(registry), bridge],
        })
    }

    /// Pulls it and has a step look at it.
    fn pull(&self, bench: &Bench<'_>) -> Result<f64, Failure> {
        rustix::fs::sync();
        let call = bench.wharf.call(&["pulled", "--reference", &self.ours])?;
        data::check(&call.printed, &self.nonce)?;
        Ok(call.milliseconds())
    }
}

fn pull(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let images = served(bench, 0)?;
    let (ours, peers) = (images.iter(), images.iter());
    let (ours, peers) = (RefCell::new(ours), RefCell::new(peers));
    bench.compare(
        |_| next(&ours)?.pull(bench),
        |peer, _| {
            rustix::fs::sync();
            let image = next(&peers)?;
            Ok(milliseconds(peer.pull(&image.peers, &image.nonce)?))
        },
    )
}

fn pull_beside_skopeo(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let images = served(bench, bench.rounds)?;
    let stores = tempfile::tempdir_in(data::place()?)?;
    let (ours, peers) = (images.iter(), images.iter());
    let (ours, peers) = (RefCell::new(ours), RefCell::new(peers));
    bench.beside(
        |_| next(&ours)?.pull(bench),
        |nonce| {
            rustix::fs::sync();
            let image = next(&peers)?;
            let store = stores.path().join(nonce);
            Ok(milliseconds(unpack_with_skopeo(
                &image.peers,
                &image.nonce,
                &store,
            )?))
        },
    )
}

/// An image for each round, the first of them this variant.
fn served(bench: &Bench<'_>, first: u32) -> Result<Vec<Served>, Failure> {
    (first..first + bench.rounds)
        .map(|variant| Served::start(bench, variant))
        .collect()
}

fn next<'s>(images: &RefCell<std::slice::Iter<'s, Served>>) -> Result<&'s Served, Failure> {
    let image = images.borrow_mut().next();
    image.ok_or_else(|| "there are more rounds than images".into())
}

/// Copies an image into a store of containers that is empty, which unpacks it.
fn unpack_with_skopeo(reference: &str, nonce: &str, store: &Path) -> Result<Duration, Failure> {
    let (root, run) = (store.join("root"), store.join("run"));
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

/// Busybox's image with four more layers, kept between runs. Variants have nothing but busybox in common.
pub(super) fn large_image(bytes: u64, variant: u32) -> Result<Image, Failure> {
    let place = data::place()?;
    let layout = place.join(format!("image-{RECIPE}-{bytes}-{variant}"));
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
            u64::from(variant) * LAYERS.len() as u64 + at as u64,
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
