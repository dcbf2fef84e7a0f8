//! A module as an OCI artifact, in the layout that the CNCF's working group for WebAssembly has written down and wkg uses: one
//! manifest, one configuration, and the component as its only layer.
//!
//! The configuration, which is small and read before the component is, also says what the component says of itself: its
//! documentation, its manifest and its interface. Other clients skip what they do not know.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wharf_oci::Document;

use crate::contents::Contents;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const COMPONENT: &str = "application/wasm";
/// When artifacts are made, as far as they say: at no time, so that the same component is the same artifact.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// The form of what the configuration says beside what everybody's does.
const FORMAT: u32 = 1;

/// A blob as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Blob {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// What is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Blob,
    layers: Vec<Blob>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    created: String,
    author: Option<String>,
    architecture: String,
    os: String,
    #[serde(default)]
    layer_digests: Vec<String>,
    component: Option<World>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wharf: Option<Said>,
}

#[derive(Serialize, Deserialize)]
struct World {
    exports: Vec<String>,
    imports: Vec<String>,
    #[serde(default)]
    target: Option<String>,
}

/// What the configuration says beside what everybody's does.
#[derive(Serialize, Deserialize)]
struct Said {
    format: u32,
    manifest: Option<serde_json::Value>,
    docs: Option<serde_json::Value>,
    wit: Option<String>,
}

/// A component and the documents that make it an artifact.
#[derive(Clone, Debug)]
pub struct Package {
    /// The manifest: its digest is the artifact's.
    pub manifest: Document,
    /// The configuration.
    pub config: Document,
    /// The component.
    pub component: Blob,
    /// What the manifest says beside.
    pub annotations: BTreeMap<String, String>,
    /// What the component says of itself.
    pub contents: Contents,
}

impl Package {
    /// Makes an artifact of a component. The same component under the same name and version is the same artifact everywhere.
    pub fn new(component: &[u8], contents: Contents, name: &str, version: &Version) -> Self {
        let file = format!("{}.wasm", name.rsplit(':').next().unwrap_or(name));
        let component = Blob {
            media_type: COMPONENT.to_owned(),
            digest: sha256(component),
            size: component.len() as u64,
            // Tools that know nothing of WebAssembly write a layer to the disk under this name.
            annotations: BTreeMap::from([("org.opencontainers.image.title".to_owned(), file)]),
        };
        let config = Config {
            created: CREATED.to_owned(),
            author: None,
            architecture: "wasm".to_owned(),
            os: "wasip2".to_owned(),
            layer_digests: vec![component.digest.clone()],
            component: Some(World {
                exports: contents.exports.clone(),
                imports: contents.imports.clone(),
                target: None,
            }),
            wharf: Some(Said {
                format: FORMAT,
                manifest: contents.manifest.clone(),
                docs: contents.docs.clone(),
                wit: contents.wit.clone(),
            }),
        };
        let config = Document::of_text(CONFIG, text(&config));
        let annotations = annotations(&contents, name, version);
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.to_owned(),
            config: Blob {
                media_type: CONFIG.to_owned(),
                digest: config.digest.clone(),
                size: config.text.len() as u64,
                annotations: BTreeMap::new(),
            },
            layers: vec![component.clone()],
            annotations: annotations.clone(),
        };
        Self {
            manifest: Document::of_text(MANIFEST, text(&manifest)),
            config,
            component,
            annotations,
            contents,
        }
    }
}

fn annotations(contents: &Contents, name: &str, version: &Version) -> BTreeMap<String, String> {
    let world = contents.wit.as_deref().map(|_| "root:component/root".to_owned());
    let said = [
        ("org.opencontainers.image.title", Some(name.to_owned())),
        ("org.opencontainers.image.version", Some(version.to_string())),
        (
            "org.opencontainers.image.description",
            contents.summary().map(str::to_owned),
        ),
        (
            "org.opencontainers.image.licenses",
            contents.of_package("license").map(str::to_owned),
        ),
        (
            "org.opencontainers.image.source",
            contents.of_package("repository").map(str::to_owned),
        ),
        ("wharf.wit.world", world),
    ];
    said.into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

fn text(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("these documents are JSON")
}

/// A module as a registry describes it.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The manifest's digest: the artifact's name.
    pub digest: String,
    /// The component.
    pub component: Blob,
    /// What the manifest says beside.
    pub annotations: BTreeMap<String, String>,
    /// What is said of the component, where something is.
    pub said: Option<Contents>,
}

/// The part of an artifact that its manifest tells of.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) config: Blob,
    pub(crate) component: Blob,
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Listed {
    /// Reads a manifest.
    ///
    /// # Errors
    /// When it is that of something else; in words.
    pub(crate) fn read(text: &[u8]) -> Result<Self, String> {
        if let Ok(list) = serde_json::from_slice::<serde_json::Value>(text)
            && list.get("manifests").is_some()
        {
            return Err("it is an image for several platforms, not a module".to_owned());
        }
        let manifest: Manifest =
            serde_json::from_slice(text).map_err(|error| format!("its manifest does not read: {error}"))?;
        if manifest.config.media_type != CONFIG {
            let kind = &manifest.config.media_type;
            return Err(
                if kind.contains("image.config") || kind.contains("container.image") {
                    "it is a container image, not a module".to_owned()
                } else {
                    format!("it is no module: its configuration is of the kind {kind}")
                },
            );
        }
        let [component] = &manifest.layers[..] else {
            return Err(format!(
                "a module is one component, and it has {} layers",
                manifest.layers.len()
            ));
        };
        if component.media_type != COMPONENT {
            return Err(format!(
                "its layer is no component, but of the kind {}",
                component.media_type
            ));
        }
        Ok(Self {
            component: component.clone(),
            config: manifest.config,
            annotations: manifest.annotations,
        })
    }

    /// The whole, with what the configuration tells.
    ///
    /// # Errors
    /// When the configuration is not that of this component; in words.
    pub(crate) fn with(self, digest: String, config: &[u8]) -> Result<Artifact, String> {
        let config: Config = serde_json::from_slice(config)
            .map_err(|error| format!("its configuration does not read: {error}"))?;
        if config
            .layer_digests
            .iter()
            .any(|digest| *digest != self.component.digest)
        {
            return Err("its configuration is that of another component".to_owned());
        }
        // What another version of this program says is not read: the component tells it all.
        let own = config.wharf.filter(|said| said.format == FORMAT);
        let said = config.component.zip(own).map(|(world, own)| Contents {
            exports: world.exports,
            imports: world.imports,
            manifest: own.manifest,
            docs: own.docs,
            wit: own.wit,
        });
        Ok(Artifact {
            digest,
            component: self.component,
            annotations: self.annotations,
            said,
        })
    }
}

/// The digest of bytes as registries write it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    written(Sha256::new_with_prefix(bytes))
}

/// The same of all that a reader gives.
pub(crate) fn sha256_of(reader: &mut impl Read) -> io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(written(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn written(hasher: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        let contents = Contents {
            exports: vec!["build".to_owned()],
            imports: vec!["wharf:pipeline/container@0.1.0".to_owned()],
            manifest: Some(serde_json::json!({ "package": { "license": "MIT" } })),
            docs: Some(serde_json::json!({ "module": { "docs": "Builds." } })),
            wit: Some("package root:component;".to_owned()),
        };
        Package::new(b"component", contents, "acme:tool", &Version::new(1, 2, 0))
    }

    #[test]
    fn an_artifact_is_read_as_it_was_made() {
        let made = package();
        let listed = Listed::read(&made.manifest.text).unwrap();
        assert_eq!(listed.component, made.component);
        assert_eq!(listed.config.digest, made.config.digest);
        assert_eq!(
            listed.annotations["org.opencontainers.image.description"],
            "Builds."
        );
        assert_eq!(listed.annotations["org.opencontainers.image.licenses"], "MIT");
        let read = listed
            .with(made.manifest.digest.clone(), &made.config.text)
            .unwrap();
        assert_eq!(read.said, Some(made.contents.clone()));
        assert_eq!(package().manifest, made.manifest, "and is the same each time");
    }

    #[test]
    fn what_is_something_else_is_said() {
        let refused = |change: fn(&mut serde_json::Value)| {
            let mut manifest: serde_json::Value = serde_json::from_slice(&package().manifest.text).unwrap();
            change(&mut manifest);
            Listed::read(manifest.to_string().as_bytes()).unwrap_err()
        };
        let image = refused(|manifest| {
            manifest["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into()
        });
        assert!(image.contains("container image"), "{image}");
        assert!(
            refused(|manifest| manifest["manifests"] = serde_json::json!([])).contains("several platforms")
        );
        assert!(refused(|manifest| manifest["layers"] = serde_json::json!([])).contains("0 layers"));
        assert!(
            refused(|manifest| manifest["layers"][0]["mediaType"] = "text/plain".into())
                .contains("text/plain")
        );
        let made = package();
        let mut listed = Listed::read(&made.manifest.text).unwrap();
        listed.component.digest = "sha256:other".to_owned();
        let wrong = listed.with(String::new(), &made.config.text).unwrap_err();
        assert!(wrong.contains("another component"));
    }
}
