//! Findings as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Finding, Group, State, engine::Seat};
use crate::colour::{Colour, Paint};

impl Group {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Engine, "Engine"),
        (Self::Local, "Engine on this host"),
        (Self::Gpus, "GPUs"),
        (Self::Targets, "Other engines"),
        (Self::Modules, "Building modules"),
        (Self::Sources, "Sources"),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Local => "local",
            Self::Gpus => "gpus",
            Self::Targets => "targets",
            Self::Modules => "modules",
            Self::Sources => "sources",
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Missing => "missing",
        }
    }

    fn colour(self) -> Colour {
        match self {
            Self::Ok => Colour::Green,
            Self::Warn => Colour::Yellow,
            Self::Missing => Colour::Red,
        }
    }
}

/// Where the engine is, in a sentence.
fn verdict(seat: &Seat) -> String {
    match seat {
        Seat::Docker => "Pipelines can run: the engine is a container of Docker.".to_owned(),
        Seat::Local => "Pipelines can run: the engine is a process on this host.".to_owned(),
        Seat::Unix(socket) => format!("Pipelines can run: an engine answers on {socket}."),
        Seat::Tcp(address) => {
            format!("Pipelines can run: an engine on another machine answers on {address}.")
        }
        Seat::None => "No pipeline can run: there is no place for an engine.".to_owned(),
    }
}

pub(super) fn text(findings: &[Finding], seat: &Seat) -> String {
    table(findings, seat, Paint::of_stdout())
}

fn table(findings: &[Finding], seat: &Seat, paint: Paint) -> String {
    let mut text = verdict(seat) + "\n";
    let width = findings
        .iter()
        .map(|finding| finding.name.len())
        .max()
        .unwrap_or(0);
    for (group, title) in Group::ALL {
        let mut rows = findings
            .iter()
            .filter(|finding| finding.group == group)
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "\n{title}");
        for finding in rows {
            let mark = paint.paint(finding.state.colour(), &format!("{:7}", finding.state.word()));
            let words = finding.text.trim_end().replace('\n', " ");
            let _ = writeln!(text, "  {mark}  {:width$}  {words}", finding.name);
            if let Some(next) = &finding.next {
                let _ = writeln!(text, "  {:7}  {:width$}  next: {next}", "", "");
            }
        }
    }
    text
}

pub(super) fn json(findings: &[Finding], seat: &Seat) -> Value {
    let place = match seat {
        Seat::Docker => json!("docker"),
        Seat::Local => json!("local"),
        Seat::Unix(socket) => json!(format!("unix://{socket}")),
        Seat::Tcp(address) => json!(address.to_string()),
        Seat::None => Value::Null,
    };
    let finding = |finding: &Finding| {
        json!({
            "group": finding.group.name(), "name": finding.name, "state": finding.state.word(),
            "text": finding.text.trim_end(), "next": finding.next,
        })
    };
    json!({
        "engine": place,
        "version": env!("CARGO_PKG_VERSION"),
        "findings": findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_followed_by_what_to_type() {
        let findings = [
            Finding::new(Group::Engine, "docker", State::Warn, "there is no Docker")
                .next("systemctl start docker"),
            Finding::new(Group::Local, "root", State::Ok, "this is root"),
            Finding::new(Group::Modules, "target", State::Missing, "not installed")
                .next("rustup target add x"),
        ];
        insta::assert_snapshot!(table(&findings, &Seat::Local, Paint::NONE), @r"
        Pipelines can run: the engine is a process on this host.

        Engine
          warn     docker  there is no Docker
                           next: systemctl start docker

        Engine on this host
          ok       root    this is root

        Building modules
          missing  target  not installed
                           next: rustup target add x
        ");
        assert_eq!(json(&findings, &Seat::None)["engine"], Value::Null);
    }
}
