//! Progress for programs: one JSON object a line.

use std::io::Write;

use serde_json::{Value, json};
use wharf_client::proto::{Event, Kind, Outcome, event::What};

use super::{Tally, View, Word, tally::gpu_seconds};
use crate::github;

#[derive(Default)]
pub(super) struct Json {}

fn put(out: &mut Vec<u8>, value: &Value) {
    let mut line = value.to_string();
    if github::is_here() {
        // Means the same as JSON, and nothing to whoever looks for commands.
        line = line.replace("##[", "#\\u0023[");
    }
    let _ = writeln!(out, "{line}");
}

fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Step => "step",
        Kind::Pull => "pull",
        Kind::Upload => "upload",
        Kind::Files => "files",
        Kind::Service => "service",
        Kind::Push => "push",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Hit => "remembered",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "stopped",
    }
}

impl View for Json {
    fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        let key = hex(&event.key);
        let value = match &event.what {
            Some(What::Started(started)) => {
                json!({"event": "started", "key": key, "kind": kind(started.kind()), "title": started.title})
            }
            Some(What::Log(log)) => json!({
                "event": "log", "key": key, "stream": if log.stderr { "stderr" } else { "stdout" },
                "text": String::from_utf8_lossy(&log.bytes),
            }),
            Some(What::Finished(finished)) => json!({
                "event": "finished", "key": key, "outcome": outcome(finished.outcome()),
                "microseconds": finished.microseconds,
                "error": Some(&finished.error).filter(|error| !error.is_empty()),
                "gpu-seconds": Some(gpu_seconds(finished)).filter(|seconds| *seconds > 0.0),
                "cpu-microseconds": finished.cpu_microseconds, "peak-memory": finished.peak_memory,
            }),
            Some(What::Explained(explained)) => {
                json!({"event": "explained", "key": key, "title": explained.title, "reason": explained.reason})
            }
            Some(What::Ready(ready)) => {
                json!({"event": "ready", "key": key, "microseconds": ready.microseconds})
            }
            Some(What::Notice(notice)) => json!({"event": "notice", "text": notice.text}),
            Some(What::Meaning(_)) | None => return,
        };
        put(out, &value);
    }

    fn word(&mut self, word: &Word, out: &mut Vec<u8>) {
        let value = match word {
            Word::Said {
                module,
                level,
                group,
                place,
                text,
            } => {
                let mut word = json!({"event": "word", "module": module, "level": level, "text": text});
                if let Some(group) = group {
                    word["group"] = json!(group);
                }
                if let Some((file, line)) = place {
                    word["file"] = json!(file);
                    word["line"] = json!(line);
                }
                word
            }
            Word::Reached {
                module,
                current,
                total,
            } => {
                json!({"event": "progress", "module": module, "current": current, "total": total})
            }
        };
        put(out, &value);
    }

    fn pause(&mut self, _: &mut Vec<u8>) {}

    fn end(&mut self, tally: &Tally, out: &mut Vec<u8>) {
        let totals = tally.totals();
        let seconds = |microseconds: u64| microseconds as f64 / 1e6;
        let value = json!({
            "event": "summary", "steps": totals.steps(), "remembered": totals.remembered, "run": totals.run,
            "failed": totals.failed, "stopped": tally.cut_short(), "milliseconds": tally.took.as_millis() as u64,
            "cpu-seconds": seconds(totals.used.cpu_microseconds),
            "gpu-seconds": seconds(totals.used.gpu_microseconds),
            "saved-seconds": seconds(totals.saved.microseconds),
            "saved-cpu-seconds": seconds(totals.saved.cpu_microseconds),
            "saved-gpu-seconds": seconds(totals.saved.gpu_microseconds),
            "record": tally.run.id(),
        });
        put(out, &value);
    }
}
