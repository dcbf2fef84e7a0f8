//! Who a client is, as its connection says: nothing that it sends has a part in that.
//!
//! Clients of the unix socket are the machine's own and share all that there is. A client of another machine is who its
//! certificate says: it has sessions, secrets, cache volumes and proofs of its own, and no say over the engine itself.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tonic::{Request, Status};
use wharf_digest::{Digest, Hasher};
use wharf_tls::Subject;

use crate::session::lock;

/// Who a client is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A user of this machine.
    Local { uid: u32 },
    /// Somebody with a certificate that the engine's authority has signed.
    Remote(Arc<Subject>),
}

/// How much of an engine one client of another machine may have.
#[derive(Clone, Copy, Debug)]
pub struct PeerLimits {
    /// Steps that run at once.
    pub steps: usize,
    /// Runs at once.
    pub sessions: usize,
    /// Bytes that it sends until the last of its runs has ended.
    pub upload: u64,
}

impl PeerLimits {
    /// Of an engine that no other machine reaches.
    pub(crate) const NONE: Self = Self {
        steps: 0,
        sessions: 0,
        upload: 0,
    };
}

impl Peer {
    /// Whose connection a call came on.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let peer = request.extensions().get::<Self>().cloned();
        peer.ok_or_else(|| Status::unauthenticated("the connection does not say whose it is"))
    }

    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote(_))
    }

    /// What names of this client's are within in keys, where clients are told apart.
    pub(crate) fn scope(&self) -> Option<String> {
        match self {
            Self::Local { .. } => None,
            Self::Remote(subject) => Some(format!("peer {}", subject.id.to_hex())),
        }
    }

    /// Under which name it is noted that this client has proved something, of which `what` is a kind and `which` tells it from
    /// others; none where no proof is needed.
    pub(crate) fn proof(&self, what: &str, which: &[u8]) -> Option<Digest> {
        let Self::Remote(subject) = self else { return None };
        let mut hasher = Hasher::in_domain("what a client has proved");
        hasher
            .field(subject.id.as_bytes())
            .field(what.as_bytes())
            .field(which);
        Some(hasher.finish())
    }

    /// Refuses what is for those alone who have the engine's machine.
    pub(crate) fn administrate(&self, what: &str) -> Result<(), Status> {
        match self {
            Self::Local { .. } => Ok(()),
            Self::Remote(subject) => Err(Status::permission_denied(format!(
                "{} is connected from another machine and may not {what}: that is done on the engine's own machine, over \
                 its unix socket",
                subject.name
            ))),
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { uid } => write!(f, "user {uid}"),
            Self::Remote(subject) => f.write_str(&subject.name),
        }
    }
}

/// What clients of other machines have of the engine at present.
#[derive(Default)]
pub(crate) struct Peers(Mutex<HashMap<Digest, Use>>);

#[derive(Default)]
struct Use {
    sessions: usize,
    uploaded: u64,
}

impl Peers {
    /// One more run of this client, when it may have one.
    pub(crate) fn enter(&self, peer: &Peer, limits: &PeerLimits) -> Result<(), Status> {
        let Peer::Remote(subject) = peer else {
            return Ok(());
        };
        let mut peers = lock(&self.0);
        let used = peers.entry(subject.id).or_default();
        if used.sessions >= limits.sessions {
            return Err(Status::resource_exhausted(format!(
                "{} has {} runs on this engine already, which is as many as it lets one client have: wait for one of \
                 them to end (`wharf engine serve --peer-runs` sets how many)",
                subject.name, used.sessions
            )));
        }
        used.sessions += 1;
        Ok(())
    }

    /// A run of this client has ended; with the last one goes what was counted of them.
    pub(crate) fn leave(&self, peer: &Peer) {
        let Peer::Remote(subject) = peer else { return };
        let mut peers = lock(&self.0);
        if let Some(used) = peers.get_mut(&subject.id) {
            used.sessions = used.sessions.saturating_sub(1);
            if used.sessions == 0 {
                peers.remove(&subject.id);
            }
        }
    }

    /// Counts bytes that this client sends, as far as it may.
    pub(crate) fn send(&self, peer: &Peer, bytes: usize, limits: &PeerLimits) -> Result<(), Status> {
        let Peer::Remote(subject) = peer else {
            return Ok(());
        };
        let mut peers = lock(&self.0);
        let used = peers.entry(subject.id).or_default();
        used.uploaded = used.uploaded.saturating_add(bytes as u64);
        if used.uploaded <= limits.upload {
            return Ok(());
        }
        Err(Status::resource_exhausted(format!(
            "{} has sent {} bytes in the runs that it has, which is more than this engine takes of one client: leave files \
             out, or end its other runs (`wharf engine serve --peer-upload` sets how much)",
            subject.name, used.uploaded
        )))
    }

    /// How many runs this client has.
    pub(crate) fn sessions(&self, peer: &Peer) -> usize {
        let Peer::Remote(subject) = peer else { return 0 };
        lock(&self.0).get(&subject.id).map_or(0, |used| used.sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(name: &str) -> Peer {
        Peer::Remote(Arc::new(Subject {
            name: name.to_owned(),
            id: Digest::of(name.as_bytes()),
        }))
    }

    #[test]
    fn each_has_limits_of_its_own() {
        let (peers, ann, bob) = (Peers::default(), remote("ann"), remote("bob"));
        let limits = PeerLimits {
            steps: 1,
            sessions: 1,
            upload: 10,
        };
        peers.enter(&ann, &limits).unwrap();
        let refused = peers.enter(&ann, &limits).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        peers.enter(&bob, &limits).unwrap();
        peers.send(&ann, 10, &limits).unwrap();
        assert!(peers.send(&ann, 1, &limits).is_err());
        peers.send(&bob, 1, &limits).unwrap();
        // The last run's end ends the count, and a run may begin again.
        peers.leave(&ann);
        peers.enter(&ann, &limits).unwrap();
        peers.send(&ann, 10, &limits).unwrap();
    }

    #[test]
    fn proofs_are_one_clients_and_one_things() {
        let (ann, bob) = (remote("ann"), remote("bob"));
        let proof = ann.proof("file", b"x").unwrap();
        assert_eq!(ann.proof("file", b"x"), Some(proof));
        for other in [
            bob.proof("file", b"x"),
            ann.proof("tree", b"x"),
            ann.proof("file", b"y"),
        ] {
            assert_ne!(other, Some(proof));
        }
        assert_eq!(Peer::Local { uid: 0 }.proof("file", b"x"), None);
    }

    #[test]
    fn only_the_machines_own_administrate() {
        assert!(Peer::Local { uid: 0 }.administrate("stop it").is_ok());
        let refused = remote("ann").administrate("stop it").unwrap_err();
        assert!(refused.message().contains("ann") && refused.message().contains("stop it"));
    }
}
