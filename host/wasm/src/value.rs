//! Values: what goes into functions and comes out of them.

use serde_json::{Value as Json, json};
use wharf_graph::{Changeset, Container, Directory, File, Secret, Service, Volume};

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// true or false.
    Bool(bool),
    /// A whole number.
    Integer(i128),
    /// A number.
    Float(f64),
    /// A character.
    Char(char),
    /// Text.
    String(String),
    /// Several.
    List(Vec<Value>),
    /// One or none.
    Option(Option<Box<Value>>),
    /// Several of different types.
    Tuple(Vec<Value>),
    /// Named fields.
    Record(Vec<(String, Value)>),
    /// A value, or an error.
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// A case and what it carries.
    Variant(String, Option<Box<Value>>),
    /// A name.
    Enum(String),
    /// Names.
    Flags(Vec<String>),
    /// A directory.
    Directory(Directory),
    /// A file.
    File(File),
    /// A container.
    Container(Container),
    /// A secret.
    Secret(Secret),
    /// A cache volume.
    Volume(Volume),
    /// A service.
    Service(Service),
    /// A changeset.
    Changeset(Changeset),
    /// Nothing.
    Unit,
}

impl Value {
    /// The same value with each of its handles, such as directories, put through `change`.
    pub(crate) fn try_map<E>(self, change: &mut impl FnMut(Self) -> Result<Self, E>) -> Result<Self, E> {
        let mut all = |items: Vec<Self>| -> Result<Vec<Self>, E> {
            items.into_iter().map(|item| item.try_map(change)).collect()
        };
        Ok(match self {
            Self::List(items) => Self::List(all(items)?),
            Self::Tuple(items) => Self::Tuple(all(items)?),
            Self::Record(fields) => {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| Ok((name, value.try_map(change)?)));
                Self::Record(fields.collect::<Result<_, E>>()?)
            }
            Self::Option(Some(value)) => Self::Option(Some(Box::new(value.try_map(change)?))),
            Self::Variant(case, Some(value)) => Self::Variant(case, Some(Box::new(value.try_map(change)?))),
            Self::Result(Ok(Some(value))) => Self::Result(Ok(Some(Box::new(value.try_map(change)?)))),
            Self::Result(Err(Some(value))) => Self::Result(Err(Some(Box::new(value.try_map(change)?)))),
            handle @ (Self::Directory(_)
            | Self::File(_)
            | Self::Container(_)
            | Self::Secret(_)
            | Self::Volume(_)
            | Self::Service(_)
            | Self::Changeset(_)) => change(handle)?,
            plain => plain,
        })
    }

    /// As JSON; handles are named, a secret's value is not in it.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Bool(value) => json!(value),
            Self::Integer(value) => i64::try_from(*value)
                .map(Json::from)
                .or_else(|_| u64::try_from(*value).map(Json::from))
                .unwrap_or(Json::Null),
            Self::Float(value) => json!(value),
            Self::Char(value) => json!(value.to_string()),
            Self::String(value) => json!(value),
            Self::List(items) | Self::Tuple(items) => items.iter().map(Self::to_json).collect(),
            Self::Option(value) => value.as_ref().map_or(Json::Null, |value| value.to_json()),
            Self::Record(fields) => Json::Object(
                fields
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_json()))
                    .collect(),
            ),
            Self::Result(Ok(value)) => value.as_ref().map_or(Json::Null, |value| value.to_json()),
            Self::Result(Err(error)) => {
                json!({ "error": error.as_ref().map_or(Json::Null, |error| error.to_json()) })
            }
            Self::Variant(case, None) => json!(case),
            Self::Variant(case, Some(value)) => json!({ case.as_str(): value.to_json() }),
            Self::Enum(name) => json!(name),
            Self::Flags(names) => json!(names),
            Self::Directory(_) => json!("<directory>"),
            Self::File(_) => json!("<file>"),
            Self::Container(_) => json!("<container>"),
            Self::Secret(_) => json!("<secret>"),
            Self::Volume(_) => json!("<cache volume>"),
            Self::Service(_) => json!("<service>"),
            Self::Changeset(_) => json!("<changeset>"),
            Self::Unit => Json::Null,
        }
    }

    /// As plain text: what stands in a terminal.
    pub fn to_text(&self) -> String {
        match self {
            Self::String(text) | Self::Enum(text) => text.clone(),
            Self::Char(value) => value.to_string(),
            Self::Option(Some(value)) => value.to_text(),
            Self::Option(None) | Self::Unit => String::new(),
            Self::List(items) => items.iter().map(Self::to_text).collect::<Vec<_>>().join("\n"),
            Self::Flags(names) => names.join(","),
            other => match other.to_json() {
                Json::String(text) => text,
                json @ (Json::Object(_) | Json::Array(_)) => {
                    serde_json::to_string_pretty(&json).unwrap_or_else(|_| json.to_string())
                }
                json => json.to_string(),
            },
        }
    }
}
