//! Registries: what a reference means there, and the layers of what it means.

use std::{io::BufRead, path::PathBuf, sync::Arc};

use reqwest::header;

use crate::{
    credentials::{CredentialSource, docker_credentials},
    digest,
    download::Download,
    error::{Error, Failure, Result, explain},
    known::Known,
    layer::LayerReader,
    manifest::{ACCEPTED, AnyManifest, ConfigFile, LayerDescriptor, ResolvedImage},
    place::Place,
    places::Places,
    platform::Platform,
    reference::Reference,
    transport::{Ask, Transport},
};

/// How many lists of manifests may lie in one another.
const DEEPEST: usize = 3;

/// How registries are reached. Those on loopback, and mirrors that say `http`, are spoken to without encryption.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Registries and the mirrors that are asked before them: `docker.io` and `http://127.0.0.1:5000`. A registry that is
    /// its own mirror is reached as the mirror says: `registry.lan:5000` and `http://registry.lan:5000`.
    pub mirrors: Vec<(String, String)>,
    /// A file of certificates that are trusted beside the host's own.
    pub ca_bundle: Option<PathBuf>,
}

/// Reaches registries. Clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    pub(crate) transport: Arc<Transport>,
    pub(crate) places: Arc<Places>,
    known: Arc<Known>,
}

impl Registry {
    /// A client with these settings, which logs in with what Docker's own configuration holds.
    pub fn new(config: RegistryConfig) -> Result<Self> {
        Self::with_credentials(config, docker_credentials())
    }

    /// A client that logs in with what `credentials` finds.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "settings are given away, as with `new`"
    )]
    pub fn with_credentials(config: RegistryConfig, credentials: CredentialSource) -> Result<Self> {
        Ok(Self {
            transport: Arc::new(Transport::new(config.ca_bundle.as_deref(), credentials)?),
            places: Arc::new(Places::new(&config.mirrors)?),
            known: Arc::default(),
        })
    }

    /// The same for somebody else: with connections in common, and credentials and tokens of their own.
    #[must_use]
    pub fn for_another(&self, credentials: CredentialSource) -> Self {
        Self {
            transport: Arc::new(self.transport.for_another(credentials)),
            places: Arc::clone(&self.places),
            known: Arc::clone(&self.known),
        }
    }

    /// What a reference means for a platform, as the first of mirrors and registry says that has it.
    pub async fn resolve(&self, reference: &str, platform: &Platform) -> Result<ResolvedImage> {
        let parsed: Reference = reference.parse()?;
        let mut failures = Vec::new();
        for place in self.places.of(parsed.registry()) {
            match self.resolve_at(&place, &parsed, platform).await {
                Ok(image) => return Ok(image),
                Err(Failure::Platform { wanted, have }) => {
                    return Err(Error::Platform {
                        reference: reference.to_owned(),
                        wanted,
                        have,
                    });
                }
                Err(failure) => failures.push(self.places.remember(&place, failure)),
            }
        }
        Err(explain(reference, &Place::registry(parsed.registry()), failures))
    }

    async fn resolve_at(
        &self,
        place: &Place,
        parsed: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, Failure> {
        let repository = parsed.repository();
        // The first is always asked for: its answer says that this client may read the repository.
        let first = self.manifest(place, repository, parsed.manifest_name()).await?;
        let (mut text, mut digest) = first;
        let named = digest.clone();
        for _ in 0..DEEPEST {
            let manifest = AnyManifest::read(&text)?;
            let Some(config) = manifest.config else {
                manifest.select(platform)?.clone_into(&mut digest);
                let fetch = async { Ok(self.manifest(place, repository, &digest).await?.0) };
                text = self.below(place, repository, &digest, fetch).await?;
                continue;
            };
            let fetch = self.config(place, repository, &config.digest);
            let text = self.below(place, repository, &config.digest, fetch).await?;
            let file = ConfigFile::read(&text)?;
            return Ok(ResolvedImage {
                reference: parsed.at_digest(&digest).to_string(),
                manifest: digest,
                named,
                platform: file.platform(platform)?,
                layers: file.layers(manifest.layers)?,
                config: file.config,
                history: file.history,
            });
        }
        Err(Failure::damaged(
            "the manifest",
            "lists of manifests lie too deep in one another",
        ))
    }

    /// What a manifest names that was just handed out: kept from before, or fetched.
    async fn below(
        &self,
        place: &Place,
        repository: &str,
        digest: &str,
        fetch: impl Future<Output = Result<Vec<u8>, Failure>>,
    ) -> Result<Vec<u8>, Failure> {
        if let Some(text) = self.known.get(place, repository, digest) {
            return Ok(text);
        }
        let text = fetch.await?;
        self.known.keep(place, repository, digest, &text);
        Ok(text)
    }

    /// A manifest by tag or digest, and its digest.
    pub(crate) async fn manifest(
        &self,
        place: &Place,
        repository: &str,
        name: &str,
    ) -> Result<(Vec<u8>, String), Failure> {
        let ask = Ask::get(place, repository, format!("manifests/{name}"))
            .header(header::ACCEPT, ACCEPTED.join(", "));
        let (text, headers) = self.transport.document(&ask).await?;
        let said = headers.get("docker-content-digest");
        let said = said.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let is_digest = name.contains(':');
        let expected = if is_digest { Some(name.to_owned()) } else { said };
        let found = digest::like(expected.as_deref().unwrap_or_default(), &text);
        match expected {
            Some(expected) if expected != found => Err(Failure::damaged(
                "the manifest",
                format!("its digest is {found} and should be {expected}"),
            )),
            _ => Ok((text, found)),
        }
    }

    pub(crate) async fn config(
        &self,
        place: &Place,
        repository: &str,
        expected: &str,
    ) -> Result<Vec<u8>, Failure> {
        let ask = Ask::get(place, repository, format!("blobs/{expected}"));
        let (text, _) = self.transport.document(&ask).await?;
        let found = digest::like(expected, &text);
        if found == expected {
            return Ok(text);
        }
        Err(Failure::damaged(
            "the configuration",
            format!("its digest is {found} and should be {expected}"),
        ))
    }

    /// Fetches a layer: returns when the registry starts to send it, and the rest arrives while it is read.
    pub async fn fetch_layer(&self, image: &ResolvedImage, layer: &LayerDescriptor) -> Result<LayerReader> {
        let blob = self.fetch_blob(&image.reference, layer).await?;
        Ok(LayerReader::new(blob, &layer.diff_id))
    }

    /// Fetches a layer's bytes as the registry has them. Reading ends with an error unless they are those that the digest
    /// names.
    pub async fn fetch_blob(
        &self,
        reference: &str,
        layer: &LayerDescriptor,
    ) -> Result<Box<dyn BufRead + Send>> {
        let parsed: Reference = reference.parse()?;
        let download = Download {
            transport: Arc::clone(&self.transport),
            places: Arc::clone(&self.places),
            registry: parsed.registry().to_owned(),
            repository: parsed.repository().to_owned(),
            reference: reference.to_owned(),
            blob: layer.clone(),
        };
        Ok(Box::new(download.start().await?))
    }
}
