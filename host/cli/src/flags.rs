//! What follows the function on a command line, read by the function's own types.

use std::{collections::HashMap, ffi::OsString, path::PathBuf};

use clap::CommandFactory;
use wharf_wasm::{
    Function, Handle, Param, Type, Value,
    args::{self, Place},
};

use crate::{
    args::Wharf,
    error::Report,
    explain::{result_name, usage},
    suggest::nearest,
};

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

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use wharf_wasm::DefaultValue;

    use super::*;

    pub(crate) fn param(name: &str, ty: Type) -> Param {
        Param {
            name: name.to_owned(),
            ty,
            docs: format!("The {name}."),
            default: None,
        }
    }

    pub(crate) fn function() -> Function {
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
}
