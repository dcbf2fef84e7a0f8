//! The `wharf` command: finds and builds modules, calls their functions, and looks after the engine.

mod args;
mod commands;
mod engine_choice;
mod error;
mod output;
mod pipeline;
mod progress;
mod settings;
mod suggest;

use std::process::ExitCode;

use clap::Parser;

/// The argument that makes this program the runner's helper.
pub(crate) const HELPER: &str = "__runner-helper";

fn main() -> ExitCode {
    // Before anything starts a thread: the helper forks.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == HELPER) {
        wharf_runner::helper_main();
    }
    std::panic::set_hook(Box::new(|panic| {
        output::complain(&format!("wharf broke, which is a defect in wharf: {panic}"));
    }));
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let code = if error.use_stderr() { error::BAD_USE } else { 0 };
            error.print().ok();
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("wharf cannot start: {error}"));
            return ExitCode::from(error::UNREACHABLE);
        }
    };
    let code = match runtime.block_on(commands::run(args)) {
        Ok(()) => 0,
        Err(error) => {
            output::complain(&error.to_string());
            error.exit_code()
        }
    };
    runtime.shutdown_background();
    ExitCode::from(code)
}
