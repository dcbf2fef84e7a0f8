//! Which registry has the modules of a namespace: settings of the same form as wkg's.
//!
//! ```toml
//! default_registry = "registry.example"
//!
//! [namespace_registries]
//! acme = "modules.acme.example"
//! tools = { registry = "tools", metadata = { preferredProtocol = "oci", oci = { registry = "ghcr.io", namespacePrefix = "acme/" } } }
//!
//! [package_registry_overrides]
//! "acme:old" = "old.acme.example"
//! ```
//!
//! A registry that is only named may say itself, at `/.well-known/wasm-pkg/registry.json`, where its modules are. wkg's other
//! settings, such as logins, are not read: logins are those of Docker.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;
use wharf_manifest::ModuleName;
use wharf_oci::{Reference, Registry};

use crate::error::{Error, Result};

/// Where a registry says what it is, below `/.well-known/`.
const METADATA: &str = "wasm-pkg/registry.json";

/// Which registry has which modules.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mappings {
    default_registry: Option<String>,
    #[serde(default)]
    namespace_registries: BTreeMap<String, Mapping>,
    #[serde(default)]
    package_registry_overrides: BTreeMap<String, Mapping>,
    /// wkg's settings for one registry each, which are its own.
    #[serde(default, rename = "registry")]
    _registry: toml::Table,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Mapping {
    Registry(String),
    Custom { registry: String, metadata: Metadata },
}

/// What a registry says of itself, or settings in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    preferred_protocol: Option<String>,
    oci: Option<Oci>,
    // The older way to write the same.
    oci_registry: Option<String>,
    oci_namespace_prefix: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Oci {
    registry: Option<String>,
    namespace_prefix: Option<String>,
}

/// What registries said of themselves, which each is asked once.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<HashMap<String, Metadata>>);

impl Said {
    async fn of(&self, registry: &str, registries: &Registry) -> Result<Metadata> {
        let known = |said: &Self| {
            said.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(registry)
                .cloned()
        };
        if let Some(known) = known(self) {
            return Ok(known);
        }
        let metadata = Metadata::of(registry, registries).await?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(registry.to_owned(), metadata.clone());
        Ok(metadata)
    }
}

impl Mappings {
    /// Reads settings from files, the later over the earlier; those that are not there say nothing.
    pub fn load(files: &[&Path]) -> Result<Self> {
        let mut all = Self::default();
        for file in files {
            let text = match std::fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("read", file)(error)),
            };
            let own: Self = toml::from_str(&text).map_err(|error| Error::Settings {
                file: (*file).to_owned(),
                why: error.to_string(),
            })?;
            all.default_registry = own.default_registry.or(all.default_registry);
            all.namespace_registries.extend(own.namespace_registries);
            all.package_registry_overrides
                .extend(own.package_registry_overrides);
        }
        Ok(all)
    }

    /// Where a module is: its repository, under the tag `latest`.
    pub(crate) async fn repository(
        &self,
        name: &ModuleName,
        registries: &Registry,
        said: &Said,
    ) -> Result<Reference> {
        let mapping = self
            .package_registry_overrides
            .get(&name.to_string())
            .or_else(|| self.namespace_registries.get(name.namespace()));
        let (registry, metadata) = match (mapping, &self.default_registry) {
            (Some(Mapping::Custom { registry, metadata }), _) => (registry, metadata.clone()),
            (Some(Mapping::Registry(registry)), _) | (None, Some(registry)) => {
                (registry, said.of(registry, registries).await?)
            }
            (None, None) => {
                return Err(Error::NoRegistry {
                    name: name.to_string(),
                    namespace: name.namespace().to_owned(),
                });
            }
        };
        metadata.repository(registry, name)
    }
}

impl Metadata {
    /// What a registry says of itself.
    async fn of(registry: &str, registries: &Registry) -> Result<Self> {
        let Some(text) = registries.well_known(registry, METADATA).await else {
            return Ok(Self::default());
        };
        // A host that answers every question with a page says nothing by it.
        if !text.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::default());
        }
        serde_json::from_slice(&text).map_err(|error| Error::Metadata {
            registry: registry.to_owned(),
            why: error.to_string(),
        })
    }

    fn repository(self, registry: &str, name: &ModuleName) -> Result<Reference> {
        if let Some(protocol) = self.preferred_protocol.filter(|protocol| protocol != "oci") {
            return Err(Error::Metadata {
                registry: registry.to_owned(),
                why: format!("its modules are had by {protocol}, and this version of Wharf knows oci"),
            });
        }
        let oci = self.oci.unwrap_or_default();
        let host = oci.registry.or(self.oci_registry);
        let prefix = oci.namespace_prefix.or(self.oci_namespace_prefix);
        let host = host.as_deref().unwrap_or(registry);
        let prefix = prefix.unwrap_or_default();
        Ok(format!("{host}/{prefix}{}/{}", name.namespace(), name.name()).parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(texts: &[&str]) -> Result<Mappings> {
        let directory = tempfile::tempdir().unwrap();
        let files: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(at, text)| {
                let path = directory.path().join(at.to_string());
                std::fs::write(&path, text).unwrap();
                path
            })
            .collect();
        Mappings::load(&files.iter().map(std::path::PathBuf::as_path).collect::<Vec<_>>())
    }

    async fn place(mappings: &Mappings, name: &str) -> String {
        let registries =
            Registry::with_credentials(Default::default(), std::sync::Arc::new(|_| None)).unwrap();
        let found = mappings
            .repository(&name.parse().unwrap(), &registries, &Said::default())
            .await;
        found.map_or_else(|error| error.to_string(), |place| place.to_string())
    }

    #[tokio::test]
    async fn the_most_special_mapping_holds_and_later_files_win() {
        let custom = |host: &str, prefix: &str| {
            format!(
                "{{ registry = \"any\", metadata = {{ preferredProtocol = \"oci\", oci = {{ registry = \"{host}\", namespacePrefix = \"{prefix}\" }} }} }}"
            )
        };
        let first = format!(
            "[namespace_registries]\nacme = {}\n[registry.\"any\".oci]\nauth = \"x\"\n",
            custom("one.example", "")
        );
        let second = format!(
            "[namespace_registries]\nacme = {}\n[package_registry_overrides]\n\"acme:old\" = {}\n",
            custom("two.example", "modules/"),
            custom("old.example:5000", "")
        );
        let mappings = load(&[&first, &second]).unwrap();
        assert_eq!(
            place(&mappings, "acme:tool").await,
            "two.example/modules/acme/tool:latest"
        );
        assert_eq!(
            place(&mappings, "acme:old").await,
            "old.example:5000/acme/old:latest"
        );
        let nothing = place(&mappings, "other:tool").await;
        assert!(
            nothing.contains("namespace other") && nothing.contains("[namespace_registries]"),
            "{nothing}"
        );
    }

    #[test]
    fn settings_that_do_not_read_name_their_file() {
        let wrong = load(&["[namespace_registry]\nacme = \"x\"\n"])
            .unwrap_err()
            .to_string();
        assert!(wrong.contains("namespace_registries"), "{wrong}");
        assert_eq!(
            Mappings::load(&[Path::new("/nowhere")]).unwrap(),
            Mappings::default()
        );
    }

    #[test]
    fn another_protocol_is_refused_by_name() {
        let metadata: Metadata = serde_json::from_str(r#"{"preferredProtocol":"warg"}"#).unwrap();
        let refused = metadata
            .repository("r.example", &"a:b".parse().unwrap())
            .unwrap_err();
        assert!(refused.to_string().contains("warg"));
        let old: Metadata =
            serde_json::from_str(r#"{"ociRegistry":"o.example","ociNamespacePrefix":"p/"}"#).unwrap();
        let place = old.repository("r.example", &"a:b".parse().unwrap()).unwrap();
        assert_eq!(place.to_string(), "o.example/p/a/b:latest");
    }
}
