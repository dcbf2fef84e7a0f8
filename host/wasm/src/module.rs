//! Loading modules.

use std::{path::Path, sync::Arc, time::Duration};

use wasmtime::{
    Config, Engine,
    component::{Component, InstancePre},
};
use wharf_digest::Digest;
use wharf_manifest::{Composition, ModuleName, Part};

use crate::{
    bindings::Everything,
    error::LoadError,
    link::{self, Link},
    precompiled::Precompiled,
    reflect::{self, Capability, Docs, Function},
    state::{HasState, State},
};

/// How often a running module gives others a turn.
const TICK: Duration = Duration::from_millis(10);
/// As many components one thread has loaded before another has started.
const FEW: usize = 4;
/// Bytes of stack that a module may use.
const STACK: usize = 1024 * 1024;

/// What answers the imports of modules.
pub(crate) type Linker = wasmtime::component::Linker<State>;

/// Loads components and keeps their compiled code.
pub struct Runtime {
    engine: Engine,
    linker: Linker,
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

    /// Loads a module with all that it calls, and returns it.
    pub fn load(&self, composition: &Composition) -> Result<Arc<Module>, LoadError> {
        let parts = composition.parts();
        let mut components: Vec<_> = self.components(parts).into_iter().map(Some).collect();
        let mut loaded: Vec<Option<Arc<Module>>> = vec![None; parts.len()];
        for at in composition.order() {
            let part = &parts[at];
            let links = part.edges.iter().filter_map(|edge| {
                let called = &parts[edge.to];
                Some(Link {
                    name: edge.name.clone(),
                    module: loaded[edge.to].clone()?,
                    scope: called.origin.scope(),
                    asks: called.asks.clone(),
                    grants: edge.grants.clone(),
                    explicit: edge.explicit.clone(),
                })
            });
            let links: Vec<_> = links.collect();
            let said = Said {
                docs: reflect::docs(&part.docs),
                digest: part.digest,
                size: part.size,
            };
            let component = components[at].take().expect("each part is loaded once")?;
            loaded[at] = Some(self.load_linked(&component, said, &part.name, &links)?);
        }
        loaded
            .swap_remove(0)
            .ok_or_else(|| LoadError::Runtime("there is no module to load".to_owned()))
    }

    /// Loads a component that calls no other; `name` is for messages.
    pub fn load_bytes(&self, bytes: &[u8], name: &str) -> Result<Arc<Module>, LoadError> {
        let digest = Digest::of(bytes);
        let component = match self.precompiled.find(&self.engine, digest) {
            Some(component) => component,
            None => self.compile(bytes, digest, name)?,
        };
        let said = Said {
            docs: reflect::docs_in(bytes),
            digest,
            size: bytes.len() as u64,
        };
        self.load_linked(&component, said, name, &[])
    }

    /// The components of all parts, in their order; of many on all processors.
    fn components(&self, parts: &[Part]) -> Vec<Result<Component, LoadError>> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let each = parts.len().div_ceil(processors).max(FEW);
        std::thread::scope(|scope| {
            let mut slices = parts.chunks(each);
            let own = slices.next().unwrap_or_default();
            let load = |parts: &[Part]| parts.iter().map(|part| self.component(part)).collect::<Vec<_>>();
            let others: Vec<_> = slices.map(|parts| scope.spawn(move || load(parts))).collect();
            let mut all = load(own);
            for other in others {
                all.extend(other.join().expect("loading does not panic"));
            }
            all
        })
    }

    /// The component of a part: its file is read when its code is not kept.
    fn component(&self, part: &Part) -> Result<Component, LoadError> {
        if let Some(component) = self.precompiled.find(&self.engine, part.digest) {
            return Ok(component);
        }
        let path = || part.component.clone();
        let bytes =
            std::fs::read(&part.component).map_err(|source| LoadError::Read { path: path(), source })?;
        if Digest::of(&bytes) != part.digest {
            return Err(LoadError::Changed { path: path() });
        }
        self.compile(&bytes, part.digest, &part.name)
    }

    fn compile(&self, bytes: &[u8], digest: Digest, name: &str) -> Result<Component, LoadError> {
        check_kind(bytes, name)?;
        let compiled = self.precompiled.make(&self.engine, bytes, digest);
        compiled.map_err(|error| LoadError::NotAModule {
            name: name.to_owned(),
            why: format!(
                "it does not hold together ({}): it may be cut off, build or fetch it again",
                error.root_cause()
            ),
        })
    }

    fn load_linked(
        &self,
        component: &Component,
        said: Said,
        name: &str,
        links: &[Link],
    ) -> Result<Arc<Module>, LoadError> {
        let not_a_module = |why: String| LoadError::NotAModule {
            name: name.to_owned(),
            why,
        };
        let Said { docs, digest, size } = said;
        self.check_imports(component, name, links)?;
        let functions = reflect::functions(&self.engine, component, &docs);
        if functions.is_empty() {
            return Err(not_a_module(
                "it exports no function that could be called".to_owned(),
            ));
        }
        let linked = if links.is_empty() {
            None
        } else {
            let mut linker = self.linker.clone();
            link::add(&mut linker, &self.engine, component, name, links)?;
            Some(linker)
        };
        let linker = linked.as_ref().unwrap_or(&self.linker);
        let instance = linker.instantiate_pre(component).map_err(|error| {
            not_a_module(format!(
                "its imports do not fit this host: {}",
                error.root_cause()
            ))
        })?;
        Ok(Arc::new(Module {
            engine: self.engine.clone(),
            instance,
            name: own_name(&docs).unwrap_or(name).to_owned(),
            capabilities: reflect::capabilities(&self.engine, component),
            functions,
            docs,
            digest,
            size,
        }))
    }

    fn check_imports(&self, component: &Component, name: &str, links: &[Link]) -> Result<(), LoadError> {
        for (import, _) in component.component_type().imports(&self.engine) {
            let package = link::package(import);
            let known = import.starts_with(reflect::PACKAGE)
                || (import.starts_with("wasi:") && import.contains("@0.2."))
                || links.iter().any(|link| link.name.to_string() == package);
            if known {
                continue;
            }
            let (name, import) = (name.to_owned(), import.to_owned());
            return Err(match package.parse::<ModuleName>() {
                Ok(package) if !["wasi", "wharf"].contains(&package.namespace()) => LoadError::NoDependency {
                    name,
                    import,
                    package: package.to_string(),
                },
                _ => LoadError::UnknownImport { name, import },
            });
        }
        Ok(())
    }
}

/// The name that a component's author gives it, when they do.
fn own_name(docs: &Docs) -> Option<&str> {
    Some(docs.module.name.as_str()).filter(|name| !name.is_empty())
}

/// What is known of a component beside its code.
struct Said {
    docs: Docs,
    digest: Digest,
    size: u64,
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
