//! A function's own flags: read by its types.

use std::{collections::HashMap, path::PathBuf};

use wharf_wasm::{
    Function, Module, Param, Type, Value,
    args::{self, Place},
};

use crate::{error::CliError, suggest};

/// What was written behind the function's name.
#[derive(Debug, Default)]
pub(super) struct Written {
    flags: HashMap<String, Vec<String>>,
    pub(super) output: Option<PathBuf>,
    pub(super) json: bool,
    pub(super) help: bool,
}

fn bad(text: String, function: &Function) -> CliError {
    CliError::Use(format!("{text}\n\n{}", usage(function)))
}

/// Splits the words behind a function's name.
pub(super) fn read(function: &Function, words: &[String]) -> Result<Written, CliError> {
    let mut written = Written::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, inline) = match word.split_once('=') {
            Some((flag, value)) if flag.starts_with('-') => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = |what: &str| match inline.clone().or_else(|| words.next().cloned()) {
            Some(value) => Ok(value),
            None => Err(bad(format!("{flag} needs a value: {what}"), function)),
        };
        match flag {
            "--help" | "-h" => written.help = true,
            "--json" => written.json = true,
            "-o" | "--output" => written.output = Some(PathBuf::from(value("a path")?)),
            _ => {
                let Some(name) = flag.strip_prefix("--") else {
                    return Err(bad(format!("{word:?} is not expected here: flags are written --name value"), function));
                };
                let param = function.params.iter().find(|param| param.name == name).ok_or_else(|| {
                    let known = function.params.iter().map(|param| param.name.as_str());
                    bad(format!("{} has no flag --{name}{}", function.name, suggest::hint(name, known)), function)
                })?;
                let text = if is_switch(&param.ty) {
                    inline.clone().unwrap_or_else(|| "true".to_owned())
                } else {
                    value(&param.ty.to_string())?
                };
                written.flags.entry(name.to_owned()).or_default().push(text);
            }
        }
    }
    Ok(written)
}

fn is_switch(ty: &Type) -> bool {
    match ty {
        Type::Bool => true,
        Type::Option(inner) => is_switch(inner),
        _ => false,
    }
}

/// The function's arguments, in order.
pub(super) fn values(function: &Function, written: &Written, place: Place<'_>) -> Result<Vec<Value>, CliError> {
    function.params.iter().map(|param| value(function, param, written, place)).collect()
}

fn value(function: &Function, param: &Param, written: &Written, place: Place<'_>) -> Result<Value, CliError> {
    let misfit = |error: args::ArgumentError| bad(format!("--{}: {error}", param.name), function);
    match written.flags.get(&param.name).map(Vec::as_slice) {
        Some([only]) => args::parse(&param.ty, only, place).map_err(misfit),
        Some(several) => {
            let (Type::List(inner), is_option) = (match &param.ty {
                Type::Option(inner) => (inner.as_ref(), true),
                other => (other, false),
            }) else {
                return Err(bad(format!("--{} is given {} times", param.name, several.len()), function));
            };
            let items = several.iter().map(|text| args::parse(inner, text, place));
            let list = Value::List(items.collect::<Result<_, _>>().map_err(misfit)?);
            Ok(if is_option { Value::Option(Some(Box::new(list))) } else { list })
        }
        None => match (&param.default, &param.ty) {
            (Some(default), _) => args::from_json(&param.ty, default, place).map_err(misfit),
            (None, Type::Option(_)) => Ok(Value::Option(None)),
            (None, Type::Bool) => Ok(Value::Bool(false)),
            (None, Type::List(_)) => Ok(Value::List(Vec::new())),
            (None, ty) => Err(bad(format!("--{} <{ty}> is missing", param.name), function)),
        },
    }
}

/// How a function is called.
pub(super) fn usage(function: &Function) -> String {
    let mut text = format!("usage: wharf call {}", function.name);
    for param in &function.params {
        let flag = if is_switch(&param.ty) { format!("--{}", param.name) } else { format!("--{} <{}>", param.name, param.ty) };
        let needed = param.default.is_none() && !matches!(param.ty, Type::Option(_) | Type::Bool | Type::List(_));
        text.push_str(&if needed { format!(" {flag}") } else { format!(" [{flag}]") });
    }
    text.push_str(" [-o PATH] [--json]");
    for param in &function.params {
        if !param.docs.is_empty() || param.default.is_some() {
            let default = param.default.as_ref().map(|value| format!(" [default: {value}]")).unwrap_or_default();
            text.push_str(&format!("\n  --{}  {}{default}", param.name, param.docs.replace('\n', " ")));
        }
    }
    text
}

/// The function of this name.
pub(super) fn find<'m>(module: &'m Module, name: &str) -> Result<&'m Function, CliError> {
    module.functions().iter().find(|function| function.name == name).ok_or_else(|| {
        let names: Vec<_> = module.functions().iter().map(|function| function.name.as_str()).collect();
        let hint = suggest::hint(name, names.iter().copied());
        CliError::Use(format!("{} has no function {name}{hint} It has: {}", module.name(), names.join(", ")))
    })
}
