//! Loading modules.

use std::{path::Path, sync::Arc, time::Duration};

use wasmtime::{
    Config, Engine,
    component::{Component, InstancePre, Linker},
};
use wharf_digest::Digest;

use crate::{
    bindings::Everything,
    error::LoadError,
    precompiled::Precompiled,
    reflect::{self, Capability, Docs, Function},
    state::{HasState, State},
};

/// How often a running module gives others a turn.
const TICK: Duration = Duration::from_millis(10);
/// Bytes of stack that a module may use.
const STACK: usize = 1024 * 1024;

/// Loads components and keeps their compiled code.
pub struct Runtime {
    engine: Engine,
    linker: Linker<State>,
    precompiled: Precompiled,
}

/// A module that is loaded.
pub struct Module {
    pub(crate) engine: Engine,
    pub(crate) instance: InstancePre<State>,
    pub(crate) name: String,
    functions: Vec<Function>,
    capabilities: Vec<Capability>,
    docs: Docs,
    digest: Digest,
    size: u64,
}

impl Runtime {
    /// A runtime that keeps compiled code in `cache`.
    pub fn new(cache: &Path) -> Result<Self, LoadError> {
        let failed = |error: wasmtime::Error| LoadError::Runtime(error.to_string());
        let mut config = Config::new();
        config.wasm_component_model(true).wasm_component_model_async(true);
        config
            .epoch_interruption(true)
            .max_wasm_stack(STACK)
            .async_stack_size(2 * STACK);
        // Only debuggers would read it, and to make it known takes as long as to load the code.
        #[cfg(unix)]
        config.native_unwind_info(false);
        let engine = Engine::new(&config).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).map_err(failed)?;
        Everything::add_to_linker::<_, HasState>(&mut linker, |state| state).map_err(failed)?;
        let ticking = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticking.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(TICK);
            }
        });
        Ok(Self {
            engine,
            linker,
            precompiled: Precompiled::new(cache),
        })
    }

    /// Loads a component from a file.
    pub fn load(&self, path: &Path) -> Result<Arc<Module>, LoadError> {
        let bytes = std::fs::read(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        self.load_bytes(&bytes, &path.display().to_string())
    }

    /// Loads a component; `name` is for messages.
    pub fn load_bytes(&self, bytes: &[u8], name: &str) -> Result<Arc<Module>, LoadError> {
        check_kind(bytes, name)?;
        let not_a_module = |why: String| LoadError::NotAModule {
            name: name.to_owned(),
            why,
        };
        let component = self.precompiled.component(&self.engine, bytes).map_err(|error| {
            not_a_module(format!(
                "it does not hold together ({}): it may be cut off, build or fetch it again",
                error.root_cause()
            ))
        })?;
        self.check_imports(&component, name)?;
        let docs = reflect::docs(bytes);
        let functions = reflect::functions(&self.engine, &component, &docs);
        if functions.is_empty() {
            return Err(not_a_module(
                "it exports no function that could be called".to_owned(),
            ));
        }
        let instance = self.linker.instantiate_pre(&component).map_err(|error| {
            not_a_module(format!(
                "its imports do not fit this host: {}",
                error.root_cause()
            ))
        })?;
        Ok(Arc::new(Module {
            engine: self.engine.clone(),
            instance,
            name: if docs.module.name.is_empty() {
                name.to_owned()
            } else {
                docs.module.name.clone()
            },
            capabilities: reflect::capabilities(&self.engine, &component),
            functions,
            docs,
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        }))
    }

    fn check_imports(&self, component: &Component, name: &str) -> Result<(), LoadError> {
        for (import, _) in component.component_type().imports(&self.engine) {
            let known = import.starts_with(reflect::PACKAGE)
                || (import.starts_with("wasi:") && import.contains("@0.2."));
            if !known {
                return Err(LoadError::UnknownImport {
                    name: name.to_owned(),
                    import: import.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// Tells components from what is often mistaken for one.
fn check_kind(bytes: &[u8], name: &str) -> Result<(), LoadError> {
    let why = match bytes.get(..8) {
        Some(start) if start.starts_with(b"\0asm") && start[6] == 1 => return Ok(()),
        Some(start) if start.starts_with(b"\0asm") => {
            "it is a core WebAssembly module, not a component: build it with `wharf build`"
        }
        Some(_) => "it is not WebAssembly",
        None => "it is cut off: build or fetch it again",
    };
    Err(LoadError::NotAModule {
        name: name.to_owned(),
        why: why.to_owned(),
    })
}

impl Module {
    /// Its functions.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// What its imports let it do.
    pub fn capabilities(&self) -> &[Capability] {
        &self.capabilities
    }

    /// Its own name, or the file's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version, when it says one.
    pub fn version(&self) -> Option<&str> {
        Some(self.docs.module.version.as_str()).filter(|version| !version.is_empty())
    }

    /// What its author says of it.
    pub fn docs(&self) -> &str {
        &self.docs.module.docs
    }

    /// Digest of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        self.size
    }
}
