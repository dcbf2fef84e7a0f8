//! What is asked for, and why it is not given.

use std::fmt;

use crate::words;

/// Who else may have a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Nobody.
    #[default]
    Exclusive,
    /// Others that share it, as long as the memory that all of them asked for fits.
    Shared,
}

/// What happens when devices that would do are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenBusy {
    /// They are waited for.
    #[default]
    Wait,
    /// The request fails.
    Fail,
}

/// A request for GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// How many, 1 at least.
    pub count: u32,
    /// Bytes of memory that each has at least. Of a shared one, so much is counted as taken.
    pub minimum_memory: u64,
    /// Who else may have them.
    pub sharing: Sharing,
    /// What happens when they are in use.
    pub when_busy: WhenBusy,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&words::gpus(self.count as usize))?;
        if self.minimum_memory > 0 {
            let each = if self.count == 1 { "" } else { " each" };
            write!(
                f,
                " with at least {} of memory{each}",
                words::memory(self.minimum_memory)
            )?;
        }
        Ok(())
    }
}

/// Why no GPU was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Nobody can ever have what was asked for; says what there is.
    #[error("{0}")]
    Never(String),
    /// Somebody else has it, and the request was not to wait.
    #[error("{0}")]
    Busy(String),
    /// How a device is got at cannot be made out.
    #[error("a CDI specification: {0}")]
    Cdi(String),
    /// The driver was asked and the answer never came.
    #[error("NVIDIA's management library broke off: {0}")]
    Driver(String),
}
