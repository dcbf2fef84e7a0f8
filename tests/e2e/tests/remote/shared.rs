//! What clients of one engine share: whatever each of them could have made.

use wharf_e2e::engine::{busybox, script};
use wharf_graph::{Directory, op::Filter};

use crate::{Server, random};

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_runs_from_end_to_end() {
    let server = Server::start();
    let source = server.world.path("source");
    let text = random();
    std::fs::create_dir(&source).expect("a directory");
    std::fs::write(source.join("input"), &text).expect("a file");
    let mut run = server.run("ann");
    let directory = Directory::host(&source.display().to_string(), Filter::default());
    let built = script(
        &busybox().with_mounted_directory("/src", &directory, None),
        "mkdir /out; tr a-f A-F < /src/input > /out/built; echo built",
    );
    assert_eq!(run.stdout(&built).await.expect("it runs"), "built\n");
    let log = String::from_utf8(run.log().await).expect("text");
    assert!(log.contains("built"), "{log}");
    let to = server.world.path("exported");
    run.session
        .export_directory(built.directory("/out").node(), &to)
        .await
        .expect("it is exported");
    let exported = std::fs::read_to_string(to.join("built")).expect("a file");
    assert_eq!(exported, text.to_uppercase());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_of_a_public_image_is_there_for_all() {
    let server = Server::start();
    let step = script(
        &busybox(),
        &format!("echo {}; cat /proc/sys/kernel/random/uuid", random()),
    );
    let mut run = server.run("ann");
    let said = run.stdout(&step).await.expect("it runs");
    assert_eq!(run.steps().await.0.len(), 1);
    let mut other = server.run("bob");
    assert_eq!(other.stdout(&step).await.expect("a hit"), said);
    let (ran, hit) = other.steps().await;
    assert_eq!((ran.len(), hit.len()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_of_files_is_there_for_who_has_sent_them() {
    let server = Server::start();
    let mark = random();
    let text = random();
    let used = |client: &str, text: &str| {
        let source = server.world.path(format!("source-{client}"));
        std::fs::create_dir_all(&source).expect("a directory");
        std::fs::write(source.join("input"), text).expect("a file");
        let directory = Directory::host(&source.display().to_string(), Filter::default());
        script(
            &busybox().with_mounted_directory("/src", &directory, None),
            &format!(": {mark}; cat /src/input"),
        )
    };
    let ann = server.run("ann");
    assert_eq!(ann.stdout(&used("ann", &text)).await.expect("it runs"), text);
    let mut bob = server.run("bob");
    assert_eq!(bob.stdout(&used("bob", &text)).await.expect("a hit"), text);
    assert_eq!(bob.steps().await.0.len(), 0, "the same files in another place");
}

#[test]
fn the_command_line_calls_a_module_on_it() {
    let server = Server::start();
    let module = wharf_e2e::guests::by_hand(&server.world.path("work"))
        .display()
        .to_string();
    let call = ["call", "-m", &module, "greeting", "--image", "busybox:latest"];
    let said = server.wharf("ann", &call);
    let text = said.ok().to_owned();
    assert!(!text.is_empty());
    let again = server.wharf("bob", &call);
    assert_eq!(again.ok(), text);
}
