//! How a function is explained: its usage in a line, its flags, the types in them, what can follow.

use std::fmt::Write as _;

use wharf_wasm::{Case, Field, Function, Handle, Named, Param, Type, args, case_names, methods::methods};

use crate::{
    flags::{inner, result_handle},
    table::columns,
};

fn is_optional(param: &Param) -> bool {
    param.default.is_some() || matches!(param.ty, Type::Option(_) | Type::Bool | Type::List(_))
}

/// Are values of this type such handles?
fn takes(ty: &Type, handle: Handle) -> bool {
    match ty {
        Type::Option(inner) | Type::List(inner) => takes(inner, handle),
        other => *other == Type::Handle(handle),
    }
}

/// A flag as usage shows it.
fn flag(param: &Param) -> String {
    let ty = inner(&param.ty);
    match ty {
        Type::Bool => format!("--{}", param.name),
        Type::List(item) => format!("--{} {}", param.name, placeholder(item)),
        _ => format!("--{} {}", param.name, placeholder(ty)),
    }
}

/// What stands for a value of this type.
fn placeholder(ty: &Type) -> String {
    match ty {
        Type::Integer(..) | Type::Float(_) => "NUMBER".to_owned(),
        Type::String => "TEXT".to_owned(),
        Type::Char => "CHARACTER".to_owned(),
        Type::Handle(Handle::Directory) => "DIRECTORY".to_owned(),
        Type::Handle(Handle::File) => "FILE".to_owned(),
        Type::Handle(Handle::Container) => "IMAGE".to_owned(),
        Type::Handle(Handle::Secret) => "env:NAME|file:PATH|cmd:COMMAND".to_owned(),
        Type::Handle(Handle::Volume) => "NAME".to_owned(),
        Type::Handle(Handle::Service) => "tcp://HOST:PORT".to_owned(),
        Type::Enum(cases) => case_names(&cases.members, "|"),
        Type::Option(item) => placeholder(item),
        Type::Record(Named { name, .. }) | Type::Variant(Named { name, .. }) if !name.is_empty() => {
            name.to_uppercase()
        }
        _ => "JSON".to_owned(),
    }
}

/// One line: how the function is called, or a method behind others.
pub(crate) fn usage(before: &str, function: &Function) -> String {
    let mut text = format!("Usage: wharf call {before}{}", function.name);
    for param in &function.params {
        let more = if matches!(inner(&param.ty), Type::List(_)) {
            "..."
        } else {
            ""
        };
        let _ = if is_optional(param) {
            write!(text, " [{}]{more}", flag(param))
        } else {
            write!(text, " {}{more}", flag(param))
        };
    }
    text
}

/// All that is known of a function.
pub(crate) fn explain(before: &str, function: &Function) -> String {
    let mut text = String::new();
    if !function.docs.is_empty() {
        let _ = writeln!(text, "{}\n", function.docs.trim());
    }
    let _ = writeln!(text, "{}\n", usage(before, function));
    let row = |param: &Param| {
        let mut docs = param.docs.trim().replace('\n', " ");
        if let Some(default) = &param.default {
            let _ = write!(docs, " [default: {default}]");
        }
        [format!("  {}", flag(param)), docs.trim().to_owned()]
    };
    if !function.params.is_empty() {
        let _ = writeln!(
            text,
            "Flags:\n{}",
            columns(&function.params.iter().map(row).collect::<Vec<_>>())
        );
    }
    for (handle, how) in [
        (
            Handle::Directory,
            "git+https://…#ref:path, git+ssh://…, git+file://…, or https://… of an archive, which is unpacked",
        ),
        (
            Handle::File,
            "git+https://…#ref:path, git+ssh://…, git+file://…, or https://…",
        ),
    ] {
        if let Some(param) = function.params.iter().find(|param| takes(&param.ty, handle)) {
            let name = placeholder(&Type::Handle(handle));
            let _ = writeln!(text, "{name}, as for --{}, is a path, {how}\n", param.name);
        }
    }
    let _ = writeln!(text, "Returns: {}", result_name(function));
    text.push_str(&types(function));
    let methods = result_handle(function).map(methods).unwrap_or_default();
    if !methods.is_empty() {
        let rows: Vec<_> = methods
            .iter()
            .map(|method| {
                [
                    format!("  {}", method.signature.name),
                    method.signature.docs.clone(),
                ]
            })
            .collect();
        let _ = writeln!(
            text,
            "\nWhat can follow, each with --help of its own:\n{}",
            columns(&rows).trim_end()
        );
    }
    let own = [
        [
            "  -o PATH".to_owned(),
            "write the directory, file or container there".to_owned(),
        ],
        ["  --json".to_owned(), "print the value as JSON".to_owned()],
        ["  --help".to_owned(), "print this".to_owned()],
    ];
    let _ = write!(text, "\nFor every function:\n{}", columns(&own));
    text
}

/// The types that the module's author named: what they hold, and how a value of one is written.
fn types(function: &Function) -> String {
    let mut text = String::new();
    for ty in named_types(function) {
        let (about, rows): (_, Vec<_>) = match ty {
            Type::Record(record) => (&record.docs, record.members.iter().map(field_row).collect()),
            Type::Variant(cases) | Type::Enum(cases) => {
                (&cases.docs, cases.members.iter().map(case_row).collect())
            }
            _ => continue,
        };
        let about = about.trim().replace('\n', " ");
        let about = if about.is_empty() {
            about
        } else {
            format!(": {about}")
        };
        let _ = write!(text, "\nType {ty}{about}\n{}", columns(&rows));
        if !matches!(ty, Type::Enum(_)) {
            let _ = writeln!(text, "  written as {}", args::example(ty));
        }
    }
    text
}

fn field_row(field: &Field) -> [String; 2] {
    let docs = field.docs.trim().replace('\n', " ");
    [format!("  {}: {}", field.name, field.ty), docs]
}

fn case_row(case: &Case) -> [String; 2] {
    let carried = case.ty.as_ref().map(|ty| format!("({ty})")).unwrap_or_default();
    let docs = case.docs.trim().replace('\n', " ");
    [format!("  {}{carried}", case.name), docs]
}

/// The named types that a function takes or returns, and those in them, each once, in the order of their appearance.
pub(crate) fn named_types(function: &Function) -> Vec<&Type> {
    fn gather<'t>(ty: &'t Type, found: &mut Vec<&'t Type>) {
        let name = match ty {
            Type::Record(Named { name, .. }) => name,
            Type::Variant(Named { name, .. }) | Type::Enum(Named { name, .. }) => name,
            _ => "",
        };
        if !name.is_empty() && !found.contains(&ty) {
            found.push(ty);
        }
        ty.parts().into_iter().for_each(|part| gather(part, found));
    }
    let mut found = Vec::new();
    let params = function.params.iter().map(|param| &param.ty);
    for ty in params.chain(&function.result) {
        gather(ty, &mut found);
    }
    found
}

/// What a function returns, in a word.
pub(crate) fn result_name(function: &Function) -> String {
    function
        .result
        .as_ref()
        .map_or_else(|| "nothing".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::tests::{function, param};

    #[test]
    fn a_function_explains_itself() {
        let function = function();
        let text = explain("", &function);
        for param in &function.params {
            assert!(text.contains(&format!("--{}", param.name)), "{text}");
        }
        assert!(text.contains("git+https://") && !text.contains("FILE"), "{text}");
    }

    #[test]
    fn named_types_are_explained_with_what_they_hold() {
        let level = Type::Enum(Named {
            name: "level".to_owned(),
            docs: "How hard to try.".to_owned(),
            members: ["fast", "slow"].map(Case::plain).into(),
        });
        let options = Type::Record(Named {
            name: "build-options".to_owned(),
            docs: "How to build.".to_owned(),
            members: vec![
                Field {
                    name: "level".to_owned(),
                    ty: level,
                    docs: "As asked.".to_owned(),
                },
                Field {
                    name: "jobs".to_owned(),
                    ty: Type::Option(Box::new(Type::Integer(false, 32))),
                    docs: String::new(),
                },
            ],
        });
        let function = Function {
            params: vec![param("options", options)],
            ..function()
        };
        let text = explain("", &function);
        let types = text.split("Returns: ").nth(1).unwrap();
        let types = types.split("\nWhat can follow").next().unwrap();
        insta::assert_snapshot!(types, @r"
        directory

        Type build-options: How to build.
          level: level       As asked.
          jobs: option<u32>
          written as {level: fast, jobs: 1}

        Type level: How hard to try.
          fast
          slow
        ");
        assert!(usage("", &function).contains("--options BUILD-OPTIONS"));
    }
}
