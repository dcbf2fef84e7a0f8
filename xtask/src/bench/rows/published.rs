//! An image that is pushed to a registry beside us: with one layer that the registry does not have, and with none.
//!
//! What is pushed is made before its time is taken; that it arrived is asked of the registry.

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wharf_testkit::{Registry, process};

use super::super::data;
use super::super::figures::{Budget, Figures, Outcome, Unit};
use super::super::wharf::milliseconds;
use super::super::{Bench, Failure};
use super::{Row, images};

/// What pushes in the peer's place.
const DOCKER_PUSH: &str = "docker push";
/// The repository of the image that is changed, and that of what is pushed.
const BASE: &str = "bench/base";
const PUSHED: &str = "bench/pushed";

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "push",
        what: "push an image of 1 GiB of which one layer changed, 64 MiB that do not compress",
        unit: Unit::Milliseconds,
        budget: Budget::OfPeer(0.6),
        peer: DOCKER_PUSH,
        measure: |bench| push(bench, false).map(Outcome::from),
    },
    Row {
        name: "push-unchanged",
        what: "push the same image again, nothing changed",
        unit: Unit::Milliseconds,
        budget: Budget::Median(100.0),
        peer: DOCKER_PUSH,
        measure: |bench| push(bench, true).map(Outcome::from),
    },
];

/// A registry that has the image, for one of those who push.
struct Port {
    registry: Registry,
    _content: TempDir,
}

impl Port {
    fn start(bench: &Bench<'_>, is_for_engine: bool) -> Result<Self, Failure> {
        let content = tempfile::tempdir_in(data::place()?)?;
        // An engine in a container reaches the host by its bridge; Docker itself trusts loopback alone.
        let registry = match bench.wharf.world().daemon().filter(|_| is_for_engine) {
            Some(daemon) => Registry::start_on(content.path(), daemon.gateway()?)?,
            None => Registry::start(content.path())?,
        };
        registry.push(&images::large_image(bench.sizes.image_bytes, 0)?, BASE, "latest")?;
        Ok(Self {
            registry,
            _content: content,
        })
    }

    fn base(&self) -> String {
        format!("{}/{BASE}:latest", self.registry.address())
    }

    fn reference(&self, tag: &str) -> String {
        format!("{}/{PUSHED}:{tag}", self.registry.address())
    }

    /// Checks that an image arrived, by the number of its layers.
    fn check(&self, tag: &str, layers: usize) -> Result<(), Failure> {
        let mut inspect = Command::new(process::require("skopeo", "skopeo")?);
        inspect
            .args(["inspect", "--tls-verify=false", "--format", "{{len .Layers}}"])
            .arg(format!("docker://{}", self.reference(tag)));
        let output = process::run(&mut inspect)?;
        data::check(&String::from_utf8_lossy(&output.stdout), &layers.to_string())
    }
}

/// A call about the image with one changed layer.
fn words<'w>(function: &'w str, [base, megabytes, nonce]: [&'w str; 3]) -> [&'w str; 7] {
    [
        function,
        "--base",
        base,
        "--megabytes",
        megabytes,
        "--nonce",
        nonce,
    ]
}

fn push(bench: &Bench<'_>, is_there: bool) -> Result<(Figures, Option<Figures>), Failure> {
    let ours = Port::start(bench, true)?;
    let peers = bench
        .peer
        .as_ref()
        .map(|_| Port::start(bench, false))
        .transpose()?;
    let layers = images::large_image(bench.sizes.image_bytes, 0)?.layers()?.len();
    let megabytes = bench.sizes.layer_megabytes.to_string();
    let base = ours.base();
    let publish = |nonce: &str| {
        let reference = ours.reference(nonce);
        let call = bench.wharf.call(
            &[
                &words("published", [&base, &megabytes, nonce])[..],
                &["--reference", &reference],
            ]
            .concat(),
        )?;
        ours.check(nonce, layers + 1)?;
        Ok::<_, Failure>(call.milliseconds())
    };
    // The repository has the image's other layers.
    publish(&data::nonce())?;
    let measured = bench.compare(
        |nonce| {
            data::check(
                &bench
                    .wharf
                    .call(&words("changed", [&base, &megabytes, nonce]))?
                    .printed,
                nonce,
            )?;
            if is_there {
                publish(nonce)?;
            }
            publish(nonce)
        },
        |peer, nonce| {
            let port = peers.as_ref().ok_or("the peer has no registry")?;
            let reference = port.reference(nonce);
            peer.change(&port.base(), bench.sizes.layer_megabytes, nonce, &reference)?;
            let pushes = || -> Result<Duration, Failure> {
                let start = Instant::now();
                peer.push(&reference)?;
                let took = start.elapsed();
                port.check(nonce, layers + 1)?;
                Ok(took)
            };
            if is_there {
                pushes()?;
            }
            let took = pushes();
            peer.remove(&reference)?;
            Ok(milliseconds(took?))
        },
    );
    if let (Some(peer), Some(port)) = (&bench.peer, &peers) {
        peer.remove(&port.base())?;
    }
    measured
}
