//! The `wharf` command: finds and calls modules, chooses an engine, shows what happens.

mod args;
mod asking;
mod colour;
mod commands;
mod complete;
mod composition;
mod docker_rights;
mod engine_choice;
mod error;
mod explain;
mod flags;
mod git_modules;
mod github;
mod gpus;
mod interrupt;
mod limits;
mod module;
#[cfg(target_os = "linux")]
mod ordinary;
mod output;
mod panic;
mod pins;
mod places;
mod printable;
mod progress;
mod reference;
mod registries;
#[cfg(target_os = "linux")]
mod resolver;
mod run;
mod suggest;
mod table;
mod targets;
mod terminal;
mod toolchain;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Command, Wharf};

#[cfg(target_os = "linux")]
/// The subcommand that a runner starts to fork steps from. It is read before anything else: that process has to stay
/// small and have one thread.
pub(crate) const RUNNER_HELPER: &str = "__runner-helper";

fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == RUNNER_HELPER)
    {
        wharf_runner::helper_main();
    }
    #[cfg(target_os = "linux")]
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == wharf_inside::COMMAND)
    {
        wharf_inside::main();
    }
    #[cfg(target_os = "linux")]
    if let Some(code) = ordinary::answer() {
        return code;
    }
    panic::install();
    complete::answer();
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == reference::COMMAND)
    {
        return match output::text(&reference::page()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(report) => report.tell(),
        };
    }
    let outcome = match Wharf::try_parse() {
        Ok(wharf) => run(wharf.command),
        Err(error) => return error::of_clap(&error),
    };
    match outcome {
        Ok(code) => code,
        Err(report) => report.tell(),
    }
}

fn run(command: Command) -> Result<ExitCode, error::Report> {
    let done = match command {
        // It says how things are by its exit code, too.
        Command::Doctor(args) => return commands::doctor::run(&args),
        Command::Init(args) => commands::init::run(&args),
        Command::Build(args) => commands::build::run(&args),
        Command::Functions(args) => commands::functions::run(&args),
        Command::Call(args) => commands::call::run(&args),
        Command::Check(args) => commands::check::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Add(args) => commands::dependencies::add(&args),
        Command::Remove(args) => commands::dependencies::remove(&args),
        Command::Update(args) => commands::dependencies::update(&args),
        Command::Publish(args) => commands::publish::run(&args),
        Command::Login(args) => commands::login::login(&args),
        Command::Logout(args) => commands::login::logout(&args),
        Command::Engine(args) => commands::engine::run(args),
        Command::Cache(args) => commands::cache::run(args),
        Command::Runs(args) => commands::runs::runs(&args),
        Command::Report(args) => commands::runs::report(&args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Version => output::line(&format!("wharf {}", env!("CARGO_PKG_VERSION"))),
    };
    done.map(|()| ExitCode::SUCCESS)
}
