//! Cache volumes: directories that outlive runs. Never part of a snapshot.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
};

use wharf_digest::Digest;

use crate::{
    error::{Context, Result},
    store::Store,
};

/// Which volume: the same name in another scope is another volume.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VolumeId {
    /// The module or project that it belongs to.
    pub scope: String,
    /// Its name there.
    pub name: String,
}

/// How those who use a volume at the same time share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All at once.
    Shared,
    /// Each its own: the volume itself for the first, another for each who comes while it is used.
    Private,
    /// One at a time.
    Locked,
}

#[derive(Debug, Default)]
struct Use {
    shared: usize,
    locked: bool,
    private: Vec<usize>,
}

/// Who uses which volume.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    used: Arc<(Mutex<HashMap<String, Use>>, Condvar)>,
}

impl Volumes {
    /// Does this with the volume of this directory unless somebody uses it; nobody comes in between.
    pub(crate) fn unless_used(&self, name: &str, work: impl FnOnce()) {
        let used = self.used.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_used = |entry: &Use| entry.shared > 0 || entry.locked || !entry.private.is_empty();
        if !used.get(name).is_some_and(is_used) {
            work();
        }
    }
}

/// A volume in use; given back when it is dropped.
#[derive(Debug)]
pub struct CacheVolume {
    path: PathBuf,
    /// Was it made just now?
    fresh: bool,
    sharing: Sharing,
    slot: usize,
    name: String,
    used: Arc<(Mutex<HashMap<String, Use>>, Condvar)>,
}

impl CacheVolume {
    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Was it made just now, and is there nothing in it?
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }
}

impl Drop for CacheVolume {
    fn drop(&mut self) {
        let (used, changed) = &*self.used;
        let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = used.get_mut(&self.name) {
            match self.sharing {
                Sharing::Shared => entry.shared -= 1,
                Sharing::Locked => entry.locked = false,
                Sharing::Private => entry.private.retain(|slot| *slot != self.slot),
            }
        }
        changed.notify_all();
    }
}

impl Store {
    /// Takes a volume, made when it is not there. A locked one waits until nobody else has it; `give_up` ends the wait.
    pub fn volume(
        &self,
        id: &VolumeId,
        sharing: Sharing,
        give_up: impl Fn() -> bool,
    ) -> Result<Option<CacheVolume>> {
        let name =
            Digest::of(&postcard::to_stdvec(&(&id.scope, &id.name)).expect("names always encode")).to_hex();
        let slot = {
            let (used, changed) = &*self.volumes.used;
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if give_up() {
                    return Ok(None);
                }
                let entry = used.entry(name.clone()).or_default();
                match sharing {
                    Sharing::Locked if entry.locked || entry.shared > 0 || entry.private.contains(&0) => {}
                    Sharing::Shared if entry.locked || entry.private.contains(&0) => {}
                    Sharing::Locked => {
                        entry.locked = true;
                        break 0;
                    }
                    Sharing::Shared => {
                        entry.shared += 1;
                        break 0;
                    }
                    Sharing::Private => {
                        // Of so many slots one more than there are users is free.
                        let first = usize::from(entry.locked || entry.shared > 0);
                        let slot = (first..=first + entry.private.len())
                            .find(|slot| !entry.private.contains(slot))
                            .unwrap_or_default();
                        entry.private.push(slot);
                        break slot;
                    }
                }
                let wait = std::time::Duration::from_millis(100);
                used = changed
                    .wait_timeout(used, wait)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        };
        let directory = self.directory.join("volumes").join(&name);
        let path = directory.join(format!("data-{slot}"));
        let mut volume = CacheVolume {
            path,
            fresh: false,
            sharing,
            slot,
            name,
            used: Arc::clone(&self.volumes.used),
        };
        if !volume.path.is_dir() {
            let said = || format!("cache volume {}", id.name);
            std::fs::create_dir_all(&volume.path).context(said)?;
            std::fs::write(directory.join("name"), format!("{}\n{}\n", id.scope, id.name)).context(said)?;
            volume.fresh = true;
        }
        Ok(Some(volume))
    }
}
