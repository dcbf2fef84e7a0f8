//! What the functions plan.

use wharf_sdk::{
    Result,
    testing::{self, Plan, Planner},
};

use super::functions::{environment, test, wheel};

const PROJECT: &str = r#"
    [project]
    name = "app"
    dependencies = ["attrs"]
    optional-dependencies = { test = ["hypothesis"] }
"#;

/// A project with this pyproject.toml and no setup.py.
fn project(text: &str) -> Planner {
    Planner::new()
        .answer("exists", true)
        .answer("exists", false)
        .answer("contents", text)
}

fn tested(planner: Planner) -> Plan<Result<String>> {
    let (source, python) = (testing::directory("source"), testing::container("python"));
    planner.plan(test(
        source,
        python,
        vec![],
        vec![],
        vec!["-k".to_owned(), "io".to_owned()],
    ))
}

#[test]
fn tests_run_without_network_on_what_was_installed() {
    let plan = tested(project(PROJECT).answer("stdout", "1 passed\n"));
    assert_eq!(plan.returned, Ok("1 passed\n".to_owned()));
    assert_eq!(plan.to_string(), include_str!("tests/test.txt"));
}

#[test]
fn a_wheel_is_built_from_what_is_there() {
    let (source, python) = (testing::directory("source"), testing::container("python"));
    let plan = project(PROJECT)
        .answer("glob", ["app-1-py3-none-any.whl"])
        .plan(wheel(source, python));
    assert!(plan.returned.is_ok());
    assert_eq!(plan.to_string(), include_str!("tests/wheel.txt"));
}

#[test]
fn an_environment_has_what_is_named_beside() {
    let (source, python) = (testing::directory("source"), testing::container("python"));
    let packages = vec!["ruff".to_owned()];
    let plan = project(PROJECT).plan(environment(source, python, vec!["test".to_owned()], packages));
    assert!(
        plan.to_string()
            .contains(r#""setuptools", "wheel", "attrs", "hypothesis", "ruff"]"#),
        "{plan}"
    );
}

#[test]
fn what_is_no_project_runs_nothing() {
    let none = Planner::new().answer("exists", false).answer("exists", false);
    let error = tested(none).returned.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the directory has neither a pyproject.toml nor a setup.py"
    );
    let (source, python) = (testing::directory("source"), testing::container("python"));
    let plan = project("[tool.ruff]\n").plan(wheel(source, python));
    assert!(plan.returned.unwrap_err().to_string().contains("cannot be built"));
}
