//! What running work needs and no result names yet: it is not removed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use wharf_digest::Digest;

use crate::{
    index::ResultRecord,
    layer::{LayerId, Snapshot},
};

#[derive(Debug, Default)]
struct Pinned {
    /// Layers that somebody holds, with how many do.
    held: HashMap<LayerId, usize>,
    /// Layers and blobs that were made in this process and are in no result yet.
    young_layers: HashSet<LayerId>,
    young_blobs: HashSet<Digest>,
    /// Files that were received by this process and are in no tree yet.
    received: HashSet<Digest>,
    /// Stacks that the store gave out: their layers stay for as long as anybody has one of them.
    given: Vec<Weak<[LayerId]>>,
    /// How many were alive when the dead were last swept out.
    alive: usize,
}

/// What running work needs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pins(Arc<Mutex<Pinned>>);

/// Keeps a snapshot's layers until it is dropped.
#[derive(Debug)]
pub struct Pin {
    snapshot: Snapshot,
    pins: Pins,
}

impl Pins {
    fn lock(&self) -> MutexGuard<'_, Pinned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hold(&self, snapshot: &Snapshot) -> Pin {
        let mut pinned = self.lock();
        for layer in snapshot.layers() {
            *pinned.held.entry(*layer).or_default() += 1;
        }
        Pin {
            snapshot: snapshot.clone(),
            pins: self.clone(),
        }
    }

    pub(crate) fn made_layer(&self, layer: LayerId) {
        self.lock().young_layers.insert(layer);
    }

    pub(crate) fn made_blob(&self, blob: Digest) {
        self.lock().young_blobs.insert(blob);
    }

    pub(crate) fn received(&self, file: Digest) {
        self.lock().received.insert(file);
    }

    /// These files are in a tree now.
    pub(crate) fn placed<'d>(&self, files: impl Iterator<Item = &'d Digest>) {
        let mut pinned = self.lock();
        for file in files {
            pinned.received.remove(file);
        }
    }

    /// Keeps a snapshot's layers for as long as a copy of it is in somebody's hands.
    pub(crate) fn watch(&self, snapshot: &Snapshot) {
        let mut pinned = self.lock();
        if pinned.given.len() > 2 * pinned.alive + 1024 {
            pinned.given.retain(|stack| stack.strong_count() > 0);
            pinned.alive = pinned.given.len();
        }
        pinned.given.push(snapshot.downgrade());
    }

    pub(crate) fn watch_record(&self, record: &ResultRecord) {
        self.watch(&record.output);
        for input in &record.inputs {
            self.watch(input);
        }
    }

    /// As [`Self::watch`], for what was made just now.
    pub(crate) fn give_out(&self, snapshot: &Snapshot) {
        self.watch(snapshot);
        if let Some(layer) = snapshot.layers().last() {
            self.lock().young_layers.remove(layer);
        }
    }

    /// What a result names is kept by it from now on.
    pub(crate) fn recorded(&self, record: &ResultRecord) {
        let mut pinned = self.lock();
        for layer in record.output.layers() {
            pinned.young_layers.remove(layer);
        }
        for blob in [record.stdout, record.stderr, record.log].iter().flatten() {
            pinned.young_blobs.remove(blob);
        }
    }

    pub(crate) fn layers(&self) -> HashSet<LayerId> {
        let pinned = self.lock();
        let given = pinned.given.iter().filter_map(Weak::upgrade);
        let mut layers: HashSet<LayerId> = given.flat_map(|stack| stack.to_vec()).collect();
        layers.extend(pinned.held.keys().chain(&pinned.young_layers));
        layers
    }

    pub(crate) fn blobs(&self) -> HashSet<Digest> {
        self.lock().young_blobs.clone()
    }

    pub(crate) fn files(&self) -> HashSet<Digest> {
        self.lock().received.clone()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pinned = self.pins.lock();
        for layer in self.snapshot.layers() {
            if let Some(count) = pinned.held.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    pinned.held.remove(layer);
                }
            }
        }
    }
}
