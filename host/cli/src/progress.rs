//! What happens, line by line, on standard error.

use std::{collections::HashMap, time::Instant};

use serde_json::json;
use tokio::sync::mpsc;
use wharf_client::proto::{Event, Finished, Kind, Outcome, event};

use crate::{args::ProgressKind, output};

/// Shows events until the session is gone; then it says what there was.
pub(crate) struct Progress {
    kind: ProgressKind,
    quiet: bool,
    titles: HashMap<Vec<u8>, (usize, String, Kind)>,
    partial: HashMap<(Vec<u8>, bool), Vec<u8>>,
    ran: u64,
    hits: u64,
    failed: u64,
    started: Instant,
}

impl Progress {
    pub(crate) fn new(kind: ProgressKind, quiet: bool) -> Self {
        Self {
            kind,
            quiet,
            titles: HashMap::new(),
            partial: HashMap::new(),
            ran: 0,
            hits: 0,
            failed: 0,
            started: Instant::now(),
        }
    }

    /// Shows everything that comes.
    pub(crate) async fn follow(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            match self.kind {
                ProgressKind::Json => self.json(&event),
                ProgressKind::Auto | ProgressKind::Plain => self.plain(&event),
            }
            self.count(&event);
        }
        self.summary();
    }

    fn count(&mut self, event: &Event) {
        let Some(event::What::Finished(finished)) = &event.what else { return };
        let is_step = self.titles.get(&event.key).is_some_and(|(_, _, kind)| *kind == Kind::Step);
        if is_step {
            match finished.outcome() {
                Outcome::Done => self.ran += 1,
                Outcome::Hit => self.hits += 1,
                Outcome::Failed => self.failed += 1,
                Outcome::Cancelled => {}
            }
        }
    }

    fn summary(&self) {
        if self.quiet || self.kind == ProgressKind::Json {
            return;
        }
        let steps = self.ran + self.hits + self.failed;
        if steps == 0 {
            return;
        }
        let all = if self.hits == steps { " (all remembered)" } else { "" };
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        let time = self.started.elapsed();
        output::say(&format!("{steps} steps: {} remembered, {} run{failed} in {time:.1?}{all}", self.hits, self.ran));
    }

    fn title(&self, key: &[u8]) -> (usize, &str) {
        self.titles.get(key).map_or((0, ""), |(number, title, _)| (*number, title.as_str()))
    }

    fn plain(&mut self, event: &Event) {
        match &event.what {
            Some(event::What::Started(started)) => {
                let number = self.titles.len() + 1;
                let entry = (number, started.title.clone(), started.kind());
                let (number, title, _) = self.titles.entry(event.key.clone()).or_insert(entry);
                let _ = (number, title);
            }
            Some(event::What::Log(log)) if !self.quiet => {
                let (number, _) = self.title(&event.key);
                let held = self.partial.entry((event.key.clone(), log.stderr)).or_default();
                held.extend_from_slice(&log.bytes);
                while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = held.drain(..=end).collect();
                    output::say(&format!("#{number} | {}", shown(&line)));
                }
            }
            Some(event::What::Finished(finished)) => self.finished(event, finished),
            Some(event::What::Explained(explained)) => {
                output::say(&format!("? {}: {}", one_line(&explained.title), explained.reason));
            }
            Some(event::What::Notice(notice)) => output::say(&notice.text),
            _ => {}
        }
    }

    fn finished(&mut self, event: &Event, finished: &Finished) {
        let (number, title) = self.title(&event.key);
        let (number, title) = (number, one_line(title));
        for stderr in [false, true] {
            if let Some(rest) = self.partial.remove(&(event.key.clone(), stderr)).filter(|rest| !rest.is_empty())
                && !self.quiet
            {
                output::say(&format!("#{number} | {}", shown(&rest)));
            }
        }
        let time = std::time::Duration::from_micros(finished.microseconds);
        let text = match finished.outcome() {
            Outcome::Done => format!("#{number} done {title} ({time:.1?})"),
            Outcome::Hit => format!("#{number} remembered {title}"),
            Outcome::Failed => format!("#{number} FAILED {title}: {}", finished.error),
            Outcome::Cancelled => format!("#{number} stopped {title}"),
        };
        if !self.quiet || finished.outcome() == Outcome::Failed {
            output::say(&text);
        }
    }

    fn json(&mut self, event: &Event) {
        let id = event.key.iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
        let value = match &event.what {
            Some(event::What::Started(started)) => {
                let entry = (self.titles.len() + 1, started.title.clone(), started.kind());
                self.titles.insert(event.key.clone(), entry);
                json!({ "event": "started", "id": id, "title": started.title, "kind": started.kind().as_str_name() })
            }
            Some(event::What::Log(log)) => {
                let stream = if log.stderr { "stderr" } else { "stdout" };
                json!({ "event": "log", "id": id, "stream": stream, "text": String::from_utf8_lossy(&log.bytes) })
            }
            Some(event::What::Finished(finished)) => json!({
                "event": "finished", "id": id, "outcome": finished.outcome().as_str_name(),
                "microseconds": finished.microseconds, "error": finished.error
            }),
            Some(event::What::Explained(explained)) => {
                json!({ "event": "explained", "id": id, "title": explained.title, "reason": explained.reason })
            }
            Some(event::What::Notice(notice)) => json!({ "event": "notice", "text": notice.text }),
            None => return,
        };
        output::say(&value.to_string());
    }
}

/// Text of a step without what would move a terminal's cursor.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    text.trim_end_matches(['\n', '\r']).chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn one_line(title: &str) -> String {
    let mut line: String = title.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > 100 {
        line = line.chars().take(99).collect::<String>() + "…";
    }
    line
}
