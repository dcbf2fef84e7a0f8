//! Between values as the host has them and as a store has them.

use wasmtime::{
    AsContextMut,
    component::{Resource, ResourceAny, ResourceType, Val},
};
use wharf_graph::{Changeset, Container, Directory, File, Secret, Service, Volume};

use crate::{
    state::State,
    types::{Field, Type},
    value::Value,
};

/// A value of this type for a store. Handles become entries of the store's table.
pub(crate) fn lower(
    store: &mut impl AsContextMut<Data = State>,
    value: Value,
    ty: &Type,
) -> wasmtime::Result<Val> {
    fn handle<T: Send + 'static>(
        store: &mut impl AsContextMut<Data = State>,
        value: T,
    ) -> wasmtime::Result<Val> {
        let resource: Resource<T> = store.as_context_mut().data_mut().table.push(value)?;
        Ok(Val::Resource(
            resource.try_into_resource_any(store.as_context_mut())?,
        ))
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
        // Flags of a module are a record of switches for others, and the other way round.
        Value::Record(fields) if matches!(ty, Type::Flags(_)) => {
            let set = fields
                .into_iter()
                .filter(|(_, value)| matches!(value, Value::Bool(true)));
            Val::Flags(set.map(|(name, _)| name).collect())
        }
        Value::Flags(names) => match ty {
            Type::Record(record) => {
                let field = |field: &Field| (field.name.clone(), Val::Bool(names.contains(&field.name)));
                Val::Record(record.members.iter().map(field).collect())
            }
            _ => Val::Flags(names),
        },
        Value::Record(fields) => record(store, fields, ty)?,
        Value::Result(outcome) => outcome_of(store, outcome, ty)?,
        Value::Variant(case, value) => variant(store, case, value, ty)?,
        Value::Enum(name) => Val::Enum(name),
        Value::Directory(value) => handle(store, value)?,
        Value::File(value) => handle(store, value)?,
        Value::Container(value) => handle(store, value)?,
        Value::Volume(value) => handle(store, value)?,
        Value::Service(value) => handle(store, value)?,
        Value::Changeset(value) => handle(store, value)?,
        Value::Secret(value) => {
            store.as_context_mut().data().pipeline.allow_secret(&value.id);
            handle(store, value)?
        }
        Value::Unit => Val::Tuple(Vec::new()),
    })
}

fn record(
    store: &mut impl AsContextMut<Data = State>,
    fields: Vec<(String, Value)>,
    ty: &Type,
) -> wasmtime::Result<Val> {
    let types: &[Field] = if let Type::Record(record) = ty {
        &record.members
    } else {
        &[]
    };
    let pairs = fields.into_iter().zip(types);
    let field =
        |((name, value), field): ((String, Value), &Field)| Ok((name, lower(store, value, &field.ty)?));
    Ok(Val::Record(pairs.map(field).collect::<wasmtime::Result<_>>()?))
}

fn outcome_of(
    store: &mut impl AsContextMut<Data = State>,
    outcome: Result<Option<Box<Value>>, Option<Box<Value>>>,
    ty: &Type,
) -> wasmtime::Result<Val> {
    let (ok, failure) = if let Type::Result(ok, failure) = ty {
        (ok.as_deref(), failure.as_deref())
    } else {
        (None, None)
    };
    let mut part = |value: Option<Box<Value>>, ty: Option<&Type>| {
        let lowered = value.map(|value| lower(store, *value, ty.unwrap_or(&Type::String)));
        Ok::<_, wasmtime::Error>(lowered.transpose()?.map(Box::new))
    };
    Ok(Val::Result(match outcome {
        Ok(value) => Ok(part(value, ok)?),
        Err(error) => Err(part(error, failure)?),
    }))
}

fn variant(
    store: &mut impl AsContextMut<Data = State>,
    case: String,
    value: Option<Box<Value>>,
    ty: &Type,
) -> wasmtime::Result<Val> {
    let own = if let Type::Variant(cases) = ty {
        cases.members.iter().find(|own| own.name == case)
    } else {
        None
    };
    let inner = own.and_then(|own| own.ty.clone()).unwrap_or(Type::String);
    let value = value.map(|value| lower(store, *value, &inner).map(Box::new));
    Ok(Val::Variant(case, value.transpose()?))
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

/// A value out of a store. Handles that are handed over leave its table, those that are lent stay in it.
pub(crate) fn lift(store: &mut impl AsContextMut<Data = State>, value: Val) -> wasmtime::Result<Value> {
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
        Val::Result(outcome) => {
            let mut part = |value: Option<Box<Val>>| {
                let lifted = value.map(|value| lift(store, *value));
                Ok::<_, wasmtime::Error>(lifted.transpose()?.map(Box::new))
            };
            Value::Result(match outcome {
                Ok(value) => Ok(part(value)?),
                Err(error) => Err(part(error)?),
            })
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

fn lift_handle(
    store: &mut impl AsContextMut<Data = State>,
    resource: ResourceAny,
) -> wasmtime::Result<Value> {
    fn take<T: Clone + Send + 'static>(
        store: &mut impl AsContextMut<Data = State>,
        resource: ResourceAny,
    ) -> wasmtime::Result<T> {
        let mut store = store.as_context_mut();
        let resource: Resource<T> = resource.try_into_resource(&mut store)?;
        let table = &mut store.data_mut().table;
        if resource.owned() {
            Ok(table.delete(resource)?)
        } else {
            Ok(table.get(&resource)?.clone())
        }
    }
    let ty = resource.ty();
    let is = |other: ResourceType| ty == other;
    if is(ResourceType::host::<Directory>()) {
        return take(store, resource).map(Value::Directory);
    }
    if is(ResourceType::host::<File>()) {
        return take(store, resource).map(Value::File);
    }
    if is(ResourceType::host::<Container>()) {
        return take(store, resource).map(Value::Container);
    }
    if is(ResourceType::host::<Secret>()) {
        return take(store, resource).map(Value::Secret);
    }
    if is(ResourceType::host::<Volume>()) {
        return take(store, resource).map(Value::Volume);
    }
    if is(ResourceType::host::<Service>()) {
        return take(store, resource).map(Value::Service);
    }
    if is(ResourceType::host::<Changeset>()) {
        return take(store, resource).map(Value::Changeset);
    }
    Err(wasmtime::Error::msg(
        "the function returned a handle that this host does not know",
    ))
}
