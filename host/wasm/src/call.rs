//! Calls: each in a store and an instance of its own, within bounds.

use std::{path::PathBuf, sync::Arc};

use wasmtime::{
    Store,
    component::{ResourceTable, Val},
};
use wasmtime_wasi::WasiCtx;

use crate::{
    broken::{HANDED_OVER, too_long, what_happened},
    error::CallError,
    grants::Grants,
    interface,
    limits::{Limits, Meter},
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
    pub grants: Grants,
    /// What it may use.
    pub limits: Limits,
}

impl Module {
    /// Calls a function. Arguments are in the order of its parameters.
    pub async fn call(
        &self,
        function: &Function,
        args: Vec<Value>,
        context: CallContext,
    ) -> Result<Value, CallError> {
        let limits = context.limits.clone();
        let output = Output::new(Arc::clone(&context.pipeline), &self.name);
        let mut store = self.store(context, &output);
        let outcome = tokio::time::timeout(limits.time, self.call_in(&mut store, function, args)).await;
        let panic = output.finish();
        let trap = |what: String| CallError::Trap {
            module: self.name.clone(),
            function: function.name.clone(),
            what,
        };
        match outcome {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                let memory_refused = store.data().meter.memory_refused();
                Err(trap(what_happened(&error, &panic, memory_refused, &limits)))
            }
            Err(_) => Err(trap(too_long(limits.time))),
        }
    }

    /// A store with nothing in it but what this call may use.
    fn store(&self, context: CallContext, output: &Output) -> Store<State> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.clone()).stderr(output.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(context.limits.handles);
        let state = State {
            table,
            wasi: wasi.build(),
            meter: Meter::new(context.limits.memory),
            pipeline: context.pipeline,
            module: self.name.clone(),
            own: Own {
                version: self.version().map(str::to_owned),
                digest: self.digest().to_string(),
                source: context.source,
            },
            grants: context.grants,
            scope: context.scope,
            project: context.project,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.meter);
        store.set_hostcall_fuel(HANDED_OVER);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        store
    }

    async fn call_in(
        &self,
        store: &mut Store<State>,
        function: &Function,
        args: Vec<Value>,
    ) -> wasmtime::Result<Result<Value, CallError>> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
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
        let Some(result) = results.pop() else {
            return Ok(Ok(Value::Unit));
        };
        match result {
            Val::Result(Ok(None)) => Ok(Ok(Value::Unit)),
            Val::Result(Ok(Some(value))) => lift(store, *value).map(Ok),
            Val::Result(Err(error)) => Ok(Err(failure(error.as_deref()))),
            value => lift(store, value).map(Ok),
        }
    }
}

/// An error that a function returned.
fn failure(error: Option<&Val>) -> CallError {
    match error {
        None => CallError::Message("the function failed and says no more".to_owned()),
        Some(Val::String(text)) => CallError::Message(text.clone()),
        Some(value) => match interface::from_wit(value) {
            Some(error) => CallError::Failed(error),
            None => CallError::Message(format!("{value:?}")),
        },
    }
}
