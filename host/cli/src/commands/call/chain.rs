//! What stands behind a function on the command line: its flags, and methods of what it returns, each with flags of its own.
//! All of it is read and checked before anything runs.

use std::ffi::OsString;

use wharf_wasm::{
    Function, Value,
    args::Place,
    methods::{Method, methods},
};

use super::{show, target};
use crate::{
    error::Report,
    explain,
    flags::{self, Flags},
    module::Loaded,
    suggest::nearest,
};

/// A function, what it is called with, and the methods that follow.
pub(super) struct Chain {
    pub(super) function: Function,
    pub(super) arguments: Vec<Value>,
    pub(super) methods: Vec<(Method, Vec<Value>)>,
    /// How the value at the end is shown.
    pub(super) ending: Flags,
}

/// What was written.
pub(super) enum Written {
    /// Something to call.
    Chain(Box<Chain>),
    /// A question about it, with its answer.
    Help(String),
}

impl Chain {
    /// The function and the methods behind it, by name.
    pub(super) fn names(&self) -> Vec<String> {
        let methods = self.methods.iter().map(|(method, _)| &method.signature);
        let all = std::iter::once(&self.function).chain(methods);
        all.map(|function| function.name.clone()).collect()
    }

    /// Reads the words behind a function's name.
    pub(super) fn read(loaded: &Loaded, function: Function, words: &[OsString]) -> Result<Written, Report> {
        let here = std::env::current_dir()
            .map_err(|error| Report::usage(format!("the current directory cannot be read: {error}")))?;
        let place = Place {
            directory: &here,
            project: &loaded.project,
            scope: &loaded.scope,
        };
        let (mut ending, mut words) = Flags::read(&function, "", words)?;
        if ending.help {
            return Ok(Written::Help(explain::explain("", &function)));
        }
        let arguments = ending.arguments(&function, place)?;
        let mut called: Vec<(Method, Vec<Value>)> = Vec::new();
        let mut before = String::new();
        while let Some((name, rest)) = words.split_first() {
            let last = called.last().map_or(&function, |(method, _)| &method.signature);
            let method = method(last, &name.to_string_lossy())?;
            before = format!("{before}{} ... ", last.name);
            let (flags, rest) = Flags::read(&method.signature, &before, rest)?;
            if flags.help {
                return Ok(Written::Help(explain::explain(&before, &method.signature)));
            }
            let arguments = flags.arguments(&method.signature, place)?;
            ending = Flags {
                output: flags.output.or(ending.output),
                json: flags.json || ending.json,
                ..Flags::default()
            };
            called.push((method, arguments));
            words = rest;
        }
        let last = called.last().map_or(&function, |(method, _)| &method.signature);
        if ending.output.is_some() && !show::can_be_written(last) {
            let message = format!(
                "-o writes a directory, file or container; {} returns {}",
                last.name,
                explain::result_name(last)
            );
            return Err(Report::usage(message).with_hint("without -o the value goes to standard output"));
        }
        if let (Some(to), Some(handle)) = (&ending.output, flags::result_handle(last)) {
            target::check(handle, to)?;
        }
        Ok(Written::Chain(Box::new(Self {
            function,
            arguments,
            methods: called,
            ending,
        })))
    }

    /// Every argument, of the function and of the methods.
    pub(super) fn all_arguments(&self) -> impl Iterator<Item = &Value> {
        self.arguments
            .iter()
            .chain(self.methods.iter().flat_map(|(_, arguments)| arguments))
    }
}

/// The method of this name of what a function returns.
fn method(function: &Function, name: &str) -> Result<Method, Report> {
    let kebab = name.replace('_', "-");
    let there = flags::result_handle(function).map(methods).unwrap_or_default();
    if let Some(found) = there.iter().find(|method| method.signature.name == kebab) {
        return Ok(found.clone());
    }
    let returned = explain::result_name(function);
    let names = || there.iter().map(|method| method.signature.name.as_str());
    let meant = nearest(&kebab, names())
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default();
    let all = names().collect::<Vec<_>>().join(", ");
    let report = Report::usage(format!(
        "{} returns a {returned}, which has no method {name}{meant}",
        function.name
    ));
    Err(if all.is_empty() {
        report
    } else {
        report.with_detail(format!("It has: {all}"))
    })
}
