//! The shortest way through everything.

use wharf_e2e::{
    TestEngine,
    engine::{busybox, script},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_and_is_remembered() {
    let engine = TestEngine::start();
    let container = script(&script(&busybox(), "echo hello > /greeting"), "cat /greeting");
    let mut run = engine.run();
    assert_eq!(
        run.stdout(&container)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", engine.log_text())),
        "hello\n"
    );
    assert_eq!(run.steps().await.0.len(), 2);
    let mut again = engine.run();
    assert_eq!(again.stdout(&container).await.unwrap(), "hello\n");
    let (ran, hit) = again.steps().await;
    assert_eq!((ran.len(), hit.len()), (0, 2));
}
