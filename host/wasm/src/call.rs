//! Calls: each in a store and an instance of its own, within bounds.

use std::{path::PathBuf, sync::Arc, time::Instant};

use wasmtime::{
    Engine, Store,
    component::{InstancePre, ResourceTable, Val},
};
use wasmtime_wasi::WasiCtx;

use crate::{
    broken::{HANDED_OVER, too_long, what_happened},
    error::CallError,
    held::{Given, Held},
    interface,
    limits::{Limits, Meter, until},
    lineage::Lineage,
    link::Refused,
    marshal::{lift, lower},
    module::Module,
    output::Output,
    reflect::Function,
    state::{Own, Pipeline, State},
    value::Value,
};

/// Whose call it is and what it reaches.
#[derive(Clone)]
pub struct CallContext {
    /// What reads and effects reach.
    pub pipeline: Arc<dyn Pipeline>,
    /// Where the host's relative paths start.
    pub project: PathBuf,
    /// Who caches and secrets belong to.
    pub scope: String,
    /// Where the module's source is, when it is called from there.
    pub source: Option<PathBuf>,
    /// What it was given for this call.
    pub given: Given,
    /// What it may use.
    pub limits: Limits,
}

/// The same for one module of a composition.
pub(crate) struct Within {
    pub(crate) pipeline: Arc<dyn Pipeline>,
    pub(crate) project: PathBuf,
    pub(crate) scope: String,
    pub(crate) source: Option<PathBuf>,
    pub(crate) held: Held,
    pub(crate) limits: Limits,
    pub(crate) deadline: Instant,
}

/// What a function returned, a result's error included; or why it returned nothing.
pub(crate) type Outcome = Result<Option<Value>, CallError>;

impl Module {
    /// Calls a function. Arguments are in the order of its parameters.
    pub async fn call(
        &self,
        function: &Function,
        args: Vec<Value>,
        context: CallContext,
    ) -> Result<Value, CallError> {
        let within = Within {
            pipeline: context.pipeline,
            project: context.project,
            scope: context.scope,
            source: context.source,
            held: Held::by_root(context.given, &self.name),
            deadline: Instant::now() + context.limits.time,
            limits: context.limits,
        };
        match self.run(function, args, within).await? {
            None | Some(Value::Result(Ok(None))) => Ok(Value::Unit),
            Some(Value::Result(Ok(Some(value)))) => Ok(*value),
            Some(Value::Result(Err(error))) => Err(failure(error.as_deref())),
            Some(value) => Ok(value),
        }
    }

    /// Calls a function in a store and an instance of its own.
    pub(crate) async fn run(&self, function: &Function, args: Vec<Value>, within: Within) -> Outcome {
        let (limits, deadline) = (within.limits.clone(), within.deadline);
        let pipeline = Arc::clone(&within.pipeline);
        let output = Output::new(Arc::clone(&pipeline), &self.name);
        let ready = self.code.ready()?;
        let mut store = self.store(within, ready.instance.engine(), &output);
        let running = call_in(&mut store, ready.instance, function, args);
        let outcome = until(deadline, &*pipeline, running).await;
        let panic = output.finish();
        let trap = |what: String| CallError::Trap {
            module: self.name.clone(),
            function: function.name.clone(),
            what,
        };
        match outcome {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => match error.downcast::<Refused>() {
                Ok(Refused(error)) => Err(CallError::Failed(error)),
                Err(error) => {
                    let memory_refused = store.data().meter.memory_refused();
                    Err(trap(what_happened(&error, &panic, memory_refused, &limits)))
                }
            },
            None => Err(trap(too_long(limits.time))),
        }
    }

    /// A store with nothing in it but what this call may use.
    fn store(&self, within: Within, engine: &Engine, output: &Output) -> Store<State> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.clone()).stderr(output.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(within.limits.handles);
        let state = State {
            table,
            wasi: wasi.build(),
            meter: Meter::new(within.limits.memory),
            pipeline: within.pipeline,
            module: self.name.clone(),
            own: Own {
                version: self.version().map(str::to_owned),
                digest: self.digest().to_string(),
                source: within.source,
            },
            lineage: Lineage::default(),
            held: within.held,
            scope: within.scope,
            project: within.project,
            limits: within.limits,
            deadline: within.deadline,
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(HANDED_OVER);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }
}

/// Calls a function in a new instance.
async fn call_in(
    store: &mut Store<State>,
    instance: &InstancePre<State>,
    function: &Function,
    args: Vec<Value>,
) -> wasmtime::Result<Option<Value>> {
    let instance = instance.instantiate_async(&mut *store).await?;
    let holder = match &function.interface {
        Some(name) => instance.get_export_index(&mut *store, None, name),
        None => None,
    };
    let missing = || wasmtime::Error::msg("the function is gone");
    let index = instance
        .get_export_index(&mut *store, holder.as_ref(), &function.name)
        .ok_or_else(missing)?;
    let callee = instance.get_func(&mut *store, index).ok_or_else(missing)?;
    let mut params = Vec::with_capacity(args.len());
    for (arg, param) in args.into_iter().zip(&function.params) {
        params.push(lower(store, arg, &param.ty)?);
    }
    let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
    callee.call_async(&mut *store, &params, &mut results).await?;
    results.pop().map(|result| lift(store, result)).transpose()
}

/// An error that a function returned.
fn failure(error: Option<&Value>) -> CallError {
    match error {
        None => CallError::Message("the function failed and says no more".to_owned()),
        Some(Value::String(text)) => CallError::Message(text.clone()),
        Some(value) => match interface::from_value(value) {
            Some(error) => CallError::Failed(error),
            None => CallError::Message(value.to_text()),
        },
    }
}
