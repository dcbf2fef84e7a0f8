//! The `wharf` command: finds and calls modules, chooses an engine, shows what happens.

mod args;
mod commands;
mod engine_choice;
mod error;
mod flags;
mod interrupt;
mod module;
mod output;
mod panic;
mod places;
mod progress;
mod resolver;
mod suggest;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Command, Wharf};

/// The subcommand that a runner starts to fork steps from. It is read before anything else: that process has to stay
/// small and have one thread.
pub(crate) const RUNNER_HELPER: &str = "__runner-helper";

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|first| first == RUNNER_HELPER)
    {
        wharf_runner::helper_main();
    }
    panic::install();
    let outcome = match Wharf::try_parse() {
        Ok(wharf) => run(wharf.command),
        Err(error) => return error::of_clap(&error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.tell(),
    }
}

fn run(command: Command) -> Result<(), error::Report> {
    match command {
        Command::Init(args) => commands::init::run(&args),
        Command::Build(args) => commands::build::run(&args),
        Command::Functions(args) => commands::functions::run(&args),
        Command::Call(args) => commands::call::run(&args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Login(args) => commands::login::login(&args),
        Command::Logout(args) => commands::login::logout(&args),
        Command::Engine(args) => commands::engine::run(args),
        Command::Cache(args) => commands::cache::run(args),
        Command::Completions(args) => commands::completions::run(&args),
        Command::Version => output::line(&format!("wharf {}", env!("CARGO_PKG_VERSION"))),
    }
}
