//! Registries that misbehave: what passes is waited for, what was cut is taken up again, what is wrong is refused.

use axum::http::{StatusCode, header};
use wharf_oci::{Error, Registry, ResolvedImage};

use crate::{
    front::{Asked, Does, Front, answer},
    world::{World, client, noise, read},
};

fn pushed() -> (World, Vec<u8>) {
    let world = World::new();
    let layer = world.layer("one", &noise(400_000));
    world.push("app:1", "linux/amd64", std::slice::from_ref(&layer), &[]);
    (world, std::fs::read(layer).unwrap())
}

async fn resolve(registry: &Registry, host: &str) -> Result<ResolvedImage, Error> {
    registry
        .resolve(&format!("{host}/app:1"), &"linux/amd64".parse().unwrap())
        .await
}

async fn pull(registry: &Registry, host: &str) -> Result<Vec<u8>, String> {
    let image = resolve(registry, host).await.map_err(|error| error.to_string())?;
    read(registry, &image, &image.layers[0]).await
}

/// The layer, as opposed to the configuration: what is asked for in parts, or is large.
async fn layer_of(world: &World) -> String {
    resolve(&client(&[]), world.registry.address())
        .await
        .unwrap()
        .layers[0]
        .digest
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_what_passes_is_waited_for() {
    let (world, layer) = pushed();
    let front = Front::start(&world.registry.url(), |asked, _| match asked.before {
        0 => answer(StatusCode::TOO_MANY_REQUESTS, &[(header::RETRY_AFTER, "1")], ""),
        1 => answer(StatusCode::SERVICE_UNAVAILABLE, &[], ""),
        2 => answer(StatusCode::INTERNAL_SERVER_ERROR, &[], "boom"),
        _ => Does::Passes,
    })
    .await;
    assert_eq!(pull(&client(&[]), &front.address).await.unwrap(), layer);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_what_does_not_pass_is_said() {
    let (world, _) = pushed();
    let text = r#"{ "errors": [{ "code": "UNKNOWN", "message": "the disk is full" }] }"#;
    let front = Front::start(&world.registry.url(), move |_, _| {
        answer(StatusCode::BAD_GATEWAY, &[], text)
    })
    .await;
    let error = resolve(&client(&[]), &front.address)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("502") && error.contains("the disk is full") && error.contains(&front.url()),
        "{error}"
    );
    assert_eq!(front.asked().len(), 5);
    let front = Front::start(&world.registry.url(), |_, _| {
        answer(
            StatusCode::TOO_MANY_REQUESTS,
            &[(header::RETRY_AFTER, "86400")],
            "",
        )
    })
    .await;
    let error = resolve(&client(&[]), &front.address)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("86400 s"), "{error}");
    assert_eq!(front.asked().len(), 1, "no one waits a day");
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_cut_blob_is_taken_up_where_it_was_cut() {
    let (world, layer) = pushed();
    let digest = layer_of(&world).await;
    let ends = move |asked: &Asked, _: &str| {
        if asked.path.ends_with(&digest) && asked.before < 3 {
            Does::Cuts(90_000)
        } else {
            Does::Passes
        }
    };
    let front = Front::start(&world.registry.url(), ends).await;
    assert_eq!(pull(&client(&[]), &front.address).await.unwrap(), layer);
    let asked = front.asked();
    let ranges: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header(header::RANGE))
        .filter(|range| !range.is_empty())
        .collect();
    assert_eq!(ranges, ["bytes=90000-", "bytes=180000-", "bytes=270000-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_registry_without_ranges_is_read_from_the_start_again() {
    let (world, layer) = pushed();
    let digest = layer_of(&world).await;
    let front = Front::start(&world.registry.url(), move |asked, _| match asked.before {
        number @ 0..2 if asked.path.ends_with(&digest) => Does::IgnoresRanges(100_000 * (number + 1)),
        _ if asked.path.ends_with(&digest) => Does::IgnoresRanges(usize::MAX),
        _ => Does::Passes,
    })
    .await;
    assert_eq!(pull(&client(&[]), &front.address).await.unwrap(), layer);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_blob_that_one_place_cannot_finish_another_does() {
    let (world, layer) = pushed();
    let digest = layer_of(&world).await;
    let mirror = Front::start(&world.registry.url(), move |asked, _| match asked.before {
        0 if asked.path.ends_with(&digest) => Does::Cuts(150_000),
        _ if asked.path.ends_with(&digest) => answer(StatusCode::NOT_FOUND, &[], ""),
        _ => Does::Passes,
    })
    .await;
    let front = Front::start(&world.registry.url(), |_, _| Does::Passes).await;
    let registry = client(&[(&front.address, &mirror.url())]);
    assert_eq!(pull(&registry, &front.address).await.unwrap(), layer);
    let asked = front.asked();
    let ranges: Vec<&str> = asked
        .iter()
        .map(|asked| asked.header(header::RANGE))
        .filter(|range| !range.is_empty())
        .collect();
    assert_eq!(ranges, ["bytes=150000-"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_wrong_bytes_are_refused() {
    let (world, layer) = pushed();
    let digest = layer_of(&world).await;
    let lies = Front::start(&world.registry.url(), move |asked, _| {
        if asked.path.ends_with(&digest) {
            Does::Lies
        } else {
            Does::Passes
        }
    })
    .await;
    let error = pull(&client(&[]), &lies.address).await.unwrap_err();
    assert!(
        error.contains("damaged") && error.contains("digest") && error.contains(&lies.url()),
        "{error}"
    );
    // A configuration and a manifest by digest are small enough to be judged before they are used.
    let lies = Front::start(&world.registry.url(), |asked, _| {
        if asked.is_blob() { Does::Lies } else { Does::Passes }
    })
    .await;
    assert!(matches!(
        resolve(&client(&[]), &lies.address).await,
        Err(Error::Damaged { .. })
    ));
    let lies = Front::start(&world.registry.url(), |_, _| Does::Lies).await;
    assert!(matches!(
        resolve(&client(&[]), &lies.address).await,
        Err(Error::Damaged { .. })
    ));
    // Where a mirror lies, the registry itself is believed.
    let registry = client(&[(world.registry.address(), &lies.url())]);
    assert_eq!(pull(&registry, world.registry.address()).await.unwrap(), layer);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_layer_that_unpacks_to_something_else_is_refused() {
    let (world, _) = pushed();
    let registry = client(&[]);
    let mut image = resolve(&registry, world.registry.address()).await.unwrap();
    image.layers[0].diff_id = format!("sha256:{}", "0".repeat(64));
    let error = read(&registry, &image, &image.layers[0]).await.unwrap_err();
    assert!(error.contains("unpacks to"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_nobody_reads_is_not_fetched_to_its_end() {
    let (world, layer) = pushed();
    let registry = client(&[]);
    let image = resolve(&registry, world.registry.address()).await.unwrap();
    drop(registry.fetch_layer(&image, &image.layers[0]).await.unwrap());
    assert_eq!(read(&registry, &image, &image.layers[0]).await.unwrap(), layer);
}
