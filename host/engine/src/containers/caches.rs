//! Cache volumes as volumes of the daemon. The store goes on deciding who may use which and when one is forgotten: its directory of
//! a volume holds what the volume begins with, and the name of the volume that was filled with it.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use wharf_digest::Digest;
use wharf_docker::{DockerError, StepDaemon, StepPlan, StepVolume};
use wharf_inside::Job;
use wharf_runner::{Error, Exit, Result, StepIo};

use super::{
    images::Images,
    io_error, refused,
    talk::{Content, Import, talk},
};

/// Where a volume is filled.
const TARGET: &str = "/volume";

/// The cache volumes of an engine.
#[derive(Debug)]
pub(super) struct Caches {
    daemon: StepDaemon,
    /// The store's directory of volumes.
    directory: PathBuf,
    /// Held while one is made and filled.
    making: tokio::sync::Mutex<()>,
}

impl Caches {
    pub(super) fn new(daemon: StepDaemon, store: &Path) -> Self {
        Self {
            daemon,
            directory: store.join("volumes"),
            making: tokio::sync::Mutex::default(),
        }
    }

    /// The daemon's volume for one of the store's, made and filled when there is none.
    pub(super) async fn volume(&self, source: &Path, images: &Images) -> Result<String> {
        if !source.starts_with(&self.directory) {
            return Err(super::lacks("mount a directory of the engine's own"));
        }
        let _alone = self.making.lock().await;
        let note = note_of(source);
        if let Ok(name) = std::fs::read_to_string(&note) {
            return Ok(name);
        }
        let stat = std::fs::metadata(source).map_err(|error| io_error("a cache volume", error))?;
        // A name that no other ever had: one that was forgotten may still be in use.
        let identity = format!(
            "{} {} {} {}",
            source.display(),
            stat.ino(),
            stat.ctime(),
            stat.ctime_nsec()
        );
        let identity = Digest::of(identity.as_bytes()).to_hex();
        let name = format!("wharf-cache-{}-{}", self.daemon.name(), &identity[..24]);
        self.daemon
            .make_volume(&name)
            .await
            .map_err(|error| refused(&error))?;
        self.fill(&name, source, images).await?;
        std::fs::write(&note, &name).map_err(|error| io_error("a cache volume", error))?;
        Ok(name)
    }

    /// Brings into a volume what the store's directory holds, in a container that does nothing else.
    async fn fill(&self, name: &str, source: &Path, images: &Images) -> Result<()> {
        let image = images.of(&[]).await.map_err(|error| refused(&error))?;
        let plan = StepPlan {
            image: image.name.clone(),
            entrypoint: images.entrypoint.clone(),
            volumes: vec![StepVolume {
                target: TARGET.to_owned(),
                name: Some(name.to_owned()),
                writable: true,
            }],
            ..StepPlan::default()
        };
        let job = Job {
            spec: None,
            files: Vec::new(),
            trees: vec![TARGET.to_owned()],
        };
        let contents = vec![Content::Tree(vec![source.to_owned()])];
        let io = StepIo {
            stdin: std::fs::File::open("/dev/null")
                .map_err(|error| io_error("/dev/null", error))?
                .into(),
            stdout: nowhere()?,
            stderr: nowhere()?,
        };
        let started = self.daemon.start(plan).await;
        let mut container = started.map_err(|error| refused(&error))?;
        let import = Import::into(None);
        let talked = talk(&mut container, job, contents, io, &import).await;
        container.remove().await;
        match talked? {
            Some(outcome) if outcome.exit == Exit::Code(0) => Ok(()),
            _ => Err(Error::Setup("a cache volume could not be filled".to_owned())),
        }
    }

    /// Removes the volumes that the store has forgotten.
    pub(super) async fn keep(&self) -> std::result::Result<(), DockerError> {
        let _alone = self.making.lock().await;
        let mut wanted = Vec::new();
        for volume in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(volume.path()).into_iter().flatten().flatten() {
                if file.file_name().to_string_lossy().starts_with(NOTE) {
                    wanted.extend(std::fs::read_to_string(file.path()));
                }
            }
        }
        self.daemon
            .keep_volumes(|name| wanted.iter().any(|wanted| wanted == name))
            .await
    }
}

/// How the names of notes begin.
const NOTE: &str = "docker-";

/// The file that names a volume, beside the store's directory of it.
fn note_of(source: &Path) -> PathBuf {
    let name = source.file_name().unwrap_or_default().to_string_lossy();
    source.with_file_name(format!("{NOTE}{name}"))
}

/// A pipe that nobody reads.
fn nowhere() -> Result<std::os::fd::OwnedFd> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map(|(_, write)| write)
        .map_err(|error| io_error("a pipe", error.into()))
}
