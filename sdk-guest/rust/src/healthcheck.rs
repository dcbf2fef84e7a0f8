//! How an image's health check is run: the options of `with_docker_healthcheck_opts`.

use std::time::Duration;

use crate::bindings::wharf::pipeline::container as raw;

/// How an image's health check is run. All settings are optional; zero is Docker's default, too.
///
/// ```
/// use std::time::Duration;
///
/// use wharf_sdk::prelude::*;
///
/// /// A server that has a minute to load what it serves.
/// fn checked(server: Container) -> Container {
///     let options = HealthcheckOptions::new()
///         .interval(Duration::from_secs(10))
///         .start_period(Duration::from_secs(60));
///     server.with_docker_healthcheck_opts(["curl", "-fsS", "http://localhost:8000/health"], &options)
/// }
/// ```
#[derive(Debug)]
pub struct HealthcheckOptions(pub(crate) raw::HealthcheckOptions);

impl Default for HealthcheckOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl HealthcheckOptions {
    /// Docker's defaults.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let options = HealthcheckOptions::new();
    /// ```
    pub fn new() -> Self {
        Self(raw::HealthcheckOptions::new())
    }

    /// The time from one run to the next, counted in milliseconds. Default: 30 seconds.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let often = HealthcheckOptions::new().interval(Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn interval(self, time: Duration) -> Self {
        self.0.set_interval(milliseconds(time));
        self
    }

    /// A run that takes longer has failed; counted in milliseconds. Default: 30 seconds.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let strict = HealthcheckOptions::new().timeout(Duration::from_secs(3));
    /// ```
    #[must_use]
    pub fn timeout(self, limit: Duration) -> Self {
        self.0.set_timeout(milliseconds(limit));
        self
    }

    /// A run that fails so soon after the start does not count; counted in milliseconds. Default: 0.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let slow_to_start = HealthcheckOptions::new().start_period(Duration::from_secs(120));
    /// ```
    #[must_use]
    pub fn start_period(self, time: Duration) -> Self {
        self.0.set_start_period(milliseconds(time));
        self
    }

    /// The time from one run to the next in the start period, counted in milliseconds. Default: 5 seconds in Docker, the interval for
    /// services of a pipeline.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let eager = HealthcheckOptions::new()
    ///     .start_period(Duration::from_secs(60))
    ///     .start_interval(Duration::from_millis(500));
    /// ```
    #[must_use]
    pub fn start_interval(self, time: Duration) -> Self {
        self.0.set_start_interval(milliseconds(time));
        self
    }

    /// How many runs that fail in a row make it unhealthy. Default: 3.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let at_once = HealthcheckOptions::new().retries(1);
    /// ```
    #[must_use]
    pub fn retries(self, count: u32) -> Self {
        self.0.set_retries(count);
        self
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
