//! What is told of a run: a line for each row as it comes, a table, JSON, and the table's place in the documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::json;
use wharf_testkit::paths;

use super::data;
use super::figures::{Budget, Measured, Outcome};
use super::rows::Row;
use crate::machine::Machine;
use crate::marks::Marks;
use crate::shell::Done;

/// Where the table begins and ends in the documentation.
const MARKS: Marks = Marks {
    begin: "<!-- What follows is written by `cargo xtask bench --write`. -->",
    end: "<!-- What `cargo xtask bench --write` writes ends here. -->",
};

/// All that a run has found.
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) rounds: u32,
    pub(super) quick: bool,
    pub(super) results: Vec<(&'static Row, Outcome)>,
}

/// A row as it comes.
pub(super) fn line(row: &Row, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Measured(measured) => {
            let peer = measured.peers.as_ref().map_or_else(String::new, |peer| {
                format!(", {} {}", row.peer, number(peer.median))
            });
            let unit = row.unit.name();
            let figure = number(measured.ours.median);
            format!("bench: {}: {figure} {unit}{peer}", row.name)
        }
        Outcome::Skipped(why) => format!("bench: {}: not measured: {why}", row.name),
        Outcome::Failed(why) => format!("bench: {}: failed: {why}", row.name),
    }
}

impl Report {
    /// How many rows went wrong.
    pub(super) fn failed(&self) -> usize {
        let failed = |(_, outcome): &&(_, Outcome)| matches!(outcome, Outcome::Failed(_));
        self.results.iter().filter(failed).count()
    }

    /// The table, as the documentation has it.
    pub(super) fn markdown(&self) -> String {
        let plural = if self.rounds == 1 { "" } else { "s" };
        let mut text = format!(
            "{}.\n\nThe middle of {} round{plural}, and the 95th percentile.\n\n",
            self.machine.text(),
            self.rounds
        );
        if self.quick {
            text.insert_str(0, "Small sizes: these figures mean nothing.\n\n");
        }
        text.push_str("| work | unit | wharf | 95 % | budget | | peer | its figure | ratio |\n");
        text.push_str("| --- | --- | ---: | ---: | ---: | --- | --- | ---: | ---: |\n");
        let mut notes = String::new();
        for (row, outcome) in &self.results {
            match outcome {
                Outcome::Measured(measured) => {
                    self.table_row(&mut text, row, measured);
                    if let Some(note) = &measured.note {
                        let _ = writeln!(notes, "- {}: {note}", row.what);
                    }
                }
                Outcome::Skipped(why) => {
                    let _ = writeln!(notes, "- {}: not measured, {why}", row.what);
                }
                Outcome::Failed(_) => {
                    let _ = writeln!(notes, "- {}: could not be measured", row.what);
                }
            }
        }
        if !notes.is_empty() {
            text.push('\n');
            text.push_str(&notes);
        }
        text
    }

    /// Whether a row is within its budget; small sizes have none.
    fn verdict(&self, row: &Row, measured: &Measured) -> Option<bool> {
        measured.is_within(row.budget).filter(|_| !self.quick)
    }

    fn table_row(&self, text: &mut String, row: &Row, measured: &Measured) {
        let within = match self.verdict(row, measured) {
            Some(true) => "within",
            Some(false) => "**over**",
            None => "",
        };
        let budget = match row.budget {
            Budget::Median(limit) => number(limit),
            Budget::Tail(limit) => format!("{} at 95 %", number(limit)),
            Budget::OfPeer(share) => format!("{share} of the peer"),
        };
        let (peer, figure) = match &measured.peers {
            Some(peers) => (row.peer, number(peers.median)),
            None => ("", String::new()),
        };
        let ratio = measured.ratio().map_or_else(String::new, number);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {budget} | {within} | {peer} | {figure} | {ratio} |",
            row.what,
            row.unit.name(),
            number(measured.ours.median),
            number(measured.ours.tail),
        );
    }

    /// Writes `bench/RESULT.json` in the target directory.
    pub(super) fn save(&self) -> Done {
        let rows: Vec<_> = self
            .results
            .iter()
            .map(|(row, outcome)| {
                let mut value = match outcome {
                    Outcome::Measured(measured) => {
                        let mut value = measured.json();
                        value["within_budget"] = json!(self.verdict(row, measured));
                        value
                    }
                    Outcome::Skipped(why) => json!({ "skipped": why }),
                    Outcome::Failed(why) => json!({ "failed": why }),
                };
                value["name"] = json!(row.name);
                value["what"] = json!(row.what);
                value["unit"] = json!(row.unit.name());
                value["peer_is"] = json!(row.peer);
                value["budget"] = match row.budget {
                    Budget::Median(limit) => json!({ "median": limit }),
                    Budget::Tail(limit) => json!({ "p95": limit }),
                    Budget::OfPeer(share) => json!({ "of_peer": share }),
                };
                value
            })
            .collect();
        let value = json!({
            "machine": self.machine.json(),
            "rounds": self.rounds,
            "quick": self.quick,
            "rows": rows,
        });
        let file = data::place()?.join("RESULT.json");
        fs::write(&file, format!("{value:#}\n"))?;
        let shown = file.strip_prefix(paths::workspace()).unwrap_or(&file);
        eprintln!("bench: every sample is in {}", shown.display());
        Ok(())
    }

    /// Puts the table into a page, between its marks.
    pub(super) fn write_into(&self, page: &Path) -> Done {
        MARKS.write(page, &self.markdown())
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_three_digits() {
        let shown = [1234.5, 99.94, 12.0, 5.0, 4.567].map(number);
        assert_eq!(shown, ["1234", "99.9", "12", "5", "4.57"]);
    }

    #[test]
    fn the_documentation_has_a_place_for_the_table() {
        let page = paths::workspace().join("docs/performance.md");
        let text = fs::read_to_string(page).expect("the page is there");
        assert!(MARKS.between(&text, "").is_some());
    }
}
