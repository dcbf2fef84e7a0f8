//! Calls: each in a store and an instance of its own, within bounds.

use std::{path::PathBuf, sync::Arc, time::Duration};

use wasmtime::{
    Store, StoreLimitsBuilder,
    component::{Resource, ResourceAny, ResourceTable, Val},
};
use wasmtime_wasi::{WasiCtx, p2::pipe::MemoryOutputPipe};
use wharf_graph::{Container, Directory, File, Secret, Volume};

use crate::{
    error::CallError,
    interface,
    module::Module,
    reflect::Function,
    state::{Level, Pipeline, State},
    types::Type,
    value::Value,
};

/// Bytes of a module's own output that are kept.
const OUTPUT: usize = 64 * 1024;

/// What a call may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of memory.
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

/// Whose call it is and what it reaches.
#[derive(Clone)]
pub struct CallContext {
    /// What reads and effects reach.
    pub pipeline: Arc<dyn Pipeline>,
    /// Where the host's relative paths start.
    pub project: PathBuf,
    /// Who caches and secrets belong to.
    pub scope: String,
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
        let output = MemoryOutputPipe::new(OUTPUT);
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.clone()).stderr(output.clone());
        let mut table = ResourceTable::new();
        table.set_max_capacity(context.limits.handles);
        let limits = StoreLimitsBuilder::new()
            .memory_size(context.limits.memory)
            .instances(64)
            .tables(64)
            .build();
        let pipeline = Arc::clone(&context.pipeline);
        let state = State {
            table,
            wasi: wasi.build(),
            limits,
            pipeline: context.pipeline,
            module: self.name.clone(),
            scope: context.scope,
            project: context.project,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.limits);
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let time = context.limits.time;
        let outcome = tokio::time::timeout(time, self.call_in(&mut store, function, args)).await;
        let printed = String::from_utf8_lossy(&output.contents()).into_owned();
        let trap = |what: String| CallError::Trap {
            module: self.name.clone(),
            function: function.name.clone(),
            what,
        };
        match outcome {
            Ok(Ok(value)) => {
                if !printed.is_empty() {
                    pipeline.log(&self.name, Level::Info, printed.trim_end());
                }
                value
            }
            Ok(Err(error)) => Err(trap(what_happened(&error, &printed))),
            Err(_) => Err(trap(format!(
                "took longer than {} s and was ended",
                time.as_secs()
            ))),
        }
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

/// A trap in words: a panic's own message, or what bound was met.
fn what_happened(error: &wasmtime::Error, printed: &str) -> String {
    if let Some(at) = printed.rfind("panicked at ") {
        let message = printed[at..]
            .lines()
            .skip(1)
            .take_while(|line| !line.starts_with("note:"));
        return format!("panicked: {}", message.collect::<Vec<_>>().join("\n").trim());
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::StackOverflow) => "used up its stack: it recurses too deeply".to_owned(),
        Some(wasmtime::Trap::UnreachableCodeReached) => {
            "gave up (unreachable): it panicked without a word or ran out of memory".to_owned()
        }
        Some(trap) => format!("broke: {trap}"),
        None => format!("broke: {}", error.root_cause()),
    }
}

fn lower(store: &mut Store<State>, value: Value, ty: &Type) -> wasmtime::Result<Val> {
    fn handle<T: Send + 'static>(store: &mut Store<State>, value: T) -> wasmtime::Result<Val> {
        let resource: Resource<T> = store.data_mut().table.push(value)?;
        Ok(Val::Resource(resource.try_into_resource_any(store)?))
    }
    Ok(match value {
        Value::Bool(value) => Val::Bool(value),
        Value::Integer(value) => integer(value, ty),
        Value::Float(value) => match ty {
            Type::Float(32) => Val::Float32(value as f32),
            _ => Val::Float64(value),
        },
        Value::Char(value) => Val::Char(value),
        Value::String(value) => Val::String(value),
        Value::List(items) => {
            let inner = if let Type::List(inner) = ty {
                inner.as_ref()
            } else {
                &Type::String
            };
            Val::List(
                items
                    .into_iter()
                    .map(|item| lower(store, item, inner))
                    .collect::<wasmtime::Result<_>>()?,
            )
        }
        Value::Option(value) => {
            let inner = if let Type::Option(inner) = ty {
                inner.as_ref()
            } else {
                ty
            };
            Val::Option(
                value
                    .map(|value| lower(store, *value, inner).map(Box::new))
                    .transpose()?,
            )
        }
        Value::Tuple(items) => {
            let types: &[Type] = if let Type::Tuple(types) = ty { types } else { &[] };
            let pairs = items.into_iter().zip(types);
            Val::Tuple(
                pairs
                    .map(|(item, ty)| lower(store, item, ty))
                    .collect::<wasmtime::Result<_>>()?,
            )
        }
        Value::Record(fields) => {
            let types: &[crate::types::Field] = if let Type::Record(types) = ty { types } else { &[] };
            let pairs = fields.into_iter().zip(types);
            let field = |((name, value), field): ((String, Value), &crate::types::Field)| {
                Ok((name, lower(store, value, &field.ty)?))
            };
            Val::Record(pairs.map(field).collect::<wasmtime::Result<_>>()?)
        }
        Value::Variant(case, value) => {
            let own = if let Type::Variant(cases) = ty {
                cases.iter().find(|own| own.name == case)
            } else {
                None
            };
            let inner = own.and_then(|own| own.ty.clone()).unwrap_or(Type::String);
            Val::Variant(
                case,
                value
                    .map(|value| lower(store, *value, &inner).map(Box::new))
                    .transpose()?,
            )
        }
        Value::Enum(name) => Val::Enum(name),
        Value::Flags(names) => Val::Flags(names),
        Value::Directory(value) => handle(store, value)?,
        Value::File(value) => handle(store, value)?,
        Value::Container(value) => handle(store, value)?,
        Value::Volume(value) => handle(store, value)?,
        Value::Secret(value) => {
            store.data().pipeline.allow_secret(&value.id);
            handle(store, value)?
        }
        Value::Unit => Val::Tuple(Vec::new()),
    })
}

fn integer(value: i128, ty: &Type) -> Val {
    match ty {
        Type::Integer(true, 8) => Val::S8(value as i8),
        Type::Integer(false, 8) => Val::U8(value as u8),
        Type::Integer(true, 16) => Val::S16(value as i16),
        Type::Integer(false, 16) => Val::U16(value as u16),
        Type::Integer(true, 32) => Val::S32(value as i32),
        Type::Integer(false, 32) => Val::U32(value as u32),
        Type::Integer(true, _) => Val::S64(value as i64),
        _ => Val::U64(value as u64),
    }
}

fn lift(store: &mut Store<State>, value: Val) -> wasmtime::Result<Value> {
    let mut all = |items: Vec<Val>| {
        items
            .into_iter()
            .map(|item| lift(store, item))
            .collect::<wasmtime::Result<Vec<_>>>()
    };
    Ok(match value {
        Val::Bool(value) => Value::Bool(value),
        Val::S8(value) => Value::Integer(value.into()),
        Val::U8(value) => Value::Integer(value.into()),
        Val::S16(value) => Value::Integer(value.into()),
        Val::U16(value) => Value::Integer(value.into()),
        Val::S32(value) => Value::Integer(value.into()),
        Val::U32(value) => Value::Integer(value.into()),
        Val::S64(value) => Value::Integer(value.into()),
        Val::U64(value) => Value::Integer(value.into()),
        Val::Float32(value) => Value::Float(value.into()),
        Val::Float64(value) => Value::Float(value),
        Val::Char(value) => Value::Char(value),
        Val::String(value) => Value::String(value),
        Val::List(items) => Value::List(all(items)?),
        Val::Tuple(items) => Value::Tuple(all(items)?),
        Val::Record(fields) => {
            let field = |(name, value)| Ok((name, lift(store, value)?));
            Value::Record(fields.into_iter().map(field).collect::<wasmtime::Result<_>>()?)
        }
        Val::Variant(case, value) => Value::Variant(
            case,
            value.map(|value| lift(store, *value).map(Box::new)).transpose()?,
        ),
        Val::Enum(name) => Value::Enum(name),
        Val::Option(value) => {
            Value::Option(value.map(|value| lift(store, *value).map(Box::new)).transpose()?)
        }
        Val::Flags(names) => Value::Flags(names),
        Val::Resource(resource) => lift_handle(store, resource)?,
        other => {
            return Err(wasmtime::Error::msg(format!(
                "a value of a kind that this host cannot take: {other:?}"
            )));
        }
    })
}

fn lift_handle(store: &mut Store<State>, resource: ResourceAny) -> wasmtime::Result<Value> {
    fn take<T: Send + 'static>(store: &mut Store<State>, resource: ResourceAny) -> wasmtime::Result<T> {
        let resource: Resource<T> = resource.try_into_resource(&mut *store)?;
        Ok(store.data_mut().table.delete(resource)?)
    }
    let ty = resource.ty();
    let is = |other: wasmtime::component::ResourceType| ty == other;
    if is(wasmtime::component::ResourceType::host::<Directory>()) {
        return take(store, resource).map(Value::Directory);
    }
    if is(wasmtime::component::ResourceType::host::<File>()) {
        return take(store, resource).map(Value::File);
    }
    if is(wasmtime::component::ResourceType::host::<Container>()) {
        return take(store, resource).map(Value::Container);
    }
    if is(wasmtime::component::ResourceType::host::<Secret>()) {
        return take(store, resource).map(Value::Secret);
    }
    if is(wasmtime::component::ResourceType::host::<Volume>()) {
        return take(store, resource).map(Value::Volume);
    }
    Err(wasmtime::Error::msg(
        "the function returned a handle that this host does not know",
    ))
}
