//! The user's terminal, which the engine asks for when a program is to run on it.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::Streaming;
use wharf_graph::Error;
use wharf_proto::v1::{
    SessionUp, TerminalDown, TerminalRefused, TerminalRequest, TerminalSize, TerminalTaken, TerminalUp,
    session_up, terminal_down, terminal_up,
};

use crate::{
    connect::Connection,
    session::{broken_call, defect},
};

/// Messages about what was typed that are on their way at once.
const AHEAD: usize = 64;

/// What a terminal is wanted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The program that runs on it.
    pub program: String,
    /// The step that failed where it runs, and how.
    pub failed: Option<(String, String)>,
}

/// Lends the user's terminal to a program: waits until no other has it, begins with [`Line::begin`], and passes on what is
/// typed and shown until nothing more comes. An error before that says why there is none.
pub type Terminals = Box<dyn Fn(Occasion, Line) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The way to a program that waits for a terminal.
pub struct Line {
    connection: Connection,
    session: u64,
    request: u64,
}

/// What goes to a program on the terminal.
pub struct Typing(mpsc::Sender<TerminalUp>);

/// What comes from it.
pub struct Showing(Streaming<TerminalDown>);

impl Line {
    /// Starts the program on a terminal of this size, in rows and columns, and kind, as `TERM` names it.
    ///
    /// # Errors
    /// When the engine is gone.
    pub async fn begin(self, size: (u16, u16), kind: String) -> Result<(Typing, Showing), Error> {
        let (up, typed) = mpsc::channel(AHEAD);
        let taken = TerminalTaken {
            session: self.session,
            request: self.request,
            size: Some(size_of(size)),
            kind,
        };
        let message = Some(terminal_up::Message::Taken(taken));
        up.send(TerminalUp { message }).await.map_err(defect)?;
        let reply = self
            .connection
            .client()
            .terminal(ReceiverStream::new(typed))
            .await;
        let shown = reply.map_err(|status| broken_call(&status))?.into_inner();
        Ok((Typing(up), Showing(shown)))
    }
}

fn size_of((rows, columns): (u16, u16)) -> TerminalSize {
    TerminalSize {
        rows: rows.into(),
        columns: columns.into(),
    }
}

impl Typing {
    /// Passes on what was typed. Nothing happens when the program has ended.
    pub async fn bytes(&self, bytes: Vec<u8>) {
        self.say(terminal_up::Message::Typed(bytes)).await;
    }

    /// Says how large the terminal is now.
    pub async fn resize(&self, size: (u16, u16)) {
        self.say(terminal_up::Message::Size(size_of(size))).await;
    }

    async fn say(&self, message: terminal_up::Message) {
        let message = Some(message);
        self.0.send(TerminalUp { message }).await.ok();
    }
}

impl Showing {
    /// What is to be shown next; none when the program has ended.
    ///
    /// # Errors
    /// When the program could not run, or the engine is gone.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        match self
            .0
            .next()
            .await
            .transpose()
            .map_err(|status| broken_call(&status))?
        {
            None => Ok(None),
            Some(TerminalDown {
                message: Some(terminal_down::Message::Shown(bytes)),
            }) => Ok(Some(bytes)),
            Some(TerminalDown {
                message: Some(terminal_down::Message::Failed(why)),
            }) => Err(Error::other("terminal", why)),
            Some(TerminalDown { message: None }) => Err(defect(wharf_proto::DecodeError)),
        }
    }
}

/// Lends the terminal for what the engine asks for, or says that there is none.
pub(crate) async fn answer_terminal(
    asked: TerminalRequest,
    session: u64,
    terminals: Option<Arc<Terminals>>,
    connection: Connection,
    answers: mpsc::UnboundedSender<SessionUp>,
) {
    let request = asked.request;
    let line = Line {
        connection,
        session,
        request,
    };
    let failed = (!asked.failed.is_empty()).then_some((asked.failed, asked.reason));
    let occasion = Occasion {
        program: asked.program,
        failed,
    };
    // The session ends when its owner is gone, whatever is on the terminal.
    let weak = answers.downgrade();
    drop(answers);
    let lent = match terminals {
        Some(terminals) => terminals(occasion, line).await,
        None => Err("there is no terminal".to_owned()),
    };
    if let (Err(error), Some(answers)) = (lent, weak.upgrade()) {
        let refused = TerminalRefused { request, error };
        let message = Some(session_up::Message::TerminalRefused(refused));
        answers.send(SessionUp { message }).ok();
    }
}
