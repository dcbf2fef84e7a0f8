//! A module that others call: values of every kind go through it, it breaks when asked to, and it tries what it was not given.

/// How hard to try.
#[derive(Clone, Copy, Debug, wharf_sdk::Type)]
pub enum Level {
    /// As it comes.
    Low,
    /// With patience.
    VeryHigh,
}

/// What came out.
#[derive(Debug, wharf_sdk::Type)]
pub struct Report {
    /// The files.
    tree: wharf_sdk::Directory,
    /// How hard it was.
    level: Option<Level>,
    /// Names and sizes.
    sizes: Vec<(String, u32)>,
}

/// Where something comes from.
#[derive(Debug, wharf_sdk::Type)]
pub enum Origin {
    /// Nowhere.
    Nowhere,
    /// A tree.
    At(wharf_sdk::Directory),
    /// A reference.
    Named {
        /// Its name.
        name: String,
        /// How often.
        times: u8,
    },
}

/// What others call.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use crate::{Level, Origin, Report};

    /// Adds a file.
    pub async fn add(
        /// To this.
        tree: Directory,
        /// The file's name.
        name: String,
        /// What is in it.
        text: String,
    ) -> Result<Directory> {
        Ok(tree.with_new_file(name, text))
    }

    /// Gives back what it got, in another order.
    pub async fn turn(report: Report, level: Level, origins: Vec<Origin>) -> Result<(Vec<Origin>, Report)> {
        let Report { tree, sizes, .. } = report;
        let report = Report {
            tree: tree.with_new_file("level", format!("{level:?}")),
            level: Some(level),
            sizes: sizes.into_iter().rev().collect(),
        };
        Ok((origins.into_iter().rev().collect(), report))
    }

    /// Every plain type.
    #[allow(clippy::too_many_arguments)]
    pub fn plain(
        flag: bool,
        letter: char,
        small: u8,
        whole: i32,
        big: u64,
        least: i64,
        fraction: f64,
        half: f32,
        maybe: Option<String>,
    ) -> String {
        format!("{flag} {letter} {small} {whole} {big} {least} {fraction} {half} {maybe:?}")
    }

    /// Says a word after a step has run.
    pub async fn word(container: Container, word: String) -> Result<String> {
        container.with_exec(["echo", "-n", &word]).stdout().await
    }

    /// Panics.
    pub fn breaks(message: String) -> u32 {
        panic!("{message}")
    }

    /// Fails in the contract's way.
    pub fn fails(message: String) -> Result<u32> {
        Err(Error::NotFound(message))
    }

    /// Fails with a text.
    pub fn fails_with_text(message: String) -> Result<u32, String> {
        Err(message)
    }

    /// Runs a step in a container for as long as it is let.
    pub async fn waits(container: Container) -> Result<()> {
        container.with_exec(["sleep", "1000"]).sync().await
    }

    /// Does nothing, and does not stop.
    pub fn spins() -> u32 {
        let mut count = 0_u32;
        loop {
            count = core::hint::black_box(count).wrapping_add(1);
        }
    }

    /// What it can do with a container that it was handed: what its own step sees.
    pub async fn looks(container: Container, script: String) -> Result<String> {
        container.with_exec(["sh", "-c", &script]).stdout().await
    }

    /// The container with the helper's own cache, secret and network in it.
    pub async fn furnished(container: Container) -> Result<Container> {
        let key = Secret::of_value("KEY", "the helper's own key");
        let furnished = container
            .with_mounted_cache("/cache", &CacheVolume::new("shared-name"))
            .with_secret_variable("HELPER_KEY", &key)
            .with_exec(["sh", "-c", "echo helper > /cache/who; test -n \"$HELPER_KEY\" && echo seen > /seen"]);
        Ok(furnished)
    }

    /// What is in the helper's cache of this name.
    pub async fn cached(container: Container, name: String) -> Result<String> {
        let container = container.with_mounted_cache("/own", &CacheVolume::new(name));
        container.with_exec(["sh", "-c", "cat /own/* 2>/dev/null; true"]).stdout().await
    }

    /// Asks for its rights.
    pub fn granted(capabilities: Vec<String>) -> Vec<bool> {
        capabilities.iter().map(wharf_sdk::module::granted).collect()
    }

    /// Tries one thing, and says what came of it.
    pub async fn tries(what: String, value: String, container: Container) -> Result<String> {
        crate::tries(&what, &value, container).await
    }

    /// Sees a secret.
    pub async fn sees(secret: Secret) -> Result<String> {
        secret.plaintext().await
    }

    /// Passes a secret to a step.
    pub async fn uses(container: Container, secret: Secret) -> Result<String> {
        let container = container.with_mounted_secret("/secret", &secret);
        container.with_exec(["sh", "-c", "wc -c < /secret"]).stdout().await
    }
}

use wharf_sdk::prelude::*;

async fn tries(what: &str, value: &str, container: Container) -> Result<String> {
    match what {
        "env" => Ok(format!("{:?}", host::env_variable(value).await?)),
        "file" => host::file(value).contents().await,
        "directory" => Ok(host::directory(value).entries("").await?.join(" ")),
        "find-up" => Ok(format!("{:?}", host::find_up(value, ".").await?)),
        "write" => Directory::new().with_new_file("x", "x").export(value).await.map(|()| "written".to_owned()),
        "image" => image::pull(value).with_exec(["true"]).stdout().await,
        "docker" => image::of_docker(value).with_exec(["true"]).stdout().await,
        "http" => http::fetch(value).file().contents().await,
        "git" => Ok(git::repository(value).head().tree().entries("").await?.join(" ")),
        "network" => container.with_network(Network::All).with_exec(["sh", "-c", value]).stdout().await,
        "hosts" => {
            let (hosts, script) = value.split_once(' ').ok_or("hosts and a script")?;
            let container = container.with_network_hosts(hosts.split(','));
            container.with_exec(["sh", "-c", script]).stdout().await
        }
        "gpu" => container.with_gpu(&gpu::Request::new()).with_exec(["sh", "-c", value]).stdout().await,
        "gpus" => Ok(gpu::devices().await?.len().to_string()),
        "on-target" => Directory::new().on_target(value).digest().await,
        "targets" => Ok(gpu::targets().await?.len().to_string()),
        "step" => container.with_exec(["sh", "-c", value]).stdout().await,
        "cache" => {
            let mounted = container.with_mounted_cache("/cache", &CacheVolume::new(value));
            mounted.with_exec(["sh", "-c", "cat /cache/* 2>/dev/null; true"]).stdout().await
        }
        "publish" => container.publish(value).await,
        "tunnel" => {
            let (host, port) = value.split_once(':').ok_or("host:port")?;
            let service = host::service(host, port.parse()?);
            let script = format!("echo hello | nc -w 2 there {port}");
            container.with_service("there", &service).with_exec(["sh", "-c", &script]).stdout().await
        }
        "source" => Ok(wharf_sdk::module::source_directory().entries("").await?.join(" ")),
        other => Err(Error::Invalid(format!("nothing is called {other}"))),
    }
}
