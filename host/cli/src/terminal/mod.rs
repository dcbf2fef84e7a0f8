//! The user's terminal, lent to programs in containers, one at a time.

#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
mod raw;

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt;
use wharf_client::{Line, Occasion, Showing, Terminals, Typing};
use wharf_graph::Error;

use self::raw::Raw;
pub(crate) use self::raw::restore;
use crate::{
    error::Report,
    output,
    printable::{self, Keep},
    progress::Stage,
};

/// Why no program can run on a terminal here; none when it can.
pub(crate) fn missing() -> Option<String> {
    let what = if std::env::var_os("CI").is_some() {
        "this is a CI, as the variable CI says"
    } else if !std::io::stdin().is_terminal() {
        "standard input is none"
    } else if !std::io::stderr().is_terminal() {
        "standard error is none"
    } else {
        return None;
    };
    Some(format!("there is no terminal to open: {what}"))
}

/// Refuses a command line that wants a terminal where there is none.
pub(crate) fn needed(is_interactive: bool) -> Result<(), Report> {
    match missing() {
        Some(why) if is_interactive => Err(Report::usage(format!("--interactive: {why}"))
            .with_hint("without it a failed step's error says how to see all that it printed")),
        _ => Ok(()),
    }
}

/// Lends the terminal of one run.
pub(crate) struct Lender {
    stage: Stage,
    /// Whose turn it is.
    turn: tokio::sync::Mutex<()>,
    lent: Mutex<Lent>,
}

/// How long it was lent: until it came back last, and since when it is.
#[derive(Default)]
struct Lent {
    before: Duration,
    since: Option<Instant>,
}

impl Lender {
    pub(crate) fn new(stage: Stage) -> Arc<Self> {
        Arc::new(Self {
            stage,
            turn: tokio::sync::Mutex::default(),
            lent: Mutex::default(),
        })
    }

    /// What a session calls for it.
    pub(crate) fn terminals(self: &Arc<Self>) -> Terminals {
        let lender = Arc::clone(self);
        Box::new(move |occasion: Occasion, line: Line| {
            let lender = Arc::clone(&lender);
            async move { lender.lend(&occasion, line).await }.boxed()
        })
    }

    /// How long the user has been at programs of this run.
    pub(crate) fn time(&self) -> Duration {
        let lent = self.lent();
        lent.before + lent.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn lent(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn lend(&self, occasion: &Occasion, line: Line) -> Result<(), String> {
        if let Some(why) = missing() {
            return Err(why);
        }
        let _turn = self.turn.lock().await;
        let _away = self.stage.take().await;
        let _counted = Counted::from_now(self);
        output::aside(&heading(occasion));
        let raw = Raw::enter().map_err(|error| format!("the terminal cannot be used: {error}"))?;
        let kind = std::env::var("TERM").unwrap_or_default();
        let (typing, showing) = line
            .begin(raw.size(), kind)
            .await
            .map_err(|error| error.to_string())?;
        let outcome = pass_on(&raw, &typing, showing).await;
        drop(raw);
        if let Err(error) = outcome {
            output::aside(&format!(
                "wharf: {}\n",
                printable::line(&error.to_string(), Keep::Nothing)
            ));
        }
        Ok(())
    }
}

/// Counts the time for which the terminal is lent.
struct Counted<'l>(&'l Lender);

impl<'l> Counted<'l> {
    fn from_now(lender: &'l Lender) -> Self {
        lender.lent().since = Some(Instant::now());
        Self(lender)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut lent = self.0.lent();
        let now = lent.since.take().map(|since| since.elapsed());
        lent.before += now.unwrap_or_default();
    }
}

/// What the user is told of the program that comes.
fn heading(occasion: &Occasion) -> String {
    let plain = |text: &str| printable::line(&text.replace('\n', " "), Keep::Nothing);
    let program = plain(&occasion.program);
    match &occasion.failed {
        Some((step, reason)) => format!(
            "wharf: `{}` failed: {}\n\
             wharf: `{program}` runs where it failed, with what it has written; `exit` or Ctrl-D leaves, and the run fails as \
             it would have\n",
            plain(step),
            plain(reason)
        ),
        None => format!(
            "wharf: `{program}` runs in the container; the run goes on when it ends (`exit` or Ctrl-D leaves a shell)\n"
        ),
    }
}

/// Passes on keys, sizes and what is shown, until the program ends.
async fn pass_on(raw: &Raw, typing: &Typing, mut showing: Showing) -> Result<(), Error> {
    let broken = |error: std::io::Error| Error::other("terminal", format!("the terminal is gone: {error}"));
    let mut resized = raw::Resized::new().map_err(broken)?;
    let type_on = async {
        let mut buffer = [0; 4096];
        loop {
            tokio::select! {
                read = raw.read(&mut buffer) => match read {
                    Ok(0) => return broken(std::io::ErrorKind::UnexpectedEof.into()),
                    Ok(count) => typing.bytes(buffer[..count].to_vec()).await,
                    Err(error) => return broken(error),
                },
                () = resized.next() => typing.resize(raw.size()).await,
            }
        }
    };
    let show = async {
        let mut last = b'\n';
        while let Some(bytes) = showing.next().await? {
            last = bytes.last().copied().unwrap_or(last);
            raw.write(&bytes).await.map_err(broken)?;
        }
        // What comes next begins a line.
        if last != b'\n' {
            raw.write(b"\r\n").await.map_err(broken)?;
        }
        Ok(())
    };
    tokio::select! {
        error = type_on => Err(error),
        outcome = show => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_says_what_happened_and_how_to_leave() {
        let failed = Occasion {
            program: "sh".to_owned(),
            failed: Some(("make\u{1b}[2J test".to_owned(), "exit code 2".to_owned())),
        };
        insta::assert_snapshot!(heading(&failed), @r"
        wharf: `make test` failed: exit code 2
        wharf: `sh` runs where it failed, with what it has written; `exit` or Ctrl-D leaves, and the run fails as it would have
        ");
        let asked = Occasion {
            program: "sh".to_owned(),
            failed: None,
        };
        insta::assert_snapshot!(
            heading(&asked),
            @"wharf: `sh` runs in the container; the run goes on when it ends (`exit` or Ctrl-D leaves a shell)"
        );
    }
}
