//! A module's code: loaded when the module is first called, as most calls of a module call few of those that it could.

use std::{
    borrow::Cow,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use wasmtime::{
    Engine,
    component::{Component, InstancePre},
};
use wharf_digest::Digest;

use crate::{
    engines::{Engines, Host, Turn},
    error::LoadError,
    link::Linked,
    outline::Outline,
    precompiled::Precompiled,
    state::State,
};

/// A component, and how to come by its code.
#[derive(Clone)]
pub(crate) struct Source {
    /// For messages.
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) component: Bytes,
}

/// Where a component's bytes are.
#[derive(Clone)]
pub(crate) enum Bytes {
    File(PathBuf),
    Memory(Arc<[u8]>),
}

/// Loads code, and keeps what was compiled.
#[derive(Clone)]
pub(crate) struct Loader {
    pub(crate) engines: Arc<Engines>,
    pub(crate) precompiled: Precompiled,
}

/// What a module's calls are instances of.
pub(crate) struct Code {
    loader: Loader,
    source: Source,
    /// What answers its imports of other modules.
    linked: Linked,
    component: Option<Component>,
    /// None when it needs more than there is to use again.
    reusing: OnceLock<Option<InstancePre<State>>>,
    fresh: OnceLock<InstancePre<State>>,
}

/// Code for one call.
pub(crate) struct Ready<'c> {
    pub(crate) instance: &'c InstancePre<State>,
    /// Given back when the call has ended.
    pub(crate) _turn: Option<Turn>,
}

impl Loader {
    /// A component in an engine that has room for it.
    pub(crate) fn component(&self, source: &Source) -> Result<Component, LoadError> {
        let reusing = self.engines.reusing().map(|host| self.component_in(host, source));
        match reusing {
            Some(Ok(component)) => Ok(component),
            _ => self.component_in(self.fresh()?, source),
        }
    }

    /// What is known of a component without its code, when it was loaded before.
    pub(crate) fn outline(&self, digest: Digest) -> Result<Option<Outline>, LoadError> {
        let host = self.first()?;
        Ok(self.precompiled.outline(&host.engine, digest))
    }

    pub(crate) fn keep_outline(&self, digest: Digest, outline: &Outline) -> Result<(), LoadError> {
        let host = self.first()?;
        self.precompiled.keep_outline(&host.engine, digest, outline);
        Ok(())
    }

    /// The engine that is tried first.
    fn first(&self) -> Result<&Host, LoadError> {
        self.engines.reusing().map_or_else(|| self.fresh(), Ok)
    }

    fn component_in(&self, host: &Host, source: &Source) -> Result<Component, LoadError> {
        if let Some(component) = self.precompiled.find(&host.engine, source.digest) {
            return Ok(component);
        }
        let bytes = source.bytes()?;
        check_kind(&bytes, &source.name)?;
        let compiled = self.precompiled.make(&host.engine, &bytes, source.digest);
        compiled.map_err(|error| {
            not_a_module(
                &source.name,
                format!(
                    "it does not hold together ({}): it may be cut off, build or fetch it again",
                    error.root_cause()
                ),
            )
        })
    }

    fn fresh(&self) -> Result<&Host, LoadError> {
        let fresh = self.engines.fresh();
        fresh.map_err(|error| LoadError::Runtime(error.to_string()))
    }
}

impl Source {
    fn bytes(&self) -> Result<Arc<[u8]>, LoadError> {
        let path = match &self.component {
            Bytes::Memory(bytes) => return Ok(Arc::clone(bytes)),
            Bytes::File(path) => path,
        };
        let path = || path.clone();
        let bytes = std::fs::read(path()).map_err(|source| LoadError::Read { path: path(), source })?;
        if Digest::of(&bytes) != self.digest {
            return Err(LoadError::Changed { path: path() });
        }
        Ok(bytes.into())
    }
}

impl Code {
    /// `component` is what was loaded already, if it was.
    pub(crate) fn new(loader: &Loader, source: Source, linked: Linked, component: Option<Component>) -> Self {
        Self {
            loader: loader.clone(),
            source,
            linked,
            component,
            reusing: OnceLock::new(),
            fresh: OnceLock::new(),
        }
    }

    /// Loads it, unless it was.
    pub(crate) fn load(&self) -> Result<(), LoadError> {
        let Some(host) = self.loader.engines.reusing() else {
            return self.fresh().map(|_| ());
        };
        if self.reusing.get().is_some() {
            return Ok(());
        }
        let instance = self.instance(host);
        if instance.is_err() {
            // What is wrong with it is wrong there, too; unless it is its size.
            self.fresh()?;
        }
        self.reusing.get_or_init(|| instance.ok());
        Ok(())
    }

    /// What a call is an instance of: where memories are used again, when there is room.
    pub(crate) fn ready(&self) -> Result<Ready<'_>, LoadError> {
        self.load()?;
        if let Some(Some(instance)) = self.reusing.get()
            && let Some(turn) = self.loader.engines.turn()
        {
            return Ok(Ready {
                instance,
                _turn: Some(turn),
            });
        }
        Ok(Ready {
            instance: self.fresh()?,
            _turn: None,
        })
    }

    fn fresh(&self) -> Result<&InstancePre<State>, LoadError> {
        if let Some(instance) = self.fresh.get() {
            return Ok(instance);
        }
        let instance = self.instance(self.loader.fresh()?)?;
        Ok(self.fresh.get_or_init(|| instance))
    }

    fn instance(&self, host: &Host) -> Result<InstancePre<State>, LoadError> {
        let of_host = |component: &&Component| Engine::same(component.engine(), &host.engine);
        let component = match self.component.as_ref().filter(of_host) {
            Some(component) => component.clone(),
            None => self.loader.component_in(host, &self.source)?,
        };
        let mut linker = Cow::Borrowed(&host.linker);
        if !self.linked.is_empty() {
            self.linked.define(linker.to_mut(), &self.source.name)?;
        }
        linker.instantiate_pre(&component).map_err(|error| {
            let why = format!("its imports do not fit this host: {}", error.root_cause());
            not_a_module(&self.source.name, why)
        })
    }
}

pub(crate) fn not_a_module(name: &str, why: String) -> LoadError {
    LoadError::NotAModule {
        name: name.to_owned(),
        why,
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
    Err(not_a_module(name, why.to_owned()))
}
