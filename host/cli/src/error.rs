//! The one place where an error becomes text, a hint and an exit code.

use std::{fmt::Write as _, process::ExitCode};

use wharf_client::{ConnectError, LaunchError};
use wharf_graph::{Error, ExecFailure};

use crate::{github, printable};

/// How a command ended, as its exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The pipeline failed.
    Failed = 1,
    /// The command line or a wharf.toml is wrong.
    Usage = 2,
    /// A capability was denied.
    Denied = 3,
    /// The engine or a registry could not be reached.
    Unreachable = 4,
    /// It was interrupted.
    Interrupted = 130,
}

/// An error as its reader sees it. Boxed, as it is large and rare.
#[derive(Debug)]
pub(crate) struct Report(Box<Parts>);

#[derive(Debug)]
struct Parts {
    ended: Ended,
    message: String,
    /// What a step printed last: below the message, unless it was shown already.
    log: Option<String>,
    /// More text, such as a function's usage: shown as it is, below the message.
    detail: Option<String>,
    hint: Option<String>,
}

impl Report {
    pub(crate) fn new(ended: Ended, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            ended,
            message: message.into(),
            log: None,
            detail: None,
            hint: None,
        }))
    }

    /// The command line or a file of settings is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Ended::Usage, message)
    }

    /// The pipeline failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Ended::Failed, message)
    }

    /// What to do about it.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Text that is shown below the message.
    pub(crate) fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into()).filter(|detail| !detail.is_empty());
        self
    }

    /// Without what the failed step printed, which its reader has seen.
    pub(crate) fn without_log(mut self) -> Self {
        self.0.log = None;
        self
    }

    /// How the process ends.
    pub(crate) fn ended(&self) -> Ended {
        self.0.ended
    }

    /// The whole text.
    pub(crate) fn text(&self) -> String {
        format!("wharf: {}", self.words())
    }

    /// The text without the program's name in front.
    pub(crate) fn words(&self) -> String {
        let Parts {
            message,
            log,
            detail,
            hint,
            ..
        } = &*self.0;
        let mut text = format!("{}\n", message.trim_end());
        for more in [log, detail].into_iter().flatten() {
            let _ = writeln!(text, "{}", more.trim_end());
        }
        if let Some(hint) = hint {
            let _ = writeln!(text, "  hint: {}", hint.trim_end());
        }
        // Steps, modules and registries have their say in it.
        printable::lines(&text)
    }

    /// Prints it and says how the process ends.
    pub(crate) fn tell(&self) -> ExitCode {
        if github::is_here() {
            // Its reader is a log that takes some lines for commands, and has a place for errors.
            let annotation = github::annotation(github::Level::Error, "wharf", None, &self.words());
            crate::output::aside(&(github::text(&self.text()) + &annotation));
        } else {
            crate::output::aside(&self.text());
        }
        ExitCode::from(self.ended() as u8)
    }
}

/// What clap says: help goes to standard output, mistakes to standard error.
pub(crate) fn of_clap(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(error.exit_code() as u8)
}

impl From<Error> for Report {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Exec(failure) => {
                let mut report = Self::failed(message);
                report.0.log = Some(last_words(&failure)).filter(|log| !log.is_empty());
                if failure.log.is_empty() {
                    return report;
                }
                report.with_hint(format!("`wharf engine logs {}` prints all it said", failure.log))
            }
            Error::Denied(denial) => {
                let message = format!("{} may not use {}", denial.module, denial.capability);
                let hint = if denial.grant.starts_with("--") {
                    format!("`wharf call {}` grants it for one call", denial.grant)
                } else {
                    format!("this line grants it: {}", denial.grant)
                };
                Self::new(Ended::Denied, message).with_hint(hint)
            }
            Error::Unavailable(_) => Self::new(Ended::Unreachable, message),
            Error::Cancelled => Self::new(Ended::Interrupted, message),
            Error::NotFound(_) | Error::Invalid(_) | Error::TimedOut(_) | Error::Other { .. } => {
                Self::failed(message)
            }
        }
    }
}

/// The tail of what a failed step printed: standard error, or standard output when there was none.
fn last_words(failure: &ExecFailure) -> String {
    let tail = if failure.stderr_tail.trim().is_empty() {
        &failure.stdout_tail
    } else {
        &failure.stderr_tail
    };
    let lines: Vec<_> = tail.trim_end().lines().collect();
    let shown = &lines[lines.len().saturating_sub(30)..];
    shown.iter().map(|line| format!("  | {line}\n")).collect()
}

impl From<ConnectError> for Report {
    fn from(error: ConnectError) -> Self {
        Self::from(&error)
    }
}

impl From<&ConnectError> for Report {
    fn from(error: &ConnectError) -> Self {
        let message = error.to_string();
        let report = Self::new(Ended::Unreachable, message);
        match error {
            ConnectError::Unreachable { .. } => report.with_hint(
                "`wharf engine start` starts one; `wharf engine logs` shows what the last one said",
            ),
            ConnectError::Launch(LaunchError::Ended { .. } | LaunchError::Silent { .. }) => {
                report.with_hint("`wharf engine logs` shows all it said")
            }
            ConnectError::Launch(LaunchError::Io { .. }) | ConnectError::Place(_) => {
                report.with_hint("`wharf doctor` shows where an engine could run, and what is missing")
            }
            ConnectError::Remote { next, .. } => report.with_hint(next),
            ConnectError::Version { .. } => report,
        }
    }
}

impl From<wharf_docker::DockerError> for Report {
    fn from(error: wharf_docker::DockerError) -> Self {
        Self::new(Ended::Unreachable, error.to_string())
    }
}

impl From<tonic::Status> for Report {
    fn from(status: tonic::Status) -> Self {
        Self::new(
            Ended::Unreachable,
            format!("the engine did not do it: {}", status.message()),
        )
    }
}

#[cfg(test)]
mod tests {
    use wharf_graph::Denial;

    use super::*;

    #[test]
    fn a_failed_step_shows_its_last_words() {
        let failure = ExecFailure {
            args: vec!["sh".into(), "-c".into(), "exit 3".into()],
            exit_code: 3,
            reason: "exit code 3".into(),
            stdout_tail: "out\n".into(),
            stderr_tail: "no such file\n".into(),
            log: "3f2a9c51d0e7".into(),
        };
        let report = Report::from(Error::Exec(Box::new(failure)));
        assert_eq!(report.ended(), Ended::Failed);
        insta::assert_snapshot!(report.text(), @r"
        wharf: `sh -c 'exit 3'` failed: exit code 3
          | no such file
          hint: `wharf engine logs 3f2a9c51d0e7` prints all it said
        ");
    }

    #[test]
    fn a_denial_names_the_line_that_grants() {
        let denial = Denial {
            capability: "network".into(),
            module: "a:b".into(),
            grant: "network = true".into(),
        };
        let report = Report::from(Error::Denied(denial));
        assert_eq!(report.ended(), Ended::Denied);
        insta::assert_snapshot!(report.text(), @r"
        wharf: a:b may not use network
          hint: this line grants it: network = true
        ");
    }
}
