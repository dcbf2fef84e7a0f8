//! The author's own types: what `#[derive(wharf_sdk::Type)]` stands on, as WIT has it.

use quote::ToTokens;
use syn::{Data, DataEnum, DeriveInput, Error, Field, Fields, Result, Variant, spanned::Spanned};

use crate::{
    docs, names,
    shape::{self, Shape},
};

/// A record, an enum or a variant.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its name in Rust.
    pub rust: String,
    /// Its name in kebab-case.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
    /// What it is.
    pub kind: Kind,
    /// Its fields or cases.
    pub members: Vec<Member>,
}

/// What WIT calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record,
    Enum,
    Variant,
}

/// A field or a case.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its name in Rust.
    pub rust: String,
    /// Its name in kebab-case.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
    /// The field's type, or what the case carries.
    pub shape: Option<Shape>,
}

impl Definition {
    /// The type, and a record for each of its cases that has named fields. What cannot cross is refused where it stands,
    /// all of it at once.
    pub(crate) fn read(input: &DeriveInput) -> Result<Vec<Self>> {
        let mut all = Checked::default();
        if let Some(parameter) = input.generics.params.first() {
            all.refuse(Error::new(
                parameter.span(),
                "a type that crosses cannot be generic: callers need to know what it holds",
            ));
        }
        let rust = input.ident.to_string();
        if shape::is_taken(&rust) {
            all.refuse(Error::new(
                input.ident.span(),
                format!("`{rust}` is the name of a type that crosses already: call this one something else"),
            ));
        }
        let name = all.keep(names::of_camel(&input.ident)).unwrap_or_default();
        let docs = docs::text(&input.attrs);
        let mut records = Vec::new();
        let (kind, members) = match &input.data {
            Data::Struct(data) => (Kind::Record, fields(&data.fields, &input.ident, &mut all)),
            Data::Enum(data) => (kind(data), cases(data, &rust, &mut records, &mut all)),
            Data::Union(union) => {
                all.refuse(Error::new(
                    union.union_token.span(),
                    "a union cannot cross: write an enum",
                ));
                (Kind::Record, Vec::new())
            }
        };
        if members.is_empty() && all.is_clean() {
            all.refuse(Error::new(
                input.ident.span(),
                format!("`{rust}` holds nothing that could cross: give it a field or a case"),
            ));
        }
        let own = Self {
            rust,
            name,
            docs,
            kind,
            members,
        };
        all.done([own].into_iter().chain(records).collect())
    }

    /// The names of the author's types that it holds.
    pub(crate) fn own(&self) -> Vec<&str> {
        let shapes = self.members.iter().filter_map(|member| member.shape.as_ref());
        shapes.flat_map(Shape::own).collect()
    }
}

fn kind(data: &DataEnum) -> Kind {
    if data.variants.iter().all(|case| case.fields.is_empty()) {
        Kind::Enum
    } else {
        Kind::Variant
    }
}

fn fields(fields: &Fields, at: &impl ToTokens, all: &mut Checked) -> Vec<Member> {
    match fields {
        Fields::Named(fields) => fields
            .named
            .iter()
            .filter_map(|one| all.keep(field(one)))
            .collect(),
        Fields::Unnamed(fields) => {
            let why = "the fields of a struct that crosses need names, which callers write: `struct Name { field: … }`";
            all.refuse(Error::new(fields.span(), why));
            Vec::new()
        }
        Fields::Unit => {
            all.refuse(Error::new(
                at.span(),
                "a struct without fields holds nothing that could cross",
            ));
            Vec::new()
        }
    }
}

fn field(field: &Field) -> Result<Member> {
    let ident = field
        .ident
        .as_ref()
        .ok_or_else(|| Error::new(field.span(), "this field needs a name"))?;
    let (name, shape) = (names::kebab(ident), Shape::read(&field.ty));
    Ok(Member {
        rust: ident.to_string(),
        name: name?,
        docs: docs::text(&field.attrs),
        shape: Some(shape?),
    })
}

fn cases(data: &DataEnum, holder: &str, records: &mut Vec<Definition>, all: &mut Checked) -> Vec<Member> {
    let mut members = Vec::new();
    for case in &data.variants {
        let shape = carried(case, holder, records, all);
        let Some(name) = all.keep(names::of_camel(&case.ident)) else {
            continue;
        };
        members.push(Member {
            rust: case.ident.to_string(),
            name,
            docs: docs::text(&case.attrs),
            shape,
        });
    }
    members
}

/// What a case carries: nothing, one value, a tuple, or a record of its own.
fn carried(case: &Variant, holder: &str, records: &mut Vec<Definition>, all: &mut Checked) -> Option<Shape> {
    match &case.fields {
        Fields::Unit => None,
        Fields::Unnamed(fields) => {
            let mut shapes: Vec<_> = fields
                .unnamed
                .iter()
                .filter_map(|field| all.keep(Shape::read(&field.ty)))
                .collect();
            if fields.unnamed.is_empty() || fields.unnamed.len() > 8 {
                all.refuse(Error::new(
                    case.span(),
                    "a case carries nothing, one to eight values, or named fields",
                ));
            }
            if shapes.len() == 1 {
                shapes.pop()
            } else {
                Some(Shape::Tuple(shapes))
            }
        }
        named @ Fields::Named(_) => {
            let rust = format!("{holder}{}", case.ident);
            let members = fields(named, &case.ident, all);
            records.push(Definition {
                name: names::of_type(&rust),
                docs: docs::text(&case.attrs),
                kind: Kind::Record,
                members,
                rust: rust.clone(),
            });
            Some(Shape::Own(rust))
        }
    }
}

/// Mistakes, gathered so that all are told at once.
#[derive(Default)]
pub(crate) struct Checked(Option<Error>);

impl Checked {
    /// Notes a mistake.
    pub(crate) fn refuse(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Was there no mistake so far?
    fn is_clean(&self) -> bool {
        self.0.is_none()
    }

    /// The value, or none when it is a mistake.
    pub(crate) fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.refuse(error)).ok()
    }

    /// The value, when there was no mistake.
    pub(crate) fn done<T>(self, value: T) -> Result<T> {
        self.0.map_or(Ok(value), Err)
    }
}
