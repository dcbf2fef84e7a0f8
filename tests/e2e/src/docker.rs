//! An engine in a container of the run's Docker daemon, started by `wharf engine start` as users start it.

use std::path::PathBuf;

use wharf_testkit::{
    World,
    docker::Daemon,
    hardened::Hardened,
    world::{Done, Engine},
};

/// The container, its volume and the world that `wharf` starts them in.
pub(crate) struct DockerPlace {
    world: World,
    // What stands before the daemon goes after the world's engine.
    hardened: Option<Hardened>,
}

impl DockerPlace {
    pub(crate) fn start() -> Self {
        let place = Self {
            world: World::on(Engine::Docker).expect("a Docker daemon"),
            hardened: None,
        };
        place.launch();
        place
    }

    /// On a daemon that refuses engines their rights.
    pub(crate) fn start_hardened() -> Self {
        let mut world = World::on(Engine::Docker).expect("a Docker daemon");
        let hardened = before_daemon(&mut world);
        let place = Self {
            world,
            hardened: Some(hardened),
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

/// Puts something before the world's daemon that refuses engines their rights.
pub fn before_daemon(world: &mut World) -> Hardened {
    let host = world.daemon().expect("a daemon").host().to_owned();
    let hardened = Hardened::before(&host, &world.path("docker.sock")).expect("a socket");
    world.set("DOCKER_HOST", hardened.host());
    hardened
}

impl Drop for DockerPlace {
    fn drop(&mut self) {
        self.wharf(&["engine", "stop"]);
        // What it was started for is gone, and with it whatever it holds up.
        let kind = if self.hardened.is_some() { "steps" } else { "store" };
        let volume = format!("wharf-{kind}-{}", self.name());
        // The daemon of a test's own goes with all it has.
        let _ = self.daemon().run(["volume", "rm", "--force", &volume]);
    }
}
