//! What is typed and shown, on its way between a program's terminal and the user's.

use std::{os::fd::OwnedFd, sync::Mutex};

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tonic::Status;
use wharf_proto::v1::{TerminalDown, TerminalSize as Sent, TerminalUp, terminal_down, terminal_up};
use wharf_runner::{Terminal, TerminalSize};

use wharf_scrub::Scrubber;

use crate::session::lock;

/// Bytes shown at once.
const PIECE: usize = 16 * 1024;
/// What is taken for a terminal's size that is not known.
const USUAL: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// Why nothing more passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// No program has the terminal any more.
    OfTerminal,
    /// The user's terminal is gone.
    OfClient,
}

/// A size as the client sent it.
pub(super) fn size(sent: Sent) -> TerminalSize {
    match (u16::try_from(sent.rows), u16::try_from(sent.columns)) {
        (Ok(rows @ 1..), Ok(columns @ 1..)) => TerminalSize { rows, columns },
        _ => USUAL,
    }
}

/// Passes on what is typed, shown and resized, until one end is gone. Secrets are taken out of what is shown.
pub(super) async fn pump(
    terminal: OwnedFd,
    up: impl Stream<Item = Result<TerminalUp, Status>> + Unpin,
    down: mpsc::Sender<Result<TerminalDown, Status>>,
    scrubber: Scrubber,
) -> End {
    let terminal = match Terminal::new(terminal) {
        Ok(terminal) => terminal,
        Err(error) => {
            tracing::warn!("a terminal cannot be read: {error}");
            return End::OfClient;
        }
    };
    let typed = Mutex::new(Typed::default());
    tokio::select! {
        biased;
        end = show(&terminal, &down, scrubber, &typed) => end,
        () = take(&terminal, up, &typed) => End::OfClient,
    }
}

/// Shows what the program prints.
async fn show(
    terminal: &Terminal,
    down: &mpsc::Sender<Result<TerminalDown, Status>>,
    mut scrubber: Scrubber,
    typed: &Mutex<Typed>,
) -> End {
    let mut buffer = vec![0; PIECE];
    loop {
        // An error is how a terminal says that nobody has it any more.
        let count = terminal.read(&mut buffer).await.unwrap_or_default();
        let mut shown = if count == 0 {
            scrubber.finish()
        } else {
            scrubber.push(&buffer[..count])
        };
        if lock(typed).was(scrubber.held()) {
            shown.extend(scrubber.release());
        }
        if !shown.is_empty() {
            let message = Some(terminal_down::Message::Shown(shown));
            if down.send(Ok(TerminalDown { message })).await.is_err() {
                return End::OfClient;
            }
        }
        if count == 0 {
            return End::OfTerminal;
        }
    }
}

/// Takes in what is typed and how large the user's terminal is, until that is gone.
async fn take(
    terminal: &Terminal,
    mut up: impl Stream<Item = Result<TerminalUp, Status>> + Unpin,
    typed: &Mutex<Typed>,
) {
    while let Some(Ok(TerminalUp { message })) = up.next().await {
        match message {
            Some(terminal_up::Message::Typed(bytes)) => {
                lock(typed).add(&bytes);
                if terminal.write(&bytes).await.is_err() {
                    // The program is gone; what it still has said is read.
                    std::future::pending().await
                }
            }
            Some(terminal_up::Message::Size(sent)) => {
                terminal.resize(size(sent)).ok();
            }
            Some(terminal_up::Message::Taken(_)) | None => {}
        }
    }
}

/// The last of what was typed. What a terminal shows may be held back because a secret could begin so; when it is nothing but
/// what the user has just typed, it is shown at once, as keys that show up late are worse than what they could tell.
#[derive(Default)]
struct Typed(Vec<u8>);

impl Typed {
    /// More than a scrubber ever holds back.
    const KEPT: usize = 64;

    fn add(&mut self, bytes: &[u8]) {
        self.0
            .extend_from_slice(&bytes[bytes.len().saturating_sub(Self::KEPT)..]);
        let excess = self.0.len().saturating_sub(Self::KEPT);
        self.0.drain(..excess);
    }

    /// Is this what was typed last? It counts once.
    fn was(&mut self, held: &[u8]) -> bool {
        let was = !held.is_empty() && self.0.ends_with(held);
        if was {
            self.0.clear();
        }
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_begin_a_secret_are_shown_and_what_programs_print_is_held() {
        let mut typed = Typed::default();
        let mut scrubber = Scrubber::new([b"hunter22".as_slice()]);
        typed.add(b"h");
        assert_eq!(scrubber.push(b"h"), b"");
        assert!(typed.was(scrubber.held()));
        assert_eq!(scrubber.release(), b"h");
        // The program's own beginning of the secret is not the user's.
        assert_eq!(scrubber.push(b" hun"), b" ");
        assert!(!typed.was(scrubber.held()));
        assert_eq!(scrubber.push(b"ter22\r\n"), b"***\r\n");
        typed.add(&[b'x'; 1000]);
        assert_eq!(typed.0.len(), Typed::KEPT);
    }

    #[test]
    fn sizes_that_are_none_are_the_usual_one() {
        let sent = |rows, columns| size(Sent { rows, columns });
        assert_eq!(
            sent(50, 132),
            TerminalSize {
                rows: 50,
                columns: 132
            }
        );
        assert_eq!(sent(0, 0), USUAL);
        assert_eq!(sent(70_000, 10), USUAL);
    }
}
