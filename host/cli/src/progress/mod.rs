//! Shows a run as it happens, on standard error.
//!
//! What happens arrives as events of the engine and words of modules. A [`View`] turns them into lines; nothing here waits
//! for a terminal.

mod github;
mod json;
mod live;
mod plain;
mod tally;

use std::{collections::HashMap, io::Write, sync::Arc, time::Instant};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use wharf_client::proto::Event;
use wharf_record::Prices;

pub(crate) use self::tally::Tally;
use crate::{
    args::{Loudness, ProgressKind},
    colour::Paint,
};

/// How often a terminal is drawn on.
const FRAME: std::time::Duration = std::time::Duration::from_millis(100);

/// Bytes of text that are kept while the terminal is somebody else's; of more, the last are.
const KEPT: usize = 4 * 1024 * 1024;

/// What a module says of itself.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    /// A line of its log.
    Said {
        module: String,
        level: &'static str,
        /// The title of the group that it belongs to.
        group: Option<String>,
        /// The file that it is about, and the line.
        place: Option<(String, Option<u32>)>,
        text: String,
    },
    /// How far it is.
    Reached {
        module: String,
        current: u64,
        total: u64,
    },
}

impl Word {
    /// The lines of a word, each behind what it is about; none of what is no word.
    fn lines(&self) -> Vec<String> {
        let Self::Said {
            group, place, text, ..
        } = self
        else {
            return Vec::new();
        };
        let group = group.iter().map(|title| format!("{title}: "));
        let place = place.iter().map(|(path, line)| match line {
            Some(line) => format!("{path}:{line}: "),
            None => format!("{path}: "),
        });
        let about: String = group.chain(place).collect();
        text.lines().map(|line| format!("{about}{line}")).collect()
    }
}

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) kind: ProgressKind,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

impl From<&Loudness> for Style {
    fn from(loudness: &Loudness) -> Self {
        Self {
            kind: loudness.progress,
            quiet: loudness.quiet,
            verbose: loudness.verbose,
        }
    }
}

/// Turns what happens into text.
trait View: Send {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>);
    fn word(&mut self, word: &Word, out: &mut Vec<u8>);
    /// No more events are at hand for now.
    fn pause(&mut self, out: &mut Vec<u8>);
    /// The terminal becomes somebody else's: what is on it for a moment only is taken off.
    fn leave(&mut self, _out: &mut Vec<u8>) {}
    /// Time has passed.
    fn tick(&mut self, _out: &mut Vec<u8>) {}
    /// The run is over.
    fn end(&mut self, tally: &Tally, out: &mut Vec<u8>);
}

/// Where a run's happenings are sent, and what shows them.
pub(crate) struct Progress {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) words: mpsc::UnboundedSender<Word>,
    pub(crate) stage: Stage,
    shown: JoinHandle<Tally>,
}

/// The part of [`Progress`] that is left when nothing more is sent.
pub(crate) struct Ending(JoinHandle<Tally>);

impl Progress {
    /// Starts to show.
    pub(crate) fn start(style: Style, prices: Option<Prices>) -> Self {
        let (events, events_in) = mpsc::unbounded_channel();
        let (words, words_in) = mpsc::unbounded_channel();
        let (stage, changes) = mpsc::unbounded_channel();
        let shown = tokio::spawn(show(view(style), prices, events_in, words_in, changes));
        Self {
            events,
            words,
            stage: Stage(stage),
            shown,
        }
    }

    /// Keeps only what shows: the run is over once the other senders are gone, too.
    pub(crate) fn ending(self) -> Ending {
        Ending(self.shown)
    }
}

/// What the view is on, for whoever wants it for something else.
#[derive(Clone)]
pub(crate) struct Stage(mpsc::UnboundedSender<Change>);

/// Whose the terminal is.
enum Change {
    /// Somebody else's, who is told once nothing more is written to it.
    Taken(oneshot::Sender<()>),
    /// The view's again.
    Free,
}

/// The view is off the terminal for as long as this is held; what there was to show comes afterwards.
pub(crate) struct Away(mpsc::UnboundedSender<Change>);

impl Stage {
    /// Takes the view off the terminal.
    pub(crate) async fn take(&self) -> Away {
        let (left, has_left) = oneshot::channel();
        let away = Away(self.0.clone());
        self.0.send(Change::Taken(left)).ok();
        // A view that is over writes nothing more.
        has_left.await.ok();
        away
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.0.send(Change::Free).ok();
    }
}

impl Ending {
    /// What happened in all. Waits for the last events, which come after the last answer.
    pub(crate) async fn tally(mut self) -> Tally {
        let limit = std::time::Duration::from_secs(10);
        match tokio::time::timeout(limit, &mut self.0).await {
            Ok(Ok(tally)) => tally,
            Ok(Err(_)) | Err(_) => {
                self.0.abort();
                Tally::default()
            }
        }
    }
}

impl Style {
    /// Nothing is shown.
    pub(crate) fn silent() -> Self {
        Self {
            kind: ProgressKind::Plain,
            quiet: true,
            verbose: false,
        }
    }

    /// Is the terminal drawn on?
    pub(crate) fn is_live(self) -> bool {
        match self.kind {
            ProgressKind::Tty => !self.quiet,
            ProgressKind::Auto => !self.quiet && live::suits_here(),
            ProgressKind::Plain | ProgressKind::Json => false,
        }
    }
}

fn view(style: Style) -> Box<dyn View> {
    match style.kind {
        ProgressKind::Json => Box::new(json::Json::default()),
        _ if crate::github::is_here() && !style.quiet => Box::new(github::Actions::default()),
        _ if style.is_live() => Box::new(live::Live::new(live::Screen::of_terminal())),
        _ => Box::new(plain::Plain::new(style, Paint::of_stderr())),
    }
}

async fn show(
    mut view: Box<dyn View>,
    prices: Option<Prices>,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut words: mpsc::UnboundedReceiver<Word>,
    mut changes: mpsc::UnboundedReceiver<Change>,
) -> Tally {
    let started = Instant::now();
    let mut tally = Tally {
        prices,
        ..Tally::default()
    };
    let mut out = Vec::new();
    let mut is_away = false;
    let (mut events_open, mut words_open) = (true, true);
    let mut ticks = tokio::time::interval(FRAME);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first comes at once.
    ticks.tick().await;
    while events_open || words_open {
        tokio::select! {
            event = events.recv(), if events_open => match event {
                Some(event) => {
                    tally.count(&event);
                    view.event(&event, &mut out);
                }
                None => events_open = false,
            },
            word = words.recv(), if words_open => match word {
                Some(word) => view.word(&word, &mut out),
                None => words_open = false,
            },
            Some(change) = changes.recv() => {
                // What happened before is shown before.
                take_in(&mut events, &mut tally, &mut *view, &mut out);
                is_away = follow(change, &mut *view, &mut out);
            }
            _ = ticks.tick(), if !is_away => view.tick(&mut out),
        }
        take_in(&mut events, &mut tally, &mut *view, &mut out);
        view.pause(&mut out);
        if is_away {
            keep_last(&mut out);
        } else {
            flush(&mut out);
        }
    }
    while is_away {
        match changes.recv().await {
            Some(change) => is_away = follow(change, &mut *view, &mut out),
            None => is_away = false,
        }
    }
    tally.took = started.elapsed();
    view.end(&tally, &mut out);
    flush(&mut out);
    tally
}

/// All events that are at hand.
fn take_in(
    events: &mut mpsc::UnboundedReceiver<Event>,
    tally: &mut Tally,
    view: &mut dyn View,
    out: &mut Vec<u8>,
) {
    while let Ok(event) = events.try_recv() {
        tally.count(&event);
        view.event(&event, out);
    }
}

/// Leaves the terminal, or comes back to it. Is it somebody else's now?
fn follow(change: Change, view: &mut dyn View, out: &mut Vec<u8>) -> bool {
    match change {
        Change::Taken(left) => {
            view.leave(out);
            flush(out);
            left.send(()).ok();
            true
        }
        Change::Free => false,
    }
}

/// Forgets the first lines of more text than is kept.
fn keep_last(out: &mut Vec<u8>) {
    if out.len() > KEPT {
        let from = out.len() - KEPT / 2;
        let from = out[from..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(from, |at| from + at + 1);
        let note = *b"wharf: [what was printed before is left out here]\n";
        drop(out.splice(..from, note));
    }
}

/// One write for all that is at hand. A closed standard error is no reason to fail.
fn flush(out: &mut Vec<u8>) {
    if out.is_empty() {
        return;
    }
    let _ = std::io::stderr().lock().write_all(out);
    out.clear();
}

/// Short ids for keys: as many digits as tell them apart for people.
fn short(key: &[u8]) -> String {
    key.iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}

/// Titles by key, which events after the first do not repeat.
type Titles = HashMap<Vec<u8>, Arc<str>>;
