//! What one run of `cargo xtask test` shares between all test processes, by environment variable.
//!
//! nextest runs each test in a process of its own; a daemon or a registry for each would cost more than the tests.

use std::env;

/// The address of the run's Docker daemon, as `DOCKER_HOST` has it.
pub const DOCKER_HOST: &str = "WHARF_TEST_DOCKER_HOST";
/// The run's mirror setting for an engine on this host, as `WHARF_REGISTRY_MIRRORS` takes it.
pub const MIRROR: &str = "WHARF_TEST_MIRROR";
/// The mirror setting that also works from within a container of the run's daemon.
pub const DOCKER_MIRROR: &str = "WHARF_TEST_DOCKER_MIRROR";
/// The `wharf` program under test.
pub const WHARF_BIN: &str = "WHARF_BIN";

/// The engine that the tests are run for, in place of the one that each starts: `docker`, or `unix://SOCKET`. With `rootless`
/// each starts its own, as the ordinary user who runs the tests.
pub const ENGINE: &str = "WHARF_TEST_ENGINE";
/// What [`ENGINE`] is for engines of an ordinary user.
pub const ROOTLESS: &str = "rootless";
/// What is to run steps, in place of the built-in runner: `runc`, `crun` or a path.
pub const RUNTIME: &str = "WHARF_TEST_RUNTIME";

/// Ends a test that looks into its engine, ends it, or has to be reached by it on this host, when the run is for another engine.
///
/// # Panics
///
/// Always, in words that `cargo xtask conformance` knows.
pub fn needs_its_own_engine() -> ! {
    panic!("this test needs an engine of its own")
}

/// Ends the test when the run is for another engine than one of this host that it starts itself.
///
/// # Panics
///
/// Then.
pub fn only_with_its_own_engine() {
    if get(ENGINE).is_some_and(|engine| engine != "local" && engine != ROOTLESS) {
        needs_its_own_engine();
    }
}

/// Is the run for engines of an ordinary user?
pub fn is_rootless() -> bool {
    get(ENGINE).as_deref() == Some(ROOTLESS)
}

/// The value of one of these variables, unless it is unset or empty.
pub fn get(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}
