//! What a call may use, and the meter that holds it to that.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use wasmtime::ResourceLimiter;

use crate::state::Pipeline;

/// Elements of all tables together.
const TABLE_ELEMENTS: usize = 1_000_000;
/// Instances of core modules, memories and tables of one call.
const PARTS: usize = 64;

/// What a call may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of memory: of the module itself, and once more of what it describes.
    pub memory: usize,
    /// Handles at once.
    pub handles: usize,
    /// Time.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 1 << 30,
            handles: 200_000,
            time: Duration::from_secs(3600),
        }
    }
}

/// Does work until its time is over; none when it is. The user's own time at terminals of the run does not count.
pub(crate) async fn until<T>(
    deadline: Instant,
    pipeline: &dyn Pipeline,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    let mut end = deadline;
    loop {
        if let Ok(done) = tokio::time::timeout_at(end.into(), &mut work).await {
            return Some(done);
        }
        end = deadline + pipeline.time_at_terminal();
        if end <= Instant::now() {
            return None;
        }
    }
}

/// What a call describes has no room left.
#[derive(Debug, thiserror::Error)]
#[error("it described more than {} of files, arguments and texts", size(*.0))]
pub(crate) struct TooMuchDescribed(usize);

/// Counts what a call uses, over all memories and tables of its instances.
#[derive(Debug)]
pub(crate) struct Meter {
    limit: usize,
    memory: usize,
    described: usize,
    elements: usize,
    /// Was memory asked for that was not given?
    refused: bool,
}

impl Meter {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            memory: 0,
            described: 0,
            elements: 0,
            refused: false,
        }
    }

    /// Counts bytes that the host keeps on the module's behalf. They are not given back: nodes outlive their handles.
    pub(crate) fn describe(&mut self, bytes: usize) -> Result<(), TooMuchDescribed> {
        self.described = self.described.saturating_add(bytes);
        if self.described > self.limit {
            return Err(TooMuchDescribed(self.limit));
        }
        Ok(())
    }

    /// The limit of memory, when the call ran into it.
    pub(crate) fn memory_refused(&self) -> Option<usize> {
        self.refused.then_some(self.limit)
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.memory.saturating_add(desired.saturating_sub(current));
        let given = wanted <= self.limit;
        if given {
            self.memory = wanted;
        } else {
            self.refused = true;
        }
        Ok(given)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.elements.saturating_add(desired.saturating_sub(current));
        let given = wanted <= TABLE_ELEMENTS;
        if given {
            self.elements = wanted;
        }
        Ok(given)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }
}

/// Bytes as people say them.
pub(crate) fn size(bytes: usize) -> String {
    const KIB: usize = 1024;
    match bytes {
        _ if bytes >= KIB * KIB * KIB && bytes.is_multiple_of(KIB * KIB * KIB) => {
            format!("{} GiB", bytes / (KIB * KIB * KIB))
        }
        _ if bytes >= KIB * KIB => format!("{} MiB", bytes / (KIB * KIB)),
        _ => format!("{} KiB", bytes.div_ceil(KIB)),
    }
}
