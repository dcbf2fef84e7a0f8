//! `cargo xtask test`: builds everything, starts what the tests share once, and runs them.

use std::process::Command;

use clap::Args;
use wharf_testkit::docker::Daemon;
use wharf_testkit::fixtures::{self, Mirror};
use wharf_testkit::{paths, shared};

use crate::setup;
use crate::shell::{self, Done, Failure};

/// What module authors depend on.
const SDK: &str = "wharf-sdk";

/// How to run the tests.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Start no Docker daemon: tests that need one fail, the others use Docker's recorded answers.
    #[arg(long)]
    no_docker: bool,
    /// Test only these packages; a `wharf` that is built already is used as it is.
    #[arg(long, short)]
    package: Vec<String>,
    /// Passed on to the test runner, such as a part of a test's name.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner: Vec<String>,
}

/// What the tests of one run share. Dropping it stops what was started.
pub(crate) struct Shared {
    // Declared in the order in which they stop.
    _mirror: Mirror,
    _docker_mirror: Option<Mirror>,
    _daemon: Option<Daemon>,
    variables: Vec<(&'static str, String)>,
}

impl Shared {
    /// What tells tests of it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, &String)> {
        self.variables.iter().map(|(name, value)| (*name, value))
    }
}

/// Runs the tests. The last lines are the test runner's own.
pub(crate) fn run(options: &Options) -> Done {
    setup::run()?;
    // Bins and tests in one go: built apart, their dependencies would be compiled twice with other features.
    shell::run(
        shell::cargo()
            .arg("build")
            .args(packages(options))
            .args(["--bins", "--tests"]),
    )?;
    examples(options)?;
    let shared = share(options.no_docker)?;
    let done = shell::run(runner(options)?.envs(shared.variables()));
    drop(shared);
    done
}

/// Runs the examples in documentation, which nextest does not: authors copy the SDK's.
fn examples(options: &Options) -> Done {
    let is_wanted = options.package.is_empty() || options.package.iter().any(|package| package == SDK);
    if !is_wanted || !options.runner.is_empty() {
        return Ok(());
    }
    // Of the whole workspace: of the one package, its dependencies would be compiled again with other features.
    shell::run(shell::cargo().args(["test", "--doc", "--workspace", "--quiet"]))
}

/// Starts what the tests share.
pub(crate) fn share(no_docker: bool) -> Result<Shared, Failure> {
    let images = fixtures::all()?;
    let mirror = Mirror::start()?;
    let program = paths::target().join("debug/wharf");
    let mut variables = vec![
        (shared::MIRROR, mirror.setting()),
        (shared::WHARF_BIN, program.display().to_string()),
        ("WHARF_FIXTURES_DIR", paths::fixtures().display().to_string()),
    ];
    if no_docker {
        return Ok(Shared {
            _mirror: mirror,
            _docker_mirror: None,
            _daemon: None,
            variables,
        });
    }
    let daemon = Daemon::existing_or_start()?;
    eprintln!(
        "Docker: {}{}",
        daemon.host(),
        if daemon.is_own() {
            ", started for this run"
        } else {
            ""
        }
    );
    for image in &images {
        daemon.load(image)?;
    }
    let mut within = Mirror::start()?;
    within.also_on(daemon.gateway()?)?;
    variables.push((shared::DOCKER_HOST, daemon.host().to_owned()));
    variables.push((shared::DOCKER_MIRROR, within.setting()));
    Ok(Shared {
        _mirror: mirror,
        _docker_mirror: Some(within),
        _daemon: Some(daemon),
        variables,
    })
}

/// nextest where it is installed, else the runner that cargo has.
fn runner(options: &Options) -> Result<Command, Failure> {
    let nextest = shell::cargo()
        .args(["nextest", "--version"])
        .output()?
        .status
        .success();
    let mut command = shell::cargo();
    if nextest {
        command
            .args(["nextest", "run", "--no-fail-fast"])
            .args(packages(options))
            .args(&options.runner);
    } else {
        eprintln!("cargo-nextest is not installed; `cargo test` runs the same tests, slower");
        command
            .args(["test", "--no-fail-fast"])
            .args(packages(options))
            .arg("--")
            .args(&options.runner);
    }
    Ok(command)
}

/// The packages to build and test, as arguments for cargo.
fn packages(options: &Options) -> Vec<&str> {
    if options.package.is_empty() {
        return vec!["--workspace"];
    }
    options
        .package
        .iter()
        .flat_map(|package| ["--package", package])
        .collect()
}
