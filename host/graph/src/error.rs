//! The error that crosses from engine to module: the `error` variant of `wharf:pipeline/types`.

use serde::{Deserialize, Serialize};

/// Why a step that ran did not count as done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFailure {
    /// The command, program first.
    pub args: Vec<String>,
    /// The exit code; 128+n for a death by signal n.
    pub exit_code: i32,
    /// In words: what ended the step.
    pub reason: String,
    /// The last part of standard output, at most 8 KiB.
    pub stdout_tail: String,
    /// The last part of standard error, at most 8 KiB.
    pub stderr_tail: String,
    /// Names the whole log; empty when there is none.
    pub log: String,
}

/// A capability that a module was not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The capability.
    pub capability: String,
    /// The module that asked.
    pub module: String,
    /// The line that grants it.
    pub grant: String,
}

/// What a read or an effect can fail with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Error {
    /// A step ended in a way that was not expected of it.
    #[error("`{}` failed: {}", shell_words(&.0.args), .0.reason)]
    Exec(Box<ExecFailure>),
    /// A capability was not granted.
    #[error("{} may not use {}: {} grants it", .0.module, .0.capability, .0.grant)]
    Denied(Denial),
    /// A path, image, reference or name does not exist.
    #[error("{0}")]
    NotFound(String),
    /// An argument or a combination of them makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Something outside did not answer.
    #[error("{0}")]
    Unavailable(String),
    /// The run was interrupted.
    #[error("interrupted")]
    Cancelled,
    /// A time limit passed.
    #[error("{0}")]
    TimedOut(String),
    /// Anything else, with a stable code.
    #[error("{message}")]
    Other {
        /// A short, stable, kebab-case name of the kind.
        code: String,
        /// What happened, in words.
        message: String,
    },
}

impl Error {
    /// An error of the kind `other`.
    pub fn other(code: &str, message: impl Into<String>) -> Self {
        Self::Other {
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// A command line as a person would type it: words that need quotes have them.
pub fn shell_words(args: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    let quoted = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::shell_words;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        let words = ["sh", "-c", "echo it's", ""].map(str::to_owned);
        assert_eq!(shell_words(&words), r"sh -c 'echo it'\''s' ''");
    }
}
