//! What the functions plan.

use wharf_sdk::{
    Container, Result,
    testing::{self, Plan, Planner},
};

use super::functions::{image, release, smoke};

fn made(planner: Planner, labels: &[&str]) -> Plan<Result<Container>> {
    let (model, app, python) = (
        testing::directory("model"),
        testing::directory("app"),
        testing::container("python"),
    );
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    planner.plan(image(
        model,
        app,
        vec!["numpy".to_owned()],
        "minilm".to_owned(),
        Some("1.2.0".to_owned()),
        labels,
        python,
    ))
}

#[test]
fn an_image_has_dependencies_then_weights_then_the_application() {
    let plan = made(
        Planner::new().answer("exists", true),
        &["org.example.team=search"],
    );
    assert!(plan.returned.is_ok());
    assert_eq!(plan.to_string(), include_str!("tests/image.txt"));
}

#[test]
fn what_is_missing_or_no_label_is_said() {
    let error = made(Planner::new().answer("exists", false), &[])
        .returned
        .err()
        .unwrap();
    assert!(error.to_string().contains("has no handler.py"), "{error}");
    let error = made(Planner::new(), &["team"]).returned.err().unwrap();
    assert!(error.to_string().contains("is no label"), "{error}");
}

#[test]
fn nothing_is_published_that_does_not_answer() {
    let released = |planner: Planner, user: Option<&str>| {
        let (image, to) = (
            testing::container("image"),
            "registry.example/minilm:1".to_owned(),
        );
        planner.plan(release(
            image,
            "{}".to_owned(),
            to,
            vec![],
            user.map(str::to_owned),
            None,
        ))
    };
    let plan = released(
        Planner::new()
            .answer("stdout", "{}")
            .answer("publish", "registry.example/minilm@sha256:0"),
        None,
    );
    assert_eq!(plan.returned.as_deref(), Ok("registry.example/minilm@sha256:0"));
    let text = plan.to_string();
    assert!(text.find("stdout()") < text.find("publish("), "{text}");
    let broken = wharf_sdk::Error::new("exit code 1");
    let plan = released(Planner::new().answer("stdout", broken), None);
    assert!(plan.returned.is_err() && !plan.to_string().contains("publish("));
    let plan = released(Planner::new(), Some("ann"));
    assert!(
        plan.returned
            .unwrap_err()
            .to_string()
            .contains("--user and --password")
    );
}

#[test]
fn a_request_that_is_no_json_starts_nothing() {
    let plan = Planner::new().plan(smoke(testing::container("image"), "hello".to_owned()));
    assert!(
        plan.returned
            .as_ref()
            .unwrap_err()
            .to_string()
            .contains("is no JSON")
    );
    assert_eq!(plan.to_string(), "");
}
