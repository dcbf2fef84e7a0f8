//! Overlays, as described to the runner.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Directories that are mounted as one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// What is read, the highest first.
    pub lowers: Vec<PathBuf>,
    /// Where changes go, and overlay's work directory on the same file system; none mounts read-only.
    pub upper: Option<(PathBuf, PathBuf)>,
}

/// An overlay mounted somewhere in a step's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverlayMount {
    /// Absolute path in the step's root.
    pub destination: String,
    /// What is mounted.
    pub overlay: Overlay,
}
