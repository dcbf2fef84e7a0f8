//! Manifests and configurations, as far as they are read: OCI's and Docker's, which differ in names only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{error::Failure, platform::Platform};

/// Media types of an image's manifest and of a list of them.
pub(crate) const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

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
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Put before the arguments.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// Arguments when none are given.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// Who runs it.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// Where it starts.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports as `80/tcp`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
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
    /// Digest of what the reference names: that manifest, or the list of all platforms' manifests.
    #[serde(default)]
    pub named: String,
    /// The platform.
    pub platform: Platform,
    /// How its processes run.
    pub config: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerDescriptor>,
    /// How they came to be, as far as the image says.
    #[serde(default)]
    pub history: Vec<History>,
}

/// How a layer came to be, or a change of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By which command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Whose it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// There is no layer for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

/// A manifest or a list of manifests.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AnyManifest {
    #[serde(default)]
    schema_version: u32,
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
    #[serde(default)]
    pub(crate) media_type: String,
}

impl AnyManifest {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Failure> {
        let manifest: Self =
            serde_json::from_slice(text).map_err(|error| Failure::damaged("the manifest", error))?;
        if manifest.schema_version == 1 {
            let why = "it is in Docker's first format, which has been given up: push the image anew";
            return Err(Failure::damaged("the manifest", why));
        }
        Ok(manifest)
    }

    /// The digest of the manifest in a list that serves a platform best. One that does not say what it is for serves
    /// where nothing else does; its configuration will tell.
    pub(crate) fn select(&self, wanted: &Platform) -> Result<&str, Failure> {
        let distance = |entry: &&IndexEntry| entry.platform.as_ref().and_then(|own| own.distance(wanted));
        let nearest = self
            .manifests
            .iter()
            .filter(|entry| distance(entry).is_some())
            .min_by_key(distance);
        let unsaid = || self.manifests.iter().find(|entry| entry.platform.is_none());
        let missing = || Failure::Platform {
            wanted: wanted.to_string(),
            // Attestations are listed as for an unknown platform.
            have: self
                .manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .map(Platform::to_string)
                .filter(|name| !name.starts_with("unknown"))
                .collect(),
        };
        nearest
            .or_else(unsaid)
            .map(|entry| entry.digest.as_str())
            .ok_or_else(missing)
    }
}

/// The file that the configuration object is part of.
#[derive(Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) config: Config,
    rootfs: Rootfs,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) history: Vec<History>,
}

#[derive(Deserialize)]
struct Rootfs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<String>,
}

impl ConfigFile {
    pub(crate) fn read(text: &[u8]) -> Result<Self, Failure> {
        let why = |error| format!("it is not a container image's: {error}");
        serde_json::from_slice(text).map_err(|error| Failure::damaged("the configuration", why(error)))
    }

    /// What the image is for. Old ones do not say, and are taken to serve.
    pub(crate) fn platform(&self, wanted: &Platform) -> Result<Platform, Failure> {
        if self.os.is_empty() || self.architecture.is_empty() {
            return Ok(wanted.clone());
        }
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        let own = Platform {
            os,
            architecture,
            variant: self.variant.clone().filter(|variant| !variant.is_empty()),
        };
        match own.distance(wanted) {
            Some(_) => Ok(own),
            None => Err(Failure::Platform {
                wanted: wanted.to_string(),
                have: vec![own.to_string()],
            }),
        }
    }

    /// The manifest's layers with the digests of what is in them.
    pub(crate) fn layers(&self, layers: Vec<Descriptor>) -> Result<Vec<LayerDescriptor>, Failure> {
        let diff_ids = &self.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let why = format!(
                "it names {} layers, the manifest {}",
                diff_ids.len(),
                layers.len()
            );
            return Err(Failure::damaged("the configuration", why));
        }
        let layer = |(layer, diff_id): (Descriptor, &String)| LayerDescriptor {
            digest: layer.digest,
            diff_id: diff_id.clone(),
            size: layer.size,
            media_type: layer.media_type,
        };
        Ok(layers.into_iter().zip(diff_ids).map(layer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{AnyManifest, ConfigFile};
    use crate::{error::Failure, platform::Platform};

    #[test]
    fn dockers_nulls_are_nothing_and_what_is_not_read_is_kept() {
        let text = br#"{ "os": "linux", "architecture": "amd64", "rootfs": { "type": "layers", "diff_ids": null },
            "config": { "Env": null, "Cmd": ["sh"], "Labels": null, "Healthcheck": { "Test": ["CMD", "true"] } } }"#;
        let file = ConfigFile::read(text).unwrap();
        assert_eq!(file.config.cmd, ["sh"]);
        assert!(file.config.env.is_empty());
        assert!(file.config.rest.contains_key("Healthcheck"));
        assert!(file.layers(Vec::new()).unwrap().is_empty());
    }

    fn index(platforms: &[&str]) -> AnyManifest {
        let entry = |platform: &&str| match *platform {
            "" => serde_json::json!({ "digest": "sha256:unsaid" }),
            text => {
                let platform: Platform = text.parse().unwrap();
                serde_json::json!({ "digest": format!("sha256:{text}"), "platform": platform })
            }
        };
        let manifests: Vec<_> = platforms.iter().map(entry).collect();
        AnyManifest::read(
            serde_json::json!({ "schemaVersion": 2, "manifests": manifests })
                .to_string()
                .as_bytes(),
        )
        .unwrap()
    }

    #[test]
    fn the_manifest_that_serves_best_is_selected() {
        let wanted = |text: &str| text.parse::<Platform>().unwrap();
        let list = index(&[
            "unknown/unknown",
            "linux/arm/v6",
            "linux/arm/v7",
            "linux/amd64",
            "linux/amd64",
        ]);
        assert_eq!(list.select(&wanted("linux/amd64")).unwrap(), "sha256:linux/amd64");
        assert_eq!(list.select(&wanted("linux/arm")).unwrap(), "sha256:linux/arm/v7");
        assert_eq!(
            list.select(&wanted("linux/arm/v6")).unwrap(),
            "sha256:linux/arm/v6"
        );
        let Failure::Platform { have, .. } = list.select(&wanted("linux/s390x")).unwrap_err() else {
            panic!()
        };
        assert_eq!(
            have,
            ["linux/arm/v6", "linux/arm/v7", "linux/amd64", "linux/amd64"]
        );
        assert_eq!(
            index(&["linux/arm64", ""])
                .select(&wanted("linux/amd64"))
                .unwrap(),
            "sha256:unsaid"
        );
    }

    #[test]
    fn manifests_that_are_none_are_refused() {
        for text in [
            "",
            "{",
            "[]",
            r#"{ "schemaVersion": 1, "fsLayers": [] }"#,
            r#"{ "manifests": 3 }"#,
        ] {
            assert!(AnyManifest::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
