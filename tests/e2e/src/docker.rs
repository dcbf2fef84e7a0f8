//! An engine in a container of the run's Docker daemon, started by `wharf engine start` as users start it.

use std::path::PathBuf;

use wharf_testkit::{
    World,
    docker::Daemon,
    world::{Done, Engine},
};

/// The container, its volume and the world that `wharf` starts them in.
pub(crate) struct DockerPlace {
    world: World,
}

impl DockerPlace {
    pub(crate) fn start() -> Self {
        let place = Self {
            world: World::on(Engine::Docker).expect("a Docker daemon"),
        };
        place.launch();
        place
    }

    pub(crate) fn launch(&self) {
        self.wharf(&["engine", "start"]).exits(0);
    }

    pub(crate) fn kill(&self) {
        self.daemon()
            .run(["kill", "--signal=KILL", &format!("wharf-engine-{}", self.name())])
            .expect("the engine's container is killed");
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.run_directory().join("engine.sock")
    }

    pub(crate) fn log_text(&self) -> String {
        self.wharf(&["engine", "logs"]).text().to_owned()
    }

    fn wharf(&self, args: &[&str]) -> Done {
        self.world.wharf(args)
    }

    fn daemon(&self) -> &Daemon {
        self.world.daemon().expect("a world on Docker has a daemon")
    }

    fn run_directory(&self) -> PathBuf {
        self.world.path("wharf/run/docker")
    }

    /// What tells this engine from others of the daemon: made of the socket's directory.
    fn name(&self) -> String {
        let directory = self.run_directory();
        wharf_digest::Digest::of(directory.as_os_str().as_encoded_bytes()).to_hex()[..12].to_owned()
    }
}

impl Drop for DockerPlace {
    fn drop(&mut self) {
        self.wharf(&["engine", "stop"]);
        let volume = format!("wharf-store-{}", self.name());
        // The daemon of a test's own goes with all it has.
        let _ = self.daemon().run(["volume", "rm", "--force", &volume]);
    }
}
