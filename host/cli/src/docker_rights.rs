//! What a Docker lets an engine do there: make containers itself, or have the daemon make one for each step.

use std::path::{Path, PathBuf};

use wharf_docker::{Daemon, DockerError, DockerOptions, Located, Steps};

use crate::{engine_choice::EngineSettings, output};

/// Runs steps in containers of the engine's own.
pub(crate) const BUILT_IN: &str = "builtin";
/// Has the daemon make a container for each step.
pub(crate) const DOCKER: &str = "docker";
/// The one of both that works.
pub(crate) const AUTO: &str = "auto";

/// What is remembered of a daemon that refuses an engine the rights to make containers.
struct Refusal(PathBuf);

impl Refusal {
    fn of(settings: &EngineSettings) -> Self {
        Self(settings.places.run.join("docker.refused"))
    }

    /// Why, when it is this daemon that refused.
    fn read(&self, located: &Located) -> Option<String> {
        let text = std::fs::read_to_string(&self.0).ok()?;
        let (place, why) = text.split_once('\n')?;
        (place == located.to_string()).then(|| why.to_owned())
    }

    fn write(&self, located: &Located, why: &str) {
        // Without it the next start tries for nothing, and no more.
        std::fs::create_dir_all(self.0.parent().unwrap_or(Path::new("/"))).ok();
        std::fs::write(&self.0, format!("{located}\n{why}")).ok();
    }
}

impl EngineSettings {
    /// Who makes the containers of steps in the Docker that is used, as far as is known.
    pub(crate) fn docker_steps(&self) -> Steps {
        match self.runtime.as_str() {
            DOCKER => Steps::InDocker,
            AUTO if self.docker_refusal().is_some() => Steps::InDocker,
            _ => Steps::InEngine,
        }
    }

    /// Why the Docker that is used refused an engine the rights to make containers, if it has.
    pub(crate) fn docker_refusal(&self) -> Option<String> {
        let host = std::env::var("DOCKER_HOST").ok();
        Refusal::of(self).read(&Located::find(host.as_deref()).ok()?)
    }

    /// The next start tries again.
    pub(crate) fn forget_docker_refusal(&self) {
        std::fs::remove_file(Refusal::of(self).0).ok();
    }

    /// Starts the engine's container; where the daemon refuses it its rights, and nothing else was asked for, one that needs none.
    /// Returns what it was started with.
    pub(crate) async fn start_in_docker(
        &self,
        daemon: &Daemon,
        options: &DockerOptions,
    ) -> Result<DockerOptions, DockerError> {
        if options.steps == Steps::InDocker {
            if let Some(why) = self.docker_refusal() {
                tell(&why);
            }
            wharf_docker::start(daemon, options).await?;
            return Ok(options.clone());
        }
        match wharf_docker::start(daemon, options).await {
            Err(DockerError::Rights(why)) if self.runtime == AUTO => {
                tell(&why);
                let options = self.in_docker(options);
                wharf_docker::start(daemon, &options).await?;
                Refusal::of(self).write(daemon.located(), &why);
                Ok(options)
            }
            outcome => outcome.map(|()| options.clone()),
        }
    }

    fn in_docker(&self, options: &DockerOptions) -> DockerOptions {
        DockerOptions {
            steps: Steps::InDocker,
            args: self.serve_args(Steps::InDocker),
            ..options.clone()
        }
    }
}

fn tell(why: &str) {
    output::aside(&format!(
        "this Docker refuses the engine what it needs to make containers ({why}): each step runs as a container of it, slower\n"
    ));
}
