//! What a shell completes: this program's own words and, behind `wharf call` and `wharf check`, those of the module that is
//! meant. The module is read as it was built last; nothing is built or run for it.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, Command, CommandFactory, ValueHint, builder::PossibleValuesParser};
use clap_complete::{CompleteEnv, env::Shells};
use wharf_wasm::{Function, Handle, Module, Param, Type, methods::methods};

use crate::{args::Wharf, flags, module, places::Places};

/// Set by the scripts that [`script`] prints, to the shell's name.
const VARIABLE: &str = "WHARF_COMPLETE";

/// Answers a shell that asks what could follow, and ends; does nothing when none asks.
pub(crate) fn answer() {
    if std::env::var_os(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return;
    }
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// What a shell reads once to ask from then on.
pub(crate) fn script(shell: &str) -> Option<Vec<u8>> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    shells
        .completer(shell)?
        .write_registration(VARIABLE, "wharf", "wharf", "wharf", &mut script)
        .ok()?;
    Some(script)
}

/// The command line as it is for the words that were typed.
fn command() -> Command {
    let words: Vec<OsString> = std::env::args_os()
        .skip_while(|word| word != "--")
        .skip(1)
        .collect();
    extended(Wharf::command(), &words).unwrap_or_else(Wharf::command)
}

fn extended(wharf: Command, words: &[OsString]) -> Option<Command> {
    let typed = wharf
        .clone()
        .ignore_errors(true)
        .try_get_matches_from(words)
        .ok()?;
    let (name @ ("call" | "check"), typed) = typed.subcommand()? else {
        return None;
    };
    let path = typed.get_one::<PathBuf>("module")?;
    let loaded = module::load_built(path, &Places::find().ok()?).ok()?;
    Some(with_module(wharf, name, &loaded.module, words))
}

fn with_module(wharf: Command, name: &str, module: &Module, words: &[OsString]) -> Command {
    let functions = module.functions();
    let at = words.iter().position(|word| word == name);
    let words = at.map_or(&[][..], |at| &words[at + 1..]);
    wharf.mut_subcommand(name, |command| {
        if command.get_name() == "call" {
            return callable(command, functions, words);
        }
        let checks = functions.iter().filter(|function| function.is_check);
        let names: Vec<_> = checks.map(|check| check.name.clone()).collect();
        command.mut_arg("names", |arg| arg.value_parser(PossibleValuesParser::new(names)))
    })
}

/// Functions, or methods, that can follow. Only one that was typed is looked into: behind each method may come another.
fn callable(command: Command, functions: &[Function], words: &[OsString]) -> Command {
    let typed = words.iter().enumerate().find_map(|(at, word)| {
        let function = functions.iter().find(|function| *word == *function.name)?;
        Some((&function.name, &words[at + 1..]))
    });
    let subcommands = functions.iter().map(|function| {
        let words = match typed {
            Some((name, rest)) if *name == function.name => rest,
            _ => &[],
        };
        of_function(function, words)
    });
    command.subcommands(subcommands)
}

fn of_function(function: &Function, words: &[OsString]) -> Command {
    let own = [
        Arg::new("wharf:output")
            .long("output")
            .short('o')
            .value_name("PATH")
            .value_hint(ValueHint::AnyPath)
            .help("Write it there"),
        Arg::new("wharf:json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print the value as JSON"),
    ];
    let is_own = |param: &&Param| !["output", "json", "help"].contains(&param.name.as_str());
    let command = Command::new(function.name.clone())
        .about(first_line(&function.docs))
        .disable_help_subcommand(true)
        .args(function.params.iter().filter(is_own).map(of_param))
        .args(own);
    if words.is_empty() {
        return command;
    }
    let methods = flags::result_handle(function).map(methods).unwrap_or_default();
    let signatures: Vec<_> = methods.into_iter().map(|method| method.signature).collect();
    callable(command, &signatures, words)
}

fn of_param(param: &Param) -> Arg {
    let arg = Arg::new(param.name.clone())
        .long(param.name.clone())
        .help(first_line(&param.docs));
    match flags::inner(&param.ty) {
        Type::Bool => arg.action(ArgAction::SetTrue),
        Type::List(item) => of_value(arg, item).action(ArgAction::Append),
        ty => of_value(arg, ty),
    }
}

fn of_value(arg: Arg, ty: &Type) -> Arg {
    match ty {
        Type::Enum(cases) | Type::Variant(cases) => {
            let plain = cases.members.iter().filter(|case| case.ty.is_none());
            arg.value_parser(PossibleValuesParser::new(plain.map(|case| case.name.clone())))
        }
        Type::Handle(Handle::Directory) => arg.value_hint(ValueHint::DirPath),
        Type::Handle(Handle::File) => arg.value_hint(ValueHint::FilePath),
        Type::Handle(Handle::Secret) => {
            arg.value_parser(PossibleValuesParser::new(["env:", "file:", "cmd:"]))
        }
        _ => arg.value_hint(ValueHint::Other),
    }
}

fn first_line(docs: &str) -> String {
    docs.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use wharf_wasm::Case;

    use super::*;

    fn offered(functions: &[Function], words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let wharf = Wharf::command().mut_subcommand("call", |call| callable(call, functions, &words));
        let last = words.len() - 1;
        let candidates = clap_complete::engine::complete(&mut wharf.clone(), words, last, None).unwrap();
        let value = |candidate: &clap_complete::CompletionCandidate| {
            candidate.get_value().to_string_lossy().into_owned()
        };
        candidates.iter().map(value).collect()
    }

    fn functions() -> Vec<Function> {
        let param = |name: &str, ty| Param {
            name: name.to_owned(),
            ty,
            docs: "A word.\nMore.".to_owned(),
            default: None,
        };
        vec![Function {
            name: "build".to_owned(),
            interface: None,
            params: vec![
                param(
                    "mode",
                    Type::Enum(vec![Case::plain("fast"), Case::plain("small")].into()),
                ),
                param("verbose", Type::Bool),
            ],
            result: Some(Type::Handle(Handle::Container)),
            docs: String::new(),
            is_check: false,
        }]
    }

    #[test]
    fn functions_flags_values_and_methods_are_offered() {
        let functions = functions();
        assert_eq!(offered(&functions, &["wharf", "call", "-q", "bu"]), ["build"]);
        assert_eq!(
            offered(&functions, &["wharf", "call", "build", "--m"]),
            ["--mode"]
        );
        assert_eq!(
            offered(&functions, &["wharf", "call", "build", "--mode", ""]),
            ["fast", "small"]
        );
        let methods = [
            "wharf",
            "call",
            "build",
            "--mode",
            "fast",
            "directory",
            "--path",
            "/",
            "entr",
        ];
        assert_eq!(offered(&functions, &methods), ["entries"]);
        let flags = offered(&functions, &["wharf", "call", "build", "file", "--"]);
        assert!(
            flags.contains(&"--path".to_owned()) && flags.contains(&"--output".to_owned()),
            "{flags:?}"
        );
        assert!(!flags.contains(&"--mode".to_owned()), "{flags:?}");
    }
}
