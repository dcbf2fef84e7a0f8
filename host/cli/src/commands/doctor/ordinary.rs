//! What the kernel gives an engine on this host: as root, or as an ordinary user in a namespace of its own.

use std::path::Path;

use wharf_runner::{Feature, Found};

use super::{Finding, Group, State};
use crate::ordinary::{self, Probed};

fn finding(name: &'static str, state: State, text: impl Into<String>) -> Finding {
    Finding::new(Group::Local, name, state, text)
}

/// Tries what steps use. Blocking.
pub(super) fn probe(beside: &Path) -> Vec<Finding> {
    if !ordinary::is_one() {
        let root = finding("root", State::Ok, "this is root");
        let features = wharf_runner::probe(beside).into_iter().map(of_feature);
        return std::iter::once(root).chain(features).collect();
    }
    let user = rustix::process::geteuid().as_raw();
    let mut findings = vec![finding(
        "root",
        State::Ok,
        format!("this is user {user}: the engine is root of a user namespace"),
    )];
    match ordinary::try_inside(beside) {
        Ok(probed) => findings.extend(of_namespace(probed)),
        Err(why) => {
            let missing = finding("namespaces", State::Missing, why);
            let next = wharf_userns::obstacle().and_then(|obstacle| obstacle.next().map(str::to_owned));
            findings.push(missing.next(next.unwrap_or_else(|| "sudo -E wharf doctor".to_owned())));
        }
    }
    findings
}

fn of_namespace(probed: Probed) -> impl Iterator<Item = Finding> {
    let ids = match (probed.users, wharf_userns::find_ranges()) {
        (Some(users), _) => finding(
            "ids",
            State::Ok,
            format!("users and groups from 0 to {}", users - 1),
        ),
        (None, Err(lack)) => finding("ids", State::Warn, one_id(&lack.why)).next(lack.next),
        // They are set aside, and were not mapped.
        (None, Ok(_)) => finding("ids", State::Warn, one_id(&probed.why_one.unwrap_or_default())),
    };
    let features = probed.features.into_iter().map(of_feature);
    std::iter::once(ids).chain(features)
}

fn one_id(why: &str) -> String {
    format!(
        "one, root's, as {why}: files of images belong to root all the same, and chown to others, steps of other users, su and \
         apt's own user _apt do not work"
    )
}

fn of_feature(feature: Feature) -> Finding {
    let (state, text) = match feature.found {
        Found::Works(text) => (State::Ok, text),
        Found::Limited(text) => (State::Warn, text),
        Found::Fails(text) => (State::Missing, text),
    };
    let name = match feature.name.as_str() {
        "namespaces" => "namespaces",
        "overlay" => "overlay",
        "seccomp" => "seccomp",
        "cgroups" => "cgroups",
        "network" => "network",
        _ => "kernel",
    };
    finding(name, state, text)
}
