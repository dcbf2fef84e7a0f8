//! A directory of the caller's host on its way to the engine: what is in it, by digest.

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;

/// A tree: its entries sorted by path, parents before what they hold. The root is not among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The entries.
    pub entries: Vec<Entry>,
}

/// One path of a tree. Owners are not sent: what a host directory holds belongs to root in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Relative to the root, `/` between components; bytes, as names need not be text.
    pub path: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Digest of its bytes.
        digest: Digest,
        /// How many there are.
        size: u64,
    },
    /// A symbolic link.
    Symlink(Vec<u8>),
}

impl Manifest {
    /// Digest of everything but modification times: two trees that are equal to a process have the same.
    pub fn content(&self) -> Digest {
        let plain: Vec<_> = self
            .entries
            .iter()
            .map(|entry| (&entry.path, entry.mode, &entry.kind))
            .collect();
        Digest::of(&crate::encode(&("wharf manifest", plain)))
    }

    /// Digest of everything.
    pub fn stamp(&self) -> Digest {
        Digest::of(&crate::encode(&("wharf manifest with times", self)))
    }
}
