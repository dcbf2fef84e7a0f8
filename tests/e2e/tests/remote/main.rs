//! Engines that other machines reach: who is let in, and what clients have of each other, which is nothing.

mod admission;
mod certificates;
mod files;
mod isolation;
mod shared;
mod sources;

use std::{path::PathBuf, process::Child, time::Duration};

use wharf_client::{Address, Connection, Remote, SessionOptions};
use wharf_e2e::engine::Run;
use wharf_graph::{Secret, op::SecretId};
use wharf_testkit::{World, process, world::Done};

/// How long what has to come may take under any load.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine that `wharf engine serve` is, on loopback, and the certificates of its clients `ann` and `bob`.
struct Server {
    world: World,
    child: Child,
    options: Vec<String>,
    address: Address,
}

impl Server {
    fn start() -> Self {
        Self::with(&["localhost", "127.0.0.1"], &[])
    }

    /// One whose certificate is for these hosts, with these options.
    fn with(hosts: &[&str], options: &[&str]) -> Self {
        let world = World::on(wharf_testkit::world::Engine::Local).expect("a world");
        let certs = world.path("certs").display().to_string();
        let hosts = hosts.iter().flat_map(|&host| ["--host", host]);
        let clients = ["--client", "ann", "--client", "bob"];
        world
            .wharf(
                ["engine", "certs", &certs]
                    .into_iter()
                    .chain(hosts)
                    .chain(clients),
            )
            .ok();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let child = spawn(&world, &options);
        let mut server = Self {
            world,
            child,
            options,
            address: "tcp://127.0.0.1:1".parse().expect("an address"),
        };
        server.find();
        server
    }

    /// Ends the engine and starts it again on its store.
    fn restart(&mut self) {
        self.stop();
        self.child = spawn(&self.world, &self.options);
        self.find();
    }

    /// Waits until it listens, and reads where.
    fn find(&mut self) {
        let found = process::wait_for(PATIENCE, || {
            let log = self.log();
            let (_, rest) = log.split_once("listens on tcp://")?;
            format!("tcp://{}", rest.split(',').next()?).parse().ok()
        });
        self.address = found.unwrap_or_else(|| panic!("no engine: {}", self.log()));
    }

    fn stop(&mut self) {
        process::terminate(self.child.id());
        let ended = process::wait_for(PATIENCE, || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    /// What the engine has said.
    fn log(&self) -> String {
        std::fs::read_to_string(self.world.path("engine.log")).unwrap_or_default()
    }

    /// Waits until the engine has said this.
    fn says(&self, text: &str) {
        let said = process::wait_for(PATIENCE, || self.log().contains(text).then_some(()));
        assert!(
            said.is_some(),
            "the engine does not say {text:?}:\n{}",
            self.log()
        );
    }

    /// The directory of a client's certificate.
    fn certificates(&self, client: &str) -> PathBuf {
        self.world.path("certs/clients").join(client)
    }

    fn remote(&self, client: &str) -> Remote {
        Remote::new(&self.address, &self.certificates(client)).expect("a client's certificate")
    }

    /// A connection of a client's.
    async fn connection(&self, client: &str) -> Connection {
        let opened = Connection::open_remote(&self.remote(client)).await;
        opened.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// A run of a client's.
    fn run(&self, client: &str) -> Run {
        let remote = self.remote(client);
        let options = SessionOptions {
            stat_cache: self.world.path(format!("stat-{client}")),
            ..SessionOptions::default()
        };
        let connector = Box::new(move || {
            let remote = remote.clone();
            Box::pin(async move { Connection::open_remote(&remote).await })
                as futures::future::BoxFuture<'static, _>
        });
        Run::over(connector, options)
    }

    /// `wharf` with the engine of this server, as a client.
    fn wharf(&self, client: &str, args: &[&str]) -> Done {
        let mut command = self.world.command(args);
        command
            .env("WHARF_ENGINE", self.address.to_string())
            .env("WHARF_ENGINE_CERTS", self.certificates(client));
        Done::of(command)
    }

    /// A secret in a file: each client has a value of its own under one name.
    fn secret(&self, run: &Run, value: &str) -> Secret {
        let path = self.world.path("secret");
        std::fs::write(&path, value).expect("a file");
        let secret = Secret {
            name: "token".to_owned(),
            id: SecretId {
                owner: "team".to_owned(),
                uri: format!("file:{}", path.display()),
            },
        };
        run.session.register_secret(secret.id.clone());
        secret
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The engine of a world, with a new log.
fn spawn(world: &World, options: &[String]) -> Child {
    let mirror = wharf_testkit::fixtures::mirror().expect("a registry with the base images");
    let log = std::fs::File::create(world.path("engine.log")).expect("a log");
    let mut command = world.command(["engine", "serve", "--listen", "tcp://127.0.0.1:0", "--certs"]);
    command.arg(world.path("certs"));
    for pair in mirror.setting().split(',') {
        command.args(["--mirror", pair]);
    }
    // The registry has to live as long as the test process.
    std::mem::forget(mirror);
    command
        .args(options)
        .stderr(log)
        .spawn()
        .expect("the engine starts")
}

/// A value that no other run has.
fn random() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel's");
    text.trim().replace('-', "")
}
