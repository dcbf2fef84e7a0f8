//! What an engine asks of the daemon that it is a container of, where each step is a container of it as well.
//!
//! Whatever is made carries the engine's name: containers and images for as long as the engine runs, cache volumes for as long as it
//! remembers.

use std::{collections::HashMap, path::Path, pin::Pin};

use bollard::{
    ClientVersion, Docker,
    container::LogOutput,
    models::{
        ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType, MountVolumeOptions,
        VolumeCreateRequest,
    },
    query_parameters::{
        AttachContainerOptionsBuilder, ImportImageOptionsBuilder, ListContainersOptionsBuilder,
        ListImagesOptionsBuilder, ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder,
        RemoveImageOptionsBuilder, RemoveVolumeOptions, StartContainerOptions, WaitContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::{io::AsyncWrite, task::JoinHandle};

use crate::{DockerError, container::is_missing};

/// Says whose a container, an image or an unnamed volume is.
const STEP_LABEL: &str = "dev.wharf.step";
/// Says whose a cache volume is.
const CACHE_LABEL: &str = "dev.wharf.cache";
/// How long a request may take, in seconds: an image's first layers may be large.
const WORK_LIMIT: u64 = 3600;
/// The exit code of a container whose first process was killed.
const KILLED: i64 = 137;

/// The daemon, for one engine's steps.
#[derive(Clone, Debug)]
pub struct StepDaemon {
    docker: Docker,
    name: String,
}

/// A volume in a container.
#[derive(Clone, Debug)]
pub struct StepVolume {
    /// Where.
    pub target: String,
    /// Which; one of the container's own when there is none.
    pub name: Option<String>,
    /// Can it be written to?
    pub writable: bool,
}

/// A container as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct StepPlan {
    /// Its image.
    pub image: String,
    /// Its first process.
    pub entrypoint: Vec<String>,
    /// The name of its host.
    pub hostname: String,
    /// Does it have a way out?
    pub network: bool,
    /// Volumes.
    pub volumes: Vec<StepVolume>,
    /// Directories in memory, and their mount options.
    pub temporary: HashMap<String, String>,
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    /// Processes and threads.
    pub pids: Option<i64>,
}

/// A container that was started, and both ends of its first process.
pub struct StepContainer {
    docker: Docker,
    /// Its id.
    pub id: String,
    /// What it writes to its standard output.
    pub output: Pin<Box<dyn Stream<Item = Result<Bytes, DockerError>> + Send>>,
    /// What it reads. It ends when this is closed.
    pub input: Pin<Box<dyn AsyncWrite + Send>>,
    ended: JoinHandle<Option<i64>>,
}

impl StepDaemon {
    /// The daemon behind a socket.
    pub async fn connect(socket: &Path, name: &str) -> Result<Self, DockerError> {
        let refused = DockerError::refused("be reached from the engine's container");
        let docker = Docker::connect_with_unix(
            &socket.to_string_lossy(),
            WORK_LIMIT,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(&refused)?;
        let docker = docker.negotiate_version().await.map_err(&refused)?;
        Ok(Self {
            docker,
            name: name.to_owned(),
        })
    }

    /// The engine's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version and the API's that is spoken, for people.
    pub async fn version(&self) -> String {
        let ClientVersion {
            major_version,
            minor_version,
        } = self.docker.client_version();
        let known = self.docker.version().await.ok().and_then(|answer| answer.version);
        format!(
            "Docker {}, API {major_version}.{minor_version}",
            known.unwrap_or_default()
        )
    }

    /// The labels of an image that [`Self::load`] is given.
    pub fn labels(&self) -> HashMap<String, String> {
        HashMap::from([(STEP_LABEL.to_owned(), self.name.clone())])
    }

    /// Takes an archive of an image in.
    pub async fn load<S>(&self, archive: S) -> Result<(), DockerError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    {
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let said: Vec<_> = self
            .docker
            .import_image_stream(options, archive, None)
            .try_collect()
            .await
            .map_err(DockerError::refused("load a step's layers"))?;
        let failed = said
            .into_iter()
            .find_map(|said| said.error_detail.and_then(|detail| detail.message));
        match failed {
            None => Ok(()),
            Some(why) => Err(DockerError::said("load a step's layers", why)),
        }
    }

    /// Is the image there?
    pub async fn has_image(&self, name: &str) -> Result<bool, DockerError> {
        match self.docker.inspect_image(name).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(DockerError::refused("look at a step's image")(error)),
        }
    }

    /// Removes an image, and the layers that no other has.
    pub async fn remove_image(&self, name: &str) {
        let options = RemoveImageOptionsBuilder::new().force(true).build();
        // One that stays takes room until the engine starts again.
        self.docker.remove_image(name, Some(options), None).await.ok();
    }

    /// Makes a volume for a cache.
    pub async fn make_volume(&self, name: &str) -> Result<(), DockerError> {
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(HashMap::from([(CACHE_LABEL.to_owned(), self.name.clone())])),
            ..VolumeCreateRequest::default()
        };
        let made = self.docker.create_volume(request).await;
        made.map(drop)
            .map_err(DockerError::refused("make a cache volume"))
    }

    /// Removes the cache volumes that are not wanted; what is used stays.
    pub async fn keep_volumes(&self, is_wanted: impl Fn(&str) -> bool) -> Result<(), DockerError> {
        let refused = DockerError::refused("list cache volumes");
        let filters = HashMap::from([("label", vec![format!("{CACHE_LABEL}={}", self.name)])]);
        let options = ListVolumesOptionsBuilder::new()
            .filters(&to_owned(filters))
            .build();
        let listed = self.docker.list_volumes(Some(options)).await.map_err(refused)?;
        for volume in listed.volumes.unwrap_or_default() {
            if !is_wanted(&volume.name) {
                self.docker
                    .remove_volume(&volume.name, None::<RemoveVolumeOptions>)
                    .await
                    .ok();
            }
        }
        Ok(())
    }

    /// Removes what an engine of this name has left: containers with their volumes, and images.
    pub async fn sweep(&self) -> Result<(), DockerError> {
        let refused = DockerError::refused("list what an engine has left");
        let ours = to_owned(HashMap::from([(
            "label",
            vec![format!("{STEP_LABEL}={}", self.name)],
        )]));
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&ours)
            .build();
        let containers = self.docker.list_containers(Some(options)).await;
        for container in containers.map_err(&refused)? {
            remove(&self.docker, container.id.as_deref().unwrap_or_default()).await;
        }
        let options = ListImagesOptionsBuilder::new().filters(&ours).build();
        let images = self.docker.list_images(Some(options)).await.map_err(&refused)?;
        for name in images.iter().flat_map(|image| &image.repo_tags) {
            self.remove_image(name).await;
        }
        Ok(())
    }

    /// Makes a container, attaches to it and starts it.
    pub async fn start(&self, plan: StepPlan) -> Result<StepContainer, DockerError> {
        let body = self.body(plan);
        let made = self
            .docker
            .create_container(None::<bollard::query_parameters::CreateContainerOptions>, body)
            .await
            .map_err(DockerError::refused("make a step's container"))?;
        let started = self.attach_and_start(made.id.clone()).await;
        if started.is_err() {
            remove(&self.docker, &made.id).await;
        }
        started
    }

    async fn attach_and_start(&self, id: String) -> Result<StepContainer, DockerError> {
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let attached = self
            .docker
            .attach_container(&id, Some(options))
            .await
            .map_err(DockerError::refused("attach to a step's container"))?;
        self.docker
            .start_container(&id, None::<StartContainerOptions>)
            .await
            .map_err(DockerError::refused("start a step's container"))?;
        let (docker, waited) = (self.docker.clone(), id.clone());
        let ended = tokio::spawn(async move {
            let options = WaitContainerOptionsBuilder::new()
                .condition("not-running")
                .build();
            let mut ends = std::pin::pin!(docker.wait_container(&waited, Some(options)));
            match ends.next().await? {
                Ok(end) => Some(end.status_code),
                Err(bollard::errors::Error::DockerContainerWaitError { code, .. }) => Some(code),
                Err(_) => None,
            }
        });
        let output = attached.output.filter_map(async |piece| match piece {
            Ok(LogOutput::StdOut { message }) => Some(Ok(message)),
            // What a first process says that never came to be one.
            Ok(LogOutput::StdErr { message }) => Some(Err(DockerError::Refused {
                doing: "run a step's first process",
                why: String::from_utf8_lossy(&message).trim().to_owned(),
            })),
            Ok(_) => None,
            Err(error) => Some(Err(DockerError::refused("pass on what a step says")(error))),
        });
        Ok(StepContainer {
            docker: self.docker.clone(),
            id,
            output: Box::pin(output),
            input: attached.input,
            ended,
        })
    }

    fn body(&self, plan: StepPlan) -> ContainerCreateBody {
        let mounts = plan.volumes.into_iter().map(|volume| Mount {
            target: Some(volume.target),
            volume_options: Some(MountVolumeOptions {
                // What the image has there is hidden, as by any other mount.
                no_copy: Some(true),
                labels: volume.name.is_none().then(|| self.labels()),
                ..MountVolumeOptions::default()
            }),
            source: volume.name,
            typ: Some(MountType::VOLUME),
            read_only: Some(!volume.writable),
            ..Mount::default()
        });
        let host = HostConfig {
            mounts: Some(mounts.collect()),
            tmpfs: Some(plan.temporary),
            network_mode: Some(if plan.network { "bridge" } else { "none" }.to_owned()),
            // Its output is the step's, and its changes: nothing that a daemon should keep.
            log_config: Some(HostConfigLogConfig {
                typ: Some("none".to_owned()),
                config: None,
            }),
            memory: plan.memory,
            memory_swap: plan.memory,
            nano_cpus: plan.nano_cpus,
            pids_limit: plan.pids,
            auto_remove: Some(true),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(plan.image),
            entrypoint: Some(plan.entrypoint),
            cmd: Some(Vec::new()),
            hostname: Some(plan.hostname),
            user: Some("0:0".to_owned()),
            working_dir: Some("/".to_owned()),
            labels: Some(self.labels()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        }
    }
}

impl StepContainer {
    /// Ends and removes it, with its own volumes.
    pub async fn remove(&mut self) {
        remove(&self.docker, &self.id).await;
    }

    /// Waits until it has ended; was its first process killed?
    pub async fn was_killed(&mut self) -> bool {
        (&mut self.ended).await.ok().flatten() == Some(KILLED)
    }
}

/// A container that has ended may be gone already.
async fn remove(docker: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    docker.remove_container(id, Some(options)).await.ok();
}

fn to_owned(filters: HashMap<&str, Vec<String>>) -> HashMap<String, Vec<String>> {
    filters
        .into_iter()
        .map(|(name, values)| (name.to_owned(), values))
        .collect()
}
