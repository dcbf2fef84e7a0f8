//! What comes back: images that were published, by tag, by digest, for a platform, and as archives.

use std::{collections::BTreeMap, time::Duration};

use wharf_e2e::{
    TestEngine,
    engine::{busybox, script},
};
use wharf_graph::{
    Container, Error, File,
    image::Platform,
    op::{Configure, HealthCheckOptions},
    publish::{Compression, PublishOptions},
};
use wharf_testkit::layout::edit_config;

use crate::{World, copy};

#[tokio::test(flavor = "multi_thread")]
async fn b13_the_configuration_survives_from_pull_to_publish() {
    let world = World::new();
    let configured = busybox()
        .configure(Configure::Env {
            name: "GREETING".to_owned(),
            value: "hello world".to_owned(),
            expand: false,
        })
        .configure(Configure::User("1000:1000".to_owned()))
        .configure(Configure::Workdir("/srv".to_owned()))
        .configure(Configure::Label(
            "org.example.team".to_owned(),
            "docks".to_owned(),
        ))
        .configure(Configure::Expose("8080/tcp".to_owned()))
        .configure(Configure::HealthCheck {
            args: vec!["/bin/true".to_owned()],
            options: HealthCheckOptions {
                interval: Duration::from_secs(5),
                ..HealthCheckOptions::default()
            },
        })
        .configure(Configure::Entrypoint {
            args: vec!["/bin/echo".to_owned()],
            keep_default_args: false,
        })
        .configure(Configure::DefaultArgs(vec!["hi".to_owned()]));
    world.publish(&configured, "configured:1").await;
    let config = world.inspect("configured:1", &["--config"]);
    assert_eq!(config["config"]["User"], "1000:1000");
    assert_eq!(config["config"]["WorkingDir"], "/srv");
    assert_eq!(config["config"]["Labels"]["org.example.team"], "docks");
    assert_eq!(
        config["config"]["ExposedPorts"],
        serde_json::json!({ "8080/tcp": {} })
    );
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["/bin/echo"]));
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["hi"]));
    let env = config["config"]["Env"].as_array().expect("variables");
    assert!(env.contains(&"GREETING=hello world".into()), "{env:?}");

    let raw = world.inspect("configured:1", &["--config", "--raw"]);
    assert_eq!(
        raw["config"]["Healthcheck"],
        serde_json::json!({ "Test": ["CMD", "/bin/true"], "Interval": 5_000_000_000_u64 })
    );

    // One that another tool has set is kept as it is.
    let layout = world.engine.path().join("layout");
    copy(
        &format!("docker://{}", world.name("configured:1")),
        &format!("oci:{}:latest", layout.display()),
    );
    let check = serde_json::json!({ "Test": ["CMD", "true"], "Interval": 3_000_000_000_u64 });
    edit_config(&layout, |config| config["config"]["Healthcheck"] = check.clone()).expect("a layout");
    copy(
        &format!("oci:{}:latest", layout.display()),
        &format!("docker://{}", world.name("checked:1")),
    );
    let again = script(&Container::image(&world.name("checked:1"), None), "true");
    world.publish(&again, "checked:2").await;
    let kept = world.inspect("checked:2", &["--config", "--raw"]);
    assert_eq!(kept["config"]["Healthcheck"], check);
    assert_eq!(kept["config"]["Labels"], config["config"]["Labels"]);
    let history = kept["history"].as_array().expect("a history");
    assert!(
        history.last().expect("the step")["created_by"]
            .to_string()
            .contains("true")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b14_an_image_by_digest_is_asked_for_once_and_a_tag_once_a_run() {
    let mut world = World::new();
    let reference = world
        .publish(&script(&busybox(), "echo kept > /file"), "app:1")
        .await;
    let asked = |world: &World| world.registry.requests().len();
    let seen =
        |name: &str, word: &str| script(&Container::image(name, None), &format!("cat /file; echo {word}"));
    let run = world.engine.run();
    run.stdout(&seen(&reference, "one")).await.expect("it runs");
    let before = asked(&world);
    let run = world.engine.run();
    run.stdout(&seen(&reference, "two")).await.expect("it runs");
    drop(run);
    assert_eq!(asked(&world), before);
    world.engine.kill();
    world.engine.launch();
    let run = world.engine.run();
    run.stdout(&seen(&reference, "three")).await.expect("it runs");
    assert_eq!(asked(&world), before, "nor by an engine that was started anew");
    let tagged = world.name("app:1");
    for word in ["four", "five"] {
        run.stdout(&seen(&tagged, word)).await.expect("it runs");
    }
    let names = world.asked(&["GET"], 0);
    let tags = names.iter().filter(|line| line.ends_with("/manifests/1"));
    assert_eq!(tags.count(), 1, "{names:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_is_pulled_again() {
    let world = World::new();
    let made = "mkdir -p /srv/data && echo kept > /srv/data/file && ln -s file /srv/data/link && rm /bin/vi && \
                chown 1000:1000 /srv/data/file && chmod 4711 /srv/data/file";
    let seen = "stat -c '%u %g %a' /srv/data/file; cat /srv/data/link; test -e /bin/vi || echo gone";
    let app = script(&busybox(), made);
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let options = PublishOptions {
            compression,
            ..PublishOptions::default()
        };
        let reference = world.publish_with(&app, "app:1", &options).await;
        let elsewhere = TestEngine::start();
        let pulled = script(&Container::image(&reference, None), seen);
        let found = elsewhere.run().stdout(&pulled).await.expect("it runs");
        assert_eq!(found, "1000 1000 4711\nkept\ngone\n", "{compression:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b16_several_platforms_are_one_image() {
    let world = World::new();
    let arm = Platform {
        os: "linux".to_owned(),
        architecture: "arm64".to_owned(),
        variant: Some("v8".to_owned()),
    };
    let other = Container::scratch(Some(arm)).edit(wharf_graph::build::Edit::new_file(
        "/hello",
        b"from arm",
        None,
        None,
    ));
    let options = PublishOptions {
        platforms: vec![other],
        tags: vec!["latest".to_owned(), "1".to_owned()],
        annotations: BTreeMap::from([("org.example.build".to_owned(), "7".to_owned())]),
        ..PublishOptions::default()
    };
    let reference = world.publish_with(&busybox(), "app:1.0", &options).await;
    let index = world.inspect("app:1.0", &["--raw"]);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(index["annotations"]["org.example.build"], "7");
    let platforms: Vec<_> = index["manifests"]
        .as_array()
        .expect("manifests")
        .iter()
        .map(|entry| entry["platform"].to_string())
        .collect();
    assert_eq!(platforms.len(), 2);
    assert!(
        platforms[1].contains("arm64") && platforms[1].contains("v8"),
        "{platforms:?}"
    );
    for tag in ["app:latest", "app:1"] {
        assert_eq!(world.inspect(tag, &["--raw"]), index);
    }
    let run = world.engine.run();
    let pulled = |architecture: &str| {
        let platform = Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        };
        Container::image(&reference, Some(platform))
    };
    assert_eq!(
        run.text(&pulled("arm64"), "/hello").await.expect("a file"),
        "from arm"
    );
    assert!(run.entries(&pulled("amd64"), "/bin").await.expect("names").len() > 1);
    let missing = run
        .entries(&pulled("riscv64"), "/")
        .await
        .expect_err("no such platform");
    assert!(missing.to_string().contains("linux/arm64/v8"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b17_archives_are_images() {
    let world = World::new();
    let configured = script(&busybox(), "echo kept > /file").configure(Configure::Env {
        name: "GREETING".to_owned(),
        value: "hello".to_owned(),
        expand: false,
    });
    let reference = world.publish(&configured, "app:1").await;
    let run = world.engine.run();
    let own = world.engine.path().join("own.tar");
    run.session
        .export_container(configured.node(), &own)
        .await
        .expect("an export");
    let (docker, oci) = (
        world.engine.path().join("docker.tar"),
        world.engine.path().join("oci.tar"),
    );
    let from = format!("docker://{reference}");
    copy(&from, &format!("docker-archive:{}:app:1", docker.display()));
    copy(&from, &format!("oci-archive:{}:app", oci.display()));
    for archive in [&own, &docker, &oci] {
        let file = File::host(&archive.display().to_string());
        let image = Container::of_archive(&file, None);
        let seen = script(&image, "cat /file; echo $GREETING");
        let elsewhere = TestEngine::start();
        let found = elsewhere.run().stdout(&seen).await.expect("it runs");
        assert_eq!(found, "kept\nhello\n", "{}", archive.display());
    }
    // What an archive has compressed is published as it is, by an engine that has never seen the registry's image.
    let other = World::new();
    let image = Container::of_archive(&File::host(&oci.display().to_string()), None);
    other.publish(&image, "copied:1").await;
    assert_eq!(other.layers("copied:1"), world.layers("app:1"));
    let image = Container::of_archive(&File::host(&docker.display().to_string()), None);
    let unpacked = other.publish(&script(&image, "true"), "unpacked:1").await;
    let seen = script(&Container::image(&unpacked, None), "cat /file");
    assert_eq!(other.engine.run().stdout(&seen).await.expect("it runs"), "kept\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_none_is_said() {
    let world = World::new();
    let file = File::new("image.tar", b"no archive");
    let error = world
        .engine
        .run()
        .entries(&Container::of_archive(&file, None), "/")
        .await
        .expect_err("no image");
    assert!(error.to_string().contains("image archive"), "{error}");
    let gone = Container::of_docker("acme/app:1");
    let error = world
        .engine
        .run()
        .entries(&gone, "/")
        .await
        .expect_err("no Docker");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}
