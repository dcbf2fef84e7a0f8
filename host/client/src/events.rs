//! What is told of an engine's work.

use std::{sync::Arc, time::Instant};

use tokio::sync::mpsc;
use wharf_digest::{Digest, Hasher};
use wharf_graph::{Error, NodeId};
use wharf_proto::v1::{Event, Explained, Finished, Kind, Outcome, Started, event};

/// Where it is told.
#[derive(Clone)]
pub(crate) struct Events {
    to: mpsc::UnboundedSender<Event>,
    /// The target that the engine is, where it is not the run's own: the same work may be known to both.
    target: Option<Arc<str>>,
}

impl Events {
    /// Of the run's own engine.
    pub(crate) fn new(to: mpsc::UnboundedSender<Event>) -> Self {
        Self { to, target: None }
    }

    /// Of a target's engine.
    pub(crate) fn of_target(&self, name: &str) -> Self {
        Self {
            to: self.to.clone(),
            target: Some(name.into()),
        }
    }

    /// Tells of something. Of a target's work it says that it is there.
    pub(crate) fn send(&self, mut event: Event) {
        if let Some(target) = &self.target {
            if !event.key.is_empty() {
                let mut key = Hasher::default();
                key.update(target.as_bytes()).update(&event.key);
                event.key = key.finish().as_bytes().to_vec();
            }
            if let Some(
                event::What::Started(Started { title, .. }) | event::What::Explained(Explained { title, .. }),
            ) = &mut event.what
            {
                *title = format!("{target}: {title}");
            }
        }
        // Whoever listened may have ended.
        self.to.send(event).ok();
    }

    /// Does work that brings content to the engine, and tells of it. The work says whether anything had to be sent.
    pub(crate) async fn upload(
        &self,
        node: NodeId,
        title: String,
        work: impl Future<Output = Result<(Digest, bool), Error>>,
    ) -> Result<Digest, Error> {
        let tell = |what| {
            self.send(Event {
                key: node.0.as_bytes().to_vec(),
                what: Some(what),
            });
        };
        let started = Instant::now();
        tell(event::What::Started(Started {
            title,
            kind: Kind::Upload.into(),
        }));
        let outcome = work.await;
        let (word, error) = match &outcome {
            Ok((_, true)) => (Outcome::Done, String::new()),
            Ok((_, false)) => (Outcome::Hit, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        let microseconds = started.elapsed().as_micros() as u64;
        tell(event::What::Finished(Finished {
            outcome: word.into(),
            microseconds,
            error,
            ..Finished::default()
        }));
        outcome.map(|(content, _)| content)
    }
}
