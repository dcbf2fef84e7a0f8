//! What the functions plan.

use wharf_sdk::testing;

use super::{
    Variant,
    functions::{container, rootfs},
};

const MIRROR: &str = "http://mirror.example/debian";

fn text(text: &str) -> String {
    text.to_owned()
}

#[test]
fn a_container_is_made_of_packages_from_the_mirror_alone() {
    let packages = vec![text("curl"), text("jq")];
    let tools = testing::container("tools");
    let plan = testing::plan(container(
        text(MIRROR),
        packages,
        text("bookworm"),
        Variant::Apt,
        tools,
    ));
    assert!(plan.returned.is_ok());
    assert_eq!(plan.to_string(), include_str!("tests/container.txt"));
}

#[test]
fn without_packages_nothing_is_included() {
    let plan = testing::plan(rootfs(
        text(MIRROR),
        vec![],
        text("stable"),
        Variant::Minbase,
        testing::container("tools"),
    ));
    assert!(!plan.to_string().contains("--include"), "{plan}");
}

#[test]
fn what_is_no_word_of_its_kind_runs_nothing() {
    for (mirror, package, suite, expected) in [
        ("mirror.example", "curl", "stable", "is no address of a mirror"),
        (MIRROR, "--hook=x", "stable", "is no name of a package"),
        (MIRROR, "curl", "a b", "is no name of a suite"),
    ] {
        let tools = testing::container("tools");
        let plan = testing::plan(rootfs(
            text(mirror),
            vec![text(package)],
            text(suite),
            Variant::Apt,
            tools,
        ));
        let error = plan.returned.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
