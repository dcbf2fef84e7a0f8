//! What the functions plan, and what their scripts do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

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
        .replace(
            &inside(&format!("{:?}", include_str!("vendor.sh"))),
            "<vendor.sh>",
        )
}

#[test]
fn a_build_has_the_network_only_to_fetch() {
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let plan = project().plan(build(
        source,
        rust,
        vec!["--package".to_owned(), "app".to_owned()],
    ));
    assert!(plan.returned.is_ok());
    assert_eq!(without_scripts(&plan), include_str!("tests/build.txt"));
}

#[test]
fn tests_and_lints_are_steps_of_the_same_kind() {
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let plan = project().answer("stdout", "ok").plan(test(source, rust, vec![]));
    assert_eq!(plan.returned, Ok("ok".to_owned()));
    assert!(
        plan.to_string().contains("cargo test --locked --offline"),
        "{plan}"
    );
    let (source, rust) = (testing::directory("source"), testing::container("rust"));
    let plan = project()
        .answer("combined_output", "")
        .plan(clippy(source, rust, vec![]));
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

/// A project and a target directory, in a directory that goes when this does.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("wharf-rust-{}", std::process::id()));
        fs::create_dir_all(root.join("project/src")).unwrap();
        fs::create_dir_all(root.join("target")).unwrap();
        Self(root)
    }

    /// Writes a file as another copy of the project would have it: very old.
    fn write(&self, name: &str, text: &str) {
        let path = self.0.join("project").join(name);
        fs::write(&path, text).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }

    /// Runs the script that sets times, and says what they are then.
    fn times<const N: usize>(&self, names: [&str; N]) -> [SystemTime; N] {
        let run = Command::new("sh")
            .args(["-euc", include_str!("times.sh")])
            .current_dir(self.0.join("project"))
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .status();
        assert!(run.unwrap().success());
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        names.map(|name| time(&self.0.join("project").join(name)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn a_file_is_as_new_as_its_content_in_the_target_directory() {
    let place = Place::new();
    place.write("src/a b.rs", "one");
    place.write("c.rs", "two");
    let names = ["src/a b.rs", "c.rs"];
    let [changed_first, same_first] = place.times(names);
    assert!(changed_first > SystemTime::UNIX_EPOCH);
    place.write("src/a b.rs", "other");
    place.write("c.rs", "two");
    let [changed, same] = place.times(names);
    assert!(changed > changed_first, "another content is newer");
    assert_eq!(same, same_first, "the same content is as old as it was");
    place.write("src/a b.rs", "one");
    let [back, _] = place.times(names);
    assert!(
        back > changed,
        "a content that returns is newer than the one in between"
    );
}
