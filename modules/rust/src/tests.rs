//! What the functions plan.

use wharf_sdk::testing::{self, Planner};

use super::functions::{build, clippy, test};

/// A project of one file.
fn project() -> Planner {
    Planner::new()
        .answer("exists", true)
        .answer("exists", true)
        .answer("contents", "[package]\nname = \"app\"\n")
        .answer("glob", ["src/main.rs"])
}

/// A plan without the scripts, which are files of their own.
fn without_scripts(plan: &impl ToString) -> String {
    let times = format!("{:?}", include_str!("times.sh"));
    let build = format!("{:?}", include_str!("build.sh"));
    let inside = |quoted: &str| quoted.trim_matches('"').to_owned();
    plan.to_string()
        .replace(&inside(&times), "<times.sh>")
        .replace(&inside(&build), "<build.sh>")
        .replace(&inside(&format!("{:?}", include_str!("vendor.sh"))), "<vendor.sh>")
}

#[test]
fn a_build_has_the_network_only_to_fetch() {
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let plan = project().plan(build(source, rust, vec!["--package".to_owned(), "app".to_owned()]));
    assert!(plan.returned.is_ok());
    assert_eq!(without_scripts(&plan), include_str!("tests/build.txt"));
}

#[test]
fn tests_and_lints_are_steps_of_the_same_kind() {
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let plan = project().answer("stdout", "ok").plan(test(source, rust, vec![]));
    assert_eq!(plan.returned, Ok("ok".to_owned()));
    assert!(plan.to_string().contains("cargo test --locked --offline"), "{plan}");
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let plan = project().answer("combined_output", "").plan(clippy(source, rust, vec![]));
    assert_eq!(plan.returned, Ok(String::new()));
    assert!(plan.to_string().contains("-- --deny warnings"), "{plan}");
}

#[test]
fn what_is_no_project_runs_nothing() {
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let without_lock = Planner::new().answer("exists", true).answer("exists", false);
    let plan = without_lock.plan(test(source, rust, vec![]));
    let error = plan.returned.unwrap_err().to_string();
    assert!(error.starts_with("the directory has no Cargo.lock"), "{error}");
}
