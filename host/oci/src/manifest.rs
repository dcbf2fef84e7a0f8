//! Manifests and configurations, as far as they are read: OCI's and Docker's, which differ in names only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Media types of an image's manifest and of a list of them.
pub(crate) const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Operating system and processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    #[serde(default)]
    pub variant: Option<String>,
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl Platform {
    /// Does an image for `self` run where `wanted` is wanted? A variant that is not asked for does not matter.
    pub(crate) fn serves(&self, wanted: &Self) -> bool {
        let variant = wanted.variant.is_none() || self.variant.is_none() || self.variant == wanted.variant;
        self.os == wanted.os && self.architecture == wanted.architecture && variant
    }
}

/// A layer, as an image names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerDescriptor {
    /// Digest of the bytes in the registry.
    pub digest: String,
    /// Digest of the tar stream in them.
    pub diff_id: String,
    /// Bytes in the registry.
    pub size: u64,
    /// How the tar stream is compressed, among other things.
    pub media_type: String,
}

/// How an image's processes run: the `config` object. What is not named here is in `rest`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `NAME=value`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// Put before the arguments.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Arguments when none are given.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Who runs it.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Where it starts.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Ports as `80/tcp`.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// Everything else, as it stands.
    #[serde(flatten)]
    pub rest: serde_json::Map<String, serde_json::Value>,
}

/// Docker writes `null` where nothing is set.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    value: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// What a reference means for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedImage {
    /// The reference as Docker would spell it out, with the manifest's digest.
    pub reference: String,
    /// Digest of the platform's manifest.
    pub manifest: String,
    /// The platform.
    pub platform: Platform,
    /// How its processes run.
    pub config: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerDescriptor>,
}

/// A manifest or a list of manifests.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnyManifest {
    #[serde(default)]
    pub(crate) manifests: Vec<IndexEntry>,
    pub(crate) config: Option<Descriptor>,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IndexEntry {
    pub(crate) digest: String,
    pub(crate) platform: Option<Platform>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

/// The file that the configuration object is part of.
#[derive(Deserialize)]
pub(crate) struct ConfigFile {
    pub(crate) os: String,
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Config,
    pub(crate) rootfs: Rootfs,
}

#[derive(Deserialize)]
pub(crate) struct Rootfs {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) diff_ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::{ConfigFile, Platform};

    #[test]
    fn dockers_nulls_are_nothing_and_what_is_not_read_is_kept() {
        let text = r#"{ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": [] },
            "config": { "Env": null, "Cmd": ["sh"], "Labels": null, "Healthcheck": { "Test": ["CMD", "true"] } } }"#;
        let file: ConfigFile = serde_json::from_str(text).unwrap();
        assert_eq!(file.config.cmd, ["sh"]);
        assert!(file.config.env.is_empty());
        assert!(file.config.rest.contains_key("Healthcheck"));
    }

    #[test]
    fn a_variant_that_is_not_asked_for_does_not_matter() {
        let platform = |variant: Option<&str>| Platform {
            os: "linux".to_owned(),
            architecture: "arm64".to_owned(),
            variant: variant.map(str::to_owned),
        };
        assert!(platform(Some("v8")).serves(&platform(None)));
        assert!(!platform(Some("v8")).serves(&platform(Some("v7"))));
    }
}
