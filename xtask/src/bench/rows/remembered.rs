//! What is remembered: whole processes whose steps all ran before, and a graph that is only made.

use std::fs;

use wharf_testkit::process;

use super::super::data::{check, expected, nonce};
use super::super::figures::{Budget, Figures, Measured, Outcome, Unit};
use super::super::wharf::{self, milliseconds};
use super::super::{Bench, Failure};
use super::{DOCKER_BUILD, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "remembered",
        what: "whole process, 50 steps, all remembered",
        unit: Unit::Milliseconds,
        budget: Budget::Median(20.0),
        peer: DOCKER_BUILD,
        measure: |bench| beside_peer(bench).map(Outcome::from),
    },
    Row {
        name: "remembered-shuffled",
        what: "the same, their settings made in another order each time",
        unit: Unit::Milliseconds,
        budget: Budget::Median(20.0),
        peer: "",
        measure: |bench| shuffled(bench).map(Outcome::from),
    },
    Row {
        name: "remembered-reads",
        what: "the same, with 50 reads awaited one after another",
        unit: Unit::Milliseconds,
        budget: Budget::Median(25.0),
        peer: "",
        measure: |bench| {
            let steps = bench.sizes.steps;
            let words = |nonce: &str| {
                vec![
                    "reads".to_owned(),
                    format!("--steps={steps}"),
                    format!("--nonce={nonce}"),
                ]
            };
            remembered(bench, steps, &words).map(Outcome::from)
        },
    },
    Row {
        name: "remembered-1000",
        what: "whole process, 1,000 steps, all remembered",
        unit: Unit::Milliseconds,
        budget: Budget::Median(30.0),
        peer: "",
        measure: |bench| {
            let steps = bench.sizes.many_steps;
            let words = |nonce: &str| {
                vec![
                    "chain".to_owned(),
                    format!("--steps={steps}"),
                    format!("--nonce={nonce}"),
                ]
            };
            remembered(bench, steps, &words).map(Outcome::from)
        },
    },
    Row {
        name: "graph",
        what: "peak memory of the client with a graph of 10,000 nodes",
        unit: Unit::Mebibytes,
        budget: Budget::Median(200.0),
        peer: "",
        measure: |bench| graph(bench).map(Outcome::from),
    },
];

fn beside_peer(bench: &Bench<'_>) -> Result<(Figures, Option<Figures>), Failure> {
    let steps = bench.sizes.steps;
    let known = nonce();
    bench.wharf.chain(steps, &known, false)?;
    if let Some(peer) = &bench.peer {
        peer.chain(steps, &known, false, true)?;
    }
    bench.compare(
        |_| {
            let call = bench.wharf.chain(steps, &known, false)?;
            nothing_ran(call.run)?;
            Ok(call.milliseconds())
        },
        |peer, _| Ok(milliseconds(peer.chain(steps, &known, false, true)?)),
    )
}

fn shuffled(bench: &Bench<'_>) -> Result<Figures, Failure> {
    let steps = bench.sizes.steps;
    let order = std::cell::Cell::new(1_u64);
    let words = |nonce: &str| {
        order.set(order.get() + 1);
        vec![
            "shuffled".to_owned(),
            format!("--steps={steps}"),
            format!("--nonce={nonce}"),
            format!("--order={}", order.get()),
        ]
    };
    remembered(bench, steps, &words)
}

/// Calls once to have it remembered, and then as often as there are rounds.
fn remembered(
    bench: &Bench<'_>,
    steps: u32,
    words: &dyn Fn(&str) -> Vec<String>,
) -> Result<Figures, Failure> {
    let known = nonce();
    let call = || {
        let words = words(&known);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let call = bench.wharf.call(&words)?;
        check(&call.printed, &expected(steps, &known))?;
        Ok::<_, Failure>(call)
    };
    call()?;
    bench.alone(|_| {
        let call = call()?;
        nothing_ran(call.run)?;
        Ok(call.milliseconds())
    })
}

fn nothing_ran(run: u64) -> Result<(), Failure> {
    match run {
        0 => Ok(()),
        run => Err(format!("{run} steps ran that should have been remembered").into()),
    }
}

/// The peak comes from the kernel when the process has ended. It is asked for by GNU time, which is small: a process has the
/// peak of what started it, too.
fn graph(bench: &Bench<'_>) -> Result<Measured, Failure> {
    let time = process::require("time", "time")?;
    let nodes = bench.sizes.nodes;
    let peak = bench.wharf.world().path("peak");
    let ours = bench.alone(|nonce| {
        let (count, last) = (nodes.to_string(), format!("{nonce}-{}", nodes / 2 - 1));
        let words = ["graph", "--nodes", &count, "--nonce", nonce];
        let call = bench.wharf.command(&words);
        let mut command = std::process::Command::new(&time);
        command.args(["--format", "%M", "--output"]).arg(&peak);
        command.arg(call.get_program()).args(call.get_args()).env_clear();
        let variables = call.get_envs();
        command.envs(variables.filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(bench.wharf.world().path("work"));
        check(&wharf::follow(command, &words)?.printed, &last)?;
        Ok(fs::read_to_string(&peak)?.trim().parse::<f64>()? / 1024.0)
    })?;
    Ok(ours.into())
}
