//! What a registry has arrives as it was pushed.

use wharf_oci::{Error, Platform, ResolvedImage};

use crate::{
    front::{Does, Front},
    world::{World, client, noise, read},
};

async fn matches(image: &ResolvedImage, registry: &wharf_oci::Registry, layers: &[std::path::PathBuf]) {
    assert_eq!(image.layers.len(), layers.len());
    for (layer, file) in image.layers.iter().zip(layers) {
        assert_eq!(
            read(registry, image, layer).await.unwrap(),
            std::fs::read(file).unwrap()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b17_every_format_and_compression_arrives_as_it_was_pushed() {
    let world = World::new();
    let ways: [(&str, &[&str], &str); 4] = [
        ("app/gzip:1", &["--dest-compress-format=gzip"], "gzip"),
        (
            "app/zstd:1",
            &["--dest-compress", "--dest-compress-format=zstd"],
            "zstd",
        ),
        ("app/docker:1", &["--format=v2s2"], "vnd.docker."),
        ("app/plain:1", &["--preserve-digests"], "layer.v1.tar"),
    ];
    for (name, options, media_type) in ways {
        // Layers of its own, as skopeo does not send again what the registry has in another form.
        let own = |number: &str| format!("{number}-{}", media_type.replace('.', "-"));
        let layers = [
            world.layer(&own("one"), &[&noise(300_000), name.as_bytes()].concat()),
            world.layer(&own("two"), name.as_bytes()),
        ];
        world.push(name, "linux/amd64", &layers, options);
        let registry = client(&[]);
        let platform = "linux/amd64".parse().unwrap();
        let image = registry
            .resolve(&format!("{}/{name}", world.registry.address()), &platform)
            .await
            .unwrap();
        assert!(
            image.layers[0].media_type.contains(media_type),
            "{}",
            image.layers[0].media_type
        );
        assert_eq!(image.platform, platform);
        assert_eq!(image.config.env, ["LANG=C.UTF-8"]);
        assert!(image.config.rest.contains_key("Healthcheck"));
        matches(&image, &registry, &layers).await;
        // By digest it is the same image, and what is kept of it reads back.
        assert!(image.reference.ends_with(&format!("@{}", image.manifest)));
        assert_eq!(
            registry.resolve(&image.reference, &platform).await.unwrap(),
            image
        );
        let kept = serde_json::to_string(&image).unwrap();
        assert_eq!(serde_json::from_str::<ResolvedImage>(&kept).unwrap(), image);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b16_an_index_yields_the_right_platform_or_says_what_there_is() {
    let world = World::new();
    let mut entries = Vec::new();
    for (name, platform) in [("a", "linux/amd64"), ("b", "linux/arm/v6"), ("c", "linux/arm/v7")] {
        let layer = world.layer(name, platform.as_bytes());
        world.push(&format!("many:{name}"), platform, &[layer], &[]);
        let platform: Platform = platform.parse().unwrap();
        let image = client(&[])
            .resolve(&format!("{}/many:{name}", world.registry.address()), &platform)
            .await
            .unwrap();
        entries.push(serde_json::json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.manifest, "size": 1,
            "platform": platform,
        }));
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    world
        .put_manifest("many", "all", media_type, index.to_string())
        .await;
    let (registry, name) = (client(&[]), format!("{}/many:all", world.registry.address()));
    for (wanted, entry) in [("linux/amd64", 0), ("linux/arm", 2), ("linux/arm/v6", 1)] {
        let image = registry.resolve(&name, &wanted.parse().unwrap()).await.unwrap();
        assert_eq!(
            image.manifest,
            entries[entry]["digest"].as_str().unwrap(),
            "{wanted}"
        );
    }
    let error = registry
        .resolve(&name, &"linux/s390x".parse().unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Platform { have, .. } if have.len() == 3),
        "{error}"
    );
    assert!(error.to_string().contains("linux/arm/v7"), "{error}");
    // A single manifest is held to its platform too.
    let single = format!("{}/many:a", world.registry.address());
    let error = registry
        .resolve(&single, &"linux/arm64".parse().unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Platform { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_mirrors_are_asked_in_order_and_then_the_registry() {
    let world = World::new();
    let layers = [world.layer("one", &noise(10_000))];
    world.push("library/tool:1", "linux/amd64", &layers, &[]);
    let empty = World::new();
    let down = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let front = Front::start(&world.registry.url(), |_, _| Does::Passes).await;
    let (down, lacking) = (format!("http://{down}"), empty.registry.url());
    let registry = client(&[
        ("docker.io", &down),
        ("docker.io", &lacking),
        ("docker.io", &front.url()),
    ]);
    let image = registry
        .resolve("tool:1", &"linux/amd64".parse().unwrap())
        .await
        .unwrap();
    assert!(
        image.reference.starts_with("docker.io/library/tool@sha256:"),
        "{}",
        image.reference
    );
    matches(&image, &registry, &layers).await;
    assert!(
        !empty.registry.requests().is_empty(),
        "the mirror before was asked"
    );
    // The registry itself has what its mirrors lack.
    let registry = client(&[(world.registry.address(), &lacking)]);
    let own = format!("{}/library/tool:1", world.registry.address());
    let image = registry
        .resolve(&own, &"linux/amd64".parse().unwrap())
        .await
        .unwrap();
    matches(&image, &registry, &layers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_in_words() {
    let world = World::new();
    let registry = client(&[]);
    let name = format!("{}/nothing:here", world.registry.address());
    let platform = Platform::host();
    let error = registry.resolve(&name, &platform).await.unwrap_err();
    assert!(
        matches!(error, Error::NotFound { .. }) && error.to_string().contains(&name),
        "{error}"
    );
    world.registry.stop();
    let error = registry.resolve(&name, &platform).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unavailable { .. }), "{text}");
    assert!(
        text.contains(&world.registry.url()) && text.contains("refused") && text.contains("mirror"),
        "{text}"
    );
    let error = registry
        .resolve("Not/a:reference:at:all", &platform)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Reference { .. }), "{error}");
}
