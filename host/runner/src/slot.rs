//! Containers made in advance: each waits for a step, with all that most steps have in common set up.
//!
//! Making namespaces and what the kernel mounts in them takes longer than all the rest of a step. So a few containers are kept
//! ready, and one that is taken is replaced while its step runs. None serves two steps.

use std::{
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

use tokio::io::AsyncReadExt;

use crate::{
    cgroup::{Cgroups, StepCgroup},
    error::{Context, Result},
    helper::{self, Job, Order, Report},
    helper_process::HelperProcess,
    network::{Networks, StepNetwork},
    runner::{NetworkMode, StepIo},
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
    pub(crate) fn start(self, mut job: Job, io: &StepIo) -> Result<Started> {
        job.cgroups.clone_from(&self.cgroup.procs);
        let descriptors = [io.stdin.as_fd(), io.stdout.as_fd(), io.stderr.as_fd()];
        // One that could not be set up has said why, and is gone: its reports are read all the same.
        helper::send_value(&self.socket, &job, &descriptors).ok();
        self.socket.set_nonblocking(true).context("a step's socket")?;
        let mut socket = tokio::net::UnixStream::from_std(self.socket).context("a step's socket")?;
        let reports = tokio::spawn(async move {
            let mut text = String::new();
            socket.read_to_string(&mut text).await.ok();
            text.lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect()
        });
        Ok(Started {
            process: self.process,
            reports,
            cgroup: self.cgroup,
            _network: self.network,
        })
    }
}

/// A step that was started.
pub(crate) struct Started {
    /// Process 1 of the step.
    pub(crate) process: Running,
    /// All that it reports, when it has ended.
    pub(crate) reports: tokio::task::JoinHandle<Vec<Report>>,
    /// What it used, until it is dropped.
    pub(crate) cgroup: StepCgroup,
    _network: Option<Arc<StepNetwork>>,
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
            NetworkMode::Bridged => &mut self.connected,
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
        if system != self.usual {
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
