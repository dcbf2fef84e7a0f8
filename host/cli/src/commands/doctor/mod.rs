//! `wharf doctor`: where an engine would run and why, what else is there, and what to type for what is missing.
//!
//! Everything is looked at within some seconds, whatever does not answer; nothing is started or changed.

mod engine;
mod gpus;
mod host;
#[cfg(target_os = "linux")]
mod ordinary;
mod show;

use std::process::ExitCode;

use self::engine::Seat;
use crate::{args::DoctorArgs, error::Report, output, toolchain::Toolchain};

/// Looks, and shows what was found.
pub(crate) fn run(args: &DoctorArgs) -> Result<ExitCode, Report> {
    let runtime = super::runtime()?;
    let (findings, seat) = runtime.block_on(look(args));
    // A probe that hangs in a system call is not waited for.
    runtime.shutdown_background();
    if args.json {
        output::json(&show::json(&findings, &seat))?;
    } else {
        output::text(&show::text(&findings, &seat))?;
    }
    Ok(if seat == Seat::None {
        ExitCode::from(crate::error::Ended::Unreachable as u8)
    } else {
        ExitCode::SUCCESS
    })
}

async fn look(args: &DoctorArgs) -> (Vec<Finding>, Seat) {
    let ((mut findings, seat), targets, toolchain, others) = tokio::join!(
        engine::look(args),
        gpus::targets(),
        Toolchain::look(),
        host::programs()
    );
    findings.extend(targets);
    findings.extend(of_toolchain(&toolchain));
    findings.extend(others);
    findings.push(host::certificates(args.ca_cert.as_deref()));
    (findings, seat)
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    /// Where the engine would run.
    Engine,
    /// The engine on this host.
    Local,
    /// GPUs that steps could have.
    Gpus,
    /// Engines that the user's configuration names.
    Targets,
    /// Building modules.
    Modules,
    /// What else a pipeline may need.
    Sources,
}

/// How it stands with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is there.
    Ok,
    /// It is there in part, or not there and seldom needed.
    Warn,
    /// It is not there.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    group: Group,
    name: &'static str,
    state: State,
    text: String,
    /// What to do about it: a command to type, where there is one.
    next: Option<String>,
}

impl Finding {
    fn new(group: Group, name: &'static str, state: State, text: impl Into<String>) -> Self {
        Self {
            group,
            name,
            state,
            text: text.into(),
            next: None,
        }
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self {
            next: Some(next.into()),
            ..self
        }
    }
}

fn of_toolchain(toolchain: &Toolchain) -> Vec<Finding> {
    let Toolchain { cargo, target } = toolchain;
    [("cargo", cargo), ("target", target)]
        .into_iter()
        .map(|(name, part)| match part {
            Ok(found) => Finding::new(Group::Modules, name, State::Ok, found),
            Err(lack) => {
                let text = format!(
                    "{}: modules that are built already run, others cannot be built",
                    lack.why
                );
                Finding::new(Group::Modules, name, State::Missing, text).next(&lack.next)
            }
        })
        .collect()
}
