//! The record itself: plain data, the same in the file and in `--json`.

use serde::{Deserialize, Serialize};

/// Letters of a text that are kept.
const MOST_LETTERS: usize = 500;

/// The version of the records' form.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// The version of its form.
    pub format: u32,
    /// What it is called: eight digits.
    pub id: String,
    /// The version of Wharf that ran.
    pub version: String,
    /// When it began, in milliseconds since 1970.
    pub began: u64,
    /// How long it took.
    pub milliseconds: u64,
    /// What was run.
    #[serde(flatten)]
    pub work: Work,
    /// How it ended.
    pub result: Result,
    /// Why, when it did not end well: the first line of what was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The sums, of all steps.
    pub totals: Totals,
    /// Steps, services, transfers, in the order of their end.
    pub steps: Vec<Step>,
    /// How many more there were: of very many, those that took longest are kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub steps_left_out: usize,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// What was run. Arguments are not part of it: they may hold what nobody else is to know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Work {
    /// `call` or `check`.
    pub command: String,
    /// The module's name.
    pub module: String,
    /// The function and the methods behind it, or the checks.
    pub functions: Vec<String>,
}

/// How a run ended, as its exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Result {
    /// Well.
    Done,
    /// The pipeline failed.
    Failed,
    /// The command line or a wharf.toml was wrong.
    Wrong,
    /// A capability was denied.
    Denied,
    /// The engine or a registry could not be reached.
    Unreachable,
    /// It was interrupted.
    Interrupted,
}

impl Result {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Wrong => "wrong",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// The beginning of its key, in hexadecimal.
    pub key: String,
    /// What it does, for people.
    pub title: String,
    /// What kind of work it is.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took; of what was remembered, when it was made.
    pub microseconds: u64,
    /// Processor time, where it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_microseconds: Option<u64>,
    /// The most memory that it had at once, in bytes, where it was counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// How many GPUs it had for all of its time.
    #[serde(default)]
    pub gpus: u32,
}

/// Kinds of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A process in a container.
    Step,
    /// A process that others need for as long as they run.
    Service,
    /// An image that is fetched.
    Pull,
    /// Files of the host on their way to the engine.
    Upload,
    /// Files by URL, or of a repository.
    Files,
    /// An image on its way to a registry.
    Push,
}

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was done before, and its result is remembered.
    Remembered,
    /// It failed.
    Failed,
    /// It was ended before its end.
    Stopped,
}

impl Outcome {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Remembered => "remembered",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Sums over a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Totals {
    /// Steps whose result was remembered.
    pub remembered: usize,
    /// Steps that ran to their end.
    pub run: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that were ended before their end.
    pub stopped: usize,
    /// What steps and services used.
    pub used: Amount,
    /// What remembered steps used when they were made.
    pub saved: Amount,
}

impl Totals {
    /// All steps that came to an end of their own.
    pub fn steps(&self) -> usize {
        self.remembered + self.run + self.failed
    }
}

/// What steps use, all of them together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Amount {
    /// Time by the clock, each step's by itself.
    pub microseconds: u64,
    /// Processor time.
    pub cpu_microseconds: u64,
    /// Time for which they had GPUs, each GPU's by itself.
    pub gpu_microseconds: u64,
}

impl Amount {
    /// One step's.
    pub fn of(step: &Step) -> Self {
        Self {
            microseconds: step.microseconds,
            cpu_microseconds: step.cpu_microseconds.unwrap_or_default(),
            gpu_microseconds: step.microseconds.saturating_mul(step.gpus.into()),
        }
    }

    /// And another's. Records may come from elsewhere, so nothing overflows.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            microseconds: self.microseconds.saturating_add(other.microseconds),
            cpu_microseconds: self.cpu_microseconds.saturating_add(other.cpu_microseconds),
            gpu_microseconds: self.gpu_microseconds.saturating_add(other.gpu_microseconds),
        }
    }
}

impl Record {
    /// Changes each text that steps, modules or errors had a say in.
    pub fn mask(&mut self, mask: impl Fn(&str) -> String) {
        let Work {
            module, functions, ..
        } = &mut self.work;
        let titles = self.steps.iter_mut().map(|step| &mut step.title);
        let texts = titles.chain(functions).chain([module]).chain(&mut self.error);
        for text in texts {
            *text = mask(text);
        }
    }

    /// Leaves one line of each of them, and not too much of that.
    pub fn shorten(&mut self) {
        self.mask(first_line);
        self.error.take_if(|error| error.is_empty());
    }

    /// What was run, in a line.
    pub fn what(&self) -> String {
        let words = std::iter::once(self.work.module.as_str());
        let functions = self.work.functions.iter().map(String::as_str);
        words.chain(functions).collect::<Vec<_>>().join(" ")
    }
}

/// One line of at most so many letters.
fn first_line(text: &str) -> String {
    let text = text.trim();
    let line = text.lines().next().unwrap_or_default();
    let is_cut = line.len() < text.len() || line.chars().nth(MOST_LETTERS).is_some();
    let mut line: String = line.chars().take(MOST_LETTERS).collect();
    if is_cut {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_line() {
        assert_eq!(first_line("  sh -c 'a\nb'"), "sh -c 'a…");
        assert_eq!(first_line(&"字".repeat(600)).chars().count(), MOST_LETTERS + 1);
        assert_eq!(first_line("make"), "make");
    }
}
