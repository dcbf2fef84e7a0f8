//! Progress as lines of text: one when a piece of work starts, its output, one when it ends.

use std::{collections::HashMap, io::Write, time::Duration};

use wharf_client::proto::{Event, Finished, Kind, Outcome, event::What};

use super::{Style, Tally, Titles, View, Word, short};
use crate::{
    colour::Paint,
    printable::{self, Keep},
    table::seconds,
};

/// A line of output that has no end yet is shown at this length.
const LINE_LIMIT: usize = 16 * 1024;

pub(super) struct Plain {
    style: Style,
    /// What is kept of steps' colours.
    keep: Keep,
    titles: Titles,
    /// Work whose start was not shown yet: what is remembered ends as it starts, and one line is enough for it.
    fresh: Vec<Vec<u8>>,
    /// Output without its newline, by work and stream.
    partial: HashMap<(Vec<u8>, bool), Vec<u8>>,
}

impl Plain {
    pub(super) fn new(style: Style, paint: Paint) -> Self {
        Self {
            style,
            keep: if paint.is_on() {
                Keep::Colours
            } else {
                Keep::Nothing
            },
            titles: Titles::new(),
            fresh: Vec::new(),
            partial: HashMap::new(),
        }
    }

    fn line(&self, key: &[u8], text: &str, out: &mut Vec<u8>) {
        if !self.style.quiet {
            let _ = writeln!(out, "[{}] {text}", short(key));
        }
    }

    fn show_starts(&mut self, out: &mut Vec<u8>) {
        for key in std::mem::take(&mut self.fresh) {
            if let Some(title) = self.titles.get(&key) {
                self.line(&key, title, out);
            }
        }
    }

    fn log(&mut self, key: &[u8], stderr: bool, bytes: &[u8], out: &mut Vec<u8>) {
        if self.style.quiet {
            return;
        }
        let mut held = self.partial.remove(&(key.to_vec(), stderr)).unwrap_or_default();
        held.extend_from_slice(bytes);
        let mut rest = held.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.output_line(key, &rest[..end], out);
            rest = &rest[end + 1..];
        }
        if rest.len() >= LINE_LIMIT {
            self.output_line(key, rest, out);
            rest = &[];
        }
        if !rest.is_empty() {
            self.partial.insert((key.to_vec(), stderr), rest.to_vec());
        }
    }

    fn output_line(&self, key: &[u8], line: &[u8], out: &mut Vec<u8>) {
        // Programs draw over a line with carriage returns: what a terminal would show last is what is shown.
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let last = line.rsplit(|byte| *byte == b'\r').next().unwrap_or_default();
        let last = printable::line(&String::from_utf8_lossy(last), self.keep);
        self.line(key, &format!("| {last}"), out);
    }

    fn finished(&mut self, key: &[u8], finished: &Finished, out: &mut Vec<u8>) {
        for stderr in [false, true] {
            if let Some(rest) = self.partial.remove(&(key.to_vec(), stderr)) {
                self.output_line(key, &rest, out);
            }
        }
        let title = self.titles.remove(key).unwrap_or_default();
        let was_fresh = self
            .fresh
            .iter()
            .position(|fresh| fresh == key)
            .map(|at| self.fresh.remove(at));
        let took = seconds(Duration::from_micros(finished.microseconds));
        let name = was_fresh.map(|_| format!(": {title}")).unwrap_or_default();
        let text = match finished.outcome() {
            Outcome::Hit => format!("remembered: {title}"),
            Outcome::Done => format!("done{name} in {took}"),
            Outcome::Failed => format!(
                "FAILED{name} after {took}: {}",
                printable::lines(finished.error.trim_end())
            ),
            Outcome::Cancelled => format!("stopped{name} after {took}"),
        };
        self.line(key, &text, out);
    }
}

impl View for Plain {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        let key = &event.key;
        match &event.what {
            Some(What::Started(started)) => {
                let title = printable::line(&started.title.replace('\n', " "), Keep::Nothing);
                let title = match started.kind() {
                    Kind::Service => format!("service: {title}"),
                    _ => title,
                };
                self.titles.insert(key.clone(), title.into());
                self.fresh.push(key.clone());
            }
            Some(What::Log(log)) => {
                self.show_starts(out);
                self.log(key, log.stderr, &log.bytes, out);
            }
            Some(What::Finished(finished)) => self.finished(key, finished, out),
            Some(What::Explained(explained)) => {
                self.line(
                    key,
                    &format!(
                        "why: {}: {}",
                        printable::line(&explained.title.replace('\n', " "), Keep::Nothing),
                        printable::line(&explained.reason, Keep::Nothing)
                    ),
                    out,
                );
            }
            Some(What::Ready(ready)) => {
                self.show_starts(out);
                let took = seconds(Duration::from_micros(ready.microseconds));
                self.line(key, &format!("healthy after {took}"), out);
            }
            Some(What::Notice(notice)) => {
                let _ = writeln!(out, "wharf: {}", printable::lines(&notice.text));
            }
            Some(What::Meaning(_)) | None => {}
        }
    }

    fn word(&mut self, word: &Word, out: &mut Vec<u8>) {
        match word {
            Word::Said { level: "info", .. } | Word::Reached { .. } if self.style.quiet => {}
            Word::Said { module, level, .. } => {
                for line in word.lines() {
                    let line = printable::line(&line, self.keep);
                    let _ = writeln!(out, "{module}: {level}: {line}");
                }
            }
            Word::Reached {
                module,
                current,
                total,
            } => {
                let _ = writeln!(out, "{module}: {current} of {total}");
            }
        }
    }

    fn pause(&mut self, out: &mut Vec<u8>) {
        self.show_starts(out);
    }

    fn end(&mut self, tally: &Tally, out: &mut Vec<u8>) {
        if !self.style.quiet && (tally.totals().steps() > 0 || self.style.verbose) {
            let _ = writeln!(out, "{tally}");
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_client::proto::{Log, Started};

    use super::*;
    use crate::args::ProgressKind;

    fn shown(quiet: bool, events: Vec<(u8, What)>) -> String {
        let style = Style {
            kind: ProgressKind::Plain,
            quiet,
            verbose: false,
        };
        let mut plain = Plain::new(style, Paint::NONE);
        let mut out = Vec::new();
        for (key, what) in events {
            plain.event(
                &Event {
                    key: vec![key; 32],
                    what: Some(what),
                },
                &mut out,
            );
        }
        plain.pause(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn started(title: &str) -> What {
        What::Started(Started {
            title: title.to_owned(),
            kind: Kind::Step.into(),
        })
    }

    fn log(text: &str) -> What {
        What::Log(Log {
            stderr: false,
            bytes: text.into(),
        })
    }

    fn finished(outcome: Outcome, error: &str) -> What {
        What::Finished(Finished {
            outcome: outcome.into(),
            microseconds: 1_234_000,
            error: error.to_owned(),
            ..Finished::default()
        })
    }

    #[test]
    fn a_step_has_a_start_its_output_and_an_end() {
        let events = vec![
            (0xaa, started("make all")),
            (0xaa, log("one\ntw")),
            (0xbb, started("make docs")),
            (0xaa, log("o\n10%\r20%\r\nrest")),
            (0xaa, finished(Outcome::Failed, "exit code 2")),
            (0xcc, started("make tea")),
            (0xcc, finished(Outcome::Hit, "")),
        ];
        insta::assert_snapshot!(shown(false, events), @r"
        [aaaaaa] make all
        [aaaaaa] | one
        [bbbbbb] make docs
        [aaaaaa] | two
        [aaaaaa] | 20%
        [aaaaaa] | rest
        [aaaaaa] FAILED after 1.2 s: exit code 2
        [cccccc] remembered: make tea
        ");
    }

    #[test]
    fn quiet_shows_no_steps() {
        let events = vec![
            (1, started("make")),
            (1, log("x\n")),
            (1, finished(Outcome::Done, "")),
        ];
        assert_eq!(shown(true, events), "");
    }
}
