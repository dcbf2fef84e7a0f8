//! The order in which addresses are asked: mirrors, then the registry; those that failed lately last.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    error::{Failure, Result},
    place::Place,
    reference::canonical_registry,
};

/// How long a place that failed waits at the end of the line.
const PENANCE: Duration = Duration::from_secs(30);

/// Mirrors by registry, and which places failed lately.
pub(crate) struct Places {
    mirrors: HashMap<String, Vec<Place>>,
    failed: Mutex<HashMap<String, Instant>>,
}

impl Places {
    pub(crate) fn new(settings: &[(String, String)]) -> Result<Self> {
        let mut mirrors: HashMap<String, Vec<Place>> = HashMap::new();
        for (registry, mirror) in settings {
            mirrors
                .entry(canonical_registry(registry).to_owned())
                .or_default()
                .push(Place::mirror(mirror)?);
        }
        Ok(Self {
            mirrors,
            failed: Mutex::default(),
        })
    }

    /// Where a registry's images are asked for.
    pub(crate) fn of(&self, registry: &str) -> Vec<Place> {
        let own = Place::registry(registry);
        let mirrors = self.mirrors.get(&own.name).map(Vec::as_slice).unwrap_or_default();
        // A mirror that is the registry itself says how it is reached: that one takes no encryption, for one.
        let own = Some(own).filter(|own| mirrors.iter().all(|mirror| mirror.name != own.name));
        let all: Vec<Place> = mirrors.iter().cloned().chain(own).collect();
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = |place: &Place| failed.get(&place.base).is_some_and(|at| at.elapsed() < PENANCE);
        let (late, mut order): (Vec<Place>, Vec<Place>) = all.into_iter().partition(is_late);
        order.extend(late);
        order
    }

    /// Where a registry's images are pushed: the registry itself, reached as a mirror says that is it.
    pub(crate) fn itself(&self, registry: &str) -> Place {
        let own = Place::registry(registry);
        let mirrors = self.mirrors.get(&own.name).map(Vec::as_slice).unwrap_or_default();
        mirrors
            .iter()
            .find(|mirror| mirror.name == own.name)
            .cloned()
            .unwrap_or(own)
    }

    /// Notes that a place failed, when it is likely to fail again.
    pub(crate) fn remember(&self, place: &Place, failure: Failure) -> (Place, Failure) {
        tracing::debug!("{}: {failure:?}", place.base);
        if matches!(
            failure,
            Failure::Unavailable { .. } | Failure::Rejected { .. } | Failure::Damaged { .. }
        ) {
            self.failed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(place.base.clone(), Instant::now());
        }
        (place.clone(), failure)
    }
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::error::Failure;

    #[test]
    fn mirrors_come_first_and_what_failed_last() {
        let pair = |host: &str| ("docker.io".to_owned(), format!("http://{host}"));
        let places = Places::new(&[pair("a"), pair("b")]).unwrap();
        let order = |registry: &str| {
            places
                .of(registry)
                .into_iter()
                .map(|place| place.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(order("docker.io"), ["a", "b", "docker.io"]);
        assert_eq!(order("ghcr.io"), ["ghcr.io"]);
        let insecure = Places::new(&[("lan:5000".to_owned(), "http://lan:5000".to_owned())]).unwrap();
        assert_eq!(insecure.of("lan:5000").len(), 1);
        assert!(insecure.of("lan:5000")[0].is_plain());
        assert!(insecure.itself("lan:5000").is_plain());
        assert_eq!(places.itself("docker.io").name, "docker.io");
        let first = places.of("docker.io").remove(0);
        places.remember(&first, Failure::NotFound);
        assert_eq!(
            order("docker.io"),
            ["a", "b", "docker.io"],
            "to lack one image is no fault"
        );
        places.remember(&first, Failure::unavailable("down".to_owned()));
        assert_eq!(order("docker.io"), ["b", "docker.io", "a"]);
    }
}
