//! What is mounted in a step: directories, files, cache volumes, secrets.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;
use wharf_graph::{
    Error,
    op::{CacheVolume, Mount, SecretId, Sharing},
    plan::{Location, Step},
};
use wharf_runner::{
    Overlay, OverlayMount,
    spec::{Bind, Process},
};
use wharf_store::{Snapshot, Store, VolumeId, edit, tree::View};

use super::{Held, io_error};
use crate::{
    audience::Audience,
    edit::resolve_owner,
    engine::{Engine, store_error},
    evaluate::Made,
};

impl Engine {
    /// Brings about what is mounted. Directories become overlays of their own, so nothing a step writes is shared.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn mounts(
        self: &Arc<Self>,
        step: &Step,
        inputs: &[Arc<Made>],
        root: &Snapshot,
        audience: &Audience,
        cancel: &CancellationToken,
        process: &mut Process,
        held: &mut Held,
    ) -> Result<Vec<OverlayMount>, Error> {
        let mut overlays = Vec::new();
        let mut sources = inputs[1..].iter();
        for (path, mount) in &step.mounts {
            let source = mount.source().and_then(|place| Some((place, sources.next()?)));
            match (mount, source) {
                (Mount::Directory { owner, .. }, Some((place, made))) => {
                    overlays.push(
                        self.directory_mount(path, place, made, owner.as_deref(), root, held)
                            .await?,
                    );
                }
                (Mount::File { owner, .. }, Some((place, made))) => {
                    let file = self
                        .file_mount(path, place, made, owner.as_deref(), root, held)
                        .await?;
                    process.binds.push(bind(&file, path, false));
                }
                (Mount::Cache(volume), source) => {
                    let id = VolumeId {
                        scope: volume.scope.clone(),
                        name: volume.name.clone(),
                    };
                    let here = held.volumes.iter().position(|(held, _)| *held == id);
                    let at = match here.filter(|_| volume.sharing != Sharing::Private) {
                        Some(at) => at,
                        None => {
                            let taken = self.volume(&id, volume, source, root, cancel).await?;
                            held.volumes.push((id, taken));
                            held.volumes.len() - 1
                        }
                    };
                    let taken = held.volumes[at].1.path();
                    process
                        .binds
                        .push(bind(taken, path, volume.sharing != Sharing::ReadOnly));
                }
                (Mount::Secret { secret, owner, mode }, _) => {
                    let owner = owner
                        .as_deref()
                        .map(|owner| resolve_owner(&self.store, root, owner))
                        .transpose()?;
                    let file = self
                        .secret_file(path, secret, owner.unwrap_or_default(), *mode, audience, held)
                        .await?;
                    process.binds.push(bind(&file, path, false));
                }
                (Mount::Temp { size }, _) => process.temporary.push((path.clone(), *size, 0o1777)),
                (Mount::Directory { .. } | Mount::File { .. }, None) => {
                    return Err(Error::other(
                        "defect",
                        format!("what is mounted on {path} was not made"),
                    ));
                }
            }
        }
        Ok(overlays)
    }

    async fn directory_mount(
        self: &Arc<Self>,
        path: &str,
        place: &Location,
        made: &Made,
        owner: Option<&str>,
        root: &Snapshot,
        held: &mut Held,
    ) -> Result<OverlayMount, Error> {
        let owner = owner
            .map(|owner| resolve_owner(&self.store, root, owner))
            .transpose()?;
        let (from, source) = (place.path.clone(), made.snapshot.clone());
        let (lowers, draft, pin) = self
            .with_store(move |store| {
                let (tree, lowers) = mounted_tree(store, source, &from, owner)?;
                let draft = store.new_layer_over(lowers.first().map(PathBuf::as_path))?;
                Ok((lowers, draft, store.pin(&tree)))
            })
            .await?;
        let overlay = Overlay {
            lowers,
            upper: Some((draft.path(), draft.work())),
        };
        held.drafts.push(draft);
        held.pins.push(pin);
        Ok(OverlayMount {
            destination: path.to_owned(),
            overlay,
        })
    }

    async fn file_mount(
        self: &Arc<Self>,
        path: &str,
        place: &Location,
        made: &Made,
        owner: Option<&str>,
        root: &Snapshot,
        held: &mut Held,
    ) -> Result<PathBuf, Error> {
        let owner = owner
            .map(|owner| resolve_owner(&self.store, root, owner))
            .transpose()?;
        let (from, source) = (place.path.clone(), made.snapshot.clone());
        let mut copied = self
            .with_store(move |store| {
                let view = View::new(store, &source)?;
                Ok((view.open_file(&from)?, view.stat(&from, true)?))
            })
            .await?;
        let target = file_in(&self.runner.scratch(), held, path)?;
        let (uid, gid) = owner.unwrap_or((copied.1.uid, copied.1.gid));
        let mut file = new_file(&target, copied.1.mode).map_err(io_error)?;
        std::io::copy(&mut copied.0, &mut file).map_err(io_error)?;
        edit::give(&target, (uid, gid)).map_err(|error| store_error(&error))?;
        Ok(target)
    }

    async fn volume(
        self: &Arc<Self>,
        id: &VolumeId,
        volume: &CacheVolume<Location>,
        source: Option<(&Location, &Arc<Made>)>,
        root: &Snapshot,
        cancel: &CancellationToken,
    ) -> Result<wharf_store::CacheVolume, Error> {
        let id = id.clone();
        let sharing = match volume.sharing {
            Sharing::Shared | Sharing::ReadOnly => wharf_store::Sharing::Shared,
            Sharing::Private => wharf_store::Sharing::Private,
            Sharing::Locked => wharf_store::Sharing::Locked,
        };
        let source = source.map(|(place, made)| (made.snapshot.clone(), place.path.clone()));
        let owner = volume
            .owner
            .as_deref()
            .map(|owner| resolve_owner(&self.store, root, owner))
            .transpose()?;
        let cancelled = cancel.clone();
        let taken = self
            .with_store(move |store| {
                let Some(taken) = store.volume(&id, sharing, || cancelled.is_cancelled())? else {
                    return Ok(None);
                };
                if taken.is_fresh() {
                    if let Some((snapshot, path)) = source {
                        edit::fill(store, &snapshot, &path, taken.path())?;
                    }
                    if let Some(owner) = owner {
                        edit::give(taken.path(), owner)?;
                    }
                }
                Ok(Some(taken))
            })
            .await?;
        taken.ok_or(Error::Cancelled)
    }

    async fn secret_file(
        &self,
        path: &str,
        secret: &SecretId,
        owner: (u32, u32),
        mode: u32,
        audience: &Audience,
        held: &mut Held,
    ) -> Result<PathBuf, Error> {
        let value = audience.secret(secret).await?;
        let target = file_in(&self.runner.scratch(), held, path)?;
        new_file(&target, mode)
            .and_then(|mut file| file.write_all(&value))
            .map_err(io_error)?;
        edit::give(&target, owner).map_err(|error| store_error(&error))?;
        held.secrets.push(value);
        Ok(target)
    }
}

/// The tree that is mounted for a directory, and what an overlay of it takes: where it lies in the layers of its source, unless
/// it is to have another owner or a name on the way cannot be handed on.
fn mounted_tree(
    store: &Store,
    source: Snapshot,
    from: &str,
    owner: Option<edit::Owner>,
) -> wharf_store::Result<(Snapshot, Vec<PathBuf>)> {
    if owner.is_none() {
        let lowers = store.lower_paths_at(&source, from)?;
        if lowers.iter().all(|lower| lower.to_str().is_some()) {
            return Ok((source, lowers));
        }
    }
    let mut tree = edit::subtree(store, &source, from)?;
    if let Some(owner) = owner {
        tree = edit::chown(store, &tree, "/", owner)?;
    }
    let lowers = store.lower_paths(&tree)?;
    Ok((tree, lowers))
}

pub(super) fn bind(source: &Path, destination: &str, writable: bool) -> Bind {
    Bind {
        source: source.to_string_lossy().into_owned(),
        destination: destination.to_owned(),
        writable,
    }
}

/// Where a mounted file lies while the step runs: in `scratch`, where only the engine can look.
fn file_in(scratch: &Path, held: &mut Held, path: &str) -> Result<PathBuf, Error> {
    let directory = match &held.files {
        Some(directory) => directory,
        None => held
            .files
            .insert(tempfile::tempdir_in(scratch).map_err(io_error)?),
    };
    Ok(directory.path().join(path.replace('/', "_")))
}

fn new_file(path: &Path, mode: u32) -> std::io::Result<File> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    Ok(file)
}
