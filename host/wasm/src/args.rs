//! Arguments as users write them: one parser, led by the type, that takes plain text and JSON.

mod remote;

use std::path::Path;

use serde_json::Value as Json;
use wharf_graph::{
    Container, Directory, File, Secret, Service, Volume,
    op::{HostPort, SecretId},
};

use crate::{
    interface::host_filter,
    types::{Handle, Type},
    value::Value,
};

/// Where handles are made from text.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// Where relative paths start.
    pub directory: &'p Path,
    /// Who secrets and caches belong to.
    pub scope: &'p str,
}

/// Text that does not fit a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {wanted}{hint}")]
pub struct ArgumentError {
    text: String,
    wanted: String,
    hint: String,
}

fn wrong(text: &str, ty: &Type, hint: &str) -> ArgumentError {
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!(": {hint}")
    };
    ArgumentError {
        text: text.to_owned(),
        wanted: ty.to_string(),
        hint,
    }
}

/// A value of this type from what a user wrote.
pub fn parse(ty: &Type, text: &str, place: Place<'_>) -> Result<Value, ArgumentError> {
    let number = || wrong(text, ty, "write a number such as 3");
    match ty {
        Type::Bool => match text {
            "true" | "" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong(text, ty, "write true or false")),
        },
        Type::Integer(signed, bits) => {
            let value: i128 = text.parse().map_err(|_| number())?;
            let (low, high) = if *signed {
                (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
            } else {
                (0, (1i128 << bits) - 1)
            };
            if value < low || value > high {
                return Err(wrong(text, ty, &format!("it goes from {low} to {high}")));
            }
            Ok(Value::Integer(value))
        }
        Type::Float(_) => text.parse().map(Value::Float).map_err(|_| number()),
        Type::Char => {
            let mut chars = text.chars();
            match (chars.next(), chars.next()) {
                (Some(only), None) => Ok(Value::Char(only)),
                _ => Err(wrong(text, ty, "write one character")),
            }
        }
        Type::String => Ok(Value::String(text.to_owned())),
        Type::Option(inner) => Ok(Value::Option(Some(Box::new(parse(inner, text, place)?)))),
        Type::Enum(names) => {
            if names.iter().any(|name| name == text) {
                return Ok(Value::Enum(text.to_owned()));
            }
            Err(wrong(text, ty, &format!("write one of {}", names.join(", "))))
        }
        Type::Handle(handle) => parse_handle(*handle, ty, text, place),
        Type::List(inner) if !text.trim_start().starts_with('[') => {
            Ok(Value::List(vec![parse(inner, text, place)?]))
        }
        Type::Variant(cases) if cases.iter().any(|case| case.name == text && case.ty.is_none()) => {
            Ok(Value::Variant(text.to_owned(), None))
        }
        Type::Result(..) | Type::Other(_) => {
            Err(wrong(text, ty, "this type cannot be written on a command line"))
        }
        _ => {
            let json: Json = serde_json::from_str(text).map_err(|_| wrong(text, ty, "write it as JSON"))?;
            from_json(ty, &json, place)
        }
    }
}

/// A value of this type from JSON: for defaults and inner values.
pub fn from_json(ty: &Type, json: &Json, place: Place<'_>) -> Result<Value, ArgumentError> {
    let misfit = || wrong(&json.to_string(), ty, "");
    match (ty, json) {
        (Type::Option(_), Json::Null) => Ok(Value::Option(None)),
        (Type::Option(inner), _) => Ok(Value::Option(Some(Box::new(from_json(inner, json, place)?)))),
        (Type::List(inner), Json::Array(items)) => items
            .iter()
            .map(|item| from_json(inner, item, place))
            .collect::<Result<_, _>>()
            .map(Value::List),
        (Type::Tuple(types), Json::Array(items)) if types.len() == items.len() => {
            let values = types
                .iter()
                .zip(items)
                .map(|(ty, item)| from_json(ty, item, place));
            values.collect::<Result<_, _>>().map(Value::Tuple)
        }
        (Type::Record(fields), Json::Object(map)) => {
            if let Some(unknown) = map
                .keys()
                .find(|key| fields.iter().all(|field| field.name != **key))
            {
                return Err(wrong(
                    &json.to_string(),
                    ty,
                    &format!("it has no field {unknown}"),
                ));
            }
            let value = |field: &crate::types::Field| {
                let json = map.get(&field.name).unwrap_or(&Json::Null);
                Ok((field.name.clone(), from_json(&field.ty, json, place)?))
            };
            fields
                .iter()
                .map(value)
                .collect::<Result<_, _>>()
                .map(Value::Record)
        }
        (Type::Variant(cases), Json::Object(map)) if map.len() == 1 => {
            let (name, inner) = map.iter().next().ok_or_else(misfit)?;
            let case = cases.iter().find(|case| case.name == *name).ok_or_else(misfit)?;
            let ty = case.ty.as_ref().ok_or_else(misfit)?;
            Ok(Value::Variant(
                name.clone(),
                Some(Box::new(from_json(ty, inner, place)?)),
            ))
        }
        (Type::Flags(names), Json::Array(items)) => {
            let name = |item: &Json| {
                item.as_str()
                    .filter(|item| names.iter().any(|name| name == item))
                    .map(str::to_owned)
            };
            items
                .iter()
                .map(name)
                .collect::<Option<_>>()
                .map(Value::Flags)
                .ok_or_else(misfit)
        }
        (_, Json::String(text)) => parse(ty, text, place),
        (Type::Bool | Type::Integer(..) | Type::Float(_), Json::Bool(_) | Json::Number(_)) => {
            parse(ty, &json.to_string(), place)
        }
        _ => Err(misfit()),
    }
}

fn parse_handle(handle: Handle, ty: &Type, text: &str, place: Place<'_>) -> Result<Value, ArgumentError> {
    if matches!(handle, Handle::Directory | Handle::File)
        && let Some(source) = remote::parse(handle, text, place)
    {
        return source.map_err(|hint| wrong(text, ty, &hint));
    }
    let on_disk = || {
        let path = place.directory.join(text);
        let path = std::path::absolute(&path).unwrap_or(path);
        if !path.exists() {
            return Err(wrong(text, ty, &format!("{} does not exist", path.display())));
        }
        let is_right = if handle == Handle::Directory {
            path.is_dir()
        } else {
            path.is_file()
        };
        if !is_right {
            return Err(wrong(text, ty, &format!("{} is something else", path.display())));
        }
        path.to_str()
            .map(str::to_owned)
            .ok_or_else(|| wrong(text, ty, "its path is not UTF-8"))
    };
    Ok(match handle {
        Handle::Directory => Value::Directory(Directory::host(&on_disk()?, host_filter())),
        Handle::File => Value::File(File::host(&on_disk()?)),
        Handle::Container => Value::Container(Container::image(text, None)),
        Handle::Volume => Value::Volume(Volume::new(place.scope, text)),
        Handle::Service => Value::Service(host_service(ty, text)?),
        Handle::Secret => {
            let Some((scheme @ ("env" | "file" | "cmd"), source)) = text.split_once(':') else {
                // What was written may be the secret itself: it is not repeated.
                return Err(wrong(
                    "…",
                    ty,
                    "write env:NAME, file:PATH or cmd:COMMAND, never the secret itself",
                ));
            };
            let uri = if scheme == "file" {
                format!("file:{}", place.directory.join(source).display())
            } else {
                text.to_owned()
            };
            let id = SecretId {
                owner: place.scope.to_owned(),
                uri,
            };
            Value::Secret(Secret {
                name: source.to_owned(),
                id,
            })
        }
    })
}

/// A service of the caller's machine: `tcp://host:port`.
fn host_service(ty: &Type, text: &str) -> Result<Service, ArgumentError> {
    let misfit = || wrong(text, ty, "write tcp://HOST:PORT, such as tcp://localhost:5432");
    let (host, port) = text
        .strip_prefix("tcp://")
        .and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'))
        .ok_or_else(misfit)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().map_err(|_| misfit())?;
    if host.is_empty() || port == 0 {
        return Err(misfit());
    }
    Ok(Service::host(
        host,
        &[HostPort {
            host: port,
            service: port,
        }],
    ))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Place, parse};
    use crate::types::{Field, Handle, Type};

    fn text(ty: &Type, text: &str) -> Result<String, String> {
        let place = Place {
            directory: Path::new("/"),
            scope: "test",
        };
        parse(ty, text, place)
            .map(|value| value.to_json().to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn b47_values_are_read_by_type() {
        assert_eq!(text(&Type::Integer(false, 8), "255").unwrap(), "255");
        assert!(
            text(&Type::Integer(false, 8), "256")
                .unwrap_err()
                .contains("0 to 255")
        );
        assert_eq!(text(&Type::Integer(true, 64), "-1").unwrap(), "-1");
        assert_eq!(text(&Type::Bool, "").unwrap(), "true");
        assert_eq!(
            text(&Type::List(Box::new(Type::String)), "[\"a\",\"b\"]").unwrap(),
            "[\"a\",\"b\"]"
        );
        assert_eq!(text(&Type::List(Box::new(Type::String)), "a").unwrap(), "[\"a\"]");
        let record = Type::Record(vec![Field {
            name: "n".to_owned(),
            ty: Type::Integer(false, 32),
        }]);
        assert_eq!(text(&record, "{\"n\": 3}").unwrap(), "{\"n\":3}");
        assert!(text(&record, "{\"m\": 3}").unwrap_err().contains("no field m"));
        let names = Type::Enum(vec!["fast".to_owned(), "slow".to_owned()]);
        assert!(text(&names, "medium").unwrap_err().contains("fast, slow"));
    }

    #[test]
    fn a_secret_is_never_written_on_the_command_line_or_repeated() {
        let refused = text(&Type::Handle(Handle::Secret), "hunter22").unwrap_err();
        assert!(!refused.contains("hunter22") && refused.contains("env:NAME"));
    }
}
