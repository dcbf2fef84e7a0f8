//! Publishing: containers become an image in a registry.
//!
//! The layers of the image that a container started from keep their blobs and so their digests: a registry that has them is
//! not sent them again, one that has them in another repository is asked to take them from there, and for others they are
//! fetched from where they came from. The other layers are packed. What an engine has packed once it knows by digest, so
//! that publishing what is there already costs a question for each tag.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    sync::Arc,
    time::Instant,
};

use futures::{FutureExt, StreamExt, TryStreamExt, future::try_join_all, stream};
use wharf_digest::Digest;
use wharf_graph::{
    Error, NodeId,
    plan::{ContainerPlan, Planned},
    publish::{Compression, Publish},
};
use wharf_oci::{Document, ImageParts, Platform, Push, Reference, Registry, Start, index};
use wharf_proto::v1::{Finished, Kind, Outcome, Started, event};
use wharf_store::Snapshot;

use crate::{
    engine::Engine,
    image::{Source, oci_config, oci_platform, registry_error},
    origin::{Base, Lineage, Origin, Part, pack, part},
    session::Session,
};

/// Layers that are packed, and blobs that are sent, at once.
const AT_ONCE: usize = 4;

/// An image of one platform, ready to be pushed.
struct Image {
    parts: Vec<Part>,
    config: Document,
    manifest: Document,
    platform: Platform,
    /// Where some of the blobs that are kept can be had.
    base: Option<Base>,
}

/// What is sent: a layer or a document.
enum Blob<'a> {
    Part(&'a Part, Option<&'a Base>),
    Config(&'a Document),
}

/// One push.
struct Publishing<'a> {
    engine: &'a Arc<Engine>,
    push: Push,
    reference: &'a Reference,
    compression: Compression,
    /// Registries as the client itself reaches them.
    usual: &'a Registry,
}

impl Engine {
    /// Pushes containers as one image; returns its reference with its digest.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        session: &Arc<Session>,
        publish: &Publish,
    ) -> Result<String, Error> {
        let (reference, tags) = destination(publish)?;
        let images = try_join_all(
            publish
                .containers
                .iter()
                .map(|node| self.image_of(session, *node, publish)),
        )
        .await?;
        let top = top_document(&images, &publish.annotations)?;
        let key = Digest::of(format!("push {reference} {}", top.digest).as_bytes());
        let (started, title) = (Instant::now(), format!("push {reference}"));
        session.tell(
            key,
            event::What::Started(Started {
                title,
                kind: Kind::Push.into(),
            }),
        );
        let registry = session.registry_as(publish.login.as_ref()).await?;
        let publishing = Publishing {
            engine: self,
            push: registry.push(&reference, mountable(&reference, &images)),
            reference: &reference,
            compression: publish.compression,
            usual: &session.registry,
        };
        let pushed = publishing.run(&images, &top, &tags).await;
        let (outcome, error) = match &pushed {
            Ok(true) => (Outcome::Done, String::new()),
            Ok(false) => (Outcome::Hit, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        session.tell(
            key,
            event::What::Finished(Finished {
                outcome: outcome.into(),
                microseconds: started.elapsed().as_micros() as u64,
                error,
                ..Finished::default()
            }),
        );
        pushed?;
        Ok(reference.at_digest(&top.digest).to_string())
    }

    async fn image_of(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: NodeId,
        publish: &Publish,
    ) -> Result<Image, Error> {
        let Planned::Container(container) = self.plan(session, &session.node(node)?).await? else {
            return Err(Error::other("protocol", "only containers are published"));
        };
        let made = self.realize(session, &container.root).await?;
        self.compose(session, &container, &made.snapshot, publish).await
    }

    async fn compose(
        self: &Arc<Self>,
        session: &Session,
        container: &Arc<ContainerPlan>,
        snapshot: &Snapshot,
        publish: &Publish,
    ) -> Result<Image, Error> {
        let lineage = Lineage::of(container);
        let base = lineage.manifest.as_ref().and_then(|manifest| {
            Some(Base {
                image: self.resolved(manifest)?,
                source: session.source_of(manifest),
            })
        });
        let compression = publish.compression;
        let parts = stream::iter(snapshot.layers().to_vec()).map(|id| {
            let base = base.clone();
            self.with_store(move |store| part(store, id, base.as_ref(), compression))
        });
        let mut parts: Vec<Part> = parts.buffered(AT_ONCE).try_collect().await?;
        parts.retain(|part| !part.is_needless());
        let layers: Vec<_> = parts.iter().map(|part| part.layer().clone()).collect();
        let platform = oci_platform(&container.platform);
        // What is said of this one publication comes before what the container says of itself.
        let mut annotations = container.annotations.clone();
        annotations.extend(publish.annotations.clone());
        let image = ImageParts {
            platform: &platform,
            config: &oci_config(&container.config),
            layers: &layers,
            history: &lineage.history(base.as_ref(), &parts),
            annotations: &annotations,
        };
        let config = image.config();
        let manifest = image.manifest(&config);
        Ok(Image {
            parts,
            config,
            manifest,
            platform,
            base,
        })
    }
}

/// Where an image goes, and the tags that it gets there.
fn destination(publish: &Publish) -> Result<(Reference, BTreeSet<String>), Error> {
    let parse = |text: &str| text.parse::<Reference>().map_err(|error| registry_error(&error));
    let reference = parse(&publish.reference)?;
    if reference.digest().is_some() {
        return Err(Error::Invalid(format!(
            "{reference} has a digest, which only the image itself can say: publish it under a tag"
        )));
    }
    let mut tags: BTreeSet<String> = reference.tag().map(str::to_owned).into_iter().collect();
    for tag in &publish.tags {
        let tagged = parse(&format!(
            "{}/{}:{tag}",
            reference.registry(),
            reference.repository()
        ))?;
        tags.extend(tagged.tag().map(str::to_owned));
    }
    Ok((reference, tags))
}

/// The manifest, or of several images the list of them.
fn top_document(images: &[Image], annotations: &BTreeMap<String, String>) -> Result<Document, Error> {
    if let [only] = images {
        return Ok(only.manifest.clone());
    }
    let mut seen = BTreeSet::new();
    for image in images {
        if !seen.insert(image.platform.to_string()) {
            return Err(Error::Invalid(format!(
                "two of the containers are for {}: each platform is published once",
                image.platform
            )));
        }
    }
    let manifests: Vec<_> = images
        .iter()
        .map(|image| (image.manifest.clone(), image.platform.clone()))
        .collect();
    Ok(index(&manifests, annotations))
}

/// Other repositories of the same registry that have blobs which are kept.
fn mountable(reference: &Reference, images: &[Image]) -> Vec<String> {
    let parts = images.iter().flat_map(|image| &image.parts);
    let from: BTreeSet<String> = parts.filter_map(|part| mount_from(reference, part)).collect();
    from.into_iter().collect()
}

fn mount_from(reference: &Reference, part: &Part) -> Option<String> {
    let Part::Kept(origin) = part else { return None };
    let from: Reference = origin.reference.as_ref()?.parse().ok()?;
    let elsewhere = from.registry() == reference.registry() && from.repository() != reference.repository();
    elsewhere.then(|| from.repository().to_owned())
}

impl Publishing<'_> {
    /// Pushes what is not there. False: all of it was.
    async fn run(&self, images: &[Image], top: &Document, tags: &BTreeSet<String>) -> Result<bool, Error> {
        let asked = try_join_all(tags.iter().map(|tag| self.push.manifest(tag))).await;
        let asked = asked.map_err(|error| registry_error(&error))?;
        let is_there = |found: &Option<String>| found.as_ref() == Some(&top.digest);
        if asked.iter().all(is_there) {
            return Ok(false);
        }
        // A registry takes no manifest whose parts it does not have.
        if !asked.iter().any(is_there) {
            self.blobs(images).await?;
            if images.len() > 1 {
                let manifests = images.iter().map(|image| {
                    let manifest = &image.manifest;
                    self.push.put_manifest(&manifest.digest, manifest)
                });
                try_join_all(manifests)
                    .await
                    .map_err(|error| registry_error(&error))?;
            }
        }
        let missing = tags.iter().zip(&asked).filter(|(_, found)| !is_there(found));
        try_join_all(missing.map(|(tag, _)| self.push.put_manifest(tag, top)))
            .await
            .map_err(|error| registry_error(&error))?;
        Ok(true)
    }

    async fn blobs(&self, images: &[Image]) -> Result<(), Error> {
        let mut blobs: BTreeMap<&str, Blob<'_>> = BTreeMap::new();
        for image in images {
            blobs.insert(&image.config.digest, Blob::Config(&image.config));
            for part in &image.parts {
                blobs.insert(&part.layer().digest, Blob::Part(part, image.base.as_ref()));
            }
        }
        let brought: Vec<_> = blobs
            .iter()
            .map(|(digest, blob)| self.bring(digest, blob).boxed())
            .collect();
        stream::iter(brought)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Sees to it that the repository has a blob.
    async fn bring(&self, digest: &str, blob: &Blob<'_>) -> Result<(), Error> {
        let failed = |error: wharf_oci::Error| registry_error(&error);
        if self.push.has_blob(digest).await.map_err(failed)? {
            return Ok(());
        }
        let from = match blob {
            Blob::Part(part, _) => mount_from(self.reference, part),
            Blob::Config(_) => None,
        };
        if from.is_some() {
            match self.push.start(digest, from.as_deref()).await.map_err(failed)? {
                Start::Mounted => return Ok(()),
                Start::Upload(upload) => {
                    let content = self.content(blob).await?;
                    return self.push.send(upload, digest, content).await.map_err(failed);
                }
            }
        }
        let content = self.content(blob).await?;
        match self.push.start(digest, None).await.map_err(failed)? {
            Start::Mounted => Ok(()),
            Start::Upload(upload) => self.push.send(upload, digest, content).await.map_err(failed),
        }
    }

    /// A blob's bytes, in a file that goes with its handle.
    async fn content(&self, blob: &Blob<'_>) -> Result<File, Error> {
        match blob {
            Blob::Config(document) => {
                let text = document.text.clone();
                self.written(move |mut file| io::Write::write_all(&mut file, &text))
                    .await
            }
            Blob::Part(Part::Kept(origin), base) => self.fetched(origin, *base).await,
            Blob::Part(Part::Made { blob: Some(blob), .. }, _) => {
                let again = |error: io::Error| Error::other("store", error.to_string());
                blob.try_clone().map_err(again)
            }
            Blob::Part(Part::Made { id, layer, .. }, _) => {
                let (id, compression) = (*id, self.compression);
                let packed = self.engine.with_store(move |store| pack(store, id, compression));
                match packed.await? {
                    (again, blob) if again == *layer => Ok(blob),
                    _ => Err(Error::other(
                        "defect",
                        "a layer was packed into another blob than before",
                    )),
                }
            }
        }
    }

    /// The bytes that a layer was unpacked from, from where they came from.
    async fn fetched(&self, origin: &Origin, base: Option<&Base>) -> Result<File, Error> {
        let failed = |error: wharf_oci::Error| registry_error(&error);
        let mut blob: Box<dyn io::Read + Send> = match (&origin.reference, base.map(|base| &base.source)) {
            (Some(reference), Some(Source::Registry(registry))) => Box::new(
                registry
                    .fetch_blob(reference, &origin.layer)
                    .await
                    .map_err(failed)?,
            ),
            (Some(reference), _) => {
                let blob = self.usual.fetch_blob(reference, &origin.layer).await;
                Box::new(blob.map_err(failed)?)
            }
            (None, Some(Source::Archive(archive))) => Box::new(archive.blob(&origin.layer).map_err(failed)?),
            (None, _) => return Err(Error::other("defect", "a layer of an archive that is not there")),
        };
        self.written(move |mut file| io::copy(&mut blob, &mut file).map(|_| ()))
            .await
    }

    async fn written(
        &self,
        write: impl FnOnce(&File) -> io::Result<()> + Send + 'static,
    ) -> Result<File, Error> {
        let written = self.engine.with_store(move |store| {
            let file = store.passing_file()?;
            write(&file).map_err(|source| wharf_store::Error::Io {
                context: "a layer on its way".to_owned(),
                source,
            })?;
            Ok(file)
        });
        written.await
    }
}
