//! Progress in a log of GitHub's: what each step printed in a group of its own, words about files at the files.
//!
//! Steps run beside each other and groups cannot, so a group is written when its step has ended, or has printed much.

use std::{collections::HashMap, io::Write, time::Duration};

use wharf_client::proto::{Event, Finished, Kind, Outcome, event::What};

use super::{Tally, View, Word, short};
use crate::{
    github::{self, END_OF_GROUP, Level},
    printable::{self, Keep},
    table::seconds,
};

/// Bytes of a step's output that wait for its end.
const MOST_HELD: usize = 64 * 1024;

/// Work that was begun.
struct Work {
    title: String,
    /// What it has printed and was not shown.
    held: Vec<u8>,
    /// Some of it was shown.
    goes_on: bool,
}

/// The view.
#[derive(Default)]
pub(super) struct Actions {
    works: HashMap<Vec<u8>, Work>,
    /// The module and the title of the group that its words stand in.
    open: Option<(String, String)>,
}

impl Actions {
    /// Ends the group of a module's words.
    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            out.extend_from_slice(END_OF_GROUP.as_bytes());
        }
    }

    fn line(&mut self, line: &str, out: &mut Vec<u8>) {
        self.close(out);
        out.extend_from_slice(github::line(line).as_bytes());
    }

    /// A group with what was printed.
    fn group(&mut self, title: &str, printed: &[u8], out: &mut Vec<u8>) {
        self.close(out);
        let lines: String = String::from_utf8_lossy(printed).lines().map(shown).collect();
        out.extend_from_slice(github::group(&printable::line(title, Keep::Nothing)).as_bytes());
        out.extend_from_slice(github::text(&lines).as_bytes());
        out.extend_from_slice(END_OF_GROUP.as_bytes());
    }

    fn log(&mut self, key: &[u8], bytes: &[u8], out: &mut Vec<u8>) {
        let Some(work) = self.works.get_mut(key) else {
            return;
        };
        work.held.extend_from_slice(bytes);
        if work.held.len() < MOST_HELD {
            return;
        }
        // To the last line's end; a line without one is as long as it may be.
        let end = work.held.iter().rposition(|byte| *byte == b'\n');
        let rest = work.held.split_off(end.map_or(work.held.len(), |at| at + 1));
        let printed = std::mem::replace(&mut work.held, rest);
        let more = if std::mem::replace(&mut work.goes_on, true) {
            " (goes on)"
        } else {
            ""
        };
        let title = format!("[{}] {}{more}", short(key), work.title);
        self.group(&title, &printed, out);
    }

    fn finished(&mut self, key: &[u8], finished: &Finished, out: &mut Vec<u8>) {
        let Some(work) = self.works.remove(key) else {
            return;
        };
        let took = seconds(Duration::from_micros(finished.microseconds));
        let how = match finished.outcome() {
            Outcome::Hit => format!("remembered: {}", work.title),
            Outcome::Done => format!("done in {took}: {}", work.title),
            Outcome::Failed => format!("FAILED after {took}: {}", work.title),
            Outcome::Cancelled => format!("stopped after {took}: {}", work.title),
        };
        let title = format!("[{}] {how}", short(key));
        if work.held.is_empty() {
            self.line(&title, out);
        } else {
            self.group(&title, &work.held, out);
        }
    }
}

/// A line of a step's, as a terminal would show it last.
fn shown(line: &str) -> String {
    let line = line.strip_suffix('\r').unwrap_or(line);
    let last = line.rsplit('\r').next().unwrap_or_default();
    printable::line(last, Keep::Colours) + "\n"
}

impl View for Actions {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        let key = &event.key;
        match &event.what {
            Some(What::Started(started)) => {
                let title = printable::line(&started.title.replace('\n', " "), Keep::Nothing);
                let work = Work {
                    title: match started.kind() {
                        Kind::Service => format!("service: {title}"),
                        _ => title,
                    },
                    held: Vec::new(),
                    goes_on: false,
                };
                self.works.insert(key.clone(), work);
            }
            Some(What::Log(log)) => self.log(key, &log.bytes, out),
            Some(What::Finished(finished)) => self.finished(key, finished, out),
            Some(What::Explained(explained)) => {
                let title = explained.title.replace('\n', " ");
                self.line(
                    &format!("[{}] why: {title}: {}", short(key), explained.reason),
                    out,
                );
            }
            Some(What::Ready(ready)) => {
                let took = seconds(Duration::from_micros(ready.microseconds));
                self.line(&format!("[{}] healthy after {took}", short(key)), out);
            }
            Some(What::Notice(notice)) => {
                for line in notice.text.lines() {
                    self.line(&format!("wharf: {line}"), out);
                }
            }
            Some(What::Meaning(_)) | None => {}
        }
    }

    fn word(&mut self, word: &Word, out: &mut Vec<u8>) {
        let Word::Said {
            module,
            level,
            group,
            place,
            text,
        } = word
        else {
            return;
        };
        let group = group.clone().map(|title| (module.clone(), title));
        if group != self.open {
            self.close(out);
            if let Some((module, title)) = &group {
                let title = printable::line(&format!("{module}: {title}"), Keep::Nothing);
                out.extend_from_slice(github::group(&title).as_bytes());
            }
            self.open = group;
        }
        let level = match *level {
            "error" => Some(Level::Error),
            "warning" => Some(Level::Warning),
            _ => place.is_some().then_some(Level::Notice),
        };
        let shown = match level {
            Some(level) => {
                let place = place.as_ref().map(|(file, line)| (file.as_str(), *line));
                github::annotation(level, module, place, &printable::lines(text))
            }
            None => text
                .lines()
                .map(|line| github::line(&format!("{module}: info: {line}")))
                .collect(),
        };
        out.extend_from_slice(shown.as_bytes());
    }

    fn pause(&mut self, _out: &mut Vec<u8>) {}

    fn end(&mut self, tally: &Tally, out: &mut Vec<u8>) {
        self.close(out);
        if tally.totals().steps() > 0 {
            let _ = writeln!(out, "{tally}");
        }
    }
}

#[cfg(test)]
mod tests {
    use wharf_client::proto::{Log, Started};

    use super::*;

    fn told(view: &mut Actions, key: u8, what: What) -> String {
        let mut out = Vec::new();
        let event = Event {
            key: vec![key; 32],
            what: Some(what),
        };
        view.event(&event, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn said(
        view: &mut Actions,
        level: &'static str,
        group: Option<&str>,
        place: Option<u32>,
        text: &str,
    ) -> String {
        let mut out = Vec::new();
        let word = Word::Said {
            module: "acme:app".to_owned(),
            level,
            group: group.map(str::to_owned),
            place: place.map(|line| ("src/a.rs".to_owned(), Some(line))),
            text: text.to_owned(),
        };
        view.word(&word, &mut out);
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

    fn finished(outcome: Outcome) -> What {
        What::Finished(Finished {
            outcome: outcome.into(),
            microseconds: 1_200_000,
            ..Finished::default()
        })
    }

    #[test]
    fn a_steps_output_is_one_group_and_its_commands_are_stopped() {
        let mut view = Actions::default();
        assert_eq!(told(&mut view, 0xaa, started("make\nall")), "");
        told(&mut view, 0xbb, started("make docs"));
        assert_eq!(told(&mut view, 0xaa, log("one\n::error::for")), "");
        assert_eq!(told(&mut view, 0xaa, log("ged\n")), "");
        assert_eq!(
            told(&mut view, 0xbb, finished(Outcome::Hit)),
            "[bbbbbb] remembered: make docs\n"
        );
        let shown = told(&mut view, 0xaa, finished(Outcome::Failed));
        let lines: Vec<_> = shown.lines().collect();
        let word = lines[1].strip_prefix("::stop-commands::").unwrap();
        let resumes = format!("::{word}::");
        let expected = [
            "::group::[aaaaaa] FAILED after 1.2 s: make all",
            lines[1],
            "one",
            "::error::forged",
            &resumes,
            "::endgroup::",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn much_output_does_not_wait_for_the_end() {
        let mut view = Actions::default();
        told(&mut view, 1, started("make"));
        let line = "x".repeat(99) + "\n";
        let shown = told(&mut view, 1, log(&(line.repeat(MOST_HELD / 100 + 1) + "rest")));
        assert!(shown.starts_with("::group::[010101] make\n") && !shown.contains("rest"));
        let end = told(&mut view, 1, finished(Outcome::Done));
        assert!(end.contains("\nrest\n"), "{end}");
        told(&mut view, 2, started("cat"));
        assert!(told(&mut view, 2, log(&"y".repeat(MOST_HELD))).contains("yyy"));
    }

    #[test]
    fn words_become_annotations_and_groups() {
        let mut view = Actions::default();
        assert_eq!(
            said(&mut view, "error", None, Some(3), "two\nlines"),
            "::error file=src/a.rs,line=3,title=acme%3Aapp::two%0Alines\n"
        );
        assert_eq!(
            said(&mut view, "info", Some("lint"), None, "::error::forged"),
            "::group::acme:app: lint\nacme:app: info: ::error::forged\n"
        );
        assert_eq!(
            said(&mut view, "info", Some("lint"), None, "two"),
            "acme:app: info: two\n"
        );
        assert_eq!(
            said(&mut view, "warning", None, None, "after"),
            "::endgroup::\n::warning title=acme%3Aapp::after\n"
        );
        assert!(said(&mut view, "info", None, Some(1), "here").starts_with("::notice file="));
    }
}
