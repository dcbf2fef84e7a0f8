//! Progress on a terminal: what runs, with its time and last lines, drawn again and again below what is done.
//!
//! What stays on the screen is a line for each step that ran, and a failure with the end of its log. What was remembered is
//! only counted. Nothing is drawn before a tenth of a second has passed, so that a run that needs nothing shows its sum alone.

use std::{
    collections::{HashMap, VecDeque},
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use wharf_client::proto::{Event, Finished, Kind, Outcome, event::What};

use super::{Tally, View, Word};
use crate::{
    colour::{Colour, Paint},
    printable::{self, Keep},
    table::seconds,
};

/// Lines of a failed step's log that stay.
const KEPT_LINES: usize = 20;
/// Bytes of a line without an end that are kept.
const LINE_LIMIT: usize = 4096;

/// Is standard error a terminal that can be drawn on?
pub(super) fn suits_here() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stderr().is_terminal() && !is_dumb && std::env::var_os("CI").is_none()
}

/// How large the terminal is, and whether it may have colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    columns: usize,
    rows: usize,
    paint: Paint,
    /// Looks again before each frame: terminals change their size.
    follows: bool,
}

impl Screen {
    pub(super) fn of_terminal() -> Self {
        let mut screen = Self {
            columns: 80,
            rows: 24,
            paint: Paint::of_stderr(),
            follows: true,
        };
        screen.look();
        screen
    }

    fn look(&mut self) {
        if self.follows
            && let Some((columns, rows)) = wharf_platform::terminal::size_of_stderr()
        {
            (self.columns, self.rows) = (columns.into(), rows.into());
        }
    }

    fn paint(self, colour: Colour, text: &str) -> String {
        self.paint.paint(colour, text)
    }
}

/// Work that was begun.
struct Work {
    title: String,
    kind: Kind,
    since: Instant,
    /// The last lines, the newest last; the last one may have no end yet.
    lines: VecDeque<String>,
    open: Vec<u8>,
    /// The cursor went back to the line's beginning: what comes next is drawn over it.
    returned: bool,
}

impl Work {
    fn log(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                b'\r' => self.returned = true,
                _ => {
                    if std::mem::take(&mut self.returned) {
                        self.open.clear();
                    }
                    if self.open.len() < LINE_LIMIT {
                        self.open.push(*byte);
                    }
                }
            }
        }
    }

    fn end_line(&mut self) {
        let line = plain(&String::from_utf8_lossy(&self.open));
        self.open.clear();
        self.returned = false;
        if line.trim().is_empty() {
            return;
        }
        if self.lines.len() == KEPT_LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

fn plain(text: &str) -> String {
    printable::line(text, Keep::Nothing)
}

/// The beginning of a text that fits, with a sign where it was cut.
fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = text.chars().take_while(|letter| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    });
    fits.chain(['…']).collect()
}

/// Whole seconds, for what is drawn many times a second.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {} s", seconds % 60),
    }
}

/// The view.
pub(super) struct Live {
    screen: Screen,
    begun: Instant,
    /// Work under way, in the order of its beginning.
    order: Vec<Vec<u8>>,
    works: HashMap<Vec<u8>, Work>,
    remembered: usize,
    done: usize,
    /// What modules say of how far they are.
    reached: HashMap<String, (u64, u64)>,
    /// Widths of the lines of the frame that is on the screen.
    drawn: Vec<usize>,
}

impl Live {
    pub(super) fn new(screen: Screen) -> Self {
        Self {
            screen,
            begun: Instant::now(),
            order: Vec::new(),
            works: HashMap::new(),
            remembered: 0,
            done: 0,
            reached: HashMap::new(),
            drawn: Vec::new(),
        }
    }

    /// Takes the frame off the screen; the cursor stands where it began.
    fn erase(&mut self, out: &mut Vec<u8>) {
        if self.drawn.is_empty() {
            return;
        }
        // A terminal that became narrower since has broken its lines.
        self.screen.look();
        let rows: usize = self
            .drawn
            .drain(..)
            .map(|width| width.div_ceil(self.screen.columns).max(1))
            .sum();
        let _ = write!(out, "\x1b[{rows}A\r\x1b[J");
    }

    /// A line that stays.
    fn keep(&mut self, line: &str, out: &mut Vec<u8>) {
        self.erase(out);
        let _ = writeln!(out, "{line}");
    }

    fn finished(&mut self, key: &[u8], finished: &Finished, out: &mut Vec<u8>) {
        let Some(mut work) = self.works.remove(key) else {
            return;
        };
        self.order.retain(|running| running != key);
        let took = seconds(Duration::from_micros(finished.microseconds));
        let line = |mark: String, end: &str| {
            let room = self.screen.columns.saturating_sub(end.width() + 5);
            format!(
                "{mark} {}  {}",
                cut(&work.title, room),
                self.screen.paint(Colour::Grey, end)
            )
        };
        match finished.outcome() {
            Outcome::Hit => self.remembered += 1,
            // It has done what it was there for; a line for its end would tell nothing.
            Outcome::Done if work.kind == Kind::Service => {}
            Outcome::Done => {
                self.done += 1;
                // Sending files and fetching images is worth a line when somebody has waited for it.
                if work.kind == Kind::Step || finished.microseconds > 500_000 {
                    let line = line(self.screen.paint(Colour::Green, "✓"), &took);
                    self.keep(&line, out);
                }
            }
            Outcome::Cancelled => {
                let line = line(
                    self.screen.paint(Colour::Grey, "■"),
                    &format!("stopped after {took}"),
                );
                self.keep(&line, out);
            }
            Outcome::Failed => {
                let line = line(
                    self.screen.paint(Colour::Red, "✗"),
                    &format!("failed after {took}"),
                );
                self.keep(&line, out);
                work.end_line();
                for line in &work.lines {
                    let line = cut(line, self.screen.columns.saturating_sub(4));
                    self.keep(&format!("  {} {line}", self.screen.paint(Colour::Red, "│")), out);
                }
            }
        }
    }

    /// The frame: what runs, the newest lines of it, and the sums.
    fn frame(&self) -> Vec<String> {
        let Screen { columns, rows, .. } = self.screen;
        let mut frame = Vec::new();
        // Half of the screen at most, so that what is done stays in sight.
        let shown = self.order.len().min((rows / 2).saturating_sub(2).max(1));
        let tail = (rows / 2).saturating_sub(2 + shown) / shown.max(1);
        for work in self
            .order
            .iter()
            .take(shown)
            .filter_map(|key| self.works.get(key))
        {
            let took = clock(work.since.elapsed());
            let title = cut(&work.title, columns.saturating_sub(took.width() + 5));
            frame.push(format!(
                "{} {title}  {}",
                self.screen.paint(Colour::Cyan, "●"),
                self.screen.paint(Colour::Grey, &took)
            ));
            let open = plain(&String::from_utf8_lossy(&work.open));
            let open = Some(open).filter(|line| !line.trim().is_empty());
            let lines: Vec<&String> = work.lines.iter().chain(&open).collect();
            for line in &lines[lines.len().saturating_sub(tail.min(3))..] {
                let line = cut(line, columns.saturating_sub(4));
                frame.push(format!(
                    "  {} {}",
                    self.screen.paint(Colour::Grey, "│"),
                    self.screen.paint(Colour::Grey, &line)
                ));
            }
        }
        let more = self.order.len() - shown;
        if more > 0 && shown + 2 <= rows / 2 {
            frame.push(self.screen.paint(Colour::Grey, &format!("  … and {more} more")));
        }
        let mut sums = Vec::new();
        for (count, word) in [
            (self.order.len(), "running"),
            (self.done, "done"),
            (self.remembered, "remembered"),
        ] {
            if count > 0 {
                sums.push(format!("{count} {word}"));
            }
        }
        let mut reached: Vec<_> = self.reached.iter().collect();
        reached.sort();
        sums.extend(
            reached
                .iter()
                .map(|(module, (current, total))| format!("{module}: {current} of {total}")),
        );
        sums.push(clock(self.begun.elapsed()));
        frame.push(
            self.screen
                .paint(Colour::Grey, &cut(&sums.join(" · "), columns.saturating_sub(1))),
        );
        frame
    }
}

impl View for Live {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        let key = &event.key;
        match &event.what {
            Some(What::Started(started)) => {
                let title = plain(&started.title.replace('\n', " "));
                let work = Work {
                    title: match started.kind() {
                        Kind::Service => format!("service: {title}"),
                        _ => title,
                    },
                    kind: started.kind(),
                    since: Instant::now(),
                    lines: VecDeque::new(),
                    open: Vec::new(),
                    returned: false,
                };
                if self.works.insert(key.clone(), work).is_none() {
                    self.order.push(key.clone());
                }
            }
            Some(What::Log(log)) => {
                if let Some(work) = self.works.get_mut(key) {
                    work.log(&log.bytes);
                }
            }
            Some(What::Finished(finished)) => self.finished(key, finished, out),
            Some(What::Explained(explained)) => {
                let title = explained.title.replace('\n', " ");
                let line = format!("{}: {}", plain(&title), plain(&explained.reason));
                self.keep(&self.screen.paint(Colour::Grey, &line), out);
            }
            Some(What::Ready(ready)) => {
                if let Some(work) = self.works.get(key) {
                    let took = seconds(Duration::from_micros(ready.microseconds));
                    let end = format!("healthy after {took}");
                    let room = self.screen.columns.saturating_sub(end.width() + 5);
                    let title = cut(&work.title, room);
                    let line = format!(
                        "{} {title}  {}",
                        self.screen.paint(Colour::Green, "▲"),
                        self.screen.paint(Colour::Grey, &end)
                    );
                    self.keep(&line, out);
                }
            }
            Some(What::Notice(notice)) => self.keep(&format!("wharf: {}", plain(&notice.text)), out),
            Some(What::Meaning(_)) | None => {}
        }
    }

    fn word(&mut self, word: &Word, out: &mut Vec<u8>) {
        match word {
            Word::Said { module, level, .. } => {
                let colour = match *level {
                    "error" => Colour::Red,
                    "warning" => Colour::Yellow,
                    _ => Colour::Grey,
                };
                let who = self.screen.paint(colour, &format!("{}: {level}:", plain(module)));
                for line in word.lines() {
                    self.keep(&format!("{who} {}", plain(&line)), out);
                }
            }
            Word::Reached {
                module,
                current,
                total,
            } => {
                self.reached.insert(module.clone(), (*current, *total));
            }
        }
    }

    fn pause(&mut self, _out: &mut Vec<u8>) {}

    fn leave(&mut self, out: &mut Vec<u8>) {
        self.erase(out);
    }

    fn tick(&mut self, out: &mut Vec<u8>) {
        // One update for terminals that can wait for its end; the others do not know these sequences and pass over them.
        out.extend_from_slice(b"\x1b[?2026h");
        self.erase(out);
        self.screen.look();
        let frame = self.frame();
        for line in &frame {
            let _ = writeln!(out, "{line}");
        }
        self.drawn = frame.iter().map(|line| plain(line).width()).collect();
        out.extend_from_slice(b"\x1b[?2026l");
    }

    fn end(&mut self, tally: &Tally, out: &mut Vec<u8>) {
        self.erase(out);
        if tally.totals().steps() > 0 {
            let _ = writeln!(out, "{tally}");
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_client::proto::{Log, Started};

    use super::*;

    fn live(columns: usize, rows: usize) -> Live {
        Live::new(Screen {
            columns,
            rows,
            paint: Paint::NONE,
            follows: false,
        })
    }

    fn tell(live: &mut Live, key: u8, what: What) -> String {
        let mut out = Vec::new();
        live.event(
            &Event {
                key: vec![key],
                what: Some(what),
            },
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    fn start(live: &mut Live, key: u8, title: &str) {
        let started = Started {
            title: title.to_owned(),
            kind: Kind::Step.into(),
        };
        assert_eq!(tell(live, key, What::Started(started)), "");
    }

    fn log(live: &mut Live, key: u8, text: &str) {
        let log = Log {
            stderr: false,
            bytes: text.into(),
        };
        tell(live, key, What::Log(log));
    }

    fn finish(live: &mut Live, key: u8, outcome: Outcome) -> String {
        let finished = Finished {
            outcome: outcome.into(),
            microseconds: 1_200_000,
            error: String::new(),
            ..Finished::default()
        };
        tell(live, key, What::Finished(finished))
    }

    #[test]
    fn what_runs_has_its_last_lines_and_what_was_remembered_is_counted() {
        let mut live = live(40, 24);
        start(&mut live, 1, "make all");
        start(&mut live, 2, "cp a b");
        log(
            &mut live,
            1,
            "one\ntwo\nthree\n\n\x1b[31mfour\x1b[0m\x1b[2K\r\n10%\r20%\r",
        );
        assert_eq!(finish(&mut live, 2, Outcome::Hit), "");
        assert_eq!(
            live.frame(),
            [
                "● make all  0 s",
                "  │ three",
                "  │ four",
                "  │ 20%",
                "1 running · 1 remembered · 0 s"
            ]
        );
    }

    #[test]
    fn what_is_done_stays_and_a_failure_keeps_its_log() {
        let mut live = live(40, 24);
        start(&mut live, 1, "make all");
        start(&mut live, 2, "make docs");
        let mut out = Vec::new();
        live.tick(&mut out);
        assert_eq!(live.drawn.len(), 3);
        let done = finish(&mut live, 1, Outcome::Done);
        assert_eq!(done, "\x1b[3A\r\x1b[J✓ make all  1.2 s\n");
        let lines: String = (0..20).map(|line| format!("line {line}\n")).collect();
        log(&mut live, 2, &(lines + "the end"));
        let failed = finish(&mut live, 2, Outcome::Failed);
        assert!(
            failed.starts_with("✗ make docs  failed after 1.2 s\n  │ line 1\n"),
            "{failed}"
        );
        assert!(failed.ends_with("  │ line 19\n  │ the end\n"), "{failed}");
    }

    #[test]
    fn a_frame_on_a_terminal_that_became_narrower_is_taken_off_whole() {
        let mut live = live(40, 24);
        start(&mut live, 1, "make everything that there is to make");
        let mut out = Vec::new();
        live.tick(&mut out);
        live.screen.columns = 20;
        // The title's line is broken into two, the sums' is not.
        assert!(finish(&mut live, 1, Outcome::Done).starts_with("\x1b[3A\r\x1b[J"));
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        let mut live = live(30, 10);
        for key in 0..50 {
            start(
                &mut live,
                key,
                "a very long title that goes on and on and on, 字字字字字字字字字字",
            );
            log(&mut live, key, &"字".repeat(100));
        }
        let frame = live.frame();
        assert!(frame.len() <= 5, "{frame:?}");
        assert!(frame.iter().all(|line| line.width() < 30), "{frame:?}");
        assert!(finish(&mut live, 0, Outcome::Done).trim_end().width() <= 30);
    }
}
