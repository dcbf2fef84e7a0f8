//! The documents that make layers an image: its configuration, its manifest, and the list of an image's platforms.
//!
//! The same parts give the same bytes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    digest::sha256,
    manifest::{Config, History, LayerDescriptor},
    platform::Platform,
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// When images are made, as far as they say: at no time, so that the same image is the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A document and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub media_type: &'static str,
    /// SHA-256 digest of its text.
    pub digest: String,
    /// The text: JSON.
    pub text: Vec<u8>,
}

/// What an image is made of.
#[derive(Clone, Copy, Debug)]
pub struct ImageParts<'a> {
    /// What it is for.
    pub platform: &'a Platform,
    /// How its processes run.
    pub config: &'a Config,
    /// Its layers, the lowest first.
    pub layers: &'a [LayerDescriptor],
    /// How they came to be.
    pub history: &'a [History],
    /// What the manifest says beside.
    pub annotations: &'a BTreeMap<String, String>,
}

impl Document {
    fn new(media_type: &'static str, value: &Value) -> Self {
        Self::of_text(media_type, value.to_string().into_bytes())
    }

    /// A document of a kind that others define.
    pub fn of_text(media_type: &'static str, text: Vec<u8>) -> Self {
        Self {
            media_type,
            digest: sha256(&text),
            text,
        }
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.text.len() })
    }
}

impl ImageParts<'_> {
    /// The image's configuration.
    pub fn config(&self) -> Document {
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let mut file = json!({
            "created": CREATED,
            "os": self.platform.os,
            "architecture": self.platform.architecture,
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(variant) = &self.platform.variant {
            file["variant"] = json!(variant);
        }
        let described = self.history.iter().filter(|entry| !entry.empty_layer).count();
        // One that tells of other layers than there are is refused by those who read it.
        if !self.history.is_empty() && described == self.layers.len() {
            file["history"] = json!(self.history);
        }
        Document::new(CONFIG, &file)
    }

    /// The manifest, for the configuration that these parts have.
    pub fn manifest(&self, config: &Document) -> Document {
        let layer = |layer: &LayerDescriptor| json!({ "mediaType": oci_type(&layer.media_type), "digest": layer.digest, "size": layer.size });
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        });
        if !self.annotations.is_empty() {
            manifest["annotations"] = json!(self.annotations);
        }
        Document::new(MANIFEST, &manifest)
    }
}

/// The list of an image's manifests, one for each platform.
pub fn index(manifests: &[(Document, Platform)], annotations: &BTreeMap<String, String>) -> Document {
    let entry = |(manifest, platform): &(Document, Platform)| {
        let mut entry = manifest.descriptor();
        entry["platform"] = json!({ "os": platform.os, "architecture": platform.architecture });
        if let Some(variant) = &platform.variant {
            entry["platform"]["variant"] = json!(variant);
        }
        entry
    };
    let mut index = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": manifests.iter().map(entry).collect::<Vec<_>>(),
    });
    if !annotations.is_empty() {
        index["annotations"] = json!(annotations);
    }
    Document::new(INDEX, &index)
}

/// A layer's media type in OCI's words: Docker's own mean the same bytes.
fn oci_type(media_type: &str) -> &str {
    match media_type {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{ImageParts, index};
    use crate::{
        manifest::{Config, History, LayerDescriptor},
        platform::Platform,
    };

    fn layer(media_type: &str) -> LayerDescriptor {
        LayerDescriptor {
            digest: "sha256:a".to_owned(),
            diff_id: "sha256:b".to_owned(),
            size: 3,
            media_type: media_type.to_owned(),
        }
    }

    #[test]
    fn what_is_not_set_is_not_written() {
        let (config, none) = (Config::default(), BTreeMap::new());
        let parts = ImageParts {
            platform: &Platform::host(),
            config: &config,
            layers: &[layer("application/vnd.docker.image.rootfs.diff.tar.gzip")],
            history: &[History::default(), History::default()],
            annotations: &none,
        };
        let config = String::from_utf8(parts.config().text).unwrap();
        assert!(
            config.contains(r#""config":{}"#) && !config.contains("history"),
            "{config}"
        );
        let manifest = parts.manifest(&parts.config());
        let text = String::from_utf8(manifest.text.clone()).unwrap();
        assert!(
            text.contains("oci.image.layer.v1.tar+gzip") && !text.contains("annotations"),
            "{text}"
        );
        let list = index(&[(manifest, "linux/arm/v7".parse().unwrap())], &none);
        assert!(
            String::from_utf8(list.text)
                .unwrap()
                .contains(r#""variant":"v7""#)
        );
    }
}
