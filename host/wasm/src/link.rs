//! Composition: imports that another module answers. Each call runs in a store of its own, with rights of its own, and the
//! host carries the values: what one module calls `acme:b/functions` is a function of the host's, that calls acme:b.

use std::sync::Arc;

use wasmtime::{
    AsContextMut,
    component::{LinkerInstance, Val},
};
use wharf_graph::Error;
use wharf_manifest::{ModuleName, Rights};

use crate::{
    call::Outcome,
    cross,
    engines::Linker,
    error::LoadError,
    fit::{Answer, answer_of},
    interface,
    marshal::{lift, lower},
    module::Module,
    outline::Outline,
    reflect::{self, Function},
    state::State,
    value::Value,
};

/// How many modules can call each other in a row.
const DEPTH: usize = 32;

/// A module that another one calls, and what it may do then.
#[derive(Clone)]
pub(crate) struct Link {
    /// The name under which it is imported.
    pub(crate) name: ModuleName,
    pub(crate) module: Arc<Module>,
    /// Who its caches and secrets belong to.
    pub(crate) scope: String,
    /// What it asks for.
    pub(crate) asks: Rights,
    /// What the caller's manifest grants.
    pub(crate) grants: Rights,
    /// What the root's manifest grants.
    pub(crate) explicit: Rights,
}

/// The package of an import: `acme:b` of `acme:b/functions@0.1.0`.
pub(crate) fn package(import: &str) -> &str {
    import.split('/').next().unwrap_or(import)
}

/// An interface's own name: `functions` of `acme:b/functions@0.1.0`.
fn interface_name(import: &str) -> &str {
    let name = import.rsplit('/').next().unwrap_or(import);
    name.split('@').next().unwrap_or(name)
}

/// The functions of other modules that a component imports, by the imports that hold them.
pub(crate) struct Linked(Vec<(String, Vec<LinkedFunction>)>);

struct LinkedFunction {
    name: String,
    is_async: bool,
    forward: Arc<Forward>,
}

/// Finds what a component imports in the modules that it calls. What does not fit is an error that names both.
pub(crate) fn link(outline: &Outline, name: &str, links: &[Link]) -> Result<Linked, LoadError> {
    let mut all = Vec::new();
    for import in &outline.imports {
        let called = package(&import.name);
        let Some(link) = links.iter().find(|link| link.name.to_string() == called) else {
            continue;
        };
        let unfit = |what: String| LoadError::Unfit {
            name: name.to_owned(),
            import: import.name.clone(),
            what,
        };
        let functions = import.functions.iter().map(|wanted| {
            let callee = callee(link, &import.name, &wanted.name)
                .ok_or_else(|| unfit(format!("{} has no function {} there", link.name, wanted.name)))?;
            let forward = Forward::new(link, callee, reflect::imported(wanted)).map_err(unfit)?;
            Ok(LinkedFunction {
                name: wanted.name.clone(),
                is_async: wanted.is_async,
                forward,
            })
        });
        all.push((import.name.clone(), functions.collect::<Result<_, _>>()?));
        if let Some(resource) = &import.resource {
            return Err(unfit(format!(
                "it has a resource of its own, {resource}, which cannot cross"
            )));
        }
    }
    Ok(Linked(all))
}

impl Linked {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Answers the imports.
    pub(crate) fn define(&self, linker: &mut Linker, name: &str) -> Result<(), LoadError> {
        for (import, functions) in &self.0 {
            let broken = |error: wasmtime::Error| LoadError::Unfit {
                name: name.to_owned(),
                import: import.clone(),
                what: error.to_string(),
            };
            let mut linked = linker.instance(import).map_err(broken)?;
            for function in functions {
                let forward = Arc::clone(&function.forward);
                let defined = forward.define(&mut linked, &function.name, function.is_async);
                defined.map_err(broken)?;
            }
        }
        Ok(())
    }
}

/// The function of a module that answers an import. Functions of the component itself are those of `functions`.
fn callee<'m>(link: &'m Link, import: &str, name: &str) -> Option<&'m Function> {
    let wanted = interface_name(import);
    let functions = link
        .module
        .functions()
        .iter()
        .filter(|function| function.name == name);
    let in_interface = |function: &&Function| match &function.interface {
        Some(interface) => interface_name(interface) == wanted,
        None => wanted == "functions",
    };
    functions
        .filter(in_interface)
        .max_by_key(|function| function.interface.is_some())
}

/// One function of another module.
struct Forward {
    link: Link,
    /// The function as the other module has it.
    callee: Function,
    /// The function as this module imports it.
    wanted: Function,
    answer: Answer,
}

impl Forward {
    fn new(link: &Link, callee: &Function, wanted: Function) -> Result<Arc<Self>, String> {
        let answer = answer_of(callee, &wanted).map_err(|why| {
            format!(
                "{} of {} {why}: build this module again, or choose another version of it",
                callee.name, link.name
            )
        })?;
        Ok(Arc::new(Self {
            link: link.clone(),
            callee: callee.clone(),
            wanted,
            answer,
        }))
    }

    fn define(
        self: Arc<Self>,
        linker: &mut LinkerInstance<'_, State>,
        name: &str,
        is_async: bool,
    ) -> wasmtime::Result<()> {
        if is_async {
            return linker.func_new_concurrent(name, move |accessor, _, params, results| {
                let forward = Arc::clone(&self);
                Box::pin(async move {
                    let call = accessor.with(|mut access| forward.prepare(&mut access, params))?;
                    let outcome = call.outcome().await;
                    accessor.with(|mut access| forward.put(&mut access, outcome, results))
                })
            });
        }
        linker.func_new_async(name, move |mut store, _, params, results| {
            let forward = Arc::clone(&self);
            Box::new(async move {
                let call = forward.prepare(&mut store, params)?;
                let outcome = call.outcome().await;
                forward.put(&mut store, outcome, results)
            })
        })
    }

    /// Takes the arguments out of the caller's store. What the caller may not hand over, and calls that are too deep, have an
    /// outcome at once.
    fn prepare(&self, store: &mut impl AsContextMut<Data = State>, params: &[Val]) -> wasmtime::Result<Call> {
        let lifted = params.iter().map(|param| lift(store, param.clone()));
        let args = lifted.collect::<wasmtime::Result<Vec<_>>>()?;
        let mut store = store.as_context_mut();
        let state = store.data_mut();
        if state.held.depth() >= DEPTH {
            let why = format!(
                "{} is not called: {DEPTH} modules call each other already ({})",
                self.link.name,
                state.held.chain()
            );
            return Ok(Call::Settled(Err(Error::Invalid(why))));
        }
        let held = state.held.below(&self.link);
        let handed = args
            .into_iter()
            .map(|arg| cross::into_callee(arg, &held, &state.scope, &self.link.scope));
        let args = match handed.collect::<Result<Vec<_>, _>>() {
            Ok(args) => args,
            Err(denied) => return Ok(Call::Settled(Err(denied))),
        };
        let context = state.below(held, &self.link.scope);
        let (module, function) = (Arc::clone(&self.link.module), self.callee.clone());
        let (caller, callee) = (state.scope.clone(), self.link.scope.clone());
        let running = tokio::spawn(async move {
            let outcome = module.run(&function, args, context).await;
            outcome.map(|value| value.map(|value| cross::back_to_caller(value, &callee, &caller)))
        });
        Ok(Call::Running(tokio_util::task::AbortOnDropHandle::new(running)))
    }

    /// Puts the outcome into the caller's store, in the form in which it is imported.
    fn put(
        &self,
        store: &mut impl AsContextMut<Data = State>,
        outcome: Result<Option<Value>, Error>,
        results: &mut [Val],
    ) -> wasmtime::Result<()> {
        let value = self.answer.of(outcome).map_err(Refused)?;
        if let Some(value) = &value {
            let mut context = store.as_context_mut();
            let lineage = &mut context.data_mut().lineage;
            lineage.returned(value, &self.link.name.to_string());
        }
        if let (Some(slot), Some(ty)) = (results.first_mut(), &self.wanted.result) {
            *slot = lower(store, value.unwrap_or(Value::Unit), ty)?;
        }
        Ok(())
    }
}

/// A call that is on its way. Dropping it stops the other module.
enum Call {
    Settled(Result<Option<Value>, Error>),
    Running(tokio_util::task::AbortOnDropHandle<Outcome>),
}

impl Call {
    async fn outcome(self) -> Result<Option<Value>, Error> {
        match self {
            Self::Settled(outcome) => outcome,
            Self::Running(running) => match running.await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(broken)) => Err(broken.into()),
                Err(_) => Err(Error::Cancelled),
            },
        }
    }
}

/// An error that the caller's import has no room for: it ends the caller.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) Error);

impl From<crate::error::CallError> for Error {
    fn from(error: crate::error::CallError) -> Self {
        match error {
            crate::error::CallError::Failed(error) => error,
            other => Self::other("module-broke", other.to_string()),
        }
    }
}

/// Is this the contract's own error?
pub(crate) fn is_error(ty: &crate::types::Type) -> bool {
    matches!(ty, crate::types::Type::Variant(cases)
        if cases.members.iter().map(|case| case.name.as_str()).eq(interface::ERROR_CASES))
}
