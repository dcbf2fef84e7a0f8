//! Manifests and configurations that were fetched before, so that a tag costs one request a run and not three.
//!
//! They are known by place, repository and digest, and given only on the way down from a manifest that the registry has just
//! handed out: whoever may not read a repository gets nothing of it, and a digest alone gives nothing to anybody.

use std::sync::{Mutex, PoisonError};

use hashlink::LruCache;

use crate::place::Place;

/// How many are kept.
const COUNT: usize = 512;
/// Longer ones are fetched anew.
const LONGEST: usize = 64 * 1024;

/// Documents by name; the longest unused go first.
pub(crate) struct Known(Mutex<LruCache<String, Vec<u8>>>);

impl Default for Known {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(COUNT)))
    }
}

impl Known {
    pub(crate) fn get(&self, place: &Place, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&name(place, repository, digest)).cloned()
    }

    /// Keeps what was fetched and compared with its digest.
    pub(crate) fn keep(&self, place: &Place, repository: &str, digest: &str, text: &[u8]) {
        if text.len() <= LONGEST {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(name(place, repository, digest), text.to_owned());
        }
    }
}

fn name(place: &Place, repository: &str, digest: &str) -> String {
    format!("{} {repository} {digest}", place.base)
}
