//! Whether a function that one module imports is the one that another exports, and how an outcome becomes what is imported.
//!
//! A call of another module can fail although its function cannot: it may break, or be denied something. So an import may
//! say `result<T, error>` where the export says `T` or `result<T, string>`; the SDK's bindings always do.

use wharf_graph::Error;

use crate::{
    interface,
    link::is_error,
    reflect::Function,
    types::{Named, Type},
    value::Value,
};

/// How outcomes are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As they are; the other module's own errors are the contract's.
    Same,
    /// As they are, with a text for every error.
    Text,
    /// As they are; there is no room for errors.
    Bare,
    /// The function's error is a text, or nothing, and the import's is the contract's.
    Worded,
    /// What the function returns is the import's success.
    Wrapped,
}

/// How the exported function answers the imported one; in words why it does not.
pub(crate) fn answer_of(export: &Function, import: &Function) -> Result<Answer, String> {
    let (theirs, ours) = (&export.params, &import.params);
    let fits = theirs.len() == ours.len()
        && theirs
            .iter()
            .zip(ours)
            .all(|(theirs, ours)| same(&theirs.ty, &ours.ty));
    if !fits {
        let list = |params: &[crate::reflect::Param]| {
            let types: Vec<_> = params.iter().map(|param| param.ty.to_string()).collect();
            types.join(", ")
        };
        return Err(format!(
            "takes ({}) and is imported with ({})",
            list(theirs),
            list(ours)
        ));
    }
    result(export.result.as_ref(), import.result.as_ref()).ok_or_else(|| {
        let word = |ty: &Option<Type>| ty.as_ref().map_or("nothing".to_owned(), Type::to_string);
        format!(
            "returns {} and is imported with {}",
            word(&export.result),
            word(&import.result)
        )
    })
}

fn result(export: Option<&Type>, import: Option<&Type>) -> Option<Answer> {
    let both = |one: Option<&Type>, other: Option<&Type>| match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        _ => false,
    };
    if both(export, import) {
        return Some(match export {
            Some(Type::Result(_, Some(error))) if is_error(error) => Answer::Same,
            Some(Type::Result(_, Some(error))) if **error == Type::String => Answer::Text,
            _ => Answer::Bare,
        });
    }
    let Some(Type::Result(ok, Some(error))) = import else {
        return None;
    };
    if !is_error(error) {
        return None;
    }
    if both(export, ok.as_deref()) {
        return Some(Answer::Wrapped);
    }
    match export {
        Some(Type::Result(theirs, failure))
            if both(theirs.as_deref(), ok.as_deref())
                && failure.as_deref().is_none_or(|failure| *failure == Type::String) =>
        {
            Some(Answer::Worded)
        }
        _ => None,
    }
}

/// Are two types of one form? The names that authors gave to them do not matter.
fn same(one: &Type, other: &Type) -> bool {
    let all = |one: &[&Type], other: &[&Type]| {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
    };
    let optional = |one: &Option<Box<Type>>, other: &Option<Box<Type>>| match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        _ => false,
    };
    match (one, other) {
        (Type::Result(ok, error), Type::Result(other_ok, other_error)) => {
            optional(ok, other_ok) && optional(error, other_error)
        }
        (Type::Record(one), Type::Record(other)) => {
            let names = |record: &Named<crate::types::Field>| {
                record
                    .members
                    .iter()
                    .map(|field| field.name.clone())
                    .collect::<Vec<_>>()
            };
            let types = |record: &'_ Named<crate::types::Field>| {
                record
                    .members
                    .iter()
                    .map(|field| field.ty.clone())
                    .collect::<Vec<_>>()
            };
            names(one) == names(other)
                && types(one)
                    .iter()
                    .zip(&types(other))
                    .all(|(one, other)| same(one, other))
        }
        (Type::Flags(names), Type::Record(record)) | (Type::Record(record), Type::Flags(names)) => {
            record.members.iter().all(|field| field.ty == Type::Bool)
                && record.members.iter().map(|field| &field.name).eq(names)
        }
        (Type::Variant(one), Type::Variant(other)) | (Type::Enum(one), Type::Enum(other)) => {
            one.members.len() == other.members.len()
                && one.members.iter().zip(&other.members).all(|(one, other)| {
                    one.name == other.name
                        && match (&one.ty, &other.ty) {
                            (Some(one), Some(other)) => same(one, other),
                            (None, None) => true,
                            _ => false,
                        }
                })
        }
        (Type::List(_), Type::List(_))
        | (Type::Option(_), Type::Option(_))
        | (Type::Tuple(_), Type::Tuple(_)) => all(&one.parts(), &other.parts()),
        // What cannot cross fits nothing, itself neither.
        (Type::Other(_), _) => false,
        _ => one == other,
    }
}

impl Answer {
    /// The outcome as it is imported; an error when there is no room for it.
    pub(crate) fn of(self, outcome: Result<Option<Value>, Error>) -> Result<Option<Value>, Error> {
        let boxed = |value: Option<Value>| value.map(Box::new);
        let failed = |error: Error| Value::Result(Err(Some(Box::new(interface::to_value(error)))));
        Ok(match (self, outcome) {
            (Self::Bare, outcome) => outcome?,
            (Self::Same | Self::Text | Self::Worded, Ok(value)) => value.map(|value| match value {
                Value::Result(Err(error)) if self == Self::Worded => {
                    let words =
                        error.map_or("it failed and says no more".to_owned(), |error| error.to_text());
                    failed(Error::other("failed", words))
                }
                value => value,
            }),
            (Self::Wrapped, Ok(value)) => Some(Value::Result(Ok(boxed(value)))),
            (Self::Text, Err(error)) => {
                Some(Value::Result(Err(boxed(Some(Value::String(error.to_string()))))))
            }
            (Self::Same | Self::Worded | Self::Wrapped, Err(error)) => Some(failed(error)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Case, Field};

    fn error() -> Type {
        Type::Variant(interface::ERROR_CASES.map(Case::plain).to_vec().into())
    }

    fn fallible(ok: Option<Type>, error: Option<Type>) -> Type {
        Type::Result(ok.map(Box::new), error.map(Box::new))
    }

    #[test]
    fn an_import_may_have_room_for_errors_that_the_export_has_not() {
        let text = || Some(Type::String);
        let safe = |ok| Some(fallible(ok, Some(error())));
        for (export, import, answer) in [
            (text(), safe(text()), Some(Answer::Wrapped)),
            (None, safe(None), Some(Answer::Wrapped)),
            (text(), text(), Some(Answer::Bare)),
            (Some(fallible(text(), text())), safe(text()), Some(Answer::Worded)),
            (Some(fallible(None, None)), safe(None), Some(Answer::Worded)),
            (safe(text()), safe(text()), Some(Answer::Same)),
            (
                Some(fallible(None, text())),
                Some(fallible(None, text())),
                Some(Answer::Text),
            ),
            (Some(Type::Bool), safe(text()), None),
            (text(), None, None),
        ] {
            assert_eq!(
                result(export.as_ref(), import.as_ref()),
                answer,
                "{export:?} {import:?}"
            );
        }
    }

    #[test]
    fn flags_are_records_of_switches() {
        let field = |name: &str| Field {
            name: name.to_owned(),
            ty: Type::Bool,
            docs: String::new(),
        };
        let record = Type::Record(vec![field("read"), field("write")].into());
        let flags = |names: &[&str]| Type::Flags(names.iter().map(|name| (*name).to_owned()).collect());
        assert!(same(&record, &flags(&["read", "write"])) && !same(&flags(&["read"]), &record));
        assert!(!same(&Type::Other("x".into()), &Type::Other("x".into())));
    }
}
