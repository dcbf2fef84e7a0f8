//! Turns: how many steps run at once, and whose is next.
//!
//! Sessions take turns, so that one that wants three steps is not stuck behind one that wants a thousand. A session of which
//! nothing runs gets a turn even when all are taken: steps may take hours, and nobody is to wait for another's. Among the
//! steps of one session the one that came first is first. A step that several sessions wait for stands in the line of each,
//! and runs when the first of them comes up.
//!
//! Clients of other machines are peers of each other, however many sessions each has: the next turn goes to the peer of
//! which the fewest steps run, and none has more than its limit.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;
use wharf_digest::Digest;

use crate::{
    audience::Audience,
    peer::Peer,
    session::{SessionId, lock},
};

/// A session among those who want turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Line {
    pub(crate) session: SessionId,
    /// The client of another machine whose it is; this machine's are one.
    pub(crate) peer: Option<Digest>,
    /// How many steps of that client run at once at most.
    pub(crate) most: usize,
}

impl Line {
    /// Of a session of this machine's.
    pub(crate) fn local(session: SessionId) -> Self {
        Self {
            session,
            peer: None,
            most: usize::MAX,
        }
    }
}

/// The turns of one engine.
pub(crate) struct Turns(Mutex<Lines>);

struct Lines {
    /// Below zero when sessions of which nothing ran got turns beyond the count.
    free: isize,
    /// How many steps run, of each session that has any.
    running: HashMap<Line, usize>,
    waiting: HashMap<Line, VecDeque<Arc<Place>>>,
    /// Sessions with steps that wait, the one that is next first.
    round: VecDeque<Line>,
}

/// One step's place in the lines of those who wait for it; empty once it has its turn.
pub(crate) struct Place(Mutex<Option<oneshot::Sender<Turn>>>);

/// The right to run one step; given back when it is dropped.
pub(crate) struct Turn {
    turns: Arc<Turns>,
    line: Line,
}

impl Turns {
    /// So many steps run at once.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Lines {
            free: count.cast_signed(),
            running: HashMap::new(),
            waiting: HashMap::new(),
            round: VecDeque::new(),
        })))
    }

    /// Waits until it is this step's turn. Whoever comes to wait for the step meanwhile waits for its turn, too. Dropping the
    /// future leaves the line.
    pub(crate) async fn acquire(self: &Arc<Self>, audience: &Audience) -> Turn {
        let (grant, granted) = oneshot::channel();
        let place = Arc::new(Place(Mutex::new(Some(grant))));
        audience.stand_in_line(self, &place);
        let turn = granted.await;
        audience.leave_line();
        // The place is held by this future until it has its turn, and so is the sender in it.
        drop(place);
        turn.expect("a place is not given up while somebody stands there")
    }

    /// Puts a step at the end of a session's line.
    pub(crate) fn stand(self: &Arc<Self>, line: Line, place: &Arc<Place>) {
        {
            let mut lines = lock(&self.0);
            let places = lines.waiting.entry(line).or_default();
            places.push_back(Arc::clone(place));
            if places.len() == 1 {
                lines.round.push_back(line);
            }
        }
        self.give_out();
    }

    /// How many steps of a client of another machine run.
    pub(crate) fn running(&self, peer: &Peer) -> usize {
        let Peer::Remote(subject) = peer else { return 0 };
        let lines = lock(&self.0);
        let own = lines
            .running
            .iter()
            .filter(|(line, _)| line.peer == Some(subject.id));
        own.map(|(_, count)| count).sum()
    }

    /// Gives free turns to those who are next.
    fn give_out(self: &Arc<Self>) {
        // Sent without the lock: a turn whose step is gone meanwhile comes straight back.
        while let Some((line, grant)) = lock(&self.0).next() {
            let turn = Turn {
                turns: Arc::clone(self),
                line,
            };
            grant.send(turn).ok();
        }
    }
}

impl Lines {
    /// Whoever is next, when a turn is free for them.
    fn next(&mut self) -> Option<(Line, oneshot::Sender<Turn>)> {
        loop {
            let at = self.next_in_round()?;
            let line = self.round.remove(at)?;
            let places = self.waiting.entry(line).or_default();
            // Places of steps that were cancelled, or had their turn in another session's line, are passed over.
            let grant = std::iter::from_fn(|| places.pop_front())
                .filter_map(|place| lock(&place.0).take())
                .find(|grant| !grant.is_closed());
            if places.is_empty() {
                self.waiting.remove(&line);
            } else {
                self.round.push_back(line);
            }
            if let Some(grant) = grant {
                self.free -= 1;
                *self.running.entry(line).or_default() += 1;
                return Some((line, grant));
            }
        }
    }

    /// Where in the round the one is who may have a turn now.
    fn next_in_round(&self) -> Option<usize> {
        let mut by_peer: HashMap<Digest, usize> = HashMap::new();
        let mut local = 0_usize;
        for (line, count) in &self.running {
            match line.peer {
                Some(peer) => *by_peer.entry(peer).or_default() += count,
                None => local += count,
            }
        }
        let of_peer = |line: &Line| match line.peer {
            Some(peer) => by_peer.get(&peer).copied().unwrap_or_default(),
            None => local,
        };
        // A turn beyond the count is for a session of which nothing runs, and for one such session of each peer.
        let may = |line: &Line| match (self.free > 0, line.peer) {
            (true, None) => true,
            (true, Some(_)) => of_peer(line) < line.most,
            (false, None) => !self.running.contains_key(line),
            (false, Some(_)) => of_peer(line) == 0,
        };
        let candidates = self.round.iter().enumerate().filter(|(_, line)| may(line));
        candidates.min_by_key(|(_, line)| of_peer(line)).map(|(at, _)| at)
    }

    fn give_back(&mut self, line: Line) {
        self.free += 1;
        if let Some(count) = self.running.get_mut(&line) {
            *count -= 1;
            if *count == 0 {
                self.running.remove(&line);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.turns.0).give_back(self.line);
        self.turns.give_out();
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};
    use wharf_oci::{Registry, RegistryConfig};
    use wharf_proto::v1::SessionOpen;

    use super::*;
    use crate::session::Session;

    fn session(id: SessionId) -> Arc<Session> {
        session_of(id, None, usize::MAX)
    }

    fn session_of(id: SessionId, peer: Option<&str>, most: usize) -> Arc<Session> {
        let (down, _) = tokio::sync::mpsc::unbounded_channel();
        let registry = Registry::new(RegistryConfig::default()).expect("no settings are wrong");
        let line = Line {
            session: id,
            peer: peer.map(|name| Digest::of(name.as_bytes())),
            most,
        };
        let peer = Peer::Local { uid: 0 };
        Session::new(line, peer, id, &SessionOpen::default(), &registry, down)
    }

    fn wants(turns: &Arc<Turns>, audience: &Audience) -> BoxFuture<'static, Turn> {
        let (turns, audience) = (Arc::clone(turns), audience.clone());
        let mut wants = async move { turns.acquire(&audience).await }.boxed();
        // It stands in line from its first poll on.
        assert!((&mut wants).now_or_never().is_none(), "no turn is free");
        wants
    }

    #[tokio::test]
    async fn sessions_take_turns_and_steps_come_in_order() {
        let turns = Turns::new(3);
        let (many, few) = (Audience::of(&session(1)), Audience::of(&session(2)));
        let _each_has_one = (turns.acquire(&many).await, turns.acquire(&few).await);
        let busy = turns.acquire(&many).await;
        let mut waiting = Vec::new();
        for (name, audience) in [
            ("many 1", &many),
            ("many 2", &many),
            ("many 3", &many),
            ("few 1", &few),
            ("few 2", &few),
        ] {
            waiting.push((name, wants(&turns, audience)));
        }
        drop(busy);
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let at = waiting
                .iter_mut()
                .position(|(_, wants)| wants.now_or_never().is_some())
                .expect("a free turn is given out");
            order.push(waiting.remove(at).0);
        }
        assert_eq!(order, ["many 1", "few 1", "many 2", "few 2", "many 3"]);
    }

    #[tokio::test]
    async fn who_has_nothing_running_waits_for_nobody() {
        let turns = Turns::new(2);
        let (many, few) = (Audience::of(&session(1)), Audience::of(&session(2)));
        let busy = (turns.acquire(&many).await, turns.acquire(&many).await);
        let mut more = wants(&turns, &many);
        let own = turns.acquire(&few).now_or_never().expect("a turn of its own");
        let mut second = wants(&turns, &few);
        drop(own);
        let second = (&mut second).now_or_never().expect("nothing of it runs");
        assert!(
            (&mut more).now_or_never().is_none(),
            "there are as many as before"
        );
        drop(busy);
        assert!((&mut more).now_or_never().is_some());
        drop(second);
    }

    #[tokio::test]
    async fn who_joins_a_step_brings_it_forward() {
        let turns = Turns::new(3);
        let (many, late) = (Audience::of(&session(1)), session(2));
        let _each_has_one = (
            turns.acquire(&many).await,
            turns.acquire(&Audience::of(&late)).await,
        );
        let busy = turns.acquire(&many).await;
        let mut first = wants(&turns, &many);
        let shared = Audience::of(&session(1));
        let mut second = wants(&turns, &shared);
        let mut third = wants(&turns, &many);
        shared.join(&late);
        drop(busy);
        let turn = (&mut first).now_or_never().expect("the first in line");
        drop(turn);
        let turn = (&mut second).now_or_never().expect("the late session's turn");
        drop(turn);
        assert!((&mut third).now_or_never().is_some(), "the rest follow");
    }

    #[tokio::test]
    async fn who_leaves_the_line_holds_nobody_up() {
        let turns = Turns::new(3);
        let (audience, other) = (Audience::of(&session(1)), Audience::of(&session(2)));
        let _each_has_one = (turns.acquire(&audience).await, turns.acquire(&other).await);
        let busy = turns.acquire(&audience).await;
        let gone: Vec<_> = (0..100).map(|_| wants(&turns, &audience)).collect();
        let mut last = wants(&turns, &other);
        drop(gone);
        drop(busy);
        let turn = (&mut last).now_or_never();
        assert!(turn.is_some(), "a turn is lost with those who left");
        drop(turn);
        // Granted and dropped before it was taken: the turn comes back.
        let busy = turns.acquire(&audience).await;
        let granted = wants(&turns, &audience);
        drop(busy);
        drop(granted);
        assert!(turns.acquire(&audience).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_peer_with_many_sessions_has_one_peers_share() {
        let turns = Turns::new(4);
        let ann: Vec<_> = (0..3)
            .map(|id| Audience::of(&session_of(id, Some("ann"), 100)))
            .collect();
        let bob = Audience::of(&session_of(9, Some("bob"), 100));
        let mut held = Vec::new();
        for audience in &ann {
            held.push(turns.acquire(audience).await);
        }
        held.push(turns.acquire(&bob).await);
        let mut more: Vec<_> = ann.iter().map(|audience| wants(&turns, audience)).collect();
        let mut of_bob = wants(&turns, &bob);
        held.remove(0);
        let turn = (&mut of_bob).now_or_never();
        assert!(turn.is_some(), "bob has fewer steps than ann");
        assert!(more.iter_mut().all(|wants| wants.now_or_never().is_none()));
    }

    #[tokio::test]
    async fn a_peer_has_no_more_than_its_limit() {
        let turns = Turns::new(4);
        let (first, second) = (session_of(1, Some("ann"), 2), session_of(2, Some("ann"), 2));
        let held = (
            turns.acquire(&Audience::of(&first)).await,
            turns.acquire(&Audience::of(&second)).await,
        );
        let mut third = wants(&turns, &Audience::of(&first));
        let other = turns.acquire(&Audience::of(&session(3))).now_or_never();
        assert!(other.is_some(), "others go on");
        drop(held.0);
        assert!((&mut third).now_or_never().is_some());
    }
}
