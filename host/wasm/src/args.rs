//! Arguments as users write them: one parser, led by the type, that takes plain text, JSON and WAVE.

mod example;
mod handle;
mod remote;

use std::{fmt, path::Path};

pub use example::example;
use serde_json::{Map, Value as Json};

use crate::{
    reflect::DefaultValue,
    types::{Case, Field, Named, Type, case_names},
    value::Value,
    written,
};

/// Where handles are made from text.
#[derive(Clone, Copy, Debug)]
pub struct Place<'p> {
    /// Where relative paths start.
    pub directory: &'p Path,
    /// Where paths start that are defaults: the module's own directory.
    pub project: &'p Path,
    /// Who secrets and caches belong to.
    pub scope: &'p str,
}

/// What does not fit a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ArgumentError {
    /// The fields and items that lead there, the outermost first.
    within: Vec<String>,
    what: String,
}

impl fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outer in &self.within {
            write!(f, "{outer}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl ArgumentError {
    fn new(what: impl Into<String>) -> Self {
        Self {
            within: Vec::new(),
            what: what.into(),
        }
    }

    /// The same, found inside something.
    fn inside(mut self, outer: impl Into<String>) -> Self {
        self.within.insert(0, outer.into());
        self
    }
}

type Result<T, E = ArgumentError> = std::result::Result<T, E>;

fn wrong(text: &str, ty: &Type, hint: &str) -> ArgumentError {
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!(": {hint}")
    };
    ArgumentError::new(format!("{text:?} is no {ty}{hint}"))
}

/// A value of this type from what a user wrote.
///
/// # Errors
/// When it is none; the text is repeated unless it may hold a secret.
pub fn parse(ty: &Type, text: &str, place: Place<'_>) -> Result<Value> {
    match ty {
        Type::Option(inner) => Ok(Value::Option(Some(Box::new(parse(inner, text, place)?)))),
        Type::Handle(handle) => handle::parse(*handle, ty, text, place),
        Type::List(inner) if !text.trim_start().starts_with('[') => {
            Ok(Value::List(vec![parse(inner, text, place)?]))
        }
        Type::Enum(cases) => named_case(cases, text, ty),
        Type::Variant(cases) if cases.members.iter().any(|case| case.name == text) => {
            named_case(cases, text, ty)
        }
        Type::Record(_) | Type::Variant(_) | Type::List(_) | Type::Tuple(_) | Type::Flags(_) => {
            let json = written::read(text).map_err(|why| {
                ArgumentError::new(format!("this is no {ty}: {why}; write it as {}", example(ty)))
            })?;
            from_json(ty, &json, place)
        }
        Type::Result(..) | Type::Other(_) => {
            Err(wrong(text, ty, "this type cannot be written on a command line"))
        }
        _ => plain(ty, text),
    }
}

/// A value of a plain type.
fn plain(ty: &Type, text: &str) -> Result<Value> {
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
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// What is used for a parameter of this type when nothing is written.
///
/// # Errors
/// When the module's default does not fit its type, or leads out of its directory.
pub fn default(ty: &Type, default: &DefaultValue, place: Place<'_>) -> Result<Value> {
    match default {
        DefaultValue::Value(json) => from_json(ty, json, place),
        DefaultValue::Path(path) => {
            let leaves = Path::new(path).components().any(|part| {
                !matches!(
                    part,
                    std::path::Component::Normal(_) | std::path::Component::CurDir
                )
            });
            if leaves {
                return Err(wrong(
                    path,
                    ty,
                    "a module's default path lies in its own directory",
                ));
            }
            let inside = Place {
                directory: place.project,
                ..place
            };
            parse(ty, path, inside)
        }
    }
}

/// A case that carries nothing, by its name.
fn named_case(cases: &Named<Case>, text: &str, ty: &Type) -> Result<Value> {
    match (cases.members.iter().find(|case| case.name == text), ty) {
        (
            Some(Case {
                ty: Some(carried), ..
            }),
            _,
        ) => {
            let carried = example(carried);
            let carried = carried
                .strip_prefix('(')
                .and_then(|text| text.strip_suffix(')'))
                .unwrap_or(&carried);
            Err(ArgumentError::new(format!(
                "{text} carries a value: write {text}({carried})"
            )))
        }
        (Some(_), Type::Enum(_)) => Ok(Value::Enum(text.to_owned())),
        (Some(_), _) => Ok(Value::Variant(text.to_owned(), None)),
        (None, _) => {
            let names = case_names(&cases.members, ", ");
            Err(wrong(text, ty, &format!("write one of {names}")))
        }
    }
}

/// A value of this type from JSON: for defaults and inner values.
fn from_json(ty: &Type, json: &Json, place: Place<'_>) -> Result<Value> {
    let misfit = || match json {
        Json::Null => ArgumentError::new(format!("nothing is no {ty}: write {}", example(ty))),
        Json::Bool(_) | Json::Number(_) => wrong(&json.to_string(), ty, &format!("write {}", example(ty))),
        _ => ArgumentError::new(format!("this is no {ty}: write {}", example(ty))),
    };
    match (ty, json) {
        (Type::Option(_), Json::Null) => Ok(Value::Option(None)),
        (Type::Option(inner), _) => {
            let json = some(inner, json).unwrap_or(json);
            Ok(Value::Option(Some(Box::new(from_json(inner, json, place)?))))
        }
        (Type::List(inner), Json::Array(items)) => items
            .iter()
            .enumerate()
            .map(|(at, item)| {
                from_json(inner, item, place).map_err(|error| error.inside(format!("item {}", at + 1)))
            })
            .collect::<Result<_>>()
            .map(Value::List),
        (Type::Tuple(types), Json::Array(items)) if types.len() == items.len() => {
            let values = types.iter().zip(items).enumerate().map(|(at, (ty, item))| {
                from_json(ty, item, place).map_err(|error| error.inside(format!("value {}", at + 1)))
            });
            values.collect::<Result<_>>().map(Value::Tuple)
        }
        (Type::Record(record), Json::Object(map)) => from_fields(record, map, ty, place),
        (Type::Variant(cases), Json::Object(map)) if map.len() == 1 => {
            let (name, inner) = map.iter().next().ok_or_else(misfit)?;
            let Some(case) = cases.members.iter().find(|case| case.name == *name) else {
                return named_case(cases, name, ty);
            };
            let Some(carried) = &case.ty else {
                return Err(ArgumentError::new(format!(
                    "{name} carries nothing: write {name} alone"
                )));
            };
            let value = from_json(carried, inner, place).map_err(|error| error.inside(name))?;
            Ok(Value::Variant(name.clone(), Some(Box::new(value))))
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
        (Type::Variant(cases) | Type::Enum(cases), Json::String(text)) => named_case(cases, text, ty),
        (Type::Record(_) | Type::List(_) | Type::Tuple(_) | Type::Flags(_), _) => Err(misfit()),
        (_, Json::String(text)) => parse(ty, text, place),
        (Type::Bool | Type::Integer(..) | Type::Float(_), Json::Bool(_) | Json::Number(_)) => {
            parse(ty, &json.to_string(), place)
        }
        _ => Err(misfit()),
    }
}

/// What is in `some(…)`, unless the type itself has a place for that name.
fn some<'j>(inner: &Type, json: &'j Json) -> Option<&'j Json> {
    let is_own = match inner {
        Type::Record(record) => record.members.iter().any(|field| field.name == "some"),
        Type::Variant(cases) => cases.members.iter().any(|case| case.name == "some"),
        _ => false,
    };
    match json {
        Json::Object(map) if map.len() == 1 && !is_own => map.get("some"),
        _ => None,
    }
}

fn from_fields(record: &Named<Field>, map: &Map<String, Json>, ty: &Type, place: Place<'_>) -> Result<Value> {
    let names = || {
        let names: Vec<_> = record.members.iter().map(|field| field.name.as_str()).collect();
        names.join(", ")
    };
    if let Some(unknown) = map
        .keys()
        .find(|key| record.members.iter().all(|field| field.name != **key))
    {
        return Err(ArgumentError::new(format!(
            "{ty} has no field {unknown}; it has {}",
            names()
        )));
    }
    let value = |field: &Field| {
        let value = match (map.get(&field.name), &field.ty) {
            (Some(json), ty) => from_json(ty, json, place).map_err(|error| error.inside(&field.name))?,
            (None, Type::Option(_)) => Value::Option(None),
            (None, wanted) => {
                let what = format!("{ty} needs a field {}, a {wanted}", field.name);
                return Err(ArgumentError::new(what));
            }
        };
        Ok((field.name.clone(), value))
    };
    record
        .members
        .iter()
        .map(value)
        .collect::<Result<_>>()
        .map(Value::Record)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::{DefaultValue, Place, default, parse};
    use crate::types::{Case, Field, Handle, Named, Type};

    fn place() -> Place<'static> {
        Place {
            directory: Path::new("/"),
            project: Path::new("/usr"),
            scope: "test",
        }
    }

    fn text(ty: &Type, text: &str) -> Result<String, String> {
        parse(ty, text, place())
            .map(|value| value.to_json().to_string())
            .map_err(|error| error.to_string())
    }

    fn field(name: &str, ty: Type) -> Field {
        Field {
            name: name.to_owned(),
            ty,
            docs: String::new(),
        }
    }

    fn carrying(name: &str, ty: Type) -> Case {
        Case {
            ty: Some(ty),
            ..Case::plain(name)
        }
    }

    fn level() -> Type {
        Type::Enum(Named {
            name: "level".to_owned(),
            ..Named::from(vec![Case::plain("fast"), Case::plain("slow")])
        })
    }

    fn options() -> Type {
        Type::Record(Named {
            name: "options".to_owned(),
            ..Named::from(vec![
                field("source", Type::Handle(Handle::Directory)),
                field("level", level()),
                field("token", Type::Option(Box::new(Type::Handle(Handle::Secret)))),
            ])
        })
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
        let texts = Type::List(Box::new(Type::String));
        for written in ["[\"a\",\"b\"]", "[a, b]"] {
            assert_eq!(text(&texts, written).unwrap(), "[\"a\",\"b\"]");
        }
        assert_eq!(text(&texts, "a").unwrap(), "[\"a\"]");
        assert!(text(&level(), "medium").unwrap_err().contains("fast, slow"));
    }

    #[test]
    fn b47_records_are_read_as_json_and_as_wave() {
        let read = serde_json::json!({ "source": "<directory>", "level": "slow", "token": null });
        for written in [
            "{\"source\": \"tmp\", \"level\": \"slow\"}",
            "{source: tmp, level: slow, token: none}",
        ] {
            let found: serde_json::Value = serde_json::from_str(&text(&options(), written).unwrap()).unwrap();
            assert_eq!(found, read);
        }
        assert!(text(&options(), "{source: tmp, level: fast, token: some(env:X)}").is_ok());
        for (written, why) in [
            ("{source: tmp}", "options needs a field level, a level"),
            (
                "{source: tmp, level: medium}",
                "level: \"medium\" is no level: write one of fast, slow",
            ),
            (
                "{source: nowhere, level: fast}",
                "source: \"nowhere\" is no directory: /nowhere does not exist",
            ),
            (
                "{sauce: tmp}",
                "options has no field sauce; it has source, level, token",
            ),
            (
                "{source: tmp",
                "this is no options: expected `,` or `}` at character 13; write it as {source: ./dir, level: fast, token: env:NAME}",
            ),
            ("[1]", "this is no options"),
        ] {
            let found = text(&options(), written).unwrap_err();
            assert!(found.contains(why), "{written}: {found}");
        }
        let refused = text(&options(), "{source: tmp, level: fast, token: hunter22}").unwrap_err();
        assert!(
            !refused.contains("hunter22") && refused.contains("env:NAME"),
            "{refused}"
        );
    }

    #[test]
    fn b47_cases_are_read_by_name() {
        let pair = Type::Tuple(vec![Type::String, Type::Integer(false, 8)]);
        let cases = Type::Variant(
            vec![
                Case::plain("here"),
                carrying("git", Type::String),
                carrying("pair", pair),
            ]
            .into(),
        );
        assert_eq!(text(&cases, "here").unwrap(), "\"here\"");
        for written in ["git(\"x\")", "git(x)", "{\"git\": \"x\"}", "{git: x}"] {
            assert_eq!(text(&cases, written).unwrap(), "{\"git\":\"x\"}");
        }
        assert_eq!(text(&cases, "pair(x, 3)").unwrap(), "{\"pair\":[\"x\",3]}");
        for (written, why) in [
            ("git", "git carries a value: write git(\"...\")"),
            ("pair", "write pair(\"...\", 1)"),
            ("here(1)", "here carries nothing"),
            ("svn(x)", "write one of here, git, pair"),
            ("pair(x, 300)", "pair: value 2: \"300\" is no u8"),
        ] {
            let found = text(&cases, written).unwrap_err();
            assert!(found.contains(why), "{written}: {found}");
        }
    }

    #[test]
    fn default_paths_lie_in_the_modules_directory() {
        let directory = Type::Handle(Handle::Directory);
        let made = |path: &str| default(&directory, &DefaultValue::Path(path.to_owned()), place());
        assert!(made("bin").is_ok() && made(".").is_ok());
        for path in ["../etc", "/etc", "bin/../../etc"] {
            assert!(made(path).unwrap_err().to_string().contains("its own directory"));
        }
        let value = default(&level(), &DefaultValue::Value(json!("slow")), place());
        assert_eq!(value.unwrap().to_json(), json!("slow"));
    }

    #[test]
    fn a_secret_is_never_written_on_the_command_line_or_repeated() {
        let refused = text(&Type::Handle(Handle::Secret), "hunter22").unwrap_err();
        assert!(!refused.contains("hunter22") && refused.contains("env:NAME"));
    }
}
