//! What values look like, for help and for errors.

use crate::types::{Case, Field, Handle, Type};

/// What a value of this type looks like when it is written.
pub fn example(ty: &Type) -> String {
    match ty {
        Type::Bool => "true".to_owned(),
        Type::Integer(..) => "1".to_owned(),
        Type::Float(_) => "0.5".to_owned(),
        Type::Char => "x".to_owned(),
        Type::String | Type::Result(..) | Type::Other(_) => "\"...\"".to_owned(),
        Type::List(item) => format!("[{}]", example(item)),
        Type::Option(inner) => example(inner),
        Type::Tuple(items) => format!("({})", items.iter().map(example).collect::<Vec<_>>().join(", ")),
        Type::Record(record) => {
            let field = |field: &Field| format!("{}: {}", field.name, example(&field.ty));
            format!(
                "{{{}}}",
                record.members.iter().map(field).collect::<Vec<_>>().join(", ")
            )
        }
        Type::Variant(cases) | Type::Enum(cases) => {
            let carrying = cases.members.iter().find(|case| case.ty.is_some());
            match carrying.or(cases.members.first()) {
                Some(Case {
                    name, ty: Some(ty), ..
                }) => match ty {
                    Type::Tuple(_) => format!("{name}{}", example(ty)),
                    ty => format!("{name}({})", example(ty)),
                },
                Some(case) => case.name.clone(),
                None => String::new(),
            }
        }
        Type::Flags(names) => format!("{{{}}}", names.join(", ")),
        Type::Handle(Handle::Directory) => "./dir".to_owned(),
        Type::Handle(Handle::File) => "./file".to_owned(),
        Type::Handle(Handle::Container) => "image:tag".to_owned(),
        Type::Handle(Handle::Secret) => "env:NAME".to_owned(),
        Type::Handle(Handle::Volume) => "name".to_owned(),
        Type::Handle(Handle::Service) => "tcp://localhost:5432".to_owned(),
        Type::Handle(Handle::Changeset) => "what a function returned".to_owned(),
    }
}
