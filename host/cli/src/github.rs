//! What GitHub's runner reads in a log: groups, annotations, and the summary of a job.
//!
//! The runner takes lines of a log for commands when they look like some. What steps and modules print is shown to it between
//! `::stop-commands::` and a word that nobody can guess, so that it is text and nothing else.

use std::{
    fmt::Write as _,
    hash::{BuildHasher, Hasher, RandomState},
    io::Write as _,
    path::PathBuf,
};

use wharf_record::{Prices, Record};

use crate::{
    output,
    printable::{self, Keep},
    table::microseconds,
};

/// Letters of an annotation that are shown.
const MOST_LETTERS: usize = 4000;
/// Rows of a summary: a page has room for one MiB.
const MOST_ROWS: usize = 200;

/// Does this run in a workflow of GitHub's?
pub(crate) fn is_here() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Notice,
    Warning,
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A line that GitHub shows at a file, or above the log when there is none.
pub(crate) fn annotation(
    level: Level,
    title: &str,
    place: Option<(&str, Option<u32>)>,
    text: &str,
) -> String {
    let mut properties = Vec::new();
    if let Some((file, line)) = place {
        properties.push(format!("file={}", property(file)));
        properties.extend(line.map(|line| format!("line={line}")));
    }
    properties.push(format!("title={}", property(title)));
    let text: String = text.trim_end().chars().take(MOST_LETTERS).collect();
    format!("::{} {}::{}\n", level.word(), properties.join(","), data(&text))
}

/// The line that begins a group.
pub(crate) fn group(title: &str) -> String {
    format!("::group::{}\n", data(title))
}

/// The line that ends it.
pub(crate) const END_OF_GROUP: &str = "::endgroup::\n";

/// Lines that are no commands, whatever is in them.
pub(crate) fn text(lines: &str) -> String {
    let word = word();
    let end = if lines.ends_with('\n') { "" } else { "\n" };
    format!("::stop-commands::{word}\n{lines}{end}::{word}::\n")
}

/// A line of ours with names of others in it.
pub(crate) fn line(line: &str) -> String {
    let line = printable::line(line, Keep::Nothing).replace("##[", "## [");
    let bar = if line.trim_start().starts_with("::") {
        "| "
    } else {
        ""
    };
    format!("{bar}{line}\n")
}

/// A word that nobody can guess: the key of the standard library's maps is made of the system's random numbers.
fn word() -> String {
    let part = || RandomState::new().build_hasher().finish();
    format!("wharf-{:016x}{:016x}", part(), part())
}

/// What stands behind a command's last colons.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands behind a property's `=`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Adds what a run did to the job's summary, where there is one.
pub(crate) fn summarize(record: &Record, prices: Option<&Prices>) {
    let file = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty());
    let Some(file) = file.map(PathBuf::from).filter(|_| is_here()) else {
        return;
    };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&file);
    let written = opened.and_then(|mut file| file.write_all(summary(record, prices).as_bytes()));
    if let Err(error) = written {
        output::aside(&line(&format!(
            "wharf: nothing is in the job's summary: {}: {error}",
            file.display()
        )));
    }
}

/// A record as GitHub's Markdown.
fn summary(record: &Record, prices: Option<&Prices>) -> String {
    let totals = &record.totals;
    let mut text = format!("### {}: {}\n\n", code(&record.what()), record.result.word());
    if let Some(error) = &record.error {
        let _ = writeln!(text, "{}\n", code(error));
    }
    let _ = write!(
        text,
        "{} steps in {}: {} remembered, {} run, {} failed. Used {} of CPU and {} of GPU",
        totals.steps(),
        microseconds(record.milliseconds * 1000),
        totals.remembered,
        totals.run,
        totals.failed,
        microseconds(totals.used.cpu_microseconds),
        microseconds(totals.used.gpu_microseconds),
    );
    let cost = |amount| {
        prices
            .map(|prices| format!(" ({})", prices.show(amount)))
            .unwrap_or_default()
    };
    let _ = writeln!(
        text,
        "{}; what was remembered saved {} of steps{}.\n",
        cost(totals.used),
        microseconds(totals.saved.microseconds),
        cost(totals.saved),
    );
    if record.steps.is_empty() {
        return text;
    }
    text.push_str("| step | | time | CPU | memory | GPUs |\n| --- | --- | ---: | ---: | ---: | ---: |\n");
    for step in record.steps.iter().take(MOST_ROWS) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            code(&step.title),
            step.outcome.word(),
            microseconds(step.microseconds),
            step.cpu_microseconds.map(microseconds).unwrap_or_default(),
            step.peak_memory.map(crate::table::bytes).unwrap_or_default(),
            if step.gpus == 0 {
                String::new()
            } else {
                step.gpus.to_string()
            },
        );
    }
    let left_out = record.steps_left_out + record.steps.len().saturating_sub(MOST_ROWS);
    if left_out > 0 {
        let _ = writeln!(text, "\n… and {left_out} more.");
    }
    text.push('\n');
    text
}

/// Somebody else's text as code, in which nothing is markup: not even in a table.
fn code(text: &str) -> String {
    let text = printable::line(text, Keep::Nothing);
    let mut safe = String::from("<code>");
    for letter in text.chars() {
        if letter.is_alphanumeric() || letter == ' ' || !letter.is_ascii() {
            safe.push(letter);
        } else {
            let _ = write!(safe, "&#{};", u32::from(letter));
        }
    }
    safe + "</code>"
}

#[cfg(test)]
mod tests {
    use wharf_record::{Collector, Ended, Kind, Outcome, Work};

    use super::*;

    /// What the runner makes of a log, as its own reader does: the commands, with those that are stopped left out.
    pub(crate) fn commands(log: &str) -> Vec<(String, String, String)> {
        let mut stopped: Option<String> = None;
        let mut found = Vec::new();
        for line in log.lines() {
            let Some((head, data)) = line
                .trim_start()
                .strip_prefix("::")
                .and_then(|rest| rest.split_once("::"))
            else {
                assert!(stopped.is_some() || !line.contains("##["), "{line}");
                continue;
            };
            let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
            match &stopped {
                Some(word) if name == word => stopped = None,
                Some(_) => {}
                None if name == "stop-commands" => stopped = Some(data.to_owned()),
                None => found.push((name.to_owned(), properties.to_owned(), data.to_owned())),
            }
        }
        assert_eq!(stopped, None, "commands are on again at the end");
        found
    }

    #[test]
    fn what_is_in_an_annotation_ends_neither_it_nor_its_properties() {
        let shown = annotation(
            Level::Error,
            "a,b::c",
            Some(("src/a:b,c%.rs", Some(3))),
            "100%\r\n::error::forged",
        );
        assert_eq!(
            shown,
            "::error file=src/a%3Ab%2Cc%25.rs,line=3,title=a%2Cb%3A%3Ac::100%25%0D%0A::error::forged\n"
        );
        assert_eq!(commands(&shown).len(), 1);
    }

    #[test]
    fn text_is_no_command_and_ends_nothing() {
        let evil = "::error::forged\n  ::add-mask::x\n##[error]forged\n::stop-commands::mine\n::mine::\n::endgroup::";
        let shown = group("make\n::error::forged") + &text(evil) + END_OF_GROUP;
        let names: Vec<_> = commands(&shown).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["group", "endgroup"]);
        assert_ne!(word(), word());
        for name in [
            "::error::forged",
            " ::error::forged",
            "##[error]forged",
            "\x1b[31m::error::x",
        ] {
            assert!(commands(&line(name)).is_empty(), "{name}");
        }
    }

    #[test]
    fn a_summary_has_no_markup_of_others_in_it() {
        let mut run = Collector::default();
        run.begin(&[1], Kind::Step, "a | b <img src=x> `c` [d](e) $f$");
        let ended = Ended {
            outcome: Outcome::Done,
            microseconds: 1_500_000,
            cpu_microseconds: Some(900_000),
            peak_memory: Some(2_000_000),
            gpus: 1,
        };
        run.end(&[1], ended);
        let work = Work {
            command: "call".to_owned(),
            module: "my:app".to_owned(),
            functions: vec!["build".to_owned()],
        };
        let took = std::time::Duration::from_secs(2);
        let record = run.record(work, took, wharf_record::Result::Done, None);
        insta::assert_snapshot!(summary(&record, None), @r"
        ### <code>my&#58;app build</code>: done

        1 steps in 2.0 s: 0 remembered, 1 run, 0 failed. Used 900 ms of CPU and 1.5 s of GPU; what was remembered saved 0 ms of steps.

        | step | | time | CPU | memory | GPUs |
        | --- | --- | ---: | ---: | ---: | ---: |
        | <code>a &#124; b &#60;img src&#61;x&#62; &#96;c&#96; &#91;d&#93;&#40;e&#41; &#36;f&#36;</code> | done | 1.5 s | 900 ms | 2.0 MB | 1 |
        ");
    }
}
