//! A running step from outside: signals for its program, and programs that are run beside it.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::{mpsc, oneshot};

use crate::{
    error::{Error, Result},
    outcome::Exit,
    runner::StepIo,
};

/// Asks a step for something, for as long as it runs.
#[derive(Clone, Debug)]
pub struct Remote(mpsc::UnboundedSender<Asked>);

/// What is asked of a step: given to the runner with it.
#[derive(Debug)]
pub struct Asks(mpsc::UnboundedReceiver<Asked>);

/// What a step is asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Its program gets this signal.
    Signal(i32),
    Beside(Beside),
}

/// A program that is run beside the step's.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) args: Vec<String>,
    pub(crate) io: StepIo,
    pub(crate) timeout: Duration,
    /// How it ended. Nobody listens any more when whoever asked is gone.
    pub(crate) answer: oneshot::Sender<Result<Exit>>,
}

impl Remote {
    /// One for a step that is about to be run.
    pub fn new() -> (Self, Asks) {
        let (asking, asked) = mpsc::unbounded_channel();
        (Self(asking), Asks(asked))
    }

    /// Sends the step's program a signal, as soon as it runs.
    pub fn signal(&self, signal: i32) {
        // A step that has ended needs none.
        self.0.send(Asked::Signal(signal)).ok();
    }

    /// Runs another program as the step's own runs: in its container, as its user, with its variables. It is ended after
    /// `timeout`, and when the step ends. Fails when the step has ended.
    pub async fn beside(&self, args: Vec<String>, io: StepIo, timeout: Duration) -> Result<Exit> {
        let (answer, answered) = oneshot::channel();
        let beside = Beside {
            args,
            io,
            timeout,
            answer,
        };
        self.0.send(Asked::Beside(beside)).map_err(|_| Error::Ended)?;
        answered.await.map_err(|_| Error::Ended)?
    }
}

impl Asks {
    /// Nothing.
    pub(crate) fn none() -> Self {
        Remote::new().1
    }

    /// What is asked next; never, when nobody can ask any more.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.0.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

/// Does what is asked until the step has ended; what is asked then has no answer.
pub(crate) async fn attend<T, F: Future<Output = ()>>(
    ended: impl Future<Output = T>,
    mut asks: Asks,
    signal: impl Fn(i32),
    beside: impl Fn(Beside) -> F,
) -> T {
    let mut ended = std::pin::pin!(ended);
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            end = &mut ended => return end,
            Some(()) = running.next() => {}
            asked = asks.next() => match asked {
                Asked::Signal(number) => signal(number),
                Asked::Beside(program) => running.push(beside(program)),
            },
        }
    }
}

impl Beside {
    /// Waits for the end of the program, which `end` ends: when its time is over, or when nobody waits for it.
    pub(crate) async fn finish(
        mut answer: oneshot::Sender<Result<Exit>>,
        timeout: Duration,
        ended: impl Future<Output = Result<Exit>>,
        end: impl FnOnce(),
    ) {
        let mut ended = std::pin::pin!(ended);
        let why = tokio::select! {
            biased;
            ended = &mut ended => {
                answer.send(ended).ok();
                return;
            }
            () = tokio::time::sleep(timeout) => Exit::TimedOut,
            () = answer.closed() => Exit::Cancelled,
        };
        end();
        let ended = ended.await;
        answer.send(ended.map(|_| why)).ok();
    }
}
