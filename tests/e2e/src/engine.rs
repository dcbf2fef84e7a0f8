//! Engines and runs for tests.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use wharf_client::{
    Connection, Session, SessionOptions,
    proto::{Event, Outcome, event},
};
use wharf_graph::{
    Container, Error, Node,
    op::ExecOptions,
    read::{Answer, Question},
};

/// An engine process; killed when it is dropped.
pub struct TestEngine {
    child: Option<Child>,
    directory: tempfile::TempDir,
    runtime: String,
}

impl TestEngine {
    /// An engine with a new store. `WHARF_TEST_RUNTIME` says what runs the steps: `builtin` unless it is set.
    pub fn start() -> Self {
        Self::with_runtime(&std::env::var("WHARF_TEST_RUNTIME").unwrap_or_else(|_| "builtin".to_owned()))
    }

    /// An engine whose steps this runs: `builtin` or an OCI runtime's program.
    pub fn with_runtime(runtime: &str) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests run containers: run them as root"
        );
        let directory = tempfile::tempdir().expect("a directory");
        let mut engine = Self {
            child: None,
            directory,
            runtime: runtime.to_owned(),
        };
        engine.launch();
        engine
    }

    /// Starts the process on the same store.
    pub fn launch(&mut self) {
        let mirror = wharf_testkit::fixtures::mirror().expect("a registry with the base images");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .expect("a log");
        let child = Command::new(program())
            .args([
                self.socket().as_os_str(),
                self.store().as_os_str(),
                self.runtime.as_ref(),
            ])
            .env("WHARF_REGISTRY_MIRRORS", mirror.setting())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the engine starts");
        self.child = Some(child);
        self.mirror_lives(mirror);
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "no engine: {}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The registry has to live as long as the test process.
    fn mirror_lives(&self, mirror: wharf_testkit::fixtures::Mirror) {
        std::mem::forget(mirror);
    }

    /// Ends the process at once, as a power cut for processes would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
        std::fs::remove_file(self.socket()).ok();
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    /// Its store.
    pub fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A directory for the test's own files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("engine.log")
    }

    /// What the engine has said.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// A new run.
    pub fn run(&self) -> Run {
        self.run_with(SessionOptions::default())
    }

    /// A new run with these options.
    pub fn run_with(&self, options: SessionOptions) -> Run {
        let socket = self.socket();
        let options = SessionOptions {
            stat_cache: self.directory.path().join("stat"),
            ..options
        };
        let (events, received) = mpsc::unbounded_channel();
        let connector = Box::new(move || {
            let socket = socket.clone();
            Box::pin(async move { Connection::open(&socket).await }) as futures::future::BoxFuture<'static, _>
        });
        Run {
            session: Session::new(connector, options, events),
            events: received,
        }
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program() -> PathBuf {
    let own = std::env::current_exe().expect("this program");
    let directory = own.parent().and_then(Path::parent).expect("a target directory");
    directory.join("test-engine")
}

/// One run.
pub struct Run {
    /// The client's session.
    pub session: Session,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Run {
    /// Asks a question.
    pub async fn ask(&self, node: &Arc<Node>, question: Question) -> Result<Answer, Error> {
        self.session.read(node, question).await
    }

    /// Standard output of the last step.
    pub async fn stdout(&self, container: &Container) -> Result<String, Error> {
        match self.ask(container.node(), Question::Stdout).await? {
            Answer::Text(text) => Ok(text),
            other => panic!("{other:?} is no text"),
        }
    }

    /// A file's text in a container.
    pub async fn text(&self, container: &Container, path: &str) -> Result<String, Error> {
        match self.ask(container.file(path).node(), Question::Contents).await? {
            Answer::Bytes(bytes) => Ok(String::from_utf8(bytes).expect("text")),
            other => panic!("{other:?} is no content"),
        }
    }

    /// Names in a container's directory.
    pub async fn entries(&self, container: &Container, path: &str) -> Result<Vec<String>, Error> {
        match self
            .ask(
                container.directory(path).node(),
                Question::Entries("/".to_owned()),
            )
            .await?
        {
            Answer::Names(names) => Ok(names),
            other => panic!("{other:?} are no names"),
        }
    }

    /// Steps that ran, and steps that were remembered, by title, since this was last asked. Call it after the answer.
    pub async fn steps(&mut self) -> (Vec<String>, Vec<String>) {
        // Events come on a stream of their own: what belongs to an answer is there at most a moment after it.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut titles = std::collections::HashMap::new();
        let (mut ran, mut hit) = (Vec::new(), Vec::new());
        while let Ok(event) = self.events.try_recv() {
            match event.what {
                Some(event::What::Started(started)) if started.kind() == wharf_client::proto::Kind::Step => {
                    titles.insert(event.key, started.title);
                }
                Some(event::What::Finished(finished)) => {
                    let Some(title) = titles.get(&event.key) else {
                        continue;
                    };
                    match finished.outcome() {
                        Outcome::Hit => hit.push(title.clone()),
                        _ => ran.push(title.clone()),
                    }
                }
                _ => {}
            }
        }
        (ran, hit)
    }
}

/// The small image that most tests use.
pub fn busybox() -> Container {
    Container::image("busybox:latest", None)
}

/// A command line for a shell.
pub fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

/// Runs a shell script in a container.
pub fn script(container: &Container, script: &str) -> Container {
    container.with_exec(&sh(script), ExecOptions::default())
}
