//! Podman with images and containers of its own, without a service manager.

use std::{
    fs,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use crate::{Error, Result, docker::unmount_below, paths, process};

/// Podman's store. Its containers end and its files go when it is dropped.
#[derive(Debug)]
pub struct Podman {
    store: TempDir,
}

impl Podman {
    /// An empty store.
    pub fn new() -> Result<Self> {
        process::require("podman", "podman")?;
        // Under target, because overlay wants a real file system.
        let parent = paths::target().join("podman");
        fs::create_dir_all(&parent).map_err(Error::io("creating", &parent))?;
        let store = TempDir::new_in(&parent).map_err(Error::io("making a directory in", &parent))?;
        Ok(Self { store })
    }

    /// The client, with this store, and the runtime and isolation that work everywhere.
    pub fn command(&self) -> Command {
        let mut podman = Command::new("podman");
        podman
            .arg("--root")
            .arg(self.store.path().join("root"))
            .arg("--runroot")
            .arg(self.store.path().join("run"))
            .args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"])
            .args(["--runtime", "runc"])
            .args(["--events-backend", "none"])
            .stdin(Stdio::null());
        podman
    }

    /// What `podman run` and these words come to: without a network, and with limits that any process may set, as podman's own
    /// are higher than some hosts allow.
    pub fn run_command(&self, words: &[&str]) -> Command {
        let mut podman = self.command();
        podman
            .args(["run", "--network=none", "--security-opt=seccomp=unconfined"])
            .args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024"])
            .args(words);
        podman
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What is gone already is as good as removed.
        let _ = self
            .command()
            .args(["rm", "--all", "--force", "--time", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        unmount_below(self.store.path());
    }
}
