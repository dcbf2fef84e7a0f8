//! Modules of registries: found, pulled into the cache, published.

use std::{
    fs::File,
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use semver::Version;
use wharf_manifest::ModuleName;
use wharf_oci::{Document, LayerDescriptor, RawManifest, Reference, Registry};

use crate::{
    artifact::{Artifact, Blob, Listed, MANIFEST, Package, sha256},
    cache::{Cache, unnamed},
    contents::Contents,
    error::{Error, Result},
    mapping::{Mappings, Said},
    name::{ModuleRef, Wanted},
    policy::Policy,
    signature::{self, Signature, SigningKey},
};

/// Components that are longer are not pulled.
const LONGEST: u64 = 256 << 20;
/// As many versions as an error lists.
const LISTED: usize = 20;
/// As many signatures of one module as are read.
const MOST_SIGNATURES: usize = 32;

/// How modules are had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pinning {
    /// Only what is named by its digest.
    pub locked: bool,
    /// Only what is on this machine.
    pub offline: bool,
}

/// How far something on its way has come.
#[derive(Debug, Default)]
pub struct Moved {
    done: AtomicU64,
    total: AtomicU64,
}

impl Moved {
    /// Bytes that have arrived, and bytes that there are; none of the latter when nothing was begun.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        )
    }

    fn begin(&self, total: u64) {
        self.total.fetch_add(total, Ordering::Relaxed);
    }

    fn add(&self, count: usize) {
        self.done.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// A module that a registry has.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its repository, at its digest.
    pub reference: Reference,
    /// What the registry says of it.
    pub artifact: Artifact,
    /// The name that it was asked for by.
    asked: Option<ModuleName>,
    /// Its documents' texts, to be kept when the component is here.
    documents: [(String, Vec<u8>); 2],
}

/// A module that is on this machine.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// Its repository, at its digest.
    pub reference: Reference,
    /// What the registry said of it, found to be so.
    pub artifact: Artifact,
}

/// Who has signed a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// How many signatures it has.
    pub count: usize,
    /// The keys among those of policies that made one, by name.
    pub by: Vec<String>,
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// It is there now.
    New,
    /// The same was there already.
    Same {
        /// The digest that it has there.
        digest: String,
    },
}

/// Registries and what was pulled from them.
#[derive(Clone)]
pub struct Modules {
    registries: Registry,
    mappings: Mappings,
    said: Arc<Said>,
    cache: Cache,
    policy: Policy,
    pinning: Pinning,
}

impl Modules {
    /// Registries that are reached and mapped to so, with a directory for what is pulled.
    pub fn new(
        registries: Registry,
        mappings: Mappings,
        policy: Policy,
        cache: &Path,
        pinning: Pinning,
    ) -> Self {
        Self {
            registries,
            mappings,
            said: Arc::default(),
            cache: Cache::new(cache.to_owned()),
            policy,
            pinning,
        }
    }

    /// The repository of a module by its name.
    pub async fn repository(&self, name: &ModuleName) -> Result<Reference> {
        let said = self.mappings.repository(name, &self.registries, &self.said);
        said.await
    }

    pub(crate) fn pinning(&self) -> Pinning {
        self.pinning
    }

    /// Where the cache keeps bytes of this digest.
    pub fn kept_at(&self, digest: &str) -> Result<PathBuf> {
        self.cache.path(digest).ok_or_else(|| unnamed(digest))
    }

    /// The versions that a repository has, the newest first.
    pub async fn versions(&self, repository: &Reference) -> Result<Vec<Version>> {
        let tags = self.registries.tags(repository).await?;
        let mut versions: Vec<Version> = tags.iter().filter_map(|tag| tag.parse().ok()).collect();
        versions.sort_unstable_by(|one, other| other.cmp(one));
        Ok(versions)
    }

    /// What a registry says of a module. Nothing of it is asked for when it is named by its digest and was pulled before.
    pub async fn find(&self, wanted: &ModuleRef) -> Result<Found> {
        if let ModuleRef::Place { reference, .. } = wanted
            && let Some(digest) = reference.digest()
            && let Some(kept) = self.kept(reference, digest)
        {
            return Ok(kept);
        }
        if self.pinning.offline {
            return Err(Error::Offline {
                module: wanted.to_string(),
                hint: "leave that away once, or name one that was pulled by its digest",
            });
        }
        let reference = self.place(wanted).await?;
        if self.pinning.locked && reference.digest().is_none() {
            return Err(Error::Unlocked {
                module: wanted.to_string(),
            });
        }
        let mut found = self.fetch(&reference).await?;
        if let ModuleRef::Name { name, .. } = wanted {
            found.asked = Some(name.clone());
        }
        Ok(found)
    }

    /// The tag or digest that is meant.
    async fn place(&self, wanted: &ModuleRef) -> Result<Reference> {
        let (repository, wanted, of) = match wanted {
            ModuleRef::Place {
                reference,
                is_pinned: true,
            } => return Ok(reference.clone()),
            ModuleRef::Place { reference, .. } => {
                let name = format!("{}/{}", reference.registry(), reference.repository());
                (reference.clone(), Wanted::Newest, name)
            }
            ModuleRef::Name { name, wanted } => {
                (self.repository(name).await?, wanted.clone(), name.to_string())
            }
        };
        if let Wanted::Exactly(version) = &wanted {
            return Ok(tagged(&repository, version)?);
        }
        let versions = self.versions(&repository).await?;
        match versions.iter().find(|version| wanted.allows(version)) {
            Some(version) => Ok(tagged(&repository, version)?),
            None => Err(Error::NotFound {
                module: format!("{of} {wanted}"),
                registry: repository.registry().to_owned(),
                versions: listed(&versions),
            }),
        }
    }

    async fn fetch(&self, reference: &Reference) -> Result<Found> {
        let manifest = match self.registries.fetch_manifest(reference).await {
            Err(wharf_oci::Error::NotFound { registry, .. }) => {
                let versions = self.versions(reference).await.unwrap_or_default();
                return Err(Error::NotFound {
                    module: familiar(reference),
                    registry,
                    versions: listed(&versions),
                });
            }
            other => other?,
        };
        let is_none = |why: String| Error::NotAModule {
            module: reference.to_string(),
            why,
        };
        let listed = Listed::read(&manifest.text).map_err(is_none)?;
        let at = reference.at_digest(&manifest.digest);
        let config = self.registries.fetch_document(&at, &listed.config.digest).await?;
        Ok(Found {
            asked: None,
            documents: [
                (listed.config.digest.clone(), config.clone()),
                (manifest.digest.clone(), manifest.text),
            ],
            artifact: listed.with(manifest.digest, &config).map_err(is_none)?,
            reference: at,
        })
    }

    /// A module that was pulled before, whole.
    fn kept(&self, reference: &Reference, digest: &str) -> Option<Found> {
        let manifest = self.cache.get(digest)?;
        let listed = Listed::read(&manifest).ok()?;
        let config = self.cache.get(&listed.config.digest)?;
        Some(Found {
            asked: None,
            reference: reference.at_digest(digest),
            documents: [
                (listed.config.digest.clone(), config.clone()),
                (digest.to_owned(), manifest),
            ],
            artifact: listed.with(digest.to_owned(), &config).ok()?,
        })
    }

    /// Brings a module here, unless it is. What was said of it is compared with what it is.
    pub async fn pull(&self, wanted: &ModuleRef, moved: &Arc<Moved>) -> Result<Pulled> {
        let found = self.find(wanted).await?;
        self.bring(found, moved).await
    }

    /// Brings a module here that was found.
    pub async fn bring(&self, found: Found, moved: &Arc<Moved>) -> Result<Pulled> {
        let Found {
            reference,
            artifact,
            asked,
            documents,
        } = found;
        let blob = &artifact.component;
        let is_known = self
            .cache
            .path(&artifact.digest)
            .is_some_and(|path| path.is_file());
        // What its registry says nothing of tells its name itself.
        let is_read = !is_known || (artifact.said.is_none() && !self.policy.is_empty());
        let contents = if is_read || !self.is_whole(&blob.digest).await {
            let component = match self.cache.get(&blob.digest) {
                Some(component) => component,
                None => self.fetch_component(&reference, blob, moved).await?,
            };
            is_read
                .then(|| check(&reference, &artifact, &component))
                .transpose()?
        } else {
            None
        };
        let names = [
            asked.map(|name| name.to_string()),
            artifact
                .said
                .as_ref()
                .and_then(|said| said.name())
                .map(str::to_owned),
            contents.as_ref().and_then(|own| own.name()).map(str::to_owned),
        ];
        self.check_signatures(
            &names.into_iter().flatten().collect::<Vec<_>>(),
            &reference,
            &artifact.digest,
        )
        .await?;
        if !is_known {
            for (digest, text) in &documents {
                self.cache.keep(digest, text)?;
            }
        }
        Ok(Pulled { reference, artifact })
    }

    /// Is what has this digest here, and undamaged? Many are looked at on all processors.
    async fn is_whole(&self, digest: &str) -> bool {
        let (cache, digest) = (self.cache.clone(), digest.to_owned());
        let look = tokio::task::spawn_blocking(move || cache.is_whole(&digest));
        look.await.unwrap_or(false)
    }

    /// Refuses a module that lacks a signature which a policy wants.
    async fn check_signatures(&self, names: &[String], reference: &Reference, digest: &str) -> Result<()> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if !self.policy.is_about(&names, reference) {
            return Ok(());
        }
        let check = |signatures: &[Signature]| self.policy.check(&names, reference, digest, signatures);
        if check(&self.cache.signatures(digest)).is_ok() {
            return Ok(());
        }
        let signatures = self.signatures(reference, digest).await?;
        check(&signatures)?;
        self.cache.keep_signatures(digest, &signatures)
    }

    /// The signatures of an artifact that its repository has.
    async fn signatures(&self, reference: &Reference, digest: &str) -> Result<Vec<Signature>> {
        if self.pinning.offline {
            return Ok(self.cache.signatures(digest));
        }
        let tag = Signature::tag(digest);
        let place: Reference =
            format!("{}/{}:{tag}", reference.registry(), reference.repository()).parse()?;
        let manifest = match self.registries.fetch_manifest(&place).await {
            Err(wharf_oci::Error::NotFound { .. }) => return Ok(Vec::new()),
            other => other?,
        };
        let mut signatures = Vec::new();
        for (blob, signature) in signature::listed(&manifest.text)
            .into_iter()
            .take(MOST_SIGNATURES)
        {
            let payload = self.registries.fetch_document(reference, &blob.digest).await?;
            signatures.extend(signature::arrived(payload, signature));
        }
        Ok(signatures)
    }

    /// Who has signed a module that was found.
    pub async fn signed(&self, found: &Found) -> Result<Signed> {
        let digest = &found.artifact.digest;
        let signatures = self.signatures(&found.reference, digest).await?;
        Ok(Signed {
            count: signatures.len(),
            by: self.policy.signers(digest, &signatures),
        })
    }

    /// Signs what is published at a digest, beside whoever has signed it before. False: this key has.
    pub async fn sign(&self, key: &SigningKey, published: &Reference) -> Result<bool> {
        let digest = published.digest().unwrap_or_default();
        let mut signatures = self.signatures(published, digest).await?;
        let public = key.public();
        if signatures
            .iter()
            .any(|signature| signature.is_by(&public, digest))
        {
            return Ok(false);
        }
        signatures.push(Signature::new(key, published, digest)?);
        let (manifest, config) = signature::documents(&signatures);
        let push = self.registries.push(published, Vec::new());
        for signature in &signatures {
            push.bring(&sha256(signature.payload()), passing(signature.payload())?)
                .await?;
        }
        push.bring(&config.digest, passing(&config.text)?).await?;
        push.put_manifest(&Signature::tag(digest), &manifest).await?;
        Ok(true)
    }

    async fn fetch_component(
        &self,
        reference: &Reference,
        blob: &Blob,
        moved: &Arc<Moved>,
    ) -> Result<Vec<u8>> {
        if self.cache.path(&blob.digest).is_none() {
            return Err(unnamed(&blob.digest));
        }
        if self.pinning.offline {
            return Err(Error::Offline {
                module: reference.to_string(),
                hint: "leave that away once",
            });
        }
        if blob.size > LONGEST {
            return Err(Error::NotAModule {
                module: reference.to_string(),
                why: format!("it has {} bytes, more than any component should", blob.size),
            });
        }
        let layer = LayerDescriptor {
            digest: blob.digest.clone(),
            diff_id: blob.digest.clone(),
            size: blob.size,
            media_type: blob.media_type.clone(),
        };
        moved.begin(blob.size);
        let mut arriving = self.registries.fetch_blob(&reference.to_string(), &layer).await?;
        let moved = Arc::clone(moved);
        // Its reader waits for what arrives. The end is an error unless all of it has the right digest.
        let read = tokio::task::spawn_blocking(move || read(&mut arriving, &moved));
        let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let component = read.map_err(|error| arrival(error, &blob.digest))?;
        self.cache.keep(&blob.digest, &component)?;
        Ok(component)
    }

    /// Publishes a package under a tag. What is there under it is never replaced; the same is left as it is.
    pub async fn publish(&self, package: &Package, component: File, to: &Reference) -> Result<Publication> {
        let tag = to.tag().unwrap_or("latest");
        let push = self.registries.push(to, Vec::new());
        if let Some(there) = push.manifest_text(tag).await? {
            return compare(package, to, &there);
        }
        push.bring(&package.component.digest, component).await?;
        push.bring(&package.config.digest, passing(&package.config.text)?)
            .await?;
        push.put_manifest(tag, &package.manifest).await?;
        // Somebody else may have published at the same time: whoever came last stays, and both are told.
        match push.manifest_text(tag).await? {
            Some(there) if there.digest != package.manifest.digest => compare(package, to, &there),
            _ => Ok(Publication::New),
        }
    }

    /// Has another tag of a repository follow what is published under a reference.
    pub async fn move_tag(&self, published: &Reference, tag: &str) -> Result<()> {
        let push = self.registries.push(published, Vec::new());
        let from = published.digest().or(published.tag()).unwrap_or("latest");
        let there = push.manifest_text(from).await?.ok_or_else(|| Error::NotFound {
            module: familiar(published),
            registry: published.registry().to_owned(),
            versions: Vec::new(),
        })?;
        if push.manifest(tag).await?.as_deref() != Some(&there.digest) {
            push.put_manifest(tag, &Document::of_text(MANIFEST, there.text))
                .await?;
        }
        Ok(())
    }
}

/// Compares what was said of a component with what it is.
fn check(reference: &Reference, artifact: &Artifact, component: &[u8]) -> Result<Contents> {
    let contents = Contents::of(component).map_err(|why| Error::NotAModule {
        module: reference.to_string(),
        why,
    })?;
    match artifact.said.as_ref().and_then(|said| contents.differs(said)) {
        Some(part) => Err(Error::Misdescribed {
            module: reference.to_string(),
            part,
        }),
        None => Ok(contents),
    }
}

/// A file without a name that holds this text.
fn passing(text: &[u8]) -> Result<File> {
    let write = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(text)?;
        Ok(file)
    };
    write().map_err(Error::io("write in", &std::env::temp_dir()))
}

/// Is what is there the same module? An older Wharf may have described the same component otherwise.
fn compare(package: &Package, to: &Reference, there: &RawManifest) -> Result<Publication> {
    let is_same_module = || {
        Listed::read(&there.text).is_ok_and(|listed| {
            listed.component.digest == package.component.digest && listed.annotations == package.annotations
        })
    };
    if there.digest == package.manifest.digest || is_same_module() {
        return Ok(Publication::Same {
            digest: there.digest.clone(),
        });
    }
    Err(Error::Published {
        reference: to.to_string(),
        there: there.digest.clone(),
        own: package.manifest.digest.clone(),
    })
}

/// A repository under the tag of a version.
pub(crate) fn tagged(repository: &Reference, version: &Version) -> Result<Reference, wharf_oci::Error> {
    format!("{}/{}:{version}", repository.registry(), repository.repository()).parse()
}

/// A reference without its registry, which is said beside.
fn familiar(reference: &Reference) -> String {
    let full = reference.to_string();
    let short = full
        .strip_prefix(reference.registry())
        .map(|rest| rest.trim_start_matches('/'));
    short.unwrap_or(&full).to_owned()
}

fn listed(versions: &[Version]) -> Vec<String> {
    let mut listed: Vec<String> = versions.iter().take(LISTED).map(Version::to_string).collect();
    if versions.len() > LISTED {
        listed.push("older ones".to_owned());
    }
    listed
}

fn read(from: &mut dyn BufRead, moved: &Moved) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let piece = from.fill_buf()?;
        let count = piece.len();
        if count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(piece);
        from.consume(count);
        moved.add(count);
    }
}

/// A download that ended early brings its own reason along.
fn arrival(error: io::Error, digest: &str) -> Error {
    let why = error.to_string();
    let own = error
        .into_inner()
        .and_then(|inner| inner.downcast::<wharf_oci::Error>().ok());
    match own {
        Some(own) => (*own).into(),
        None => Error::Damaged {
            what: format!("the component {digest}"),
            why,
        },
    }
}
