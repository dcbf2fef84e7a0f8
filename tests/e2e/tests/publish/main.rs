//! Images that pipelines publish: what is kept, what is sent, and what a registry then has.

mod layers;
mod read;

use std::{process::Command, sync::Arc};

use serde_json::Value;
use wharf_e2e::{Run, TestEngine};
use wharf_graph::{
    Container, Error,
    publish::{Publish, PublishOptions},
};
use wharf_testkit::{process, registry::Registry};

/// An engine and a registry that is empty.
struct World {
    engine: TestEngine,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let engine = TestEngine::start();
        let registry = Registry::start(&engine.path().join("registry")).expect("a registry");
        Self { engine, registry }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    async fn publish(&self, container: &Container, name: &str) -> String {
        self.publish_with(container, name, &PublishOptions::default())
            .await
    }

    async fn publish_with(&self, container: &Container, name: &str, options: &PublishOptions) -> String {
        publish(&self.engine.run(), container, &self.name(name), options)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.engine.log_text()))
    }

    /// What skopeo says of an image: with `--raw` its manifest, with `--config` its configuration.
    fn inspect(&self, name: &str, options: &[&str]) -> Value {
        let mut command = Command::new(process::require("skopeo", "skopeo").expect("skopeo"));
        command
            .args(["inspect", "--tls-verify=false"])
            .args(options)
            .arg(format!("docker://{}", self.name(name)));
        let output = process::run(&mut command).expect("skopeo inspects");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Digests of an image's layers, the lowest first.
    fn layers(&self, name: &str) -> Vec<String> {
        let manifest = self.inspect(name, &["--raw"]);
        let layers = manifest["layers"].as_array().expect("layers");
        layers
            .iter()
            .map(|layer| layer["digest"].as_str().expect("a digest").to_owned())
            .collect()
    }

    /// Requests of some methods since there were so many.
    fn asked(&self, methods: &[&str], since: usize) -> Vec<String> {
        let requests = self.registry.requests();
        let mut asked: Vec<_> = requests
            .into_iter()
            .filter(|request| methods.contains(&request.method.as_str()))
            .map(|request| format!("{} {}", request.method, request.path))
            .collect();
        asked.drain(..since.min(asked.len()));
        asked
    }

    fn count(&self, methods: &[&str]) -> usize {
        self.asked(methods, 0).len()
    }
}

async fn publish(
    run: &Run,
    container: &Container,
    reference: &str,
    options: &PublishOptions,
) -> Result<String, Error> {
    let containers = std::iter::once(container).chain(&options.platforms);
    let nodes: Vec<_> = containers.map(|container| Arc::clone(container.node())).collect();
    let publish = Publish::new(container, reference, options);
    run.session.publish(&nodes, &publish).await
}

/// What sends something.
const SENDING: [&str; 3] = ["POST", "PATCH", "PUT"];

/// Has skopeo copy an image.
fn copy(from: &str, to: &str) {
    let mut command = Command::new(process::require("skopeo", "skopeo").expect("skopeo"));
    command
        .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
        .args(["--dest-tls-verify=false", from, to]);
    process::run(&mut command).expect("skopeo copies");
}
