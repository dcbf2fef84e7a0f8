//! Images: what references mean, and pulling layers.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::sync::OnceCell;
use wharf_digest::Digest;
use wharf_graph::{
    Error, Node, NodeId, Op,
    image::{ImageConfig, Platform},
    op::SecretId,
    plan::{ImagePin, Planned},
};
use wharf_oci::{LayerDescriptor, Registry, ResolvedImage, archive::Archive};
use wharf_proto::v1::Kind;
use wharf_store::{LayerId, Snapshot};

use crate::{
    audience::Audience,
    engine::{Engine, store_error},
    meanings::Moving,
    origin::Origin,
    peer::Peer,
    session::{Session, lock},
};

/// Where an image's layers are.
#[derive(Clone)]
pub(crate) enum Source {
    /// In a registry, as somebody may reach it.
    Registry(Registry),
    /// In an archive that a pipeline has.
    Archive(Arc<Archive>),
}

/// Images that were resolved while the engine lives, and layers that are being unpacked.
#[derive(Default)]
pub(crate) struct Images {
    resolved: Mutex<HashMap<String, Arc<ResolvedImage>>>,
    layers: Mutex<HashMap<String, Arc<OnceCell<LayerId>>>>,
}

/// Resolutions of one session: each reference is asked for once a run.
#[derive(Default)]
pub(crate) struct Resolutions(Mutex<HashMap<NodeId, Arc<OnceCell<ImagePin>>>>);

/// What an image is known by: its manifest's digest, and for clients of other machines where they were given it, too. A
/// manifest can be copied to a server of one's own, the right to its layers cannot.
struct ImageName(String);

impl ImageName {
    /// What stands between the two.
    const FROM: &str = " from ";

    fn of(peer: &Peer, manifest: &str, place: &str) -> Self {
        if peer.is_remote() {
            Self(format!("{manifest}{}{place}", Self::FROM))
        } else {
            Self(manifest.to_owned())
        }
    }

    fn text(&self) -> &str {
        &self.0
    }

    /// Where the image of this name was given.
    fn place(name: &str) -> Option<&str> {
        name.split_once(Self::FROM).map(|(_, place)| place)
    }
}

impl Engine {
    /// Folds a node, after resolving the images, URLs and references below it.
    pub(crate) async fn plan(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
    ) -> Result<Planned, Error> {
        let sources = session.unresolved(node);
        let resolving = sources
            .iter()
            .filter(|node| matches!(node.op(), Op::Image { .. } | Op::ImageArchive { .. }))
            .map(|node| async {
                let cell = Arc::clone(lock(&session.resolutions.0).entry(node.id()).or_default());
                let pin = cell
                    .get_or_try_init(|| self.resolve(session, node))
                    .await?
                    .clone();
                session.pin_image(node.id(), pin);
                Ok::<_, Error>(())
            });
        futures::try_join!(
            futures::future::try_join_all(resolving),
            self.pin_fetches(session, &sources),
            self.pin_commits(session, &sources),
            self.name_values(session, &sources)
        )?;
        session.plan(node)
    }

    /// Gives values that modules hold the names under which they are in keys.
    async fn name_values(&self, session: &Session, nodes: &[Arc<Node>]) -> Result<(), Error> {
        let values: BTreeSet<_> = nodes.iter().flat_map(|node| node.op().secret_values()).collect();
        for secret in values {
            let value = session.secret(secret).await?;
            let blind = Digest::keyed(&self.private_key().await?, &value);
            let named = SecretId {
                owner: secret.owner.clone(),
                uri: format!("value:{}", blind.to_hex()),
            };
            session.pin_value(secret.clone(), named);
        }
        Ok(())
    }

    async fn resolve(self: &Arc<Self>, session: &Arc<Session>, node: &Arc<Node>) -> Result<ImagePin, Error> {
        let host = |platform: &Option<Platform>| platform.clone().unwrap_or_else(Platform::host);
        let (name, image) = match node.op() {
            Op::Image {
                reference,
                platform,
                login,
            } => {
                let moving = session.meanings.image(reference)?;
                let meant = match &moving {
                    Some(Moving::Fixed(fixed)) => fixed,
                    Some(Moving::Free(_)) | None => reference,
                };
                let registry = session.registry_as(login.as_ref()).await?;
                let platform = host(platform);
                let resolving = self.resolve_reference(session, &registry, meant, &platform);
                let image = resolving.await?;
                if let Some(Moving::Free(name)) = moving {
                    session.tell_meaning(name, &image.named);
                }
                let repository = image.reference.split('@').next().unwrap_or_default();
                let name = ImageName::of(&session.peer, &image.manifest, repository);
                if login.is_some() {
                    session.found_in(name.text(), Source::Registry(registry));
                }
                (name, image)
            }
            Op::ImageArchive { platform, .. } => {
                let (archive, place) = self.opened(session, &node.inputs()[0], host(platform)).await?;
                let image = Arc::new(archive.image().clone());
                let name = ImageName::of(&session.peer, &image.manifest, &place);
                session.found_in(name.text(), Source::Archive(archive));
                (name, image)
            }
            _ => return Err(Error::other("defect", "only images are resolved")),
        };
        let pin = ImagePin {
            manifest: name.text().to_owned(),
            reference: image.reference.clone(),
            platform: Platform {
                os: image.platform.os.clone(),
                architecture: image.platform.architecture.clone(),
                variant: image.platform.variant.clone(),
            },
            config: image_config(&image)?,
        };
        lock(&self.images.resolved).insert(name.text().to_owned(), image);
        Ok(pin)
    }

    /// An archive that a file holds, and which file that is. The file may be made of other images: what it needs is resolved first.
    fn opened<'a>(
        self: &'a Arc<Self>,
        session: &'a Arc<Session>,
        file: &'a Arc<Node>,
        platform: Platform,
    ) -> BoxFuture<'a, Result<(Arc<Archive>, String), Error>> {
        let opened = async move {
            let Planned::File(place) = self.plan(session, file).await? else {
                return Err(Error::Invalid("an image archive is a file".to_owned()));
            };
            let made = self.realize(session, &place.tree).await?;
            let shown = format!("archive {} {}", place.tree.key, place.path);
            let archive = self.with_view(&made, move |_, view| {
                let file = of_store(view.open_file(&place.path))?;
                Archive::open(file, &oci_platform(&platform)).map_err(|error| registry_error(&error))
            });
            Ok((Arc::new(archive.await?), shown))
        };
        opened.boxed()
    }

    /// Asks the registry, unless the reference has a digest and was resolved before: that never changes. A client of another
    /// machine has to have been let in by the registry itself.
    async fn resolve_reference(
        &self,
        session: &Session,
        registry: &Registry,
        reference: &str,
        platform: &Platform,
    ) -> Result<Arc<ResolvedImage>, Error> {
        let pinned = reference.contains("@sha256:");
        let what = format!("image {reference} {platform}");
        let name = session.peer.proof("image", what.as_bytes());
        let name = name.unwrap_or_else(|| Digest::of(what.as_bytes()));
        if pinned
            && let Some(text) = self.look(|store| store.note(&name))?
            && let Ok(image) = serde_json::from_slice(&text)
        {
            return Ok(Arc::new(image));
        }
        let wanted = oci_platform(platform);
        let image = registry
            .resolve(reference, &wanted)
            .await
            .map_err(|error| registry_error(&error))?;
        if pinned && let Ok(text) = serde_json::to_vec(&image) {
            self.with_store(move |store| store.put_note(&name, &text)).await?;
        }
        Ok(Arc::new(image))
    }

    /// An image that was resolved while the engine lives.
    pub(crate) fn resolved(&self, manifest: &str) -> Option<Arc<ResolvedImage>> {
        lock(&self.images.resolved).get(manifest).cloned()
    }

    /// The layers of a resolved image, those that are missing fetched in parallel.
    pub(crate) async fn pull(
        self: &Arc<Self>,
        key: Digest,
        manifest: &str,
        reference: &str,
        audience: &Audience,
    ) -> Result<Snapshot, Error> {
        let image = self
            .resolved(manifest)
            .ok_or_else(|| Error::other("defect", format!("{reference} was not resolved")))?;
        // Whoever waits for it has resolved it, so knows where it is.
        let session = audience.sessions().into_iter().next().ok_or(Error::Cancelled)?;
        let source = session.source_of(manifest);
        let from = ImageName::place(manifest);
        let layers = image
            .layers
            .iter()
            .map(|layer| self.layer(&source, from, &image, layer));
        let pulling = futures::future::try_join_all(layers);
        let title = format!("pull {reference}");
        Ok(Snapshot::new(
            audience.during(key, &title, Kind::Pull, pulling).await?,
        ))
    }

    /// One layer, unpacked once however many images share it: for clients of other machines, once for each place that they
    /// have it from.
    async fn layer(
        self: &Arc<Self>,
        source: &Source,
        from: Option<&str>,
        image: &ResolvedImage,
        layer: &LayerDescriptor,
    ) -> Result<LayerId, Error> {
        let held_as = match from {
            Some(from) => format!("{} from {from}", layer.diff_id),
            None => layer.diff_id.clone(),
        };
        let cell = Arc::clone(lock(&self.images.layers).entry(held_as.clone()).or_default());
        let known = cell.get().copied();
        if let Some(id) = known
            && self.store.layer_path(id).is_dir()
        {
            return Ok(id);
        }
        let unpack = || async {
            let name = Digest::of(format!("layer {held_as}").as_bytes());
            if let Some(id) = self.unpacked_before(name).await? {
                return Ok(id);
            }
            let stream = match source {
                Source::Registry(registry) => registry.fetch_layer(image, layer).await,
                Source::Archive(archive) => archive.layer(layer),
            };
            let mut stream = stream.map_err(|error| registry_error(&error))?;
            let (reference, digest) = (image.reference.clone(), layer.digest.clone());
            let origin = source.origin(image, layer);
            self.with_store(move |store| {
                let id = store.import_layer(&mut stream)?;
                // What does not match is left to the next clean-up: no result will name it.
                stream.finish().map_err(|error| {
                    wharf_store::Error::Invalid(format!("layer {digest} of {reference} is damaged: {error}"))
                })?;
                store.put_note(&name, &id.0.to_le_bytes())?;
                origin.note(store, id)?;
                Ok(id)
            })
            .await
        };
        match known {
            None => cell.get_or_try_init(unpack).await.copied(),
            // It was unpacked and has been removed since.
            Some(_) => {
                lock(&self.images.layers).remove(&held_as);
                unpack().await
            }
        }
    }

    async fn unpacked_before(&self, name: Digest) -> Result<Option<LayerId>, Error> {
        let note = self.look(|store| store.note(&name))?;
        let id = note.and_then(|bytes| Some(LayerId(u64::from_le_bytes(bytes.try_into().ok()?))));
        Ok(id.filter(|id| self.store.layer_path(*id).is_dir()))
    }
}

fn image_config(image: &ResolvedImage) -> Result<ImageConfig, Error> {
    let config = &image.config;
    let pair = |pair: &String| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name.to_owned(), value.to_owned())
    };
    let rest = if config.rest.is_empty() {
        String::new()
    } else {
        serde_json::to_string(&config.rest).map_err(|error| Error::other("defect", error.to_string()))?
    };
    Ok(ImageConfig {
        env: config.env.iter().map(pair).collect(),
        entrypoint: config.entrypoint.clone(),
        default_args: config.cmd.clone(),
        user: config.user.clone(),
        workdir: config.working_dir.clone(),
        labels: config.labels.clone(),
        exposed_ports: config.exposed_ports.keys().cloned().collect(),
        rest,
    })
}

impl Source {
    /// What a layer of one of its images was unpacked from.
    pub(crate) fn origin(&self, image: &ResolvedImage, layer: &LayerDescriptor) -> Origin {
        let reference = match self {
            Self::Registry(_) => Some(image.reference.clone()),
            Self::Archive(_) => None,
        };
        Origin {
            layer: layer.clone(),
            reference,
        }
    }
}

/// The configuration as an image has it.
pub(crate) fn oci_config(config: &ImageConfig) -> wharf_oci::Config {
    let port = |port: &String| (port.clone(), serde_json::json!({}));
    wharf_oci::Config {
        env: config
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.default_args.clone(),
        user: config.user.clone(),
        working_dir: config.workdir.clone(),
        labels: config.labels.clone(),
        exposed_ports: config.exposed_ports.iter().map(port).collect(),
        // What was kept is what was read: an object, or nothing.
        rest: serde_json::from_str(&config.rest).unwrap_or_default(),
    }
}

/// A platform as images name it.
pub(crate) fn oci_platform(platform: &Platform) -> wharf_oci::Platform {
    wharf_oci::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
    }
}

/// What a registry's error is for a module.
pub(crate) fn registry_error(error: &wharf_oci::Error) -> Error {
    let message = error.to_string();
    match error {
        wharf_oci::Error::Reference { .. } | wharf_oci::Error::Platform { .. } => Error::Invalid(message),
        wharf_oci::Error::NotFound { .. } => Error::NotFound(message),
        wharf_oci::Error::Unavailable { .. } | wharf_oci::Error::Refused { .. } => {
            Error::Unavailable(message)
        }
        _ => Error::other("registry", message),
    }
}

/// The store's errors are a module's errors.
pub(crate) fn of_store<T>(outcome: Result<T, wharf_store::Error>) -> Result<T, Error> {
    outcome.map_err(|error| store_error(&error))
}
