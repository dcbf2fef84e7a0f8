//! The peer: `docker build` with BuildKit, doing the same work.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wharf_testkit::docker::Daemon;
use wharf_testkit::fixtures;

use super::{check, expected};
use crate::shell::Failure;

/// A tag that only the benchmark uses.
const TAG: &str = "wharf-bench-peer";

/// Builds Dockerfiles and checks what came out.
pub(super) struct Peer<'a> {
    daemon: &'a Daemon,
    context: TempDir,
}

impl<'a> Peer<'a> {
    pub(super) fn new(daemon: &'a Daemon) -> Result<Self, Failure> {
        daemon.load(&fixtures::busybox()?)?;
        Ok(Self {
            daemon,
            context: tempfile::tempdir()?,
        })
    }

    /// One step after the other, each adding its line to a file.
    pub(super) fn chain(
        &self,
        steps: usize,
        nonce: &str,
        network: bool,
        cache: bool,
    ) -> Result<Duration, Failure> {
        let mut file = String::from("FROM busybox:latest\n");
        for step in 0..steps {
            writeln!(file, "RUN echo {nonce}-{step} >> /chain")?;
        }
        let took = self.build(&file, network, cache)?;
        self.check("/chain", &expected(steps, nonce))?;
        Ok(took)
    }

    /// Independent steps that sleep a second, merged into one image.
    pub(super) fn sleeps(&self, count: usize, nonce: &str) -> Result<Duration, Failure> {
        let mut file = String::new();
        for stage in 0..count {
            writeln!(
                file,
                "FROM busybox:latest AS s{stage}\nRUN sleep 1; echo {nonce}-{stage} > /s{stage}"
            )?;
        }
        file.push_str("FROM busybox:latest\n");
        for stage in 0..count {
            writeln!(file, "COPY --from=s{stage} /s{stage} /all/{stage}")?;
        }
        let took = self.build(&file, false, false)?;
        self.check("/all/*", &expected(count, nonce))?;
        Ok(took)
    }

    fn build(&self, dockerfile: &str, network: bool, cache: bool) -> Result<Duration, Failure> {
        fs::write(self.context.path().join("Dockerfile"), dockerfile)?;
        let mut build = self.daemon.buildkit()?;
        build.args([
            "--quiet",
            "--tag",
            TAG,
            "--network",
            if network { "default" } else { "none" },
        ]);
        if !cache {
            build.arg("--no-cache");
        }
        build.arg(self.context.path());
        let start = Instant::now();
        let output = build.output()?;
        let took = start.elapsed();
        if !output.status.success() {
            return Err(format!(
                "docker build failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
        Ok(took)
    }

    fn check(&self, files: &str, expected: &str) -> Result<(), Failure> {
        let cat = format!("cat {files}");
        let output = self
            .daemon
            .run(["run", "--rm", "--network=none", TAG, "sh", "-c", &cat])?;
        check(&output.stdout, expected)
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.run(["image", "rm", "--force", TAG]);
    }
}
