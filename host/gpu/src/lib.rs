//! GPUs of this machine: what there is, who has which, and how a step gets at those that it has.
//!
//! What there is says NVIDIA's management library, which is loaded when it is first needed; where there is none, there are no
//! GPUs, and nothing else changes. How a process gets at a device says a specification of the Container Device Interface
//! ([`cdi`]). Who has which is settled here: two steps never have one device, unless both said that they share it
//! ([`Request`]). Nothing here knows of steps, graphs or containers.

pub mod cdi;
mod inventory;
mod lease;
mod request;
mod words;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cdi::Specifications;
pub use cdi::{Edits, Mount, Node, NodeKind};
use inventory::Library;
pub use inventory::{Device, Inventory, Use};
pub use lease::Lease;
use lease::{Known, Leases};
pub use request::{LeaseError, Request, Sharing, WhenBusy};

/// Where GPUs and what is said of them are found.
#[derive(Clone, Debug, Default)]
pub struct GpuOptions {
    /// NVIDIA's management library; `libnvidia-ml.so.1`, wherever the loader finds it, when there is none.
    pub library: Option<PathBuf>,
    /// Directories with CDI specifications, the strongest last; [`cdi::DIRECTORIES`] when there is none.
    pub cdi_directories: Vec<PathBuf>,
}

/// The GPUs of this machine and who has them.
#[derive(Debug)]
pub struct Gpus {
    library: Library,
    cdi_directories: Vec<PathBuf>,
    leases: Arc<Leases>,
}

/// GPUs that somebody has, and what a process needs to get at them.
#[derive(Debug)]
pub struct Granted {
    /// They are given back when this is dropped.
    pub lease: Lease,
    /// How they are got at.
    pub edits: Edits,
}

impl Gpus {
    /// Looks at nothing yet.
    pub fn new(options: GpuOptions) -> Arc<Self> {
        let cdi_directories = if options.cdi_directories.is_empty() {
            cdi::DIRECTORIES.map(PathBuf::from).into()
        } else {
            options.cdi_directories
        };
        Arc::new(Self {
            library: Library::new(options.library),
            cdi_directories,
            leases: Arc::default(),
        })
    }

    /// What there is now, with who has what. Asks the driver, which may take a moment.
    pub fn look(&self) -> Inventory {
        let mut inventory = self.library.look();
        let specifications = Specifications::read(&self.cdi_directories);
        inventory.notes.extend(specifications.notes().iter().cloned());
        for device in &mut inventory.devices {
            match specifications.device_of(&device.uuid, device.index) {
                Some(named) => device.cdi = Some(named.to_string()),
                None => inventory.notes.push(format!(
                    "{} ({}) is in no CDI specification, so that no step can have it: `nvidia-ctk cdi generate \
                     --output=/etc/cdi/nvidia.yaml` writes one",
                    device.name, device.uuid
                )),
            }
        }
        inventory.notes.sort();
        inventory.notes.dedup();
        self.leases.know(known(&inventory), inventory.why_none.as_deref());
        for device in &mut inventory.devices {
            device.used = self.leases.used(&device.uuid);
        }
        inventory
    }

    /// Nothing when these GPUs could be had at once, were nobody else here; what there is otherwise.
    pub async fn check(self: &Arc<Self>, requests: &[Request]) -> Result<(), LeaseError> {
        self.look_apart().await?;
        self.leases.check(requests)
    }

    /// Takes GPUs: at once, or when those who came before have had theirs, as the request says. A request that nothing here
    /// can ever satisfy fails at once. Dropping the future gives up the place in the line.
    pub async fn lease(self: &Arc<Self>, request: Request) -> Result<Granted, LeaseError> {
        self.look_apart().await?;
        let lease = self.leases.acquire(request).await?;
        // Read again: it may have been a long wait.
        let (gpus, devices) = (Arc::clone(self), lease.devices().to_vec());
        let edits = apart(move || gpus.edits(&devices)).await??;
        Ok(Granted { lease, edits })
    }

    fn edits(&self, devices: &[(String, u32)]) -> Result<Edits, LeaseError> {
        let specifications = Specifications::read(&self.cdi_directories);
        let named = devices.iter().map(|(uuid, index)| {
            let gone = || LeaseError::Cdi(format!("the GPU {uuid} is in no CDI specification any more"));
            specifications.device_of(uuid, *index).ok_or_else(gone)
        });
        let named = named.collect::<Result<Vec<_>, _>>()?;
        let edits = specifications.edits(&named);
        edits.map_err(|error| LeaseError::Cdi(error.to_string()))
    }

    async fn look_apart(self: &Arc<Self>) -> Result<(), LeaseError> {
        let gpus = Arc::clone(self);
        apart(move || drop(gpus.look())).await
    }
}

/// Does what may block where it holds nobody up.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LeaseError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| LeaseError::Driver(error.to_string()))
}

/// The devices that can be had.
fn known(inventory: &Inventory) -> BTreeMap<String, Known> {
    let usable = inventory.devices.iter().filter(|device| device.cdi.is_some());
    let known = usable.map(|device| {
        let known = Known {
            index: device.index,
            name: device.name.clone(),
            memory: device.memory_total,
        };
        (device.uuid.clone(), known)
    });
    known.collect()
}

/// A lock that a panic elsewhere does not spoil: what these guard is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
