//! Registries: what a reference means there, and the layers of what it means.

<<<<<<< HEAD
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};
=======
use std::{path::PathBuf, sync::Arc};
>>>>>>> 031f87f3f89d1d2c2fc420c8b1732f8048db09c8

use reqwest::header;

use crate::{
    credentials::{CredentialSource, docker_credentials},
    digest,
    download::Download,
    error::{Error, Failure, Result, explain},
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
    transport: Arc<Transport>,
    places: Arc<Places>,
}

impl Registry {
    /// A client with these settings, which logs in with what Docker's own configuration holds.
    pub fn new(config: RegistryConfig) -> Result<Self> {
<<<<<<< HEAD
        let mut plain = HashSet::new();
        let mut mirrors: HashMap<String, Vec<String>> = HashMap::new();
        for (registry, mirror) in &config.mirrors {
            let (host, is_plain) = match mirror.split_once("://") {
                Some(("http", host)) => (host, true),
                Some(("https", host)) => (host, false),
                None => (mirror.as_str(), is_loopback(mirror)),
                Some((scheme, _)) => {
                    return Err(Error::Settings(format!(
                        "a mirror is reached by http or https, not {scheme}: {mirror}"
                    )));
                }
            };
            let host = host.trim_end_matches('/');
            if is_plain {
                plain.insert(host.to_owned());
            }
            mirrors.entry(registry.clone()).or_default().push(host.to_owned());
        }
        let extra_root_certificates = match &config.ca_bundle {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        let client = client(ClientProtocol::Https, extra_root_certificates);
        Ok(Self {
            client,
            plain_client: self::client(ClientProtocol::Http, Vec::new()),
            plain,
            mirrors,
        })
    }

    fn client(&self, place: &Reference) -> &Client {
        let host = place.resolve_registry();
        if self.plain.contains(host) || is_loopback(host) {
            &self.plain_client
        } else {
            &self.client
        }
=======
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
        })
>>>>>>> 031f87f3f89d1d2c2fc420c8b1732f8048db09c8
    }

    /// What a reference means for a platform, as the first of mirrors and registry says that has it.
    pub async fn resolve(&self, reference: &str, platform: &Platform) -> Result<ResolvedImage> {
<<<<<<< HEAD
        let parsed = parse(reference)?;
        let mut outcome = Err(Error::NotFound {
            reference: reference.to_owned(),
            registry: parsed.registry().to_owned(),
        });
        for place in self.places(&parsed) {
            outcome = self.resolve_at(reference, &parsed, &place, platform).await;
            match &outcome {
                Ok(_) | Err(Error::Platform { .. }) => break,
                Err(error) => tracing::debug!("{error}"),
=======
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
>>>>>>> 031f87f3f89d1d2c2fc420c8b1732f8048db09c8
            }
        }
        Err(explain(reference, &Place::registry(parsed.registry()), failures))
    }

    async fn resolve_at(
        &self,
        place: &Place,
        parsed: &Reference,
        platform: &Platform,
<<<<<<< HEAD
    ) -> Result<ResolvedImage> {
        let failed = |error: OciDistributionError| explain(written, place, error);
        let damaged = |what: &str, why: String| Error::Damaged {
            reference: written.to_owned(),
            what: what.to_owned(),
            why,
        };
        let (mut bytes, mut digest) = self.manifest(place).await.map_err(failed)?;
        let mut manifest: AnyManifest =
            serde_json::from_slice(&bytes).map_err(|error| damaged("the manifest", error.to_string()))?;
        if manifest.config.is_none() {
            let serving = manifest
                .manifests
                .iter()
                .find(|entry| entry.platform.as_ref().is_some_and(|own| own.serves(platform)));
            let Some(entry) = serving else {
                let have = manifest
                    .manifests
                    .iter()
                    .filter_map(|entry| Some(entry.platform.as_ref()?.to_string()));
                return Err(Error::Platform {
                    reference: written.to_owned(),
                    wanted: platform.to_string(),
                    have: have.filter(|name| !name.starts_with("unknown")).collect(),
                });
            };
            let own = place.clone_with_digest(entry.digest.clone());
            (bytes, digest) = self.manifest(&own).await.map_err(failed)?;
            manifest =
                serde_json::from_slice(&bytes).map_err(|error| damaged("the manifest", error.to_string()))?;
        }
        let config = manifest
            .config
            .ok_or_else(|| damaged("the manifest", "it names no configuration".to_owned()))?;
        let mut text = Vec::new();
        self.blob(place, &config.digest, config.size, &config.media_type, &mut text)
            .await
            .map_err(failed)?;
        let file: ConfigFile =
            serde_json::from_slice(&text).map_err(|error| damaged("the configuration", error.to_string()))?;
        if file.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(damaged(
                "the configuration",
                "it names another number of layers than the manifest".to_owned(),
            ));
        }
        let own = Platform {
            os: file.os,
            architecture: file.architecture,
            variant: file.variant,
        };
        if !own.serves(platform) {
            let (wanted, have) = (platform.to_string(), vec![own.to_string()]);
            return Err(Error::Platform {
                reference: written.to_owned(),
                wanted,
                have,
            });
        }
        let layer = |(layer, diff_id): (crate::manifest::Descriptor, String)| LayerDescriptor {
            digest: layer.digest,
            diff_id,
            size: layer.size,
            media_type: layer.media_type,
        };
        Ok(ResolvedImage {
            reference: parsed.clone_with_digest(digest.clone()).whole(),
            manifest: digest,
            platform: own,
            config: file.config,
            layers: manifest
                .layers
                .into_iter()
                .zip(file.rootfs.diff_ids)
                .map(layer)
                .collect(),
        })
    }

    /// Fetches a layer into a file and opens the tar stream in it.
    pub async fn fetch_layer(&self, image: &ResolvedImage, layer: &LayerDescriptor) -> Result<LayerReader> {
        let parsed = parse(&image.reference)?;
        let mut outcome: Option<Error> = None;
        for place in self.places(&parsed) {
            let file = tempfile::tempfile()?;
            let mut out = tokio::fs::File::from_std(file.try_clone()?);
            match self
                .blob(&place, &layer.digest, layer.size, &layer.media_type, &mut out)
                .await
            {
                Ok(()) => {
                    tokio::io::AsyncWriteExt::flush(&mut out).await?;
                    let mut file = file;
                    io_rewind(&mut file)?;
                    return Ok(LayerReader::open(file, &layer.diff_id)?);
                }
                Err(error) => outcome = Some(explain(&image.reference, &place, error)),
            }
        }
        Err(outcome.unwrap_or_else(|| Error::Settings("no registry to ask".to_owned())))
    }

    /// Where an image is asked for: mirrors, then its registry.
    fn places(&self, parsed: &Reference) -> Vec<Reference> {
        let mirrors = self.mirrors.get(parsed.registry()).into_iter().flatten();
        let at_mirror = |host: &String| {
            let repository = parsed.repository().to_owned();
            match (parsed.digest(), parsed.tag()) {
                (Some(digest), _) => Reference::with_digest(host.clone(), repository, digest.to_owned()),
                (None, tag) => {
                    Reference::with_tag(host.clone(), repository, tag.unwrap_or("latest").to_owned())
                }
            }
        };
        mirrors.map(at_mirror).chain([parsed.clone()]).collect()
    }

    async fn manifest(
        &self,
        place: &Reference,
    ) -> std::result::Result<(Vec<u8>, String), OciDistributionError> {
        retry(|| async {
            let (bytes, digest) = self
                .client(place)
                .pull_manifest_raw(place, &credentials(place), &ACCEPTED)
                .await?;
            Ok((bytes.to_vec(), digest))
        })
        .await
    }

    async fn blob(
        &self,
        place: &Reference,
        digest: &str,
        size: u64,
        media_type: &str,
        out: &mut (impl tokio::io::AsyncWrite + Unpin),
    ) -> std::result::Result<(), OciDistributionError> {
        self.client(place)
            .store_auth_if_needed(place.resolve_registry(), &credentials(place))
            .await;
        let descriptor = OciDescriptor {
            digest: digest.to_owned(),
            size: size as i64,
            media_type: media_type.to_owned(),
            ..OciDescriptor::default()
=======
    ) -> Result<ResolvedImage, Failure> {
        let repository = parsed.repository();
        let mut name = parsed.manifest_name().to_owned();
        for _ in 0..DEEPEST {
            let (text, digest) = self.manifest(place, repository, &name).await?;
            let manifest = AnyManifest::read(&text)?;
            let Some(config) = manifest.config else {
                manifest.select(platform)?.clone_into(&mut name);
                continue;
            };
            let text = self.config(place, repository, &config.digest).await?;
            let file = ConfigFile::read(&text)?;
            return Ok(ResolvedImage {
                reference: parsed.at_digest(&digest).to_string(),
                manifest: digest,
                platform: file.platform(platform)?,
                layers: file.layers(manifest.layers)?,
                config: file.config,
            });
        }
        Err(Failure::damaged(
            "the manifest",
            "lists of manifests lie too deep in one another",
        ))
    }

    /// A manifest by tag or digest, and its digest.
    async fn manifest(
        &self,
        place: &Place,
        repository: &str,
        name: &str,
    ) -> Result<(Vec<u8>, String), Failure> {
        let (path, header) = (
            format!("manifests/{name}"),
            Some((header::ACCEPT, ACCEPTED.join(", "))),
        );
        let (text, said) = self
            .transport
            .document(&Ask {
                place,
                repository,
                path,
                header,
            })
            .await?;
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

    async fn config(&self, place: &Place, repository: &str, expected: &str) -> Result<Vec<u8>, Failure> {
        let (path, header) = (format!("blobs/{expected}"), None);
        let (text, _) = self
            .transport
            .document(&Ask {
                place,
                repository,
                path,
                header,
            })
            .await?;
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
        let parsed: Reference = image.reference.parse()?;
        let download = Download {
            transport: Arc::clone(&self.transport),
            places: Arc::clone(&self.places),
            registry: parsed.registry().to_owned(),
            repository: parsed.repository().to_owned(),
            reference: image.reference.clone(),
            blob: layer.clone(),
>>>>>>> 031f87f3f89d1d2c2fc420c8b1732f8048db09c8
        };
        Ok(LayerReader::new(
            Box::new(download.start().await?),
            &layer.diff_id,
        ))
    }
}
<<<<<<< HEAD

fn io_rewind(file: &mut std::fs::File) -> std::io::Result<()> {
    std::io::Seek::rewind(file)
}

/// Makes a call again while it fails for a passing reason.
async fn retry<T, F>(call: impl Fn() -> F) -> std::result::Result<T, OciDistributionError>
where
    F: Future<Output = std::result::Result<T, OciDistributionError>>,
{
    let mut wait = Duration::from_millis(100);
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) if is_passing(&error) => {
                tokio::time::sleep(wait).await;
                wait *= 4;
            }
            outcome => return outcome,
        }
    }
    call().await
}

fn is_passing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ServerError { code, .. } => *code >= 500 || *code == 429,
        OciDistributionError::RequestError(error) => !error.is_connect(),
        _ => false,
    }
}

fn client(protocol: ClientProtocol, extra_root_certificates: Vec<Certificate>) -> Client {
    Client::new(ClientConfig {
        protocol,
        extra_root_certificates,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: concat!("wharf/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost"
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn certificates(path: &PathBuf) -> Result<Vec<Certificate>> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::Settings(format!(
            "the certificates {} cannot be read: {error}",
            path.display()
        ))
    })?;
    const END: &str = "-----END CERTIFICATE-----";
    let one = |part: &str| {
        let start = part.find("-----BEGIN CERTIFICATE-----")?;
        Some(Certificate {
            encoding: CertificateEncoding::Pem,
            data: format!("{}{END}\n", &part[start..]).into_bytes(),
        })
    };
    Ok(text.split(END).filter_map(one).collect())
}

fn parse(reference: &str) -> Result<Reference> {
    reference.parse().map_err(|error| Error::Reference {
        reference: reference.to_owned(),
        why: format!("{error}"),
    })
}

/// Credentials as Docker keeps them: in its configuration file or in a helper that it names.
fn credentials(place: &Reference) -> RegistryAuth {
    let server = match place.resolve_registry() {
        "index.docker.io" | "docker.io" => "https://index.docker.io/v1/",
        server => server,
    };
    match docker_credential::get_credential(server) {
        Ok(docker_credential::DockerCredential::UsernamePassword(user, password)) => {
            RegistryAuth::Basic(user, password)
        }
        Ok(docker_credential::DockerCredential::IdentityToken(_)) | Err(_) => RegistryAuth::Anonymous,
    }
}

/// A registry's answer in words.
fn explain(written: &str, place: &Reference, error: OciDistributionError) -> Error {
    let (reference, registry) = (written.to_owned(), place.resolve_registry().to_owned());
    let user = match credentials(place) {
        RegistryAuth::Basic(user, _) => Some(user),
        _ => None,
    };
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => Error::NotFound { reference, registry },
        OciDistributionError::ServerError { code: 404, .. } => Error::NotFound { reference, registry },
        OciDistributionError::RegistryError { envelope, .. }
            if envelope.errors.iter().any(|error| {
                matches!(
                    error.code,
                    OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound
                )
            }) =>
        {
            Error::NotFound { reference, registry }
        }
        OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_) => {
            Error::Refused {
                reference,
                registry,
                user,
            }
        }
        OciDistributionError::RegistryError { envelope, .. }
            if envelope
                .errors
                .iter()
                .any(|error| matches!(error.code, OciErrorCode::Denied | OciErrorCode::Unauthorized)) =>
        {
            Error::Refused {
                reference,
                registry,
                user,
            }
        }
        OciDistributionError::DigestError(error) => Error::Damaged {
            reference,
            what: format!("what {registry} sent"),
            why: error.to_string(),
        },
        OciDistributionError::RequestError(error) => Error::Unavailable {
            reference,
            registry,
            why: innermost(&error),
        },
        other => Error::Unavailable {
            reference,
            registry,
            why: other.to_string(),
        },
    }
}

/// The reason at the bottom of an error: what the ones above it repeat.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
=======
>>>>>>> 031f87f3f89d1d2c2fc420c8b1732f8048db09c8
