//! Who waits for a piece of work: told of it, asked for secrets, and served in turns.

use std::{
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::Instant,
};

use wharf_digest::Digest;
use wharf_graph::{Error, op::SecretId, plan::Tree};
use wharf_proto::v1::{Finished, Kind, Notice, Outcome, Started, event};
use wharf_store::Spent;
use zeroize::Zeroizing;

use crate::{
    evaluate::Made,
    session::{Logged, Outgoing, Session, SessionId, lock, log_event},
    turns::{Place, Turns},
};

/// A piece of work's audience: the sessions that wait for it. They wait for all that it waits for, too.
#[derive(Clone, Default)]
pub(crate) struct Audience(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    sessions: Vec<Arc<Session>>,
    /// Of the work that this waits for.
    inputs: Vec<Weak<Mutex<Waiting>>>,
    /// Of a step that waits for its turn: its place in the lines.
    line: Option<(Arc<Turns>, Arc<Place>)>,
}

impl Audience {
    /// A session alone.
    pub(crate) fn of(session: &Arc<Session>) -> Self {
        let audience = Self::default();
        audience.join(session);
        audience
    }

    /// Is it the same work's?
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells of the start and the end of work that is no step.
    pub(crate) async fn during<T>(
        &self,
        key: Digest,
        title: &str,
        kind: Kind,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        self.tell(
            key,
            &event::What::Started(Started {
                title: title.to_owned(),
                kind: kind.into(),
            }),
        );
        let outcome = work.await;
        let (word, error) = match &outcome {
            Ok(_) => (Outcome::Done, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        self.tell(
            key,
            &event::What::Finished(Finished {
                outcome: word.into(),
                microseconds: started.elapsed().as_micros() as u64,
                error,
                ..Finished::default()
            }),
        );
        outcome
    }

    /// Tells each session once, however many steps it has.
    pub(crate) fn tell_once(&self, key: Digest, text: &str) {
        let sessions = lock(&self.0).sessions.clone();
        for session in sessions {
            if !session.was_told.swap(true, Ordering::Relaxed) {
                let text = text.to_owned();
                session.tell(key, event::What::Notice(Notice { text }));
            }
        }
    }

    /// One more session waits for this, and so for all that this waits for.
    pub(crate) fn join(&self, session: &Arc<Session>) {
        let mut all = vec![self.clone()];
        while let Some(audience) = all.pop() {
            all.extend(audience.add(session));
        }
    }

    /// The audiences that the session has to join with this one.
    fn add(&self, session: &Arc<Session>) -> Vec<Self> {
        let mut waiting = lock(&self.0);
        if waiting.sessions.iter().any(|member| member.id == session.id) {
            return Vec::new();
        }
        waiting.sessions.push(Arc::clone(session));
        if let Some((turns, place)) = &waiting.line {
            turns.stand(session.line, place);
        }
        waiting
            .inputs
            .iter()
            .filter_map(Weak::upgrade)
            .map(Self)
            .collect()
    }

    /// Whoever waits for this, now or later, waits for `input`, too.
    pub(crate) fn wait_for(&self, input: &Self) {
        let sessions = {
            let mut waiting = lock(&self.0);
            waiting.inputs.push(Arc::downgrade(&input.0));
            waiting.sessions.clone()
        };
        for session in &sessions {
            input.join(session);
        }
    }

    /// Takes a place in the line of every session, and of those that join later.
    pub(crate) fn stand_in_line(&self, turns: &Arc<Turns>, place: &Arc<Place>) {
        let mut waiting = lock(&self.0);
        for session in &waiting.sessions {
            turns.stand(session.line, place);
        }
        waiting.line = Some((Arc::clone(turns), Arc::clone(place)));
    }

    pub(crate) fn leave_line(&self) {
        lock(&self.0).line = None;
    }

    /// The session that skips the cache, when this is one's.
    pub(crate) fn without_cache(&self) -> Option<SessionId> {
        let waiting = lock(&self.0);
        let session = waiting.sessions.iter().find(|session| session.no_cache);
        session.map(|session| session.id)
    }

    /// The session that works apart, when this is one's: because it skips the cache, or as its user looks into what fails.
    pub(crate) fn apart(&self) -> Option<SessionId> {
        let waiting = lock(&self.0);
        let apart = |session: &&Arc<Session>| session.no_cache || session.interactive;
        waiting.sessions.iter().find(apart).map(|session| session.id)
    }

    /// Does one of their users look into what fails?
    pub(crate) fn is_interactive(&self) -> bool {
        lock(&self.0).sessions.iter().any(|session| session.interactive)
    }

    /// Those whose client is still there.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.0)
            .sessions
            .iter()
            .filter(|session| !session.cancelled.is_cancelled())
            .cloned()
            .collect()
    }

    /// What one of them has made or found.
    pub(crate) fn made(&self, key: &Digest) -> Option<Arc<Made>> {
        let made = self.sessions().iter().find_map(|session| session.made(key))?;
        self.keep(*key, &made);
        Some(made)
    }

    /// Notes what was made or found, in the name of all.
    pub(crate) fn keep(&self, key: Digest, made: &Arc<Made>) {
        for session in self.sessions() {
            session.keep(key, made);
        }
    }

    pub(crate) fn tell(&self, key: Digest, what: &event::What) {
        for session in self.sessions() {
            session.mark_reported(key);
            session.tell(key, what.clone());
        }
    }

    /// Reports a remembered result; `below` says what it took to make results of these keys.
    pub(crate) fn tell_hit(&self, tree: &Arc<Tree>, spent: Spent, below: &dyn Fn(&[Digest]) -> Vec<Spent>) {
        for session in self.sessions() {
            session.tell_hit(tree, spent, below);
        }
    }

    /// Passes on what a step printed. It lies in the step's log too, and there it waits for clients that are behind.
    pub(crate) fn log(
        &self,
        key: Digest,
        stderr: bool,
        bytes: &[u8],
        logged: impl FnOnce() -> std::io::Result<Logged>,
    ) -> std::io::Result<()> {
        let sessions = self.sessions().into_iter();
        let (ready, behind): (Vec<_>, Vec<_>) = sessions.partition(|session| session.has_room(bytes));
        for session in ready {
            session.send(log_event(key, stderr, bytes.to_vec()));
        }
        if behind.is_empty() {
            return Ok(());
        }
        let logged = logged()?;
        for session in behind {
            let logged = logged.clone();
            session.send_out(Outgoing::Logged { key, stderr, logged });
        }
        Ok(())
    }

    pub(crate) fn explain(&self, tree: &Tree, reason: impl Fn() -> String) {
        for session in self.sessions() {
            session.explain(tree, &reason);
        }
    }

    /// A secret's value from whichever client has it.
    pub(crate) async fn secret(&self, secret: &SecretId) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut outcome = Err(Error::Cancelled);
        for session in self.sessions() {
            outcome = session.secret(secret).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}
