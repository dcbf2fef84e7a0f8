//! The order in which things are mounted: one rule for every runtime.
//!
//! What the kernel gives (`/proc`, `/dev`, `/sys` and what is below them) comes first, in the specification's order. All
//! else comes after it, outer paths before inner ones, so that nothing is hidden by what is mounted above it.

use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};

use crate::overlay::OverlayMount;

/// Something to mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Wanted {
    /// As the specification says it.
    Plain(Mount),
    /// An overlay, which the specification has no word for.
    Overlay(OverlayMount),
}

impl Wanted {
    pub(crate) fn destination(&self) -> String {
        match self {
            Self::Plain(mount) => mount.destination().to_string_lossy().into_owned(),
            Self::Overlay(mount) => mount.destination.clone(),
        }
    }

    fn rank(&self) -> usize {
        let destination = self.destination();
        let mut parts = destination.split('/').filter(|part| !part.is_empty());
        match parts.next() {
            None | Some("proc" | "dev" | "sys") => 0,
            Some(_) => 1 + parts.count(),
        }
    }
}

/// Everything that a step mounts, in order.
pub(crate) fn arrange(plain: Vec<Mount>, overlays: Vec<OverlayMount>) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = plain
        .into_iter()
        .map(Wanted::Plain)
        .chain(overlays.into_iter().map(Wanted::Overlay))
        .collect();
    wanted.sort_by_key(Wanted::rank);
    wanted
}

#[cfg(test)]
mod tests {
    use super::arrange;
    use crate::overlay::{Overlay, OverlayMount};

    #[test]
    fn outer_paths_come_before_inner_ones_and_the_systems_before_all() {
        let plain = ["/a/b/c", "/proc", "/etc/hosts", "/dev", "/dev/shm"].map(|destination| {
            serde_json::from_value(serde_json::json!({ "destination": destination })).unwrap()
        });
        let overlays = ["/a/b", "/a"].map(|destination| OverlayMount {
            destination: destination.to_owned(),
            overlay: Overlay::default(),
        });
        let order: Vec<_> = arrange(plain.into(), overlays.into())
            .iter()
            .map(super::Wanted::destination)
            .collect();
        assert_eq!(
            order,
            ["/proc", "/dev", "/dev/shm", "/a", "/etc/hosts", "/a/b", "/a/b/c"]
        );
    }
}
