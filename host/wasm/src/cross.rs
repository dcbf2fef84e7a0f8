//! What happens to a value on its way from one module to another.

use wharf_graph::Error;
use wharf_manifest::Capability;

use crate::{
    held::{Held, is_off},
    value::Value,
};

/// An argument, as the called module gets it: secrets only of names that it is granted.
pub(crate) fn into_callee(value: Value, held: &Held, from: &str, to: &str) -> Result<Value, Error> {
    value.try_map(&mut |handle| {
        if let Value::Secret(secret) = &handle {
            held.check(Capability::Secrets, &secret.name)?;
        }
        Ok(sealed(handle, from, to))
    })
}

/// A result, as the calling module gets it.
pub(crate) fn back_to_caller(value: Value, from: &str, to: &str) -> Value {
    let mapped = value.try_map::<std::convert::Infallible>(&mut |handle| Ok(sealed(handle, from, to)));
    mapped.unwrap_or_else(|never| match never {})
}

/// A container that crosses keeps what it is for the steps that it has, and shows the next owner's steps nothing of what the
/// last one mounted.
fn sealed(value: Value, from: &str, to: &str) -> Value {
    match value {
        Value::Container(container) if from != to && !is_off("seal") => {
            Value::Container(container.handed_over(from, to))
        }
        other => other,
    }
}
