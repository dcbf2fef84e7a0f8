//! Images that pipelines publish: what is kept, what is sent, and what a registry then has.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};

use serde_json::Value;
use wharf_e2e::{
    Run, TestEngine,
    engine::{busybox, script},
};
use wharf_graph::{
    Container, Error, File,
    image::Platform,
    op::{Configure, SecretId},
    publish::{Compression, Login, Publish, PublishOptions},
};
use wharf_testkit::{process, registry::Registry};

/// An engine and a registry that is empty.
struct World {
    engine: TestEngine,
    registry: Registry,
}

impl World {
    fn new() -> Self {
        let engine = TestEngine::start();
        let registry = Registry::start(&engine.path().join("registry")).expect("a registry");
        Self { engine, registry }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    async fn publish(&self, container: &Container, name: &str) -> String {
        self.publish_with(container, name, &PublishOptions::default())
            .await
    }

    async fn publish_with(&self, container: &Container, name: &str, options: &PublishOptions) -> String {
        publish(&self.engine.run(), container, &self.name(name), options)
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.engine.log_text()))
    }

    /// What skopeo says of an image: with `--raw` its manifest, with `--config` its configuration.
    fn inspect(&self, name: &str, options: &[&str]) -> Value {
        let mut command = Command::new(process::require("skopeo", "skopeo").expect("skopeo"));
        command
            .args(["inspect", "--tls-verify=false"])
            .args(options)
            .arg(format!("docker://{}", self.name(name)));
        let output = process::run(&mut command).expect("skopeo inspects");
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Digests of an image's layers, the lowest first.
    fn layers(&self, name: &str) -> Vec<String> {
        let manifest = self.inspect(name, &["--raw"]);
        let layers = manifest["layers"].as_array().expect("layers");
        layers
            .iter()
            .map(|layer| layer["digest"].as_str().expect("a digest").to_owned())
            .collect()
    }

    /// Requests of some methods since there were so many.
    fn asked(&self, methods: &[&str], since: usize) -> Vec<String> {
        let requests = self.registry.requests();
        let mut asked: Vec<_> = requests
            .into_iter()
            .filter(|request| methods.contains(&request.method.as_str()))
            .map(|request| format!("{} {}", request.method, request.path))
            .collect();
        asked.drain(..since.min(asked.len()));
        asked
    }

    fn count(&self, methods: &[&str]) -> usize {
        self.asked(methods, 0).len()
    }
}

async fn publish(
    run: &Run,
    container: &Container,
    reference: &str,
    options: &PublishOptions,
) -> Result<String, Error> {
    let containers = std::iter::once(container).chain(&options.platforms);
    let nodes: Vec<_> = containers.map(|container| Arc::clone(container.node())).collect();
    let publish = Publish::new(container, reference, options);
    run.session.publish(&nodes, &publish).await
}

/// What sends something.
const SENDING: [&str; 3] = ["POST", "PATCH", "PUT"];

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

    // A health check is what only other tools set: it is kept as it is.
    let layout = world.engine.path().join("layout");
    copy(
        &format!("docker://{}", world.name("configured:1")),
        &format!("oci:{}:latest", layout.display()),
    );
    let check = serde_json::json!({ "Test": ["CMD", "true"], "Interval": 3_000_000_000_u64 });
    edit_config(&layout, |config| config["config"]["Healthcheck"] = check.clone());
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

/// Has skopeo copy an image.
fn copy(from: &str, to: &str) {
    let mut command = Command::new(process::require("skopeo", "skopeo").expect("skopeo"));
    command
        .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
        .args(["--dest-tls-verify=false", from, to]);
    process::run(&mut command).expect("skopeo copies");
}

/// Changes the configuration of the one image in an OCI layout, as another tool would.
fn edit_config(layout: &Path, change: impl FnOnce(&mut Value)) {
    let read = |path: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
    };
    let blob = |digest: &Value| {
        layout
            .join("blobs")
            .join(digest.as_str().expect("a digest").replace(':', "/"))
    };
    let put = |value: &Value| {
        let draft = layout.join("draft");
        std::fs::write(&draft, value.to_string()).expect("a file");
        let sum = process::run(Command::new("sha256sum").arg(&draft)).expect("a digest");
        let digest = format!("sha256:{}", String::from_utf8_lossy(&sum.stdout[..64]));
        let size = draft.metadata().expect("the file").len();
        std::fs::rename(&draft, blob(&digest.clone().into())).expect("a blob");
        (digest, size)
    };
    let name = layout.join("index.json");
    let mut index = read(&name);
    let mut manifest = read(&blob(&index["manifests"][0]["digest"]));
    let mut config = read(&blob(&manifest["config"]["digest"]));
    change(&mut config);
    let (digest, size) = put(&config);
    manifest["config"]["digest"] = digest.into();
    manifest["config"]["size"] = size.into();
    let (digest, size) = put(&manifest);
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = size.into();
    std::fs::write(name, index.to_string()).expect("the index");
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
