//! Engines and runs for tests.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::docker::DockerPlace;
pub use crate::launch::How;
use crate::launch::spawn;
use tokio::sync::mpsc;
use wharf_client::{
    Connection, Connector, Session, SessionOptions,
    proto::{Event, Outcome, event},
};
use wharf_graph::{
    Container, Directory, Error, File, Node,
    op::ExecOptions,
    read::{Answer, Question},
};
use wharf_testkit::shared;

/// An engine of one test; killed when it is dropped.
pub struct TestEngine {
    place: Place,
    directory: tempfile::TempDir,
}

/// What runs the steps of engines that a test starts: engines of ordinary users have no runc.
pub fn runtimes() -> &'static [&'static str] {
    if shared::is_rootless() {
        &["builtin"]
    } else {
        &["builtin", "runc"]
    }
}

/// Where the engine runs.
enum Place {
    /// A process of this test.
    Process { child: Option<Child>, how: How },
    /// A container of the Docker daemon, started as users start it.
    Docker(Box<DockerPlace>),
    /// Elsewhere: it listens on this socket.
    Given(PathBuf),
}

impl TestEngine {
    /// An engine with a new store, unless `WHARF_TEST_ENGINE` names one: `docker`, or the `unix://SOCKET` of one that runs.
    /// `WHARF_TEST_RUNTIME` says what runs the steps: `builtin` unless it is set.
    pub fn start() -> Self {
        let engine = shared::get(shared::ENGINE).unwrap_or_default();
        match engine.strip_prefix("unix://") {
            Some(socket) => Self {
                place: Place::Given(socket.into()),
                directory: tempfile::tempdir().expect("a directory"),
            },
            None if engine == "docker" => Self::on_docker(),
            None => Self::with_runtime(&shared::get(shared::RUNTIME).unwrap_or_else(|| "builtin".to_owned())),
        }
    }

    /// An engine whose steps this runs: `builtin` or an OCI runtime's program.
    pub fn with_runtime(runtime: &str) -> Self {
        assert!(
            shared::is_rootless() || rustix::process::geteuid().is_root(),
            "these tests run containers: run them as root"
        );
        Self::started(How {
            runtime: runtime.to_owned(),
            ..How::default()
        })
    }

    /// An engine that is started so.
    pub fn started(how: How) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::Process { child: None, how };
        let mut engine = Self { place, directory };
        engine.launch();
        engine
    }

    /// An engine whose steps crun runs; none where crun itself refuses the machine, which is said.
    #[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
    pub fn with_crun() -> Option<Self> {
        if Path::new("/sys/fs/cgroup/unified").exists() {
            eprintln!("skipped: this machine has both versions of control groups, which crun does not take");
            return None;
        }
        Some(Self::with_runtime("crun"))
    }

    /// An engine whose store is a file system of its own, of so many MiB: one that can be full.
    pub fn with_small_disk(mebibytes: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut engine = Self {
            place: Place::Process {
                child: None,
                how: How::default(),
            },
            directory,
        };
        let store = engine.store();
        std::fs::create_dir(&store).expect("the store's directory");
        let size = std::ffi::CString::new(format!("size={mebibytes}m")).expect("an option");
        rustix::mount::mount(
            "tmpfs",
            &store,
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            size.as_c_str(),
        )
        .expect("a small file system");
        engine.launch();
        engine
    }

    /// An engine in a container of the run's Docker daemon.
    pub fn on_docker() -> Self {
        Self {
            place: Place::Docker(Box::new(DockerPlace::start())),
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    /// An engine in a container of the run's Docker daemon, which refuses it the rights to make containers.
    pub fn on_hardened_docker() -> Self {
        Self {
            place: Place::Docker(Box::new(DockerPlace::start_hardened())),
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    /// Starts it again on the same store.
    pub fn launch(&mut self) {
        let (socket, store, log) = (self.socket(), self.store(), self.log());
        match &mut self.place {
            Place::Process { child, how } => *child = Some(spawn(&socket, &store, &log, how)),
            Place::Docker(place) => return place.launch(),
            Place::Given(_) => shared::needs_its_own_engine(),
        }
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "no engine: {}",
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the process at once, as a power cut for processes would.
    pub fn kill(&mut self) {
        match &mut self.place {
            Place::Process { child, .. } => {
                if let Some(mut child) = child.take() {
                    child.kill().ok();
                    child.wait().ok();
                }
                std::fs::remove_file(self.socket()).ok();
            }
            Place::Docker(place) => place.kill(),
            Place::Given(_) => shared::needs_its_own_engine(),
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        match &self.place {
            Place::Process { .. } => self.directory.path().join("engine.sock"),
            Place::Docker(place) => place.socket(),
            Place::Given(socket) => socket.clone(),
        }
    }

    /// Its store.
    pub fn store(&self) -> PathBuf {
        if matches!(self.place, Place::Given(_)) {
            shared::needs_its_own_engine();
        }
        self.directory.path().join("store")
    }

    /// The runner's directory: what it has for running steps.
    pub fn state(&self) -> PathBuf {
        state_of(&self.socket())
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// When it is no process of this test, or was killed.
    pub fn pid(&self) -> u32 {
        match &self.place {
            Place::Process {
                child: Some(child), ..
            } => child.id(),
            _ => shared::needs_its_own_engine(),
        }
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
        match &self.place {
            Place::Process { .. } => std::fs::read_to_string(self.log()).unwrap_or_default(),
            Place::Docker(place) => place.log_text(),
            Place::Given(_) => shared::needs_its_own_engine(),
        }
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
        let connector = Box::new(move || {
            let socket = socket.clone();
            Box::pin(async move { Connection::open(&socket).await }) as futures::future::BoxFuture<'static, _>
        });
        Run::over(connector, options)
    }
}

impl TestEngine {
    /// A killed engine leaves its control groups to the next one on its store, and here there is none.
    fn remove_groups(&self) {
        let name = group_name(&self.store());
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let own = hierarchy.path().join(&name);
            let steps = std::fs::read_dir(&own).into_iter().flatten().flatten();
            for group in steps.map(|entry| entry.path()).chain([own.clone()]) {
                // Those of steps that are still on their way out stay.
                std::fs::remove_dir(group).ok();
            }
        }
    }
}

impl Drop for TestEngine {
    fn drop(&mut self) {
        if matches!(self.place, Place::Given(_)) {
            return;
        }
        // The one in Docker goes with its world.
        if matches!(self.place, Place::Process { .. }) {
            self.kill();
        }
        self.remove_groups();
        std::fs::remove_dir_all(self.state()).ok();
        // A store on a small disk is a mount; the others are none, and nothing happens.
        rustix::mount::unmount(self.store(), rustix::mount::UnmountFlags::DETACH).ok();
    }
}

/// The runner's directory of an engine with this socket: in memory, as that of users' engines.
pub fn state_of(socket: &Path) -> PathBuf {
    Path::new("/dev/shm").join(format!("{}-runner", group_name(socket)))
}

/// The name of the control groups of an engine with this store: the same when it is started again.
pub fn group_name(store: &Path) -> String {
    let hex = wharf_digest::Digest::of(store.as_os_str().as_encoded_bytes()).to_hex();
    format!("wharf-test-{}", &hex[..12])
}

/// One run.
pub struct Run {
    /// The client's session.
    pub session: Session,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Run {
    /// A run that connects in this way.
    pub fn over(connector: Connector, options: SessionOptions) -> Self {
        let (events, received) = mpsc::unbounded_channel();
        Self {
            session: Session::new(connector, options, events),
            events: received,
        }
    }

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
        self.contents(&container.file(path)).await
    }

    /// A file's text.
    pub async fn contents(&self, file: &File) -> Result<String, Error> {
        match self.ask(file.node(), Question::Contents).await? {
            Answer::Bytes(bytes) => Ok(String::from_utf8(bytes).expect("text")),
            other => panic!("{other:?} is no content"),
        }
    }

    /// All paths below a directory.
    pub async fn paths(&self, directory: &Directory) -> Vec<String> {
        let all = Question::Glob("**".to_owned());
        match self.ask(directory.node(), all).await.expect("its paths") {
            Answer::Names(names) => names,
            other => panic!("{other:?} are no names"),
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

    /// All that steps printed since this was last asked. Call it after the answer.
    pub async fn log(&mut self) -> Vec<u8> {
        let mut log = Vec::new();
        while let Some(event) = self.next_event().await {
            if let Some(event::What::Log(piece)) = event.what {
                log.extend(piece.bytes);
            }
        }
        log
    }

    /// The next event; none when it has been quiet for a while: events come on a stream of their own, and what belongs to an
    /// answer is there a moment after it.
    pub async fn next_event(&mut self) -> Option<Event> {
        let quiet = Duration::from_millis(200);
        tokio::time::timeout(quiet, self.events.recv())
            .await
            .ok()
            .flatten()
    }

    /// Standard output of the last step, with what all steps print passed on as it comes, to the end of the last one that
    /// was seen to begin.
    pub async fn watch(
        &mut self,
        container: &Container,
        mut piece: impl FnMut(&[u8]),
    ) -> Result<Answer, Error> {
        let session = self.session.clone();
        let mut asked = std::pin::pin!(session.read(container.node(), Question::Stdout));
        let (mut answer, mut running) = (None, HashSet::new());
        while answer.is_none() || !running.is_empty() {
            tokio::select! {
                answered = &mut asked, if answer.is_none() => answer = Some(answered),
                Some(event) = self.events.recv() => match event.what {
                    Some(event::What::Started(_)) => {
                        running.insert(event.key);
                    }
                    // Whoever joined later was not told of the start.
                    Some(event::What::Finished(_)) => {
                        running.remove(&event.key);
                    }
                    Some(event::What::Log(log)) => piece(&log.bytes),
                    _ => {}
                },
            }
        }
        answer.expect("it was waited for")
    }

    /// The whole log of a failed step, as its error names it.
    pub async fn failed_log(&self, log: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.failed_log_pieces(log, |piece| bytes.extend_from_slice(piece))
            .await;
        bytes
    }

    /// The same piece by piece.
    pub async fn failed_log_pieces(&self, log: &str, mut take: impl FnMut(&[u8])) {
        let connection = self.session.connection().await.expect("an engine");
        let request = wharf_client::proto::StepLogRequest { log: log.to_owned() };
        let mut pieces = connection
            .client()
            .step_log(request)
            .await
            .expect("the log")
            .into_inner();
        while let Some(piece) = pieces.message().await.expect("a piece of the log") {
            take(&piece.bytes);
        }
    }

    /// What users were told beside what steps printed, since this was last asked. Call it after the answer.
    pub async fn notices(&mut self) -> Vec<String> {
        let mut notices = Vec::new();
        while let Some(event) = self.next_event().await {
            if let Some(event::What::Notice(notice)) = event.what {
                notices.push(notice.text);
            }
        }
        notices
    }

    /// Steps that ran, and steps that were remembered, by title, since this was last asked. Call it after the answer.
    pub async fn steps(&mut self) -> (Vec<String>, Vec<String>) {
        let mut titles = std::collections::HashMap::new();
        let (mut ran, mut hit) = (Vec::new(), Vec::new());
        while let Some(event) = self.next_event().await {
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
