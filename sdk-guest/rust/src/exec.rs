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
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ExecOptions::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::ExecOptions::new())
    }

    /// Text for standard input.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let input = ExecOptions::new().stdin("select 1;\n");
    /// let answered = image::pull("postgres:17").with_exec_opts(["psql", "-h", "db"], &input);
    /// ```
    #[must_use]
    pub fn stdin(self, text: impl AsRef<str>) -> Self {
        self.0.set_stdin(text.as_ref());
        self
    }

    /// A secret's value for standard input.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn logged_in(tools: Container, password: &Secret) -> Container {
    ///     let input = ExecOptions::new().stdin_secret(password);
    ///     tools.with_exec_opts(["helm", "registry", "login", "ghcr.io", "--password-stdin"], &input)
    /// }
    /// # logged_in(Container::new(), &Secret::of_value("password", "x"));
    /// ```
    #[must_use]
    pub fn stdin_secret(self, value: &Secret) -> Self {
        self.0.set_stdin_secret(&value.0);
        self
    }

    /// Write standard output to this file of the container, too.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let to_file = ExecOptions::new().redirect_stdout("/report.json");
    /// let report = image::pull("python:3.11").with_exec_opts(["pip", "list", "--format", "json"], &to_file).file("/report.json");
    /// ```
    #[must_use]
    pub fn redirect_stdout(self, path: impl AsRef<str>) -> Self {
        self.0.set_redirect_stdout(path.as_ref());
        self
    }

    /// Write standard error to this file of the container, too.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let to_file = ExecOptions::new().redirect_stderr("/warnings.txt");
    /// let warnings = image::pull("gcc:14").with_exec_opts(["make"], &to_file).file("/warnings.txt");
    /// ```
    #[must_use]
    pub fn redirect_stderr(self, path: impl AsRef<str>) -> Self {
        self.0.set_redirect_stderr(path.as_ref());
        self
    }

    /// Which exit codes count as done. Default: [`Expect::Success`].
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let refused = ExecOptions::new().expect(Expect::Failure);
    /// let checked = image::pull("ghcr.io/acme/app").with_exec_opts(["/app", "--no-such-flag"], &refused);
    /// ```
    #[must_use]
    pub fn expect(self, expect: Expect) -> Self {
        self.0.set_expect(expect);
        self
    }

    /// Put the container's entrypoint before the arguments. Default: false.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let as_users_run_it = ExecOptions::new().use_entrypoint(true);
    /// let helped = image::pull("curlimages/curl").with_exec_opts(["--version"], &as_users_run_it);
    /// ```
    #[must_use]
    pub fn use_entrypoint(self, enabled: bool) -> Self {
        self.0.set_use_entrypoint(enabled);
        self
    }

    /// Replace `$NAME` and `${NAME}` in the arguments by the container's variables. Default: false.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let expanded = ExecOptions::new().expand(true);
    /// let shown = image::pull("python:3.11").with_exec_opts(["echo", "$PYTHON_VERSION"], &expanded);
    /// ```
    #[must_use]
    pub fn expand(self, enabled: bool) -> Self {
        self.0.set_expand(enabled);
        self
    }

    /// End the step after this time, counted in milliseconds.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let patient = ExecOptions::new().timeout(Duration::from_secs(600));
    /// ```
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        self.0
            .set_timeout(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Run the step even when its result is remembered.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let each_time = ExecOptions::new().no_cache(true);
    /// let today = image::pull("busybox").with_exec_opts(["date"], &each_time);
    /// ```
    #[must_use]
    pub fn no_cache(self, enabled: bool) -> Self {
        self.0.set_no_cache(enabled);
        self
    }

    /// Processor time in thousandths of a processor: 1500 is one and a half.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let half_a_processor = ExecOptions::new().cpu_limit(500);
    /// ```
    #[must_use]
    pub fn cpu_limit(self, millicpus: u32) -> Self {
        self.0.set_cpu_limit(millicpus);
        self
    }

    /// Memory in bytes; a step that needs more is ended and reported as out of memory.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let small = ExecOptions::new().memory_limit(256 << 20);
    /// ```
    #[must_use]
    pub fn memory_limit(self, bytes: u64) -> Self {
        self.0.set_memory_limit(bytes);
        self
    }

    /// How many processes and threads there may be at once.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let few = ExecOptions::new().pids_limit(64);
    /// ```
    #[must_use]
    pub fn pids_limit(self, count: u32) -> Self {
        self.0.set_pids_limit(count);
        self
    }

    /// What the step is for, shown to the user instead of its arguments.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = ExecOptions::new().reason("end-to-end tests");
    /// let tested = image::pull("node:22").with_exec_opts(["npx", "playwright", "test"], &options);
    /// ```
    #[must_use]
    pub fn reason(self, text: impl AsRef<str>) -> Self {
        self.0.set_reason(text.as_ref());
        self
    }
}
