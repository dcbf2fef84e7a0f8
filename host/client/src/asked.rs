//! What an engine tells and asks its client while a session is open: events, secrets, logins, connections, the terminal.

use std::sync::Arc;

use tokio::sync::mpsc::{self, WeakUnboundedSender};
use tokio_stream::StreamExt;
use tonic::Streaming;
use wharf_graph::{Error, op::SecretId};
use wharf_oci::Credential;
use wharf_proto::v1::{
    CredentialReply, CredentialRequest, Dial, DialFailed, Event, Password, SecretReply, SecretRequest,
    SessionDown, SessionUp, credential_reply, event, secret_reply, session_down, session_up,
};

use crate::{
    answers::Answers,
    connect::Connection,
    events::Events,
    forward::answer_dial,
    lock,
    named::Named,
    session::{Run, broken_call},
    terminal::answer_terminal,
};

/// Why an engine gets no secret and no connection.
const NOT_NAMED: &str = "nothing that the engine was asked for names it";

/// The client's end of a session.
pub(crate) struct Asked {
    pub(crate) run: Arc<Run>,
    /// Is it with another engine than the run's own?
    pub(crate) is_target: bool,
    pub(crate) named: Named,
    pub(crate) events: Events,
    /// Where answers to the run's questions go.
    pub(crate) answers: Answers,
    pub(crate) connection: Connection,
    pub(crate) session: u64,
    /// Gone when the session's owner is.
    pub(crate) up: WeakUnboundedSender<SessionUp>,
}

impl Asked {
    /// Takes what the engine says until the session ends.
    pub(crate) async fn until_the_end(self, mut down: Streaming<SessionDown>) {
        let ended = loop {
            let message = match down.next().await {
                Some(Ok(message)) => message.message,
                Some(Err(status)) => break broken_call(&status),
                None => break Error::Unavailable("the engine ended the session".to_owned()),
            };
            match message {
                Some(session_down::Message::Answer(reply)) => self.answers.answer(reply),
                Some(session_down::Message::Event(Event {
                    what: Some(event::What::Meaning(meaning)),
                    ..
                })) => {
                    lock(&self.run.found).insert(meaning.reference, meaning.value);
                }
                Some(session_down::Message::Event(event)) => self.events.send(event),
                Some(message) => {
                    let Some(up) = self.up.upgrade() else {
                        break Error::Cancelled;
                    };
                    self.answer(message, up);
                }
                None => {}
            }
        };
        self.answers.break_off(&ended);
    }

    /// Answers what the engine asks, beside what else it says.
    fn answer(&self, question: session_down::Message, up: mpsc::UnboundedSender<SessionUp>) {
        match question {
            session_down::Message::Secret(request) => {
                tokio::spawn(answer_secret(
                    request,
                    Arc::clone(&self.run),
                    self.named.clone(),
                    up,
                ));
            }
            session_down::Message::Credential(request) => {
                // The run's own engine may have mirrors, which nothing names.
                let may_ask = !self.is_target || self.named.has_login(&request.server);
                tokio::spawn(answer_credential(request, may_ask, Arc::clone(&self.run), up));
            }
            session_down::Message::Dial(dial) if !self.is_named(&dial) => {
                let failed = DialFailed {
                    request: dial.request,
                    error: format!("{}:{} of this machine: {NOT_NAMED}", dial.host, dial.port),
                };
                say(&up, session_up::Message::DialFailed(failed));
            }
            session_down::Message::Dial(dial) => {
                let (allowed, connection) = (Arc::clone(&self.run.allowed), self.connection.clone());
                tokio::spawn(answer_dial(dial, self.session, allowed, connection, up));
            }
            session_down::Message::Terminal(asked) => {
                let (terminals, connection) = (self.run.terminals.get().cloned(), self.connection.clone());
                tokio::spawn(answer_terminal(asked, self.session, terminals, connection, up));
            }
            session_down::Message::Answer(_)
            | session_down::Message::Event(_)
            | session_down::Message::Opened(_) => {}
        }
    }

    fn is_named(&self, dial: &Dial) -> bool {
        u16::try_from(dial.port).is_ok_and(|port| self.named.has_place(&dial.host, port))
    }
}

async fn answer_secret(
    request: SecretRequest,
    run: Arc<Run>,
    named: Named,
    up: mpsc::UnboundedSender<SessionUp>,
) {
    let id = SecretId {
        owner: request.owner,
        uri: request.uri,
    };
    let outcome = if named.has_secret(&id) {
        let value = tokio::task::spawn_blocking(move || run.secrets.value(&id)).await;
        value
            .map_err(|error| error.to_string())
            .and_then(|value| value.map_err(|error| error.to_string()))
    } else {
        Err(format!("the secret {}: {NOT_NAMED}", id.uri))
    };
    let outcome = match outcome {
        Ok(value) => secret_reply::Outcome::Value(value.to_vec()),
        Err(error) => secret_reply::Outcome::Error(error),
    };
    let reply = SecretReply {
        request: request.request,
        outcome: Some(outcome),
    };
    say(&up, session_up::Message::Secret(reply));
}

/// Says what this user is logged in to a registry as.
async fn answer_credential(
    request: CredentialRequest,
    may_ask: bool,
    run: Arc<Run>,
    up: mpsc::UnboundedSender<SessionUp>,
) {
    let server = request.server;
    let look = move || may_ask.then(|| (run.credentials)(&server)).flatten();
    // A helper is a program that is run.
    let found = tokio::task::spawn_blocking(look).await;
    let credential = found.ok().flatten().map(|found| match found {
        Credential::Password { user, password } => credential_reply::Credential::Password(Password {
            user,
            password: password.into_bytes(),
        }),
        Credential::IdentityToken(token) => credential_reply::Credential::IdentityToken(token.into_bytes()),
    });
    let reply = CredentialReply {
        request: request.request,
        credential,
    };
    say(&up, session_up::Message::Credential(reply));
}

fn say(up: &mpsc::UnboundedSender<SessionUp>, message: session_up::Message) {
    // When nobody listens any more, nobody waits.
    up.send(SessionUp {
        message: Some(message),
    })
    .ok();
}
