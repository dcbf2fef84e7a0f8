//! What is sent to a registry, what is there already, and who may send it.

use std::process::Command;

use wharf_e2e::{
    TestEngine,
    engine::{busybox, script},
};
use wharf_graph::{
    Container, Error,
    op::SecretId,
    publish::{Compression, Login, PublishOptions},
};
use wharf_testkit::{process, registry::Registry};

use crate::{SENDING, World, publish};

#[tokio::test(flavor = "multi_thread")]
async fn b12_the_base_images_layers_keep_their_digests_and_are_sent_once() {
    let world = World::new();
    world.publish(&busybox(), "base:1").await;
    let base = world.layers("base:1");
    // The fixture's own manifest, from the registry that it was pulled from, names the same blobs.
    let mirror = wharf_testkit::fixtures::mirror().expect("a mirror");
    let mut command = Command::new(process::require("skopeo", "skopeo").expect("skopeo"));
    command
        .args(["inspect", "--tls-verify=false", "--format"])
        .arg("{{range .Layers}}{{.}} {{end}}")
        .arg(format!(
            "docker://{}/library/busybox:latest",
            mirror.url().trim_start_matches("http://")
        ));
    let output = process::run(&mut command).expect("skopeo inspects");
    let theirs = String::from_utf8(output.stdout).expect("text");
    assert_eq!(theirs.split_whitespace().collect::<Vec<_>>(), base);

    let app = script(&busybox(), "echo one > /one");
    let reference = world.publish(&app, "base:2").await;
    let layers = world.layers("base:2");
    assert_eq!(layers[..base.len()], base);
    assert_eq!(layers.len(), base.len() + 1);
    assert!(reference.contains("/base@sha256:"), "{reference}");
    let before = world.count(&SENDING);
    world.publish(&script(&app, "echo two > /two"), "base:3").await;
    assert_eq!(world.layers("base:3")[..layers.len()], layers);
    // One layer, one configuration, one manifest: everything else was there.
    let sent = world.asked(&SENDING, before);
    let begun = sent.iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(begun, 2, "{sent:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_what_is_there_sends_nothing() {
    let world = World::new();
    let app = script(&busybox(), "echo one > /one");
    let first = world.publish(&app, "app:1").await;
    let (sent, asked) = (world.count(&SENDING), world.count(&["HEAD"]));
    assert_eq!(world.publish(&app, "app:1").await, first);
    assert_eq!(world.count(&SENDING), sent, "nothing is sent");
    assert_eq!(world.asked(&["HEAD"], asked), ["HEAD /v2/app/manifests/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_container_is_the_same_image_on_another_engine() {
    let (one, other) = (World::new(), World::new());
    let app = script(
        &busybox(),
        "echo one > /one; ln /one /link; mkdir /d; chmod 1777 /d",
    );
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let options = PublishOptions {
            compression,
            ..PublishOptions::default()
        };
        let digest = |reference: String| reference.split_once('@').expect("a digest").1.to_owned();
        let first = digest(one.publish_with(&app, "app:1", &options).await);
        assert_eq!(digest(other.publish_with(&app, "app:1", &options).await), first);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b12_a_layer_is_taken_from_another_repository_of_the_registry() {
    let world = World::new();
    world.publish(&busybox(), "team/base:1").await;
    let base = world.layers("team/base:1");
    let app = script(
        &Container::image(&world.name("team/base:1"), None),
        "echo one > /one",
    );
    let before = world.count(&["POST"]);
    world.publish(&app, "team/app:1").await;
    assert_eq!(world.layers("team/app:1")[..base.len()], base);
    let begun = world.asked(&["POST"], before);
    let mounts: Vec<_> = begun.iter().filter(|line| line.contains("mount=")).collect();
    assert_eq!(mounts.len(), base.len(), "{begun:#?}");
    assert!(
        mounts.iter().all(|line| line.contains("from=team")),
        "{mounts:#?}"
    );
    // The layer that is new and the configuration.
    assert_eq!(begun.len() - mounts.len(), 2, "{begun:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_a_login_is_in_no_key() {
    let engine = TestEngine::start();
    let secret = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel's");
    let secret = secret.trim();
    let registry = Registry::start_for(&engine.path().join("registry"), "ann", secret).expect("a registry");
    let world = World { engine, registry };
    let name = world.name("app:1");
    let login = |file: &str| {
        let path = world.engine.path().join(file);
        std::fs::write(&path, secret).expect("a file");
        Login {
            user: "ann".to_owned(),
            password: SecretId {
                owner: "test".to_owned(),
                uri: format!("file:{}", path.display()),
            },
        }
    };
    let (one, other) = (login("one"), login("other"));
    let options = PublishOptions {
        login: Some(one.clone()),
        ..PublishOptions::default()
    };
    let run = world.engine.run();
    run.session.register_secret(one.password.clone());
    publish(&run, &busybox(), &name, &options)
        .await
        .expect("it is let in");
    for (login, ran) in [(one, 1), (other, 0)] {
        let mut run = world.engine.run();
        run.session.register_secret(login.password.clone());
        let image = Container::image_as(&name, None, Some(login));
        let said = run.stdout(&script(&image, "echo let in")).await.expect("it runs");
        assert_eq!(said, "let in\n");
        assert_eq!(run.steps().await.0.len(), ran);
    }
    let found = Command::new("grep")
        .args(["-rlF", secret])
        .arg(world.engine.store())
        .output()
        .expect("grep runs");
    assert!(
        found.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_published_is_said() {
    let world = World::new();
    let run = world.engine.run();
    let twice = PublishOptions {
        platforms: vec![busybox()],
        ..PublishOptions::default()
    };
    let error = publish(&run, &busybox(), &world.name("app:1"), &twice)
        .await
        .expect_err("two of a kind");
    assert!(
        error.to_string().contains("two of the containers are for"),
        "{error}"
    );
    let none = PublishOptions::default();
    for (reference, said) in [
        ("Not/A Name", "is not an image reference"),
        (
            &*format!("{}@sha256:{}", world.name("app"), "0".repeat(64)),
            "under a tag",
        ),
    ] {
        let error = publish(&run, &busybox(), reference, &none)
            .await
            .expect_err(reference);
        assert!(
            matches!(error, Error::Invalid(_)) && error.to_string().contains(said),
            "{error}"
        );
    }
    let tags = PublishOptions {
        tags: vec!["not a tag".to_owned()],
        ..PublishOptions::default()
    };
    let error = publish(&run, &busybox(), &world.name("app:1"), &tags)
        .await
        .expect_err("a tag");
    assert!(error.to_string().contains("not a tag"), "{error}");
    let failing = script(&busybox(), "exit 3");
    assert!(matches!(
        publish(&run, &failing, &world.name("app:1"), &none).await,
        Err(Error::Exec(_))
    ));
    assert_eq!(world.count(&SENDING), 0, "nothing was sent");
}
