//! What a function plans, seen without an engine; and types of the author's own on their way through it.

use wharf_sdk::{
    prelude::*,
    testing::{self, Answer, Planner},
};

#[derive(Debug, Type)]
struct Built {
    tree: Directory,
    kind: Kind,
    notes: Vec<(String, u8)>,
}

#[derive(Debug, PartialEq, Type)]
enum Kind {
    Plain,
    Named { name: String, size: u64 },
    Sized(u64),
}

async fn build(source: Directory, token: Secret, tests: bool) -> Result<Built> {
    let base = image::pull("rust:1").with_mounted_cache("/cargo", &CacheVolume::new("cargo"));
    let options = ExecOptions::new().expect(Expect::Any).expand(false);
    let built = base
        .with_network(Network::All)
        .with_secret_variable("TOKEN", &token)
        .with_directory_opts("/src", &source, &CopyOptions::new().exclude(["target"]))
        .with_exec_opts(["cargo", "build"], &options);
    if tests {
        let tested = built.with_network_hosts(["crates.example"]);
        tested.with_exec(["cargo", "test"]).sync().await?;
    }
    let size = built.file("/src/app").size().await?;
    Ok(Built {
        tree: built.directory("/src"),
        kind: if size > 9 {
            Kind::Named {
                name: "large".to_owned(),
                size,
            }
        } else {
            Kind::Sized(size)
        },
        notes: vec![("size".to_owned(), 1)],
    })
}

#[test]
fn a_plan_has_every_call_in_its_order() {
    let plan = Planner::new().answer("size", 12).plan(build(
        testing::directory("source"),
        testing::secret("token"),
        true,
    ));
    let expected = r#"
container 1
  image::pull("rust:1")
  .with_mounted_cache("/cargo", CacheVolume::new("cargo"))
  .with_network(All)
  .with_secret_variable("TOKEN", token)
  .with_directory("/src", source, {exclude: ["target"]})
  .with_exec(["cargo", "build"], {expect: Any, expand: false})
container 2
  container 1
  .with_network_hosts(["crates.example"])
  .with_exec(["cargo", "test"])
file 1
  container 1
  .file("/src/app")
directory 1
  container 1
  .directory("/src")
container 2.sync()
file 1.size() -> 12
returns directory 1
"#;
    assert_eq!(plan.to_string(), expected.trim_start());
    let built = plan.returned.expect("it is built");
    assert_eq!(
        built.kind,
        Kind::Named {
            name: "large".to_owned(),
            size: 12
        }
    );
    assert_eq!(built.notes, [("size".to_owned(), 1)]);
}

#[test]
fn a_read_without_an_answer_says_what_to_give() {
    let plan = testing::plan(build(
        testing::directory("source"),
        testing::secret("token"),
        false,
    ));
    assert!(
        plan.to_string().ends_with("file 1.size() -> not answered\n"),
        "{plan}"
    );
    let error = plan.returned.expect_err("nobody answered").to_string();
    assert!(error.contains("Planner::new().answer(\"size\", …)"), "{error}");
    let wrong = Planner::new().answer("size", "twelve").plan(build(
        testing::directory("source"),
        testing::secret("token"),
        false,
    ));
    let error = wrong.returned.expect_err("an answer of another kind").to_string();
    assert!(error.contains("`size` returns a number"), "{error}");
}

#[test]
fn answers_are_given_in_order_and_may_be_errors() {
    let plan = Planner::new()
        .answer("exists", true)
        .answer("exists", false)
        .answer("contents", Error::NotFound("no such file".to_owned()))
        .answer("host::env_variable", Answer::None)
        .plan(async {
            let source = testing::directory("source");
            let found = (source.exists("a").await?, source.exists("b").await?);
            let unset = host::env_variable("CI").await?;
            assert_eq!((found, unset), ((true, false), None));
            let read: Result<String> = source.file("c").contents().await;
            read
        });
    assert_eq!(plan.returned, Err(Error::NotFound("no such file".to_owned())));
    assert!(
        plan.to_string().contains("source.exists(\"b\") -> false\n"),
        "{plan}"
    );
}

#[test]
fn a_read_outside_of_a_plan_says_where_it_works() {
    let container = testing::container("base").with_exec(["true"]);
    let read = std::pin::pin!(container.stdout());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(outcome) = read.poll(&mut context) else {
        panic!("a read answers at once")
    };
    let error = outcome.expect_err("nobody to ask").to_string();
    assert!(error.contains("wharf_sdk::testing::plan"), "{error}");
}
