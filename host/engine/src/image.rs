//! Images: what references mean, and pulling layers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::OnceCell;
use wharf_digest::Digest;
use wharf_graph::{
    Error, Node, NodeId, Op,
    image::{ImageConfig, Platform},
    plan::{ImagePin, Planned},
};
use wharf_oci::{LayerDescriptor, ResolvedImage};
use wharf_proto::v1::Kind;
use wharf_store::{LayerId, Snapshot};

use crate::{
    engine::{Engine, store_error},
    session::{Audience, Session, lock},
};

/// Images that were resolved while the engine lives, and layers that are being unpacked.
#[derive(Default)]
pub(crate) struct Images {
    resolved: Mutex<HashMap<String, Arc<ResolvedImage>>>,
    layers: Mutex<HashMap<String, Arc<OnceCell<LayerId>>>>,
}

/// Resolutions of one session: each reference is asked for once a run.
#[derive(Default)]
pub(crate) struct Resolutions(Mutex<HashMap<NodeId, Arc<OnceCell<ImagePin>>>>);

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
            .filter(|node| matches!(node.op(), Op::Image { .. }))
            .map(|node| async {
                let cell = Arc::clone(lock(&session.resolutions.0).entry(node.id()).or_default());
                let pin = cell.get_or_try_init(|| self.resolve(node)).await?.clone();
                session.pin_image(node.id(), pin);
                Ok::<_, Error>(())
            });
        futures::try_join!(
            futures::future::try_join_all(resolving),
            self.pin_fetches(session, &sources),
            self.pin_commits(session, &sources)
        )?;
        session.plan(node)
    }

    async fn resolve(&self, node: &Node) -> Result<ImagePin, Error> {
        let Op::Image { reference, platform } = node.op() else {
            return Err(Error::other("defect", "only images are resolved"));
        };
        let platform = platform.clone().unwrap_or_else(Platform::host);
        let image = self.resolve_reference(reference, &platform).await?;
        let pin = ImagePin {
            manifest: image.manifest.clone(),
            reference: image.reference.clone(),
            platform: Platform {
                os: image.platform.os.clone(),
                architecture: image.platform.architecture.clone(),
                variant: image.platform.variant.clone(),
            },
            config: image_config(&image)?,
        };
        lock(&self.images.resolved).insert(image.manifest.clone(), image);
        Ok(pin)
    }

    /// Asks the registry, unless the reference has a digest and was resolved before: that never changes.
    async fn resolve_reference(
        &self,
        reference: &str,
        platform: &Platform,
    ) -> Result<Arc<ResolvedImage>, Error> {
        let pinned = reference.contains("@sha256:");
        let name = Digest::of(format!("image {reference} {platform}").as_bytes());
        if pinned
            && let Some(text) = self.with_store(move |store| store.note(&name)).await?
            && let Ok(image) = serde_json::from_slice(&text)
        {
            return Ok(Arc::new(image));
        }
        let wanted = wharf_oci::Platform {
            os: platform.os.clone(),
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
        };
        let image = self
            .registry
            .resolve(reference, &wanted)
            .await
            .map_err(|error| registry_error(&error))?;
        if pinned && let Ok(text) = serde_json::to_vec(&image) {
            self.with_store(move |store| store.put_note(&name, &text)).await?;
        }
        Ok(Arc::new(image))
    }

    /// The layers of a resolved image, those that are missing fetched in parallel.
    pub(crate) async fn pull(
        self: &Arc<Self>,
        key: Digest,
        manifest: &str,
        reference: &str,
        audience: &Audience,
    ) -> Result<Snapshot, Error> {
        let resolved = lock(&self.images.resolved).get(manifest).cloned();
        let image =
            resolved.ok_or_else(|| Error::other("defect", format!("{reference} was not resolved")))?;
        let layers = image.layers.iter().map(|layer| self.layer(&image, layer));
        let pulling = futures::future::try_join_all(layers);
        let title = format!("pull {reference}");
        Ok(Snapshot::new(
            audience.during(key, &title, Kind::Pull, pulling).await?,
        ))
    }

    /// One layer, unpacked once however many images share it.
    async fn layer(
        self: &Arc<Self>,
        image: &ResolvedImage,
        layer: &LayerDescriptor,
    ) -> Result<LayerId, Error> {
        let cell = Arc::clone(
            lock(&self.images.layers)
                .entry(layer.diff_id.clone())
                .or_default(),
        );
        let known = cell.get().copied();
        if let Some(id) = known
            && self.store.layer_path(id).is_dir()
        {
            return Ok(id);
        }
        let unpack = || async {
            let name = Digest::of(format!("layer {}", layer.diff_id).as_bytes());
            if let Some(id) = self.unpacked_before(name).await? {
                return Ok(id);
            }
            let mut stream = self
                .registry
                .fetch_layer(image, layer)
                .await
                .map_err(|error| registry_error(&error))?;
            let (reference, digest) = (image.reference.clone(), layer.digest.clone());
            self.with_store(move |store| {
                let id = store.import_layer(&mut stream)?;
                // What does not match is left to the next clean-up: no result will name it.
                stream.finish().map_err(|error| {
                    wharf_store::Error::Invalid(format!("layer {digest} of {reference} is damaged: {error}"))
                })?;
                store.put_note(&name, &id.0.to_le_bytes())?;
                Ok(id)
            })
            .await
        };
        match known {
            None => cell.get_or_try_init(unpack).await.copied(),
            // It was unpacked and has been removed since.
            Some(_) => {
                lock(&self.images.layers).remove(&layer.diff_id);
                unpack().await
            }
        }
    }

    async fn unpacked_before(&self, name: Digest) -> Result<Option<LayerId>, Error> {
        let note = self.with_store(move |store| store.note(&name)).await?;
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
