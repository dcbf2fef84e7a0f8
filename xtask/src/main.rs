//! Developer commands, as `cargo xtask COMMAND`: setup, fixtures, demo, test, modules, conformance, platforms, bench, generate.
//!
//! The one door for developers: whoever has cloned the repository needs no other command.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these commands speak to the person who runs them"
)]

mod bench;
mod conformance;
mod contract;
mod demo;
mod fixtures;
mod generate;
mod machine;
mod marks;
mod modules;
mod ordinary;
mod platforms;
mod setup;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Developer commands of Wharf.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what building and testing need: Rust's WebAssembly target and a few Debian packages.
    Setup,
    /// Make the base images that tests and the demo stand on where the public registry cannot be reached.
    Fixtures(fixtures::Options),
    /// Bring a real model from a hub to a registry, three times, and tell what was remembered.
    Demo(demo::Options),
    /// Measure what work costs, beside `docker build`, `docker pull` and `cp`.
    Bench(bench::Options),
    /// Run all tests, with one Docker daemon and one registry for the whole run.
    Test(test::Options),
    /// Build, test or publish the modules under modules/.
    Modules(modules::Options),
    /// Say behaviour by behaviour what of the engine holds.
    Conformance(conformance::Options),
    /// Check that the command compiles for macOS and Windows.
    Platforms(platforms::Options),
    /// Write what is generated from other files of the repository.
    Generate(generate::Options),
    /// Fail when a generated file is not what `generate` would write.
    Drift,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Setup => setup::run(),
        Command::Fixtures(options) => fixtures::run(&options),
        Command::Demo(options) => demo::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Modules(options) => modules::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Platforms(options) => platforms::run(&options),
        Command::Generate(options) => generate::run(&options),
        Command::Drift => generate::run(&generate::Options { check: true }),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
