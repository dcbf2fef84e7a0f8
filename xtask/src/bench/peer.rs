//! The peer: `docker build` with BuildKit, `docker pull` and `docker push`, doing the same work.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wharf_testkit::docker::Daemon;
use wharf_testkit::fixtures;

use super::data::{check, expected};
use crate::shell::{Done, Failure};

/// A tag that only the benchmark uses.
const TAG: &str = "wharf-bench-peer";

/// Builds Dockerfiles, pulls images, and checks what came of it.
pub(super) struct Peer<'a> {
    daemon: &'a Daemon,
    files: TempDir,
}

/// How a Dockerfile is built.
struct Build<'a> {
    dockerfile: &'a str,
    /// What `COPY` sees; nothing when absent.
    context: Option<&'a Path>,
    network: bool,
    cache: bool,
}

impl<'a> Peer<'a> {
    pub(super) fn new(daemon: &'a Daemon) -> Result<Self, Failure> {
        daemon.load(&fixtures::busybox()?)?;
        let files = tempfile::tempdir()?;
        fs::create_dir(files.path().join("empty"))?;
        Ok(Self { daemon, files })
    }

    /// One step after the other, each adding its line to a file.
    pub(super) fn chain(
        &self,
        steps: u32,
        nonce: &str,
        network: bool,
        cache: bool,
    ) -> Result<Duration, Failure> {
        let mut dockerfile = String::from("FROM busybox:latest\n");
        for step in 0..steps {
            writeln!(dockerfile, "RUN echo {nonce}-{step} >> /chain")?;
        }
        self.lines(&dockerfile, steps, nonce, network, cache)
    }

    /// The commands of a chain in one step.
    pub(super) fn together(&self, steps: u32, nonce: &str, network: bool) -> Result<Duration, Failure> {
        let commands: Vec<_> = (0..steps)
            .map(|step| format!("sh -c 'echo {nonce}-{step} >> /chain'"))
            .collect();
        let dockerfile = format!("FROM busybox:latest\nRUN {}\n", commands.join(" && "));
        self.lines(&dockerfile, steps, nonce, network, false)
    }

    fn lines(
        &self,
        dockerfile: &str,
        steps: u32,
        nonce: &str,
        network: bool,
        cache: bool,
    ) -> Result<Duration, Failure> {
        let took = self.build(&Build {
            dockerfile,
            context: None,
            network,
            cache,
        })?;
        check(&self.shows("cat /chain")?, &expected(steps, nonce))?;
        Ok(took)
    }

    /// Independent steps that sleep a second, merged into one image.
    pub(super) fn sleeps(&self, count: u32, nonce: &str) -> Result<Duration, Failure> {
        let mut dockerfile = String::new();
        for stage in 0..count {
            writeln!(
                dockerfile,
                "FROM busybox:latest AS s{stage}\nRUN sleep 1; echo {nonce}-{stage} > /s{stage}"
            )?;
        }
        dockerfile.push_str("FROM busybox:latest\n");
        for stage in 0..count {
            writeln!(dockerfile, "COPY --from=s{stage} /s{stage} /all/{stage}")?;
        }
        let took = self.build(&Build {
            dockerfile: &dockerfile,
            context: None,
            network: false,
            cache: false,
        })?;
        check(&self.shows("cat /all/*")?, &expected(count, nonce))?;
        Ok(took)
    }

    /// A directory of the host, copied into an image; `expected` is its nonce and its number of files.
    pub(super) fn take(&self, source: &Path, expected: &str) -> Result<Duration, Failure> {
        let took = self.build(&Build {
            dockerfile: "FROM busybox:latest\nCOPY . /in\n",
            context: Some(source),
            network: false,
            cache: true,
        })?;
        check(&self.shows("cat /in/nonce; find /in -type f | wc -l")?, expected)?;
        Ok(took)
    }

    /// Pulls an image that is not there.
    pub(super) fn pull(&self, reference: &str, nonce: &str) -> Result<Duration, Failure> {
        let start = Instant::now();
        self.daemon.run(["pull", "--quiet", reference])?;
        let took = start.elapsed();
        let output = self
            .daemon
            .run(["run", "--rm", "--network=none", reference, "cat", "/nonce"])?;
        self.daemon.run(["image", "rm", "--force", reference])?;
        check(&String::from_utf8_lossy(&output.stdout), nonce)?;
        Ok(took)
    }

    /// Changes an image by one layer of random bytes, under another name. Its other layers are in that repository afterwards.
    pub(super) fn change(&self, base: &str, megabytes: u32, nonce: &str, name: &str) -> Done {
        let (repository, _) = name.rsplit_once(':').unwrap_or((name, ""));
        let before = format!("{repository}:base");
        self.daemon.run(["pull", "--quiet", base])?;
        self.daemon.run(["tag", base, &before])?;
        self.daemon.run(["push", &before])?;
        let script = format!("echo {nonce} > /nonce; head -c {megabytes}m /dev/urandom > /changed");
        self.build(&Build {
            dockerfile: &format!("FROM {base}\nRUN {script}\n"),
            context: None,
            network: false,
            cache: false,
        })?;
        check(&self.shows("cat /nonce")?, nonce)?;
        self.daemon.run(["tag", TAG, name])?;
        self.remove(&before)
    }

    pub(super) fn push(&self, name: &str) -> Done {
        self.daemon.run(["push", "--quiet", name])?;
        Ok(())
    }

    pub(super) fn remove(&self, name: &str) -> Done {
        self.daemon.run(["image", "rm", "--force", name])?;
        Ok(())
    }

    fn build(&self, wanted: &Build<'_>) -> Result<Duration, Failure> {
        let file: PathBuf = self.files.path().join("Dockerfile");
        fs::write(&file, wanted.dockerfile)?;
        let mut build = self.daemon.buildkit()?;
        build.args(["--quiet", "--tag", TAG, "--network"]);
        build.arg(if wanted.network { "default" } else { "none" });
        if !wanted.cache {
            build.arg("--no-cache");
        }
        let empty = self.files.path().join("empty");
        build
            .arg("--file")
            .arg(&file)
            .arg(wanted.context.unwrap_or(&empty));
        let start = Instant::now();
        let output = build.output()?;
        let took = start.elapsed();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("docker build failed:\n{said}").into());
        }
        Ok(took)
    }

    /// What a command prints in the image that was built last.
    fn shows(&self, script: &str) -> Result<String, Failure> {
        let output = self
            .daemon
            .run(["run", "--rm", "--network=none", TAG, "sh", "-c", script])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        let _ = self.daemon.run(["image", "rm", "--force", TAG]);
    }
}
