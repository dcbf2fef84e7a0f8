//! Who may use which cache volume. Steps wait for their volumes before they wait for their turn, so that nobody holds a turn
//! who cannot run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use wharf_graph::{
    op::{Mount, Sharing},
    plan::Step,
};
use wharf_store::VolumeId;

use crate::session::lock;

/// The volumes that are in use or waited for.
#[derive(Default)]
pub(crate) struct Volumes(Mutex<HashMap<VolumeId, Arc<RwLock<()>>>>);

/// The right to use a volume, until it is dropped.
pub(crate) enum Use {
    /// Beside others.
    Shared { _guard: OwnedRwLockReadGuard<()> },
    /// Alone.
    Locked { _guard: OwnedRwLockWriteGuard<()> },
}

impl Volumes {
    /// Waits for all that a step mounts, first come, first served. One after another in the order of their names: two steps
    /// that want the same two never wait for each other.
    pub(crate) async fn acquire(&self, step: &Step) -> Vec<Use> {
        let mut uses = Vec::new();
        for (id, alone) in wanted(step) {
            let volume = self.volume(id);
            uses.push(if alone {
                Use::Locked {
                    _guard: volume.write_owned().await,
                }
            } else {
                Use::Shared {
                    _guard: volume.read_owned().await,
                }
            });
        }
        uses
    }

    fn volume(&self, id: VolumeId) -> Arc<RwLock<()>> {
        let mut volumes = lock(&self.0);
        // Those that nobody uses are forgotten here: there are never many.
        volumes.retain(|_, volume| Arc::strong_count(volume) > 1);
        Arc::clone(volumes.entry(id).or_default())
    }
}

/// The volumes of a step, and whether it must have each alone. Of private ones everybody has one of their own.
fn wanted(step: &Step) -> BTreeMap<VolumeId, bool> {
    let mut wanted = BTreeMap::new();
    for mount in step.mounts.values() {
        let Mount::Cache(volume) = mount else { continue };
        if volume.sharing == Sharing::Private {
            continue;
        }
        let id = VolumeId {
            scope: volume.scope.clone(),
            name: volume.name.clone(),
        };
        *wanted.entry(id).or_default() |= volume.sharing == Sharing::Locked;
    }
    wanted
}
