//! How a step runs: the options of `with_exec_opts`.

use std::time::Duration;

use crate::bindings::wharf::pipeline::container as raw;
use crate::{Expect, Secret};

/// How a step runs. All settings are optional: no input, exit code 0 expected, entrypoint not used.
///
/// ```
/// use std::time::Duration;
///
/// use wharf_sdk::prelude::*;
///
/// /// The linter's exit code, whatever it is.
/// async fn lint(base: Container) -> Result<i32> {
///     let options = ExecOptions::new()
///         .stdin("print('hello')\n")
///         .expect(Expect::Any)
///         .timeout(Duration::from_secs(60))
///         .reason("lint");
///     base.with_exec_opts(["ruff", "check", "-"], &options).exit_code().await
/// }
/// ```
#[derive(Debug)]
pub struct ExecOptions(pub(crate) raw::ExecOptions);

impl Default for ExecOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl ExecOptions {
    /// No input, exit code 0 expected, entrypoint not used.
    pub fn new() -> Self {
        Self(raw::ExecOptions::new())
    }

    /// Text for standard input.
    #[must_use]
    pub fn stdin(self, text: impl AsRef<str>) -> Self {
        self.0.set_stdin(text.as_ref());
        self
    }

    /// A secret's value for standard input.
    #[must_use]
    pub fn stdin_secret(self, value: &Secret) -> Self {
        self.0.set_stdin_secret(&value.0);
        self
    }

    /// Write standard output to this file of the container, too.
    #[must_use]
    pub fn redirect_stdout(self, path: impl AsRef<str>) -> Self {
        self.0.set_redirect_stdout(path.as_ref());
        self
    }

    /// Write standard error to this file of the container, too.
    #[must_use]
    pub fn redirect_stderr(self, path: impl AsRef<str>) -> Self {
        self.0.set_redirect_stderr(path.as_ref());
        self
    }

    /// Which exit codes count as done. Default: [`Expect::Success`].
    #[must_use]
    pub fn expect(self, expect: Expect) -> Self {
        self.0.set_expect(expect);
        self
    }

    /// Put the container's entrypoint before the arguments. Default: false.
    #[must_use]
    pub fn use_entrypoint(self, enabled: bool) -> Self {
        self.0.set_use_entrypoint(enabled);
        self
    }

    /// Replace `$NAME` and `${NAME}` in the arguments by the container's variables. Default: false.
    #[must_use]
    pub fn expand(self, enabled: bool) -> Self {
        self.0.set_expand(enabled);
        self
    }

    /// End the step after this time, counted in milliseconds.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        self.0
            .set_timeout(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Run the step even when its result is remembered.
    #[must_use]
    pub fn no_cache(self, enabled: bool) -> Self {
        self.0.set_no_cache(enabled);
        self
    }

    /// Processor time in thousandths of a processor: 1500 is one and a half.
    #[must_use]
    pub fn cpu_limit(self, millicpus: u32) -> Self {
        self.0.set_cpu_limit(millicpus);
        self
    }

    /// Memory in bytes; a step that needs more is ended and reported as out of memory.
    #[must_use]
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.0.set_memory_limit(bytes);
        self
    }

    /// How many processes and threads there may be at once.
    #[must_use]
    pub fn pids_limit(self, count: u32) -> Self {
        self.0.set_pids_limit(count);
        self
    }

    /// What the step is for, shown to the user instead of its arguments.
    #[must_use]
    pub fn reason(self, text: impl AsRef<str>) -> Self {
        self.0.set_reason(text.as_ref());
        self
    }
}
