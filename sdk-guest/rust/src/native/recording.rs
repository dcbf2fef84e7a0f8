//! What a function asks for while a test runs it, and what it is told.

use std::{cell::RefCell, collections::VecDeque};

use super::{node::Argument, text};
use crate::{
    DiffStat, Error, OtherError, Platform, Port, SearchMatch, Stat, Variable,
    bindings::wharf::pipeline::types,
    git::LogEntry,
    gpu::{Device, Target},
};

thread_local! {
    static CURRENT: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// The reads of one function.
#[derive(Default)]
pub(crate) struct Recording {
    /// Answers that are left, each with the name of its read.
    pub(crate) answers: VecDeque<(String, Answer)>,
    /// What was read, in order.
    pub(crate) reads: Vec<Read>,
}

/// One read.
pub(crate) struct Read {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<(&'static str, Argument)>,
    /// What it was told, as Rust would write it.
    pub(crate) answer: String,
}

impl Recording {
    /// Runs a closure with this recording as the current one, and returns what was recorded.
    pub(crate) fn run<T>(self, run: impl FnOnce() -> T) -> (T, Self) {
        /// Ends the recording, also when the closure panics.
        struct Ending(Option<Recording>);
        impl Drop for Ending {
            fn drop(&mut self) {
                CURRENT.with_borrow_mut(|current| *current = self.0.take());
            }
        }
        let _ending = Ending(CURRENT.replace(Some(self)));
        let value = run();
        (value, CURRENT.take().unwrap_or_default())
    }
}

/// The answer to a read.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Text, as `stdout` and `contents` have it.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// true or false.
    Flag(bool),
    /// A size or an exit code.
    Number(i128),
    /// Several texts, as `entries` has them.
    Texts(Vec<String>),
    /// Names with their values.
    Variables(Vec<Variable>),
    /// Ports of a service.
    Ports(Vec<Port>),
    /// Commits, as `log` has them.
    Commits(Vec<LogEntry>),
    /// Lines, as `search` has them.
    Matches(Vec<SearchMatch>),
    /// Lines by file, as `diff_stats` has them.
    DiffStats(Vec<DiffStat>),
    /// GPUs of an engine.
    Gpus(Vec<Device>),
    /// Engines.
    Targets(Vec<Target>),
    /// Facts about a path.
    Stat(Stat),
    /// A platform.
    Platform(Platform),
    /// Nothing, where a read may find nothing.
    None,
    /// The read fails.
    Error(Error),
}

macro_rules! answers {
    ($($ty:ty => $value:ident $answer:expr;)*) => {$(
        impl From<$ty> for Answer {
            fn from($value: $ty) -> Self {
                $answer
            }
        }
    )*};
}

answers! {
    &str => text Self::Text(text.to_owned());
    String => text Self::Text(text);
    Vec<u8> => bytes Self::Bytes(bytes);
    bool => flag Self::Flag(flag);
    i32 => number Self::Number(number.into());
    u64 => number Self::Number(number.into());
    Vec<String> => texts Self::Texts(texts);
    Vec<Variable> => variables Self::Variables(variables);
    Vec<Port> => ports Self::Ports(ports);
    Vec<LogEntry> => commits Self::Commits(commits);
    Vec<SearchMatch> => matches Self::Matches(matches);
    Vec<DiffStat> => stats Self::DiffStats(stats);
    Vec<Device> => devices Self::Gpus(devices);
    Vec<Target> => targets Self::Targets(targets);
    Stat => stat Self::Stat(stat);
    Platform => platform Self::Platform(platform);
    Error => error Self::Error(error);
}

impl<const N: usize> From<[&str; N]> for Answer {
    fn from(texts: [&str; N]) -> Self {
        Self::Texts(texts.map(str::to_owned).into())
    }
}

/// What a read returns.
pub(crate) trait Answered: Sized + std::fmt::Debug {
    /// What it is, in words.
    const WHAT: &'static str;
    /// From an answer of its kind.
    fn of(answer: Answer) -> Option<Self>;
    /// What is returned when no answer was given.
    fn usual() -> Option<Self> {
        None
    }
}

macro_rules! answered {
    ($($ty:ty, $what:literal, $pattern:pat => $value:expr;)*) => {$(
        impl Answered for $ty {
            const WHAT: &'static str = $what;
            fn of(answer: Answer) -> Option<Self> {
                match answer {
                    $pattern => $value,
                    _ => None,
                }
            }
        }
    )*};
}

answered! {
    String, "text", Answer::Text(text) => Some(text);
    Vec<u8>, "bytes", Answer::Bytes(bytes) => Some(bytes);
    bool, "true or false", Answer::Flag(flag) => Some(flag);
    i32, "a number", Answer::Number(number) => number.try_into().ok();
    u64, "a number", Answer::Number(number) => number.try_into().ok();
    Vec<String>, "a list of texts", Answer::Texts(texts) => Some(texts);
    Vec<Variable>, "a list of variables", Answer::Variables(variables) => Some(variables);
    Vec<Port>, "a list of ports", Answer::Ports(ports) => Some(ports);
    Vec<LogEntry>, "a list of commits", Answer::Commits(commits) => Some(commits);
    Vec<SearchMatch>, "a list of matches", Answer::Matches(matches) => Some(matches);
    Vec<DiffStat>, "a list of line counts", Answer::DiffStats(stats) => Some(stats);
    Vec<Device>, "a list of GPUs", Answer::Gpus(devices) => Some(devices);
    Vec<Target>, "a list of targets", Answer::Targets(targets) => Some(targets);
    Stat, "a `Stat`", Answer::Stat(stat) => Some(stat);
    Platform, "a `Platform`", Answer::Platform(platform) => Some(platform);
}

impl Answered for Option<String> {
    const WHAT: &'static str = "text or `Answer::None`";
    fn of(answer: Answer) -> Option<Self> {
        match answer {
            Answer::Text(text) => Some(Some(text)),
            Answer::None => Some(None),
            _ => None,
        }
    }
}

/// What only makes something happen succeeds unless told otherwise.
impl Answered for () {
    const WHAT: &'static str = "nothing, or an `Error`";
    fn of(answer: Answer) -> Option<Self> {
        matches!(answer, Answer::None).then_some(())
    }
    fn usual() -> Option<Self> {
        Some(())
    }
}

/// Answers a read, as far as the test that runs the function has an answer.
pub(crate) fn read<T: Answered>(
    name: &'static str,
    arguments: Vec<(&'static str, Argument)>,
) -> Result<T, types::Error> {
    CURRENT.with_borrow_mut(|current| {
        let Some(recording) = current else {
            let message = format!(
                "`{name}` has nobody to ask: a module's functions run in `wharf call`, and in a test in \
                 `wharf_sdk::testing::plan`"
            );
            return Err(other("no-engine", message));
        };
        let at = recording.answers.iter().position(|(wanted, _)| wanted == name);
        let given = at
            .and_then(|at| recording.answers.remove(at))
            .map(|(_, answer)| answer);
        let outcome = match given {
            Some(Answer::Error(error)) => Err(error.into()),
            Some(answer) => {
                let what = format!("`{name}` returns {}, and the test answers {answer:?}", T::WHAT);
                T::of(answer).ok_or_else(|| other("wrong-answer", what))
            }
            None => T::usual().ok_or_else(|| {
                let example = format!("Planner::new().answer({name:?}, …)");
                other(
                    "no-answer",
                    format!("the test has no answer for `{name}`: give one with `{example}`"),
                )
            }),
        };
        let answer = match &outcome {
            Ok(value) => text::short(&format!("{value:?}")),
            Err(types::Error::Other(error)) if error.code == "no-answer" => "not answered".to_owned(),
            Err(error) => format!("error: {}", Error::from(error.clone())),
        };
        recording.reads.push(Read {
            name,
            arguments,
            answer,
        });
        outcome
    })
}

fn other(code: &str, message: String) -> types::Error {
    types::Error::Other(OtherError {
        code: code.to_owned(),
        message,
    })
}
