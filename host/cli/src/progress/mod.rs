//! Shows a run as it happens, on standard error.
//!
//! What happens arrives as events of the engine and words of modules. A [`View`] turns them into lines; nothing here waits
//! for a terminal.

mod json;
mod live;
mod plain;
mod tally;

use std::{collections::HashMap, io::Write, sync::Arc, time::Instant};

use tokio::{sync::mpsc, task::JoinHandle};
use wharf_client::proto::Event;

pub(crate) use self::tally::Tally;
use crate::{
    args::{Loudness, ProgressKind},
    colour::Paint,
};

/// How often a terminal is drawn on.
const FRAME: std::time::Duration = std::time::Duration::from_millis(100);

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
    /// Time has passed.
    fn tick(&mut self, _out: &mut Vec<u8>) {}
    /// The run is over.
    fn end(&mut self, tally: &Tally, out: &mut Vec<u8>);
}

/// Where a run's happenings are sent, and what shows them.
pub(crate) struct Progress {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) words: mpsc::UnboundedSender<Word>,
    shown: JoinHandle<Tally>,
}

/// The part of [`Progress`] that is left when nothing more is sent.
pub(crate) struct Ending(JoinHandle<Tally>);

impl Progress {
    /// Starts to show.
    pub(crate) fn start(style: Style) -> Self {
        let (events, events_in) = mpsc::unbounded_channel();
        let (words, words_in) = mpsc::unbounded_channel();
        let shown = tokio::spawn(show(view(style), events_in, words_in));
        Self { events, words, shown }
    }

    /// Keeps only what shows: the run is over once the other senders are gone, too.
    pub(crate) fn ending(self) -> Ending {
        Ending(self.shown)
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
        _ if style.is_live() => Box::new(live::Live::new(live::Screen::of_terminal())),
        _ => Box::new(plain::Plain::new(style, Paint::of_stderr())),
    }
}

async fn show(
    mut view: Box<dyn View>,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut words: mpsc::UnboundedReceiver<Word>,
) -> Tally {
    let started = Instant::now();
    let mut tally = Tally::default();
    let mut out = Vec::new();
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
            _ = ticks.tick() => view.tick(&mut out),
        }
        while let Ok(event) = events.try_recv() {
            tally.count(&event);
            view.event(&event, &mut out);
        }
        view.pause(&mut out);
        flush(&mut out);
    }
    tally.took = started.elapsed();
    view.end(&tally, &mut out);
    flush(&mut out);
    tally
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
