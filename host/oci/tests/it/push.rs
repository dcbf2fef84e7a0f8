//! Pushes to registries that misbehave: what passes is waited for, what was cut goes on, what is wrong is said.

use std::{
    io::{Seek, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::http::{Method, StatusCode, header};
use wharf_oci::{
    Compression, Config, Document, Error, ImageParts, LayerDescriptor, LayerWriter, Platform, Reference,
    Registry, Start,
};

use crate::{
    front::{Asked, Does, Front, answer},
    world::{World, client, noise, read},
};

/// A layer that is not in any registry yet.
fn layer() -> (LayerDescriptor, std::fs::File) {
    let mut file = tempfile::tempfile().unwrap();
    let mut writer = LayerWriter::new(&mut file, Compression::None).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let text = noise(700_000);
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "noise", &text[..]).unwrap();
    writer.write_all(&tar.into_inner().unwrap()).unwrap();
    let layer = writer.finish().unwrap();
    file.rewind().unwrap();
    (layer, file)
}

fn documents(layer: &LayerDescriptor) -> (Document, Document) {
    let parts = ImageParts {
        platform: &Platform::host(),
        config: &Config::default(),
        layers: std::slice::from_ref(layer),
        history: &[],
        annotations: &std::collections::BTreeMap::new(),
    };
    let config = parts.config();
    let manifest = parts.manifest(&config);
    (config, manifest)
}

/// Pushes an image of one layer as `HOST/new/app:1`.
async fn push(registry: &Registry, host: &str) -> Result<(), Error> {
    let (layer, file) = layer();
    let (config, manifest) = documents(&layer);
    let reference: Reference = format!("{host}/new/app:1").parse()?;
    let push = registry.push(&reference, Vec::new());
    let mut text = tempfile::tempfile()?;
    text.write_all(&config.text)?;
    for (digest, file) in [(&layer.digest, file), (&config.digest, text)] {
        if push.has_blob(digest).await? {
            continue;
        }
        match push.start(digest, None).await? {
            Start::Mounted => {}
            Start::Upload(upload) => push.send(upload, digest, file).await?,
        }
    }
    push.put_manifest("1", &manifest).await
}

/// The layer as the registry has it.
async fn pulled(world: &World) -> Vec<u8> {
    let registry = client(&[]);
    let name = format!("{}/new/app:1", world.registry.address());
    let image = registry.resolve(&name, &Platform::host()).await.unwrap();
    read(&registry, &image, &image.layers[0]).await.unwrap()
}

/// Pushes through a front and checks what arrived.
async fn arrives(rule: impl Fn(&Asked, &str) -> Does + Send + Sync + 'static) -> Vec<Asked> {
    let world = World::new();
    let front = Front::start(&world.registry.url(), rule).await;
    push(&client(&[]), &front.address).await.unwrap();
    let (_, mut file) = layer();
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut whole).unwrap();
    assert_eq!(pulled(&world).await, whole);
    front.asked()
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_what_passes_is_waited_for_when_pushing() {
    let asked = arrives(|asked, _| match (asked.method.clone(), asked.before) {
        (Method::HEAD, _) => Does::Passes,
        (_, 0) => answer(StatusCode::TOO_MANY_REQUESTS, &[(header::RETRY_AFTER, "1")], ""),
        (_, 1) => answer(StatusCode::SERVICE_UNAVAILABLE, &[], ""),
        _ => Does::Passes,
    })
    .await;
    assert!(asked.len() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_an_upload_that_was_cut_goes_on_where_the_registry_says() {
    let is_cut = AtomicBool::default();
    let asked = arrives(move |asked, _| {
        let is_layer = asked.method == Method::PATCH && asked.header(header::CONTENT_LENGTH).len() > 5;
        if is_layer && !is_cut.swap(true, Ordering::Relaxed) {
            Does::Takes(250_000)
        } else {
            Does::Passes
        }
    })
    .await;
    let is_upload = |asked: &&Asked| asked.path.contains("/uploads/");
    let looks = asked
        .iter()
        .filter(is_upload)
        .filter(|asked| asked.method == Method::GET);
    assert_eq!(looks.count(), 1, "it asks how far it is");
    let ranges: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header(header::CONTENT_RANGE))
        .filter(|range| !range.is_empty())
        .collect();
    assert!(
        ranges.len() == 1 && ranges[0].starts_with("250000-"),
        "{ranges:?}"
    );
    let begun = asked
        .iter()
        .filter(is_upload)
        .filter(|asked| asked.method == Method::POST);
    assert_eq!(begun.count(), 2, "the layer and the configuration, each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_an_upload_that_the_registry_has_lost_is_begun_again() {
    let is_cut = AtomicBool::default();
    let asked = arrives(move |asked, _| {
        let is_layer = asked.method == Method::PATCH && asked.header(header::CONTENT_LENGTH).len() > 5;
        if is_layer && !is_cut.swap(true, Ordering::Relaxed) {
            Does::Takes(250_000)
        } else if asked.method == Method::GET && asked.path.contains("/uploads/") {
            answer(StatusCode::NOT_FOUND, &[], "{}")
        } else {
            Does::Passes
        }
    })
    .await;
    let begun = asked
        .iter()
        .filter(|asked| asked.method == Method::POST && asked.path.contains("/uploads/"));
    assert_eq!(begun.count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_an_upload_goes_to_where_the_registry_says() {
    let relative: fn(&str) -> String = |location| location[location.find("/v2/").unwrap()..].to_owned();
    arrives(move |_, _| Does::Says(header::LOCATION, Box::new(relative))).await;
    let asked = arrives(move |_, own| {
        let own = own.to_owned();
        Does::Says(
            header::LOCATION,
            Box::new(move |location| format!("http://{own}{}&extra=a%20b", relative(location))),
        )
    })
    .await;
    assert!(
        asked
            .iter()
            .any(|asked| asked.path.contains("extra=a%20b") && asked.path.contains("digest="))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_an_upload_is_redirected_with_its_bytes() {
    let asked = arrives(|asked, own| {
        if asked.method == Method::PATCH && !asked.path.contains("moved") {
            let there = format!("http://{own}{}&moved=1", asked.path);
            return answer(StatusCode::TEMPORARY_REDIRECT, &[(header::LOCATION, &there)], "");
        }
        Does::Passes
    })
    .await;
    assert!(
        asked
            .iter()
            .any(|asked| asked.method == Method::PATCH && asked.path.contains("moved"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_an_answer_that_was_lost_is_not_an_upload_that_was() {
    arrives(|asked, _| match (&asked.method, asked.before) {
        (&Method::PUT, 0) if asked.path.contains("uploads") => Does::Forgets,
        _ => Does::Passes,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_registry_that_keeps_something_else_is_not_believed() {
    let world = World::new();
    let front = Front::start(&world.registry.url(), |asked, _| {
        if asked.method == Method::PUT {
            let other = format!("sha256:{}", "0".repeat(64));
            let name = header::HeaderName::from_static("docker-content-digest");
            return Does::Says(name, Box::new(move |_| other.clone()));
        }
        Does::Passes
    })
    .await;
    let error = push(&client(&[]), &front.address).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("is kept as"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_refusal_names_registry_and_reason() {
    let world = World::new();
    let text = r#"{ "errors": [{ "code": "DENIED", "message": "the quota is used up" }] }"#;
    let front = Front::start(&world.registry.url(), move |asked, _| {
        if asked.method == Method::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, &[], text);
        }
        Does::Passes
    })
    .await;
    let error = push(&client(&[]), &front.address).await.unwrap_err().to_string();
    assert!(
        error.contains(&front.address) && error.contains("the quota is used up"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_one_token_does_for_a_push() {
    let world = World::new();
    let scopes: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&scopes);
    let front = Front::start(&world.registry.url(), move |asked, own| {
        if asked.path.starts_with("/token") {
            noted.lock().unwrap().push(asked.path.clone());
            return answer(StatusCode::OK, &[], r#"{ "token": "open", "expires_in": 300 }"#);
        }
        if asked.header(header::AUTHORIZATION) == "Bearer open" {
            return Does::Passes;
        }
        let challenge =
            format!(r#"Bearer realm="http://{own}/token",service="here",scope="repository:new/app:pull""#);
        answer(
            StatusCode::UNAUTHORIZED,
            &[(header::WWW_AUTHENTICATE, &challenge)],
            "{}",
        )
    })
    .await;
    push(&client(&[]), &front.address).await.unwrap();
    let scopes = scopes.lock().unwrap();
    assert_eq!(scopes.len(), 1, "{scopes:?}");
    assert!(
        scopes[0].contains("repository%3Anew%2Fapp%3Apull%2Cpush"),
        "{scopes:?}"
    );
}
