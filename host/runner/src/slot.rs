//! Containers made in advance: each waits for a step, with all that most steps have in common set up.
//!
//! Making namespaces and what the kernel mounts in them takes longer than all the rest of a step. So a few containers are kept
//! ready, and one that is taken is replaced while its step runs. None serves two steps.

use std::{
    collections::HashMap,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{io::AsyncBufReadExt, sync::oneshot};

use crate::{
    cgroup::{Cgroups, StepCgroup},
    error::{Context, Error, Result},
    helper::{self, Job, Order, Report, Wish},
    helper_process::HelperProcess,
    network::{Networks, StepNetwork},
    outcome::{self, Exit},
    remote::Beside,
    runner::NetworkMode,
    running::Running,
    system::System,
};

/// How many containers of a kind wait.
const READY: usize = 2;

/// A container without a step. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    process: Running,
    socket: UnixStream,
    cgroup: StepCgroup,
    network: Option<Arc<StepNetwork>>,
}

impl Slot {
    /// Its control group, for limits.
    pub(crate) fn cgroup(&mut self) -> &mut StepCgroup {
        &mut self.cgroup
    }

    /// Starts the step in it. What becomes of it is told when it has ended.
    pub(crate) fn start(self, mut job: Job, descriptors: &[BorrowedFd<'_>]) -> Result<Started> {
        job.cgroups.clone_from(&self.cgroup.procs);
        // One that could not be set up has said why, and is gone: its reports are read all the same.
        helper::send_value(&self.socket, &job, descriptors).ok();
        self.socket.set_nonblocking(true).context("a step's socket")?;
        let asking = self.socket.try_clone().context("a step's socket")?;
        let socket = tokio::net::UnixStream::from_std(self.socket).context("a step's socket")?;
        let beside: Waiting = Arc::default();
        Ok(Started {
            process: self.process,
            reports: tokio::spawn(read_reports(socket, Arc::clone(&beside))),
            cgroup: self.cgroup,
            socket: asking,
            beside,
            next: AtomicU64::new(1),
            _network: self.network,
        })
    }
}

/// Who waits for the end of which program beside a step's.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Report>>>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Report>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of the step. What became of programs beside it is told at once to those who wait for it.
async fn read_reports(socket: tokio::net::UnixStream, beside: Waiting) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut lines = tokio::io::BufReader::new(socket).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Report::Beside(number, report)) => {
                if let Some(waiting) = lock(&beside).remove(&number) {
                    waiting.send(*report).ok();
                }
            }
            Ok(report) => reports.push(report),
            Err(_) => {}
        }
    }
    lock(&beside).clear();
    reports
}

/// A step that was started.
pub(crate) struct Started {
    /// Process 1 of the step.
    pub(crate) process: Running,
    /// All that it reports, when it has ended.
    pub(crate) reports: tokio::task::JoinHandle<Vec<Report>>,
    /// What it used, until it is dropped.
    pub(crate) cgroup: StepCgroup,
    socket: UnixStream,
    beside: Waiting,
    next: AtomicU64,
    _network: Option<Arc<StepNetwork>>,
}

impl Started {
    /// Sends its program a signal.
    pub(crate) fn signal(&self, number: i32) {
        self.wish(&Wish::Signal(number), &[]).ok();
    }

    /// Runs a program beside its own.
    pub(crate) async fn beside(&self, wanted: Beside) {
        let Beside {
            args,
            io,
            timeout,
            answer,
        } = wanted;
        let program = args.first().cloned().unwrap_or_default();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = oneshot::channel();
        lock(&self.beside).insert(number, tell);
        if let Err(error) = self.wish(&Wish::Beside { number, args }, &io.descriptors()) {
            answer.send(Err(error)).ok();
            return;
        }
        drop(io);
        let ended = async {
            match told.await.map_err(|_| Error::Ended)? {
                Report::Exited(code) => Ok(Exit::Code(code)),
                Report::Signalled(signal) => Ok(Exit::Signal(signal)),
                Report::Exec(number) => outcome::not_run(&program, number).map(|(exit, _)| exit),
                Report::Setup(message) => Err(Error::Setup(message)),
                other => Err(Error::Setup(format!("{other:?} is no end of a program"))),
            }
        };
        let end = || {
            self.wish(&Wish::End(number), &[]).ok();
        };
        Beside::finish(answer, timeout, ended, end).await;
    }

    fn wish(&self, wish: &Wish, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        helper::send_value(&self.socket, wish, descriptors).map_err(|_| Error::Ended)
    }
}

/// What makes the parts of a container.
#[derive(Debug)]
pub(crate) struct Makers {
    pub(crate) helper: HelperProcess,
    pub(crate) networks: Arc<Networks>,
    pub(crate) cgroups: Arc<Cgroups>,
}

/// Makes containers and keeps some ready.
#[derive(Debug)]
pub(crate) struct Slots {
    makers: Makers,
    stage: PathBuf,
    /// What those that are kept ready have.
    usual: System,
    ready: Mutex<Ready>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Ready {
    isolated: Kept,
    connected: Kept,
    /// No more are wanted.
    ended: bool,
}

/// Containers of one kind.
#[derive(Debug, Default)]
struct Kept {
    slots: Vec<Slot>,
    /// How many more are being made.
    making: usize,
}

impl Ready {
    fn of(&mut self, network: NetworkMode) -> &mut Kept {
        match network {
            NetworkMode::None => &mut self.isolated,
            NetworkMode::Bridged | NetworkMode::Filtered => &mut self.connected,
        }
    }

    /// Is one more to be made? Whoever is told so makes it.
    fn wants(&mut self, network: NetworkMode) -> bool {
        let ended = self.ended;
        let kept = self.of(network);
        let wants = !ended && kept.slots.len() + kept.making < READY;
        kept.making += usize::from(wants);
        wants
    }
}

impl Slots {
    /// `stage` is an empty directory.
    pub(crate) fn new(makers: Makers, stage: PathBuf, usual: System) -> Arc<Self> {
        let slots = Arc::new(Self {
            makers,
            stage,
            usual,
            ready: Mutex::default(),
            next: AtomicU64::new(1),
        });
        slots.refill(NetworkMode::None);
        slots
    }

    fn ready(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container for one step.
    pub(crate) async fn take(self: &Arc<Self>, system: System, network: NetworkMode) -> Result<Slot> {
        if system != self.usual || network == NetworkMode::Filtered {
            return self.make_of_mode(&system, network).await;
        }
        let ready = loop {
            match self.ready().of(network).slots.pop() {
                // Somebody may have killed it.
                Some(slot) if slot.process.has_ended() => {}
                found => break found,
            }
        };
        let slot = match ready {
            Some(slot) => Ok(slot),
            None => self.make_of_mode(&system, network).await,
        };
        self.refill(network);
        slot
    }

    /// Makes containers until enough are ready, behind whoever asks.
    fn refill(self: &Arc<Self>, network: NetworkMode) {
        let slots = Arc::clone(self);
        tokio::spawn(async move {
            while slots.ready().wants(network) {
                let made = slots.make_of_mode(&slots.usual, network).await;
                let mut ready = slots.ready();
                ready.of(network).making -= 1;
                match made {
                    Ok(slot) if !ready.ended => ready.of(network).slots.push(slot),
                    Ok(_) => return,
                    // The next step meets it, too, and says it.
                    Err(error) => return tracing::debug!("no container was made in advance: {error}"),
                }
            }
        });
    }

    async fn make_of_mode(&self, system: &System, network: NetworkMode) -> Result<Slot> {
        let network = self.makers.networks.of_mode(network).await?;
        self.make(system, network).await
    }

    /// Makes a container with this network, or with loopback alone.
    pub(crate) async fn make(&self, system: &System, network: Option<Arc<StepNetwork>>) -> Result<Slot> {
        let (socket, theirs) = UnixStream::pair().context("a step's socket")?;
        let theirs = OwnedFd::from(theirs);
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let cgroup = self.makers.cgroups.for_step(id)?;
        let order = Order {
            id,
            system: system.clone(),
            stage: self.stage.clone(),
        };
        let namespace = network.as_ref().map(|network| network.namespace.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> = [theirs.as_fd()].into_iter().chain(namespace).collect();
        let process = Running::new(self.makers.helper.launch(&order, &descriptors).await?)?;
        Ok(Slot {
            process,
            socket,
            cgroup,
            network,
        })
    }

    /// Ends the helper, every container and every step.
    pub(crate) fn end(&self) {
        let mut ready = self.ready();
        ready.ended = true;
        ready.isolated.slots.clear();
        ready.connected.slots.clear();
        drop(ready);
        self.makers.helper.end();
    }
}
