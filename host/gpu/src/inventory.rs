//! What there is, as NVIDIA's management library says.

use std::{ffi::OsStr, path::PathBuf, sync::Mutex};

use nvml_wrapper::{Nvml, error::NvmlError};

use crate::{lock, words};

/// The library's usual name; the loader knows where it is.
const USUAL: &str = "libnvidia-ml.so.1";

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The driver's number for it, from 0; another one after the next start, maybe.
    pub index: u32,
    /// As its maker calls it: `NVIDIA A100-SXM4-40GB`.
    pub name: String,
    /// What it is always called: `GPU-` and a UUID.
    pub uuid: String,
    /// Bytes of memory.
    pub memory_total: u64,
    /// Bytes that no process has, whoever it belongs to.
    pub memory_free: u64,
    /// CUDA's number for what it can do, such as `8.0`; none where the driver does not say.
    pub compute_capability: Option<String>,
    /// The driver's version.
    pub driver: String,
    /// Percent of the last moment in which it computed; none where the driver does not say.
    pub utilisation: Option<u32>,
    /// Its name in a CDI specification; without one no step can have it.
    pub cdi: Option<String>,
    /// Who of us has it.
    pub used: Use,
}

/// Who has a device, as far as it was given here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Use {
    /// Nobody.
    #[default]
    Free,
    /// One, alone.
    Exclusive,
    /// Several, or one that would share it.
    Shared {
        /// How many.
        holders: usize,
        /// Bytes of memory that they asked for together.
        memory: u64,
    },
}

/// The GPUs of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The devices, by index.
    pub devices: Vec<Device>,
    /// Why there is none.
    pub why_none: Option<String>,
    /// What else is to be known: devices that no step can have and why, what of CDI specifications is left out.
    pub notes: Vec<String>,
}

impl Device {
    /// It in a line: name, memory, compute capability, driver, how busy it is.
    pub fn describe(&self) -> String {
        let mut text = format!(
            "{}, {} of {} free",
            self.name,
            words::memory(self.memory_free),
            words::memory(self.memory_total)
        );
        if let Some(capability) = &self.compute_capability {
            text = format!("{text}, compute capability {capability}");
        }
        text = format!("{text}, driver {}", self.driver);
        if let Some(percent) = self.utilisation {
            text = format!("{text}, {percent}% busy");
        }
        match self.used {
            Use::Free => text,
            Use::Exclusive => format!("{text}, in use"),
            Use::Shared { holders, memory } => {
                format!(
                    "{text}, shared by {holders} ({} asked for)",
                    words::memory(memory)
                )
            }
        }
    }
}

/// The library, loaded when it is first asked.
pub(crate) struct Library {
    path: Option<PathBuf>,
    loaded: Mutex<Option<Nvml>>,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Library {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self {
            path,
            loaded: Mutex::default(),
        }
    }

    /// The devices. A library that is not there, or fails, has none and says why; it is asked again the next time.
    pub(crate) fn look(&self) -> Inventory {
        let mut loaded = lock(&self.loaded);
        let library = match loaded.take().map_or_else(|| self.load(), Ok) {
            Ok(library) => library,
            Err(why) => return none(why),
        };
        let (count, driver) = match library
            .device_count()
            .and_then(|count| Ok((count, library.sys_driver_version()?)))
        {
            Ok(facts) => facts,
            // Loaded anew the next time: the driver may have been exchanged.
            Err(error) => return none(format!("NVIDIA's management library does not answer: {error}")),
        };
        let mut inventory = Inventory::default();
        for index in 0..count {
            match device(&library, index, &driver) {
                Ok(device) => inventory.devices.push(device),
                Err(error) => inventory
                    .notes
                    .push(format!("the GPU of number {index} cannot be used: {error}")),
            }
        }
        if inventory.devices.is_empty() {
            inventory.why_none = Some(if count == 0 {
                format!("the NVIDIA driver {driver} has no device")
            } else {
                inventory.notes.join("; ")
            });
        }
        *loaded = Some(library);
        inventory
    }

    fn load(&self) -> Result<Nvml, String> {
        let path = self
            .path
            .as_deref()
            .map_or_else(|| OsStr::new(USUAL), |path| path.as_os_str());
        Nvml::builder().lib_path(path).init().map_err(|error| {
            let shown = path.display();
            match (&error, &self.path) {
                (NvmlError::LibloadingError(_), None) => {
                    format!("there is no NVIDIA driver: {USUAL} is not to be found")
                }
                (NvmlError::LibloadingError(error), Some(_)) => format!("{shown} cannot be loaded: {error}"),
                (NvmlError::FailedToLoadSymbol(_), _) => {
                    format!("{shown} is not NVIDIA's management library, or too old a one: {error}")
                }
                _ => format!("NVIDIA's management library ({shown}) does not start: {error}"),
            }
        })
    }
}

fn none(why: String) -> Inventory {
    Inventory {
        why_none: Some(why),
        ..Inventory::default()
    }
}

fn device(library: &Nvml, index: u32, driver: &str) -> Result<Device, NvmlError> {
    let device = library.device_by_index(index)?;
    let memory = device.memory_info()?;
    let capability = device.cuda_compute_capability().ok();
    Ok(Device {
        index,
        name: device.name()?,
        uuid: device.uuid()?,
        memory_total: memory.total,
        memory_free: memory.free,
        compute_capability: capability.map(|found| format!("{}.{}", found.major, found.minor)),
        driver: driver.to_owned(),
        utilisation: device.utilization_rates().ok().map(|rates| rates.gpu),
        cdi: None,
        used: Use::Free,
    })
}
