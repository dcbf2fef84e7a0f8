//! GPUs: what steps ask for, and what an engine has.

use serde::{Deserialize, Serialize};

/// Who else may have a step's GPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GpuSharing {
    /// Nobody.
    #[default]
    Exclusive,
    /// Steps that share them, too, as long as the memory that all asked for fits.
    Shared,
}

/// What a step does when GPUs that would do are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WhenBusy {
    /// It waits.
    #[default]
    Wait,
    /// It fails.
    Fail,
}

/// The GPUs that a step has while it runs. Only how many there are is in its key: that is what it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GpuRequest {
    /// How many.
    pub count: u32,
    /// Bytes of memory that each has at least.
    pub minimum_memory: u64,
    /// Who else may have them.
    pub sharing: GpuSharing,
    /// What the step does when they are in use.
    pub when_busy: WhenBusy,
}

impl Default for GpuRequest {
    /// One for the step alone, of whatever memory, waited for.
    fn default() -> Self {
        Self {
            count: 1,
            minimum_memory: 0,
            sharing: GpuSharing::default(),
            when_busy: WhenBusy::default(),
        }
    }
}

/// A GPU of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    /// As its maker calls it.
    pub name: String,
    /// What it is always called.
    pub uuid: String,
    /// Bytes of memory.
    pub memory_total: u64,
    /// Bytes that no process has.
    pub memory_free: u64,
    /// CUDA's number for what it can do, such as `8.0`.
    pub compute_capability: Option<String>,
    /// The driver's version.
    pub driver: String,
    /// Percent of the last moment in which it computed.
    pub utilisation: Option<u32>,
    /// No step has it.
    pub is_free: bool,
    /// Steps can have it.
    pub is_usable: bool,
}

/// An engine that the user's configuration names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name there.
    pub name: String,
    /// Its labels there.
    pub labels: Vec<String>,
    /// Its GPUs.
    pub devices: Vec<Gpu>,
    /// Why it did not answer.
    pub why_not: Option<String>,
}
