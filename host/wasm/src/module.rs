//! Loading modules.

use std::{path::Path, sync::Arc};

use wasmtime::component::Component;
use wharf_digest::Digest;
use wharf_manifest::{Composition, ModuleName, Part};

use crate::{
    code::{Bytes, Code, Loader, Source, not_a_module},
    engines::Engines,
    error::LoadError,
    link::{self, Link},
    outline::{self, Outline},
    precompiled::Precompiled,
    reflect::{self, Capability, Docs, Function},
};

/// As many components one thread has loaded before another has started.
const FEW: usize = 16;

/// Loads components and keeps their compiled code.
pub struct Runtime {
    loader: Loader,
}

/// A module that is loaded, or at hand to be loaded when it is called.
pub struct Module {
    pub(crate) code: Code,
    pub(crate) name: String,
    functions: Vec<Function>,
    capabilities: Vec<Capability>,
    docs: Docs,
    digest: Digest,
    size: u64,
}

/// What is known of a component, and the component itself when it had to be loaded for that.
type Outlined = (Outline, Option<Component>);

impl Runtime {
    /// A runtime that keeps compiled code in `cache`.
    pub fn new(cache: &Path) -> Result<Self, LoadError> {
        let engines = Engines::new().map_err(|error| LoadError::Runtime(error.to_string()))?;
        let precompiled = Precompiled::new(cache);
        Ok(Self {
            loader: Loader { engines, precompiled },
        })
    }

    /// Loads a module and returns it. All that it calls is there and fits, and is loaded when it is called.
    pub fn load(&self, composition: &Composition) -> Result<Arc<Module>, LoadError> {
        let parts = composition.parts();
        let mut outlined: Vec<_> = self.outlines(parts).into_iter().map(Some).collect();
        let mut found: Vec<Option<Arc<Module>>> = vec![None; parts.len()];
        for at in composition.order() {
            let part = &parts[at];
            let links = part.edges.iter().filter_map(|edge| {
                let called = &parts[edge.to];
                Some(Link {
                    name: edge.name.clone(),
                    module: found[edge.to].clone()?,
                    scope: called.origin.scope(),
                    asks: called.asks.clone(),
                    grants: edge.grants.clone(),
                    explicit: edge.explicit.clone(),
                })
            });
            let links: Vec<_> = links.collect();
            let said = Said {
                docs: reflect::docs(&part.docs),
                size: part.size,
            };
            let outlined = outlined[at].take().expect("each part is looked at once")?;
            found[at] = Some(Arc::new(self.module(source(part), outlined, said, &links)?));
        }
        let root = found
            .swap_remove(0)
            .ok_or_else(|| LoadError::Runtime("there is no module to load".to_owned()))?;
        root.code.load()?;
        Ok(root)
    }

    /// Loads a component that calls no other; `name` is for messages.
    pub fn load_bytes(&self, bytes: &[u8], name: &str) -> Result<Arc<Module>, LoadError> {
        let source = Source {
            name: name.to_owned(),
            digest: Digest::of(bytes),
            component: Bytes::Memory(bytes.into()),
        };
        let said = Said {
            docs: reflect::docs_in(bytes),
            size: bytes.len() as u64,
        };
        let outlined = self.outline(&source)?;
        let module = self.module(source, outlined, said, &[])?;
        module.code.load()?;
        Ok(Arc::new(module))
    }

    /// What is known of all parts, in their order; of many on all processors.
    fn outlines(&self, parts: &[Part]) -> Vec<Result<Outlined, LoadError>> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let each = parts.len().div_ceil(processors).max(FEW);
        std::thread::scope(|scope| {
            let mut slices = parts.chunks(each);
            let own = slices.next().unwrap_or_default();
            let look = |parts: &[Part]| {
                let outlines = parts.iter().map(|part| self.outline(&source(part)));
                outlines.collect::<Vec<_>>()
            };
            let others: Vec<_> = slices.map(|parts| scope.spawn(move || look(parts))).collect();
            let mut all = look(own);
            for other in others {
                all.extend(other.join().expect("loading does not panic"));
            }
            all
        })
    }

    /// What is known of a component: from when it was loaded last, or it is loaded now.
    fn outline(&self, source: &Source) -> Result<Outlined, LoadError> {
        let loader = &self.loader;
        if let Some(outline) = loader.outline(source.digest)? {
            return Ok((outline, None));
        }
        let component = loader.component(source)?;
        let outline = Outline::of(component.engine(), &component);
        loader.keep_outline(source.digest, &outline)?;
        Ok((outline, Some(component)))
    }

    fn module(
        &self,
        source: Source,
        (outline, component): Outlined,
        said: Said,
        links: &[Link],
    ) -> Result<Module, LoadError> {
        let Said { docs, size } = said;
        check_imports(&outline, &source.name, links)?;
        let functions = reflect::functions(&outline, &docs);
        if functions.is_empty() {
            let why = "it exports no function that could be called".to_owned();
            return Err(not_a_module(&source.name, why));
        }
        let linked = link::link(&outline, &source.name, links)?;
        let imports = outline.imports.iter().map(|import| import.name.as_str());
        Ok(Module {
            name: own_name(&docs).unwrap_or(&source.name).to_owned(),
            capabilities: reflect::capabilities_of(imports),
            functions,
            docs,
            digest: source.digest,
            size,
            code: Code::new(&self.loader, source, linked, component),
        })
    }
}

fn source(part: &Part) -> Source {
    Source {
        name: part.name.clone(),
        digest: part.digest,
        component: Bytes::File(part.component.clone()),
    }
}

fn check_imports(outline: &Outline, name: &str, links: &[Link]) -> Result<(), LoadError> {
    for import in outline.imports.iter().map(|import| &import.name) {
        let package = link::package(import);
        if outline::is_of_host(import) || links.iter().any(|link| link.name.to_string() == package) {
            continue;
        }
        let (name, import) = (name.to_owned(), import.clone());
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

/// The name that a component's author gives it, when they do.
fn own_name(docs: &Docs) -> Option<&str> {
    Some(docs.module.name.as_str()).filter(|name| !name.is_empty())
}

/// What is known of a component beside its outline.
struct Said {
    docs: Docs,
    size: u64,
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
