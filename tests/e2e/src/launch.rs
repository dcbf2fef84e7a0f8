//! The process of an engine.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// How an engine of this test's is started.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// What runs its steps: `builtin` when empty, or an OCI runtime's program.
    pub runtime: String,
    /// The name servers that its steps ask: the host's when absent.
    pub resolv_conf: Option<PathBuf>,
    /// A guard that is taken away.
    pub without_guard: Option<String>,
    /// More variables of its environment.
    pub variables: Vec<(&'static str, PathBuf)>,
}

/// Starts it.
pub(crate) fn spawn(socket: &Path, store: &Path, log: &Path, how: &How) -> Child {
    let mirror = wharf_testkit::fixtures::mirror().expect("a registry with the base images");
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .expect("a log");
    let child = Command::new(program())
        .args([socket.as_os_str(), store.as_os_str(), how.runtime.as_ref()])
        .args(&how.resolv_conf)
        .envs(
            how.without_guard
                .iter()
                .map(|guard| ("WHARF_TEST_WITHOUT_GUARD", guard)),
        )
        .env("WHARF_REGISTRY_MIRRORS", mirror.setting())
        .envs(how.variables.iter().cloned())
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the engine starts");
    // The registry has to live as long as the test process.
    std::mem::forget(mirror);
    child
}

fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program");
    let directory = own.parent().and_then(Path::parent).expect("a target directory");
    directory.join("test-engine")
}
