//! Questions that a session has asked, and their answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::sync::{mpsc, oneshot};
use wharf_graph::Error;
use wharf_proto::v1::{ReadReply, ReadRequest, SessionUp, session_up};

use crate::lock;

/// The questions of one session that wait for an answer.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    next: u64,
    questions: HashMap<u64, oneshot::Sender<Result<ReadReply, Error>>>,
    /// Why no answer comes any more.
    broken: Option<Error>,
}

impl Answers {
    /// Asks, and waits for the answer. The engine is told when nobody waits any more.
    pub(crate) async fn ask(
        &self,
        mut question: ReadRequest,
        up: &mpsc::UnboundedSender<SessionUp>,
    ) -> Result<ReadReply, Error> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.0);
            if let Some(error) = &waiting.broken {
                return Err(error.clone());
            }
            question.request = waiting.next;
            waiting.next += 1;
            waiting.questions.insert(question.request, answer);
        }
        let _asked = Asked {
            request: question.request,
            answers: self,
            up,
        };
        send(up, session_up::Message::Read(question));
        answered.await.unwrap_or(Err(Error::Cancelled))
    }

    /// Passes an answer to whoever asked.
    pub(crate) fn answer(&self, reply: ReadReply) {
        if let Some(waiting) = lock(&self.0).questions.remove(&reply.request) {
            waiting.send(Ok(reply)).ok();
        }
    }

    /// No answer comes any more.
    pub(crate) fn break_off(&self, error: &Error) {
        let questions = {
            let mut waiting = lock(&self.0);
            waiting.broken = Some(error.clone());
            std::mem::take(&mut waiting.questions)
        };
        for waiting in questions.into_values() {
            waiting.send(Err(error.clone())).ok();
        }
    }
}

/// A question on its way.
struct Asked<'a> {
    request: u64,
    answers: &'a Answers,
    up: &'a mpsc::UnboundedSender<SessionUp>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if lock(&self.answers.0).questions.remove(&self.request).is_some() {
            send(self.up, session_up::Message::GiveUp(self.request));
        }
    }
}

fn send(up: &mpsc::UnboundedSender<SessionUp>, message: session_up::Message) {
    // When nobody takes it the session is broken, and whoever waits is told.
    up.send(SessionUp {
        message: Some(message),
    })
    .ok();
}
