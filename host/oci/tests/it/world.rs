//! A registry with images in it, made anew for each test.

use std::{io::Read, path::PathBuf, process::Command};

use tempfile::TempDir;
use wharf_oci::{
    Config, CredentialSource, LayerDescriptor, Platform, Reference, Registry, RegistryConfig, ResolvedImage,
    archive::{NewImage, write},
};
use wharf_testkit::process::{require, run};

/// Debian's registry and a directory for what is pushed to it.
pub(crate) struct World {
    pub(crate) registry: wharf_testkit::registry::Registry,
    directory: TempDir,
}

/// Bytes that do not compress away, the same each time.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = wharf_testkit::registry::Registry::start(&directory.path().join("registry")).unwrap();
        Self { registry, directory }
    }

    /// A tar file with one file in it.
    pub(crate) fn layer(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.directory.path().join(format!("{name}.tar"));
        let mut tar = tar::Builder::new(std::fs::File::create(&path).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text).unwrap();
        tar.into_inner().unwrap();
        path
    }

    /// Makes an image of these layers and has skopeo push it.
    pub(crate) fn push(&self, name: &str, platform: &str, layers: &[PathBuf], options: &[&str]) {
        let platform: Platform = platform.parse().unwrap();
        let rest = serde_json::json!({ "Healthcheck": { "Test": ["CMD", "true"] } });
        let config = Config {
            env: vec!["LANG=C.UTF-8".to_owned()],
            cmd: vec!["sh".to_owned()],
            rest: rest.as_object().unwrap().clone(),
            ..Config::default()
        };
        let reference: Reference = name.parse().unwrap();
        let file = tempfile::NamedTempFile::new_in(self.directory.path()).unwrap();
        let files: Vec<_> = layers
            .iter()
            .map(|path| std::fs::File::open(path).unwrap())
            .collect();
        let image = NewImage {
            platform: &platform,
            config: &config,
            layers: &files,
            history: &[],
            annotations: &std::collections::BTreeMap::new(),
            reference: Some(&reference),
        };
        write(file.as_file(), &image).unwrap();
        let skopeo = require("skopeo", "skopeo").unwrap();
        let source = format!("oci-archive:{}", file.path().display());
        let target = format!("docker://{}/{name}", self.registry.address());
        let mut command = Command::new(skopeo);
        command
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(options)
            .args([source, target]);
        run(&mut command).unwrap();
    }

    /// Puts a manifest there as it stands.
    pub(crate) async fn put_manifest(&self, repository: &str, name: &str, media_type: &str, text: String) {
        let url = format!("{}/v2/{repository}/manifests/{name}", self.registry.url());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client
            .put(url)
            .header("content-type", media_type)
            .body(text)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }
}

/// A client that has no credentials and these mirrors.
pub(crate) fn client(mirrors: &[(&str, &str)]) -> Registry {
    client_as(mirrors, std::sync::Arc::new(|_| None))
}

/// A client with credentials.
pub(crate) fn client_as(mirrors: &[(&str, &str)], credentials: CredentialSource) -> Registry {
    let mirrors = mirrors
        .iter()
        .map(|(host, url)| ((*host).to_owned(), (*url).to_owned()))
        .collect();
    Registry::with_credentials(
        RegistryConfig {
            mirrors,
            ca_bundle: None,
        },
        credentials,
    )
    .unwrap()
}

/// The tar stream of a layer, once all of it was found to be right.
pub(crate) async fn read(
    client: &Registry,
    image: &ResolvedImage,
    layer: &LayerDescriptor,
) -> Result<Vec<u8>, String> {
    let mut stream = client
        .fetch_layer(image, layer)
        .await
        .map_err(|error| error.to_string())?;
    let reading = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        stream.finish()?;
        Ok(text)
    });
    reading
        .await
        .unwrap()
        .map_err(|error: std::io::Error| error.to_string())
}
