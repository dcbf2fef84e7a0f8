//! What the functions read of a repository, and what they make of it.

use wharf_sdk::{
    Result, git,
    testing::{self, Plan, Planner},
};

use super::functions::{last_version, next_version, notes};

/// A log of these subjects, the newest first; the digits count from the beginning.
fn log(subjects: &[&str]) -> Vec<git::LogEntry> {
    let of = |(number, subject): (usize, &&str)| git::LogEntry {
        id: format!("{number:040}"),
        author: "Ann <ann@example.org>".to_owned(),
        seconds: 0,
        subject: (*subject).to_owned(),
    };
    let entries: Vec<_> = subjects.iter().rev().enumerate().map(of).collect();
    entries.into_iter().rev().collect()
}

/// A repository with two tags, of which the higher one is on another branch.
fn released() -> Planner {
    let begun = &["feat: begin"];
    let since = &[
        "docs: a page",
        "feat(io): read files",
        "fix: close files",
        begun[0],
    ];
    Planner::new()
        .answer("tags", ["latest", "v1.4.2", "v1.5.0", "v2.0.0-rc.1"])
        .answer("log", log(since))
        .answer("commit", "f".repeat(40))
        .answer("commit", format!("{:040}", 0))
        .answer("log", log(begun))
}

fn next(planner: Planner, first: &str, prefix: Option<&str>) -> Plan<Result<String>> {
    let repository = testing::directory("repository");
    planner.plan(next_version(
        repository,
        first.to_owned(),
        prefix.map(str::to_owned),
    ))
}

#[test]
fn the_last_tag_of_this_branch_is_raised_by_what_came_after_it() {
    let plan = next(released(), "0.1.0", None);
    assert_eq!(plan.returned, Ok("1.5.0".to_owned()));
    assert_eq!(plan.to_string(), include_str!("tests/next_version.txt"));
    let last = released().plan(last_version(testing::directory("repository"), None));
    assert_eq!(last.returned, Ok("1.4.2".to_owned()));
}

#[test]
fn notes_tell_what_is_new() {
    let plan = released().plan(notes(testing::directory("repository"), "0.1.0".to_owned(), None));
    let expected = "## 1.5.0\n\n### Features\n\n- **io:** read files (000000000)\n\n### Fixes\n\n- close files (000000000)\n";
    assert_eq!(plan.returned, Ok(expected.to_owned()));
}

#[test]
fn a_repository_without_a_release_gets_the_first_version() {
    let new = || {
        Planner::new()
            .answer("tags", ["v1.0.0"])
            .answer("log", log(&["begin"]))
    };
    let plan = next(new(), "1.0.0", Some("app-v"));
    assert_eq!(plan.returned, Ok("1.0.0".to_owned()));
    let last = new().plan(last_version(
        testing::directory("repository"),
        Some("app-v".to_owned()),
    ));
    assert!(
        last.returned
            .unwrap_err()
            .to_string()
            .contains("no tag with a version")
    );
}

#[test]
fn what_users_do_not_notice_asks_for_no_version() {
    let quiet = Planner::new()
        .answer("tags", ["1.0.0"])
        .answer("log", log(&["docs: a page", "begin"]))
        .answer("commit", format!("{:040}", 0))
        .answer("log", log(&["begin"]));
    let error = next(quiet, "0.1.0", None).returned.unwrap_err();
    assert_eq!(error.to_string(), "nothing since 1.0.0 asks for a version");
}

#[test]
fn a_first_version_that_is_none_is_refused_before_anything_is_read() {
    let plan = next(Planner::new(), "one", None);
    let error = plan.returned.as_ref().unwrap_err().to_string();
    assert!(
        error.starts_with("\"one\" is no semantic version such as 1.0.0"),
        "{error}"
    );
    assert_eq!(plan.to_string(), "");
}
