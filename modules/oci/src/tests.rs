//! What the functions plan.

use wharf_sdk::{
    Error, Result,
    testing::{self, Plan, Planner},
};

use super::functions::{copy, promote, retag};

fn text(text: &str) -> String {
    text.to_owned()
}

fn promoted(planner: Planner) -> Plan<Result<String>> {
    planner.plan(promote(
        text("r.example/staging/app:1.4.2"),
        text("r.example/app"),
        vec![],
        None,
        None,
    ))
}

#[test]
fn a_copy_has_all_platforms_and_tags() {
    let plan = Planner::new()
        .answer("publish", "r.example/app@sha256:0")
        .plan(copy(
            text("busybox:1.36"),
            text("r.example/app:1"),
            vec![text("latest")],
            vec![text("linux/amd64"), text("linux/arm64")],
            Some(text("ann")),
            Some(testing::secret("password")),
        ));
    assert_eq!(plan.returned, Ok(text("r.example/app@sha256:0")));
    assert_eq!(plan.to_string(), include_str!("tests/copy.txt"));
}

#[test]
fn a_tag_is_added_in_the_same_repository() {
    let plan = Planner::new()
        .answer("publish", "r.example/app@sha256:0")
        .plan(retag(text("r.example/app:1"), text("stable"), vec![]));
    assert_eq!(plan.to_string(), include_str!("tests/retag.txt"));
}

#[test]
fn a_promotion_looks_first() {
    let free = Planner::new()
        .answer("digest", Error::NotFound(text("no such tag")))
        .answer("digest", "b3:1")
        .answer("publish", "r.example/app@sha256:0");
    let plan = promoted(free);
    assert_eq!(plan.returned, Ok(text("r.example/app@sha256:0")));
    assert_eq!(plan.to_string(), include_str!("tests/promote.txt"));
    let same = Planner::new()
        .answer("digest", "b3:1")
        .answer("digest", "b3:1")
        .answer("publish", "r.example/app@sha256:0");
    assert!(promoted(same).returned.is_ok());
}

#[test]
fn a_promotion_never_replaces_what_is_there_or_may_be() {
    let another = Planner::new().answer("digest", "b3:2").answer("digest", "b3:1");
    let error = promoted(another).returned.unwrap_err().to_string();
    assert_eq!(
        error,
        "r.example/app:1.4.2 is another image already: what was promoted is not replaced"
    );
    let silent = Planner::new()
        .answer("digest", Error::Unavailable(text("no answer")))
        .answer("digest", "b3:1");
    assert_eq!(
        promoted(silent).returned,
        Err(Error::Unavailable(text("no answer")))
    );
}

#[test]
fn what_is_wrong_is_said_before_anything_is_asked() {
    let copied = |from: &str, to: &str, tags: Vec<String>, user: Option<String>| {
        let plan = testing::plan(copy(text(from), text(to), tags, vec![], user, None));
        assert_eq!(plan.to_string(), "");
        plan.returned.unwrap_err().to_string()
    };
    assert!(copied("A B", "r.example/a:1", vec![], None).contains("is no image's reference"));
    let digest = format!("r.example/a@sha256:{}", "0".repeat(64));
    assert!(copied("a", &digest, vec![], None).contains("write a tag"));
    assert!(copied("a", "r.example/a:1", vec![text("a b")], None).contains("is no tag"));
    let halved = copied("a", "r.example/a:1", vec![], Some(text("ann")));
    assert_eq!(halved, "--user and --password go together");
}
