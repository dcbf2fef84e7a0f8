//! What clients of other machines were given or have supplied: that they know a digest proves nothing.
//!
//! It is noted in the store for each file and tree that a client has sent, and for whatever a server let it have. The clients
//! of the unix socket need no proofs.

use wharf_digest::Digest;
use wharf_graph::{Error, NodeId};
use wharf_proto::Manifest;
use wharf_proto::manifest::EntryKind;
use wharf_store::Store;

use crate::{engine::Engine, peer::Peer, session::Session};

/// A file that was sent.
const FILE: &str = "file";
/// A tree whose files were all sent.
const TREE: &str = "tree";
/// The log of a step whose error was told.
const LOG: &str = "log";

/// Of these files those that this client has never sent.
pub(crate) fn unproved(
    store: &Store,
    peer: &Peer,
    files: &[Digest],
) -> Result<Vec<Digest>, wharf_store::Error> {
    let mut unproved = Vec::new();
    for file in files {
        if let Some(proof) = peer.proof(FILE, file.as_bytes())
            && store.note(&proof)?.is_none()
        {
            unproved.push(*file);
        }
    }
    Ok(unproved)
}

/// Notes that this client has sent these files whole.
pub(crate) fn sent(store: &Store, peer: &Peer, files: &[Digest]) -> Result<(), wharf_store::Error> {
    let proofs = files.iter().filter_map(|file| peer.proof(FILE, file.as_bytes()));
    store.put_notes(proofs)
}

/// Has this client sent all that is in a tree?
pub(crate) fn has_tree(store: &Store, peer: &Peer, content: &Digest) -> Result<bool, wharf_store::Error> {
    match peer.proof(TREE, content.as_bytes()) {
        Some(proof) => Ok(store.note(&proof)?.is_some()),
        None => Ok(true),
    }
}

/// Notes that it has.
pub(crate) fn sent_tree(store: &Store, peer: &Peer, content: &Digest) -> Result<(), wharf_store::Error> {
    store.put_notes(peer.proof(TREE, content.as_bytes()))
}

/// The files in a tree.
pub(crate) fn files(manifest: &Manifest) -> Vec<Digest> {
    let digest = |kind: &EntryKind| match kind {
        EntryKind::File { digest, .. } => Some(*digest),
        EntryKind::Directory | EntryKind::Symlink(_) => None,
    };
    manifest
        .entries
        .iter()
        .filter_map(|entry| digest(&entry.kind))
        .collect()
}

impl Engine {
    /// Takes nodes of a session in. What it says that host directories hold must be what its client has sent.
    pub(crate) fn take_in(
        &self,
        session: &Session,
        nodes: &[Vec<u8>],
        pins: &[(NodeId, Digest)],
    ) -> Result<(), Error> {
        for (_, content) in pins {
            if !self.look(|store| has_tree(store, &session.peer, content))? {
                let message = format!("{} names files that it has not sent to this engine", session.peer);
                return Err(Error::Invalid(message));
            }
        }
        session.add(nodes, pins)
    }

    /// Notes that a client is told of an error: the log that it names is that client's to read.
    pub(crate) fn tells(&self, peer: &Peer, error: &Error) {
        let Error::Exec(failure) = error else { return };
        if failure.log.is_empty() {
            return;
        }
        let noted = self.store.put_notes(peer.proof(LOG, failure.log.as_bytes()));
        if let Err(error) = noted {
            tracing::warn!("{peer} will not be able to read the log {}: {error}", failure.log);
        }
    }

    /// May this client read the log of this name?
    pub(crate) fn may_read(&self, peer: &Peer, log: &str) -> Result<bool, Error> {
        match peer.proof(LOG, log.as_bytes()) {
            Some(proof) => Ok(self.look(|store| store.note(&proof))?.is_some()),
            None => Ok(true),
        }
    }
}
