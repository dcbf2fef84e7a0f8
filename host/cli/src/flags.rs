//! What follows the function on a command line, read by the function's own types; and how a function is explained.

use std::{collections::HashMap, ffi::OsString, fmt::Write as _, path::PathBuf};

use clap::CommandFactory;
use wharf_wasm::{
    Case, Field, Function, Handle, Named, Param, Type, Value,
    args::{self, Place},
    case_names,
    methods::methods,
};

use crate::{args::Wharf, error::Report, suggest::nearest, table::columns};

/// What follows the function, or one of its result's methods.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// What stands before it in usage: the functions whose result it is called on.
    pub(crate) before: String,
    /// Values by parameter, as written; a list may have several.
    pub(crate) values: HashMap<String, Vec<String>>,
    /// `-o`.
    pub(crate) output: Option<PathBuf>,
    /// `--json`.
    pub(crate) json: bool,
    /// `--help`.
    pub(crate) help: bool,
}

impl Flags {
    /// Reads words up to a method of the result, and returns the words from there on. Values are not looked at yet.
    pub(crate) fn read<'w>(
        function: &Function,
        before: &str,
        words: &'w [OsString],
    ) -> Result<(Self, &'w [OsString]), Report> {
        let wrong = |message: String| Report::usage(message).with_detail(usage(before, function));
        let mut flags = Self {
            before: before.to_owned(),
            ..Self::default()
        };
        let mut words = words.iter();
        loop {
            let rest = words.as_slice();
            let Some(word) = words.next() else { break };
            let not_text = || wrong(format!("{} is not UTF-8", word.display()));
            if word == "-h" || word == "--help" {
                flags.help = true;
                return Ok((flags, &[]));
            }
            let text = word.to_str().ok_or_else(not_text)?;
            if !text.starts_with('-') && result_handle(function).is_some() {
                return Ok((flags, rest));
            }
            let (name, inline) = match text.split_once('=') {
                Some((name, value)) if name.starts_with('-') => (name, Some(value)),
                _ => (text, None),
            };
            let mut value = || {
                let mut next = || {
                    words
                        .next()
                        .map(|next| next.to_str().map(str::to_owned).ok_or_else(not_text))
                };
                match inline {
                    Some(value) => Ok(value.to_owned()),
                    None => next().unwrap_or_else(|| Err(wrong(format!("{name} needs a value")))),
                }
            };
            match name {
                "--json" if inline.is_none() => flags.json = true,
                "-o" | "--output" => flags.output = Some(value()?.into()),
                _ => {
                    let param = find(function, name).map_err(wrong)?;
                    let text = match inline {
                        None if is_switch(&param.ty) => "true".to_owned(),
                        _ => value()?,
                    };
                    if inline.is_none() && text.starts_with("--") {
                        return Err(wrong(format!(
                            "{name} needs a value; one that starts with a dash is written {name}={text}"
                        )));
                    }
                    let values = flags.values.entry(param.name.clone()).or_default();
                    if !values.is_empty() && !matches!(inner(&param.ty), Type::List(_)) {
                        return Err(wrong(format!("{name} was given twice")));
                    }
                    values.push(text);
                }
            }
        }
        Ok((flags, &[]))
    }

    /// The function's arguments in its order.
    pub(crate) fn arguments(&self, function: &Function, place: Place<'_>) -> Result<Vec<Value>, Report> {
        function
            .params
            .iter()
            .map(|param| self.argument(function, param, place))
            .collect()
    }

    fn argument(&self, function: &Function, param: &Param, place: Place<'_>) -> Result<Value, Report> {
        let wrong = |why: &dyn std::fmt::Display| {
            Report::usage(format!("--{}: {why}", param.name)).with_detail(usage(&self.before, function))
        };
        let texts = self
            .values
            .get(&param.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        match (texts, &param.default, &param.ty) {
            ([only], _, ty) => args::parse(ty, only, place).map_err(|error| wrong(&error)),
            ([], Some(default), ty) => args::default(ty, default, place).map_err(|error| wrong(&error)),
            ([], None, Type::Option(_)) => Ok(Value::Option(None)),
            ([], None, Type::Bool) => Ok(Value::Bool(false)),
            ([], None, Type::List(_)) => Ok(Value::List(Vec::new())),
            ([], None, _) => {
                let message = format!("{} needs --{}, a {}", function.name, param.name, param.ty);
                Err(Report::usage(message).with_detail(usage(&self.before, function)))
            }
            (several, _, ty) => {
                let Type::List(item) = inner(ty) else {
                    return Err(wrong(&"it was given twice"));
                };
                let items = several.iter().map(|text| args::parse(item, text, place));
                let list = Value::List(items.collect::<Result<_, _>>().map_err(|error| wrong(&error))?);
                Ok(if matches!(ty, Type::Option(_)) {
                    Value::Option(Some(Box::new(list)))
                } else {
                    list
                })
            }
        }
    }
}

/// The parameter that a flag names.
fn find<'f>(function: &'f Function, flag: &str) -> Result<&'f Param, String> {
    let is_own = |param: &Param| flag.strip_prefix("--") == Some(param.name.as_str());
    if is_option_of_call(flag) && !function.params.iter().any(is_own) {
        return Err(format!(
            "{flag} comes before the function: wharf call {flag} ... {}",
            function.name
        ));
    }
    let Some(name) = flag.strip_prefix("--") else {
        let name = &function.name;
        return Err(if function.params.is_empty() {
            format!(
                "`{flag}` is too much: {name} takes nothing, and returns {}",
                result_name(function)
            )
        } else {
            format!("`{flag}` is not a flag of {name}: values have names, written --name value")
        });
    };
    let name = name.replace('_', "-");
    function
        .params
        .iter()
        .find(|param| param.name == name)
        .ok_or_else(|| {
            let names = function.params.iter().map(|param| param.name.as_str());
            let meant = nearest(&name, names)
                .map(|near| format!("; did you mean --{near}?"))
                .unwrap_or_default();
            format!("{} has no flag {flag}{meant}", function.name)
        })
}

/// Is this an option that `wharf call` takes before the function?
fn is_option_of_call(flag: &str) -> bool {
    let wharf = Wharf::command();
    let is_written = |option: &clap::Arg| match flag.strip_prefix("--") {
        Some(long) => option.get_long() == Some(long),
        None => option
            .get_short()
            .is_some_and(|short| flag.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4]))),
    };
    wharf
        .find_subcommand("call")
        .is_some_and(|call| call.get_arguments().any(is_written))
}

/// The type inside an option.
pub(crate) fn inner(ty: &Type) -> &Type {
    match ty {
        Type::Option(inner) => inner,
        other => other,
    }
}

fn is_switch(ty: &Type) -> bool {
    *inner(ty) == Type::Bool
}

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

/// The handle that a function returns.
pub(crate) fn result_handle(function: &Function) -> Option<Handle> {
    let ty = match function.result.as_ref()? {
        Type::Result(ok, _) => ok.as_deref()?,
        other => other,
    };
    match inner(ty) {
        Type::Handle(handle) => Some(*handle),
        _ => None,
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
    use std::path::Path;

    use wharf_wasm::DefaultValue;

    use super::*;

    fn param(name: &str, ty: Type) -> Param {
        Param {
            name: name.to_owned(),
            ty,
            docs: format!("The {name}."),
            default: None,
        }
    }

    fn function() -> Function {
        let jobs = Param {
            default: Some(DefaultValue::Value(2.into())),
            ..param("jobs", Type::Integer(false, 32))
        };
        Function {
            name: "build".to_owned(),
            interface: None,
            params: vec![
                param("source", Type::Handle(Handle::Directory)),
                jobs,
                param("with-docs", Type::Bool),
                param("tags", Type::List(Box::new(Type::String))),
                param("label", Type::Option(Box::new(Type::String))),
            ],
            result: Some(Type::Handle(Handle::Directory)),
            docs: "Builds it.".to_owned(),
            is_check: false,
        }
    }

    fn parsed(words: &[&str]) -> Result<String, String> {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        let place = Place {
            directory: Path::new("/"),
            project: Path::new("/"),
            scope: "test",
        };
        let values =
            Flags::read(&function(), "", &words).and_then(|(flags, _)| flags.arguments(&function(), place));
        let values = values.map_err(|report| report.text())?;
        Ok(values
            .iter()
            .map(|value| value.to_json().to_string())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn flags_become_arguments() {
        assert_eq!(
            parsed(&["--source", "."]).unwrap(),
            "\"<directory>\" 2 false [] null"
        );
        let words = [
            "--source=.",
            "--jobs",
            "3",
            "--with_docs",
            "--tags",
            "a",
            "--tags=--b",
            "--label",
            "x",
        ];
        assert_eq!(
            parsed(&words).unwrap(),
            "\"<directory>\" 3 true [\"a\",\"--b\"] \"x\""
        );
    }

    #[test]
    fn b47_what_is_wrong_is_said_with_the_usage() {
        let wrong = |words: &[&str]| parsed(words).unwrap_err();
        insta::assert_snapshot!(wrong(&["--sorce", "."]), @r"
        wharf: build has no flag --sorce; did you mean --source?
        Usage: wharf call build --source DIRECTORY [--jobs NUMBER] [--with-docs] [--tags TEXT]... [--label TEXT]
        ");
        assert!(wrong(&[]).contains("build needs --source, a directory"));
        assert!(wrong(&["--source", ".", "--jobs", "many"]).contains("--jobs: \"many\" is no u32"));
        assert!(wrong(&["--source", ".", "--source", "."]).contains("given twice"));
        assert!(wrong(&["--source"]).contains("--source needs a value"));
        assert!(
            wrong(&["--progress", "plain"])
                .contains("--progress comes before the function: wharf call --progress ... build")
        );
        assert!(wrong(&["-q"]).contains("-q comes before the function"));
        assert!(wrong(&["--source", "--jobs"]).contains("--source=--jobs"));
        let text = Function {
            result: Some(Type::String),
            ..function()
        };
        let words = ["stray".into()];
        let stray = Flags::read(&text, "", &words).unwrap_err();
        assert!(stray.text().contains("`stray` is not a flag"));
    }

    #[test]
    fn a_word_without_a_dash_begins_a_method_of_what_is_returned() {
        let words = ["--source", ".", "entries", "--path", "src"].map(OsString::from);
        let (flags, rest) = Flags::read(&function(), "", &words).unwrap();
        assert_eq!(flags.values["source"], ["."]);
        assert_eq!(rest, &words[2..]);
    }

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
