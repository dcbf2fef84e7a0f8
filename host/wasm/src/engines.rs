//! Where modules' calls run. Memories and stacks are used again as long as there are some left: to map them anew is half of what a
//! small call costs. How many calls there are at once nobody knows, so those beyond have memories and stacks of their own.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

use crate::{
    bindings::Everything,
    state::{HasState, State},
};

/// How often a running module gives others a turn.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of stack that a module may use.
const STACK: usize = 1024 * 1024;
/// Calls at once that use memories and stacks again.
const REUSING: u32 = 16;
/// The most that a component may have of core modules, tables and memories to be called so.
const CORES: u32 = 8;
const TABLES: u32 = 4;
const MEMORIES: u32 = 2;
/// Stacks for each call: one for its function, and some for what components do beside it.
const STACKS: u32 = 4;
/// Bytes that a memory keeps of the machine's for the next call.
const KEPT: usize = 4 << 20;

/// What answers the imports of modules.
pub(crate) type Linker = wasmtime::component::Linker<State>;

/// An engine with what answers imports there.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker,
}

/// Both kinds of engines. They take the same compiled code.
pub(crate) struct Engines {
    /// None where the kernel cannot say which pages were written to.
    reusing: Option<Host>,
    fresh: OnceLock<Host>,
    running: AtomicU32,
}

/// That one of the calls at once is running.
pub(crate) struct Turn(Arc<Engines>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Release);
    }
}

impl Engines {
    pub(crate) fn new() -> wasmtime::Result<Arc<Self>> {
        let reusing = Host::new(config().allocation_strategy(pool()));
        if let Err(error) = &reusing {
            tracing::debug!("memories of modules are not used again: {error:#}");
        }
        let engines = Self {
            reusing: reusing.ok(),
            fresh: OnceLock::new(),
            running: AtomicU32::new(0),
        };
        if engines.reusing.is_none() {
            engines.fresh()?;
        }
        let engines = Arc::new(engines);
        let ticking = Arc::downgrade(&engines);
        std::thread::spawn(move || {
            while let Some(engines) = ticking.upgrade() {
                for host in engines.reusing.iter().chain(engines.fresh.get()) {
                    host.engine.increment_epoch();
                }
                drop(engines);
                std::thread::sleep(TICK);
            }
        });
        Ok(engines)
    }

    /// The one that uses memories again.
    pub(crate) fn reusing(&self) -> Option<&Host> {
        self.reusing.as_ref()
    }

    /// The one whose calls have everything of their own.
    pub(crate) fn fresh(&self) -> wasmtime::Result<&Host> {
        if let Some(host) = self.fresh.get() {
            return Ok(host);
        }
        let host = Host::new(&mut config())?;
        Ok(self.fresh.get_or_init(|| host))
    }

    /// A turn where memories are used again, when there is one left.
    pub(crate) fn turn(self: &Arc<Self>) -> Option<Turn> {
        let one_more = |running| (running < REUSING).then_some(running + 1);
        self.running
            .try_update(Ordering::Acquire, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Turn(Arc::clone(self)))
    }
}

impl Host {
    fn new(config: &mut Config) -> wasmtime::Result<Self> {
        let engine = Engine::new(config)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Everything::add_to_linker::<_, HasState>(&mut linker, |state| state)?;
        Ok(Self { engine, linker })
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(2 * STACK)
        // Only traces of calls would read it.
        .generate_address_map(false);
    // Only debuggers would read it, and to make it known takes as long as to load the code.
    #[cfg(unix)]
    config.native_unwind_info(false);
    config
}

/// Enough for so many calls of components that are no larger than the limits. What a call has written to is cleared by the
/// pages that the kernel names; without those names, all of a memory would have to be.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(REUSING)
        .total_core_instances(REUSING * CORES)
        .total_memories(REUSING * MEMORIES)
        .total_tables(REUSING * TABLES)
        .total_stacks(REUSING * STACKS)
        .max_core_instances_per_component(CORES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT);
    pool
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::*;

    #[test]
    fn both_engines_take_the_same_compiled_code() {
        let engines = Engines::new().unwrap();
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let Some(reusing) = engines.reusing() else {
            eprintln!(
                "this kernel does not say which pages were written to (Linux 6.7 does): nothing to compare"
            );
            return;
        };
        assert_eq!(hash(&reusing.engine), hash(&engines.fresh().unwrap().engine));
    }

    #[test]
    fn turns_come_back() {
        let engines = Engines::new().unwrap();
        let turns: Vec<_> = (0..REUSING).map(|_| engines.turn().unwrap()).collect();
        assert!(engines.turn().is_none());
        drop(turns);
        assert!(engines.turn().is_some());
    }
}
