//! The error that reads and effects report, with `?` from what authors meet most.

use std::fmt;

use crate::bindings::wharf::pipeline::types;
use crate::{Denial, ExecFailure, OtherError};

/// What a function of a module returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a read, an effect or a module's function failed.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// /// What the tests printed, also when they fail.
/// async fn output(tests: Container) -> Result<String> {
///     match tests.stdout().await {
///         Err(Error::Exec(failure)) if failure.exit_code == 1 => Ok(failure.stdout_tail),
///         other => other,
///     }
/// }
///
/// fn port(text: &str) -> Result<u16> {
///     let port: u16 = text.parse()?;
///     if port < 1024 {
///         return Err(Error::with_code("bad-port", format!("{port} is for root")));
///     }
///     Ok(port)
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// A step ended in a way that was not expected of it.
    Exec(ExecFailure),
    /// A capability was not granted; nothing was run.
    Denied(Denial),
    /// A path, image, reference or name does not exist.
    NotFound(String),
    /// An argument or a combination of them makes no sense.
    Invalid(String),
    /// Something outside did not answer; safe to retry.
    Unavailable(String),
    /// The run was interrupted.
    Cancelled,
    /// A time limit passed.
    TimedOut(String),
    /// Anything else.
    Other(OtherError),
}

impl Error {
    /// An error of the module's own, with this message.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn port(text: &str) -> Result<u16> {
    ///     text.parse().map_err(|_| Error::new(format!("{text} is no port")))
    /// }
    /// # assert_eq!(port("x").unwrap_err().to_string(), "x is no port");
    /// ```
    pub fn new(message: impl fmt::Display) -> Self {
        Self::with_code("failed", message)
    }

    /// An error of the module's own with a short, stable, kebab-case name that callers can branch on.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let error = Error::with_code("no-tests", "the directory has no tests");
    /// # assert_eq!(error.to_string(), "the directory has no tests");
    /// ```
    pub fn with_code(code: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Other(OtherError {
            code: code.into(),
            message: message.to_string(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(failure) => {
                write!(f, "`{}` failed: {}", failure.args.join(" "), failure.reason)?;
                let tail = if failure.stderr_tail.trim().is_empty() {
                    &failure.stdout_tail
                } else {
                    &failure.stderr_tail
                };
                match tail.trim_end() {
                    "" => Ok(()),
                    tail => write!(f, "\n{tail}"),
                }
            }
            Self::Denied(denial) => {
                write!(
                    f,
                    "{} is not granted to {}; to grant it: {}",
                    denial.capability, denial.module, denial.grant
                )
            }
            Self::NotFound(message)
            | Self::Invalid(message)
            | Self::Unavailable(message)
            | Self::TimedOut(message) => f.write_str(message),
            Self::Cancelled => f.write_str("the run was interrupted"),
            Self::Other(other) => f.write_str(&other.message),
        }
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::Exec(failure) => Self::Exec(failure),
            types::Error::Denied(denial) => Self::Denied(denial),
            types::Error::NotFound(message) => Self::NotFound(message),
            types::Error::Invalid(message) => Self::Invalid(message),
            types::Error::Unavailable(message) => Self::Unavailable(message),
            types::Error::Cancelled => Self::Cancelled,
            types::Error::TimedOut(message) => Self::TimedOut(message),
            types::Error::Other(other) => Self::Other(other),
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Exec(failure) => Self::Exec(failure),
            Error::Denied(denial) => Self::Denied(denial),
            Error::NotFound(message) => Self::NotFound(message),
            Error::Invalid(message) => Self::Invalid(message),
            Error::Unavailable(message) => Self::Unavailable(message),
            Error::Cancelled => Self::Cancelled,
            Error::TimedOut(message) => Self::TimedOut(message),
            Error::Other(other) => Self::Other(other),
        }
    }
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

macro_rules! from_std {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::new(error)
            }
        }
    )*};
}

from_std!(
    fmt::Error,
    std::io::Error,
    std::num::ParseFloatError,
    std::num::ParseIntError,
    std::str::ParseBoolError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
);
