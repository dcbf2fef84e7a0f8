//! Registries that want to know who asks.

use std::{path::Path, sync::Arc};

use axum::http::{StatusCode, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use wharf_oci::{Credential, CredentialSource, Error, docker_credentials_at};

use crate::{
    front::{Asked, Does, Front, answer},
    world::{World, client, client_as, noise, read},
};

/// A secret of this run alone.
fn secret() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid")
        .unwrap()
        .trim()
        .to_owned()
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn as_ann(password: &str) -> CredentialSource {
    let credential = Credential::Password {
        user: "ann".to_owned(),
        password: password.to_owned(),
    };
    Arc::new(move |_| Some(credential.clone()))
}

fn pushed() -> (World, Vec<u8>) {
    let world = World::new();
    let layer = world.layer("one", &noise(50_000));
    world.push("app:1", "linux/amd64", std::slice::from_ref(&layer), &[]);
    (world, std::fs::read(layer).unwrap())
}

async fn pull(registry: &wharf_oci::Registry, host: &str) -> Result<Vec<u8>, Error> {
    let image = registry
        .resolve(&format!("{host}/app:1"), &"linux/amd64".parse().unwrap())
        .await?;
    Ok(read(registry, &image, &image.layers[0]).await.unwrap())
}

/// Wants a token, which it gives to whoever shows `wanted` at `/token`.
fn token_dance(wanted: String, token: String) -> impl Fn(&Asked, &str) -> Does + Send + Sync {
    move |asked, own| {
        if asked.path.starts_with("/token") {
            let is_asked =
                asked.path.contains("service=here") && asked.path.contains("repository%3Aapp%3Apull");
            let is_known = asked.header(header::AUTHORIZATION) == wanted;
            return if is_known && is_asked {
                answer(
                    StatusCode::OK,
                    &[],
                    &format!(r#"{{ "token": "{token}", "expires_in": 300 }}"#),
                )
            } else {
                answer(StatusCode::UNAUTHORIZED, &[], "{}")
            };
        }
        if asked.header(header::AUTHORIZATION) == format!("Bearer {token}") {
            return Does::Passes;
        }
        let challenge =
            format!(r#"Bearer realm="http://{own}/token",service="here",scope="repository:app:pull""#);
        answer(
            StatusCode::UNAUTHORIZED,
            &[(header::WWW_AUTHENTICATE, &challenge)],
            "{}",
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_token_is_fetched_once_and_used_for_all() {
    let (world, layer) = pushed();
    let password = secret();
    let front = Front::start(
        &world.registry.url(),
        token_dance(basic("ann", &password), secret()),
    )
    .await;
    let registry = client_as(&[], as_ann(&password));
    assert_eq!(pull(&registry, &front.address).await.unwrap(), layer);
    let dances = front
        .asked()
        .iter()
        .filter(|asked| asked.path.starts_with("/token"))
        .count();
    assert_eq!(dances, 1);
    let error = pull(&client_as(&[], as_ann(&secret())), &front.address)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Refused { user: Some(user), .. } if user == "ann"),
        "{error}"
    );
    assert!(error.to_string().contains("wharf login"), "{error}");
    assert!(matches!(
        pull(&client(&[]), &front.address).await,
        Err(Error::Refused { user: None, .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_token_for_nobody_in_particular_is_fetched_without_credentials() {
    let (world, layer) = pushed();
    let front = Front::start(&world.registry.url(), token_dance(String::new(), secret())).await;
    assert_eq!(pull(&client(&[]), &front.address).await.unwrap(), layer);
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_token_that_has_ended_is_fetched_anew() {
    let (world, layer) = pushed();
    let front = Front::start(&world.registry.url(), |asked, own| {
        let dances = asked
            .header(header::AUTHORIZATION)
            .trim_start_matches("Bearer ")
            .parse::<usize>();
        match dances {
            _ if asked.path.starts_with("/token") => {
                let text = format!(r#"{{ "access_token": "{}", "expires_in": 300 }}"#, asked.before);
                answer(StatusCode::OK, &[], &text)
            }
            // The first token does for manifests only.
            Ok(number) if number > 0 || !asked.is_blob() => Does::Passes,
            _ => {
                let challenge = format!(r#"Bearer realm="http://{own}/token",service="here""#);
                answer(
                    StatusCode::UNAUTHORIZED,
                    &[(header::WWW_AUTHENTICATE, &challenge)],
                    "",
                )
            }
        }
    })
    .await;
    assert_eq!(pull(&client(&[]), &front.address).await.unwrap(), layer);
}

fn docker_config(directory: &Path, host: &str, user: &str, password: &str) -> CredentialSource {
    let auth = STANDARD.encode(format!("{user}:{password}"));
    let text = serde_json::json!({ "auths": { host: { "auth": auth } } }).to_string();
    std::fs::write(directory.join("config.json"), text).unwrap();
    docker_credentials_at(directory.join("config.json"))
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_name_and_password_come_from_dockers_configuration() {
    let (world, layer) = pushed();
    let (password, directory) = (secret(), tempfile::tempdir().unwrap());
    let wanted = basic("ann", &password);
    let front = Front::start(&world.registry.url(), move |asked, _| {
        if asked.header(header::AUTHORIZATION) == wanted {
            return Does::Passes;
        }
        answer(
            StatusCode::UNAUTHORIZED,
            &[(header::WWW_AUTHENTICATE, "Basic realm=\"here\"")],
            "",
        )
    })
    .await;
    let known = docker_config(directory.path(), &front.address, "ann", &password);
    assert_eq!(pull(&client_as(&[], known), &front.address).await.unwrap(), layer);
    let elsewhere = docker_config(directory.path(), "other.example", "ann", &password);
    assert!(matches!(
        pull(&client_as(&[], elsewhere), &front.address).await,
        Err(Error::Refused { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_credentials_do_not_follow_a_redirect_to_another_host() {
    let (world, layer) = pushed();
    let elsewhere = Front::start(&world.registry.url(), |_, _| Does::Passes).await;
    let (password, target) = (secret(), elsewhere.url());
    let wanted = basic("ann", &password);
    let front = Front::start(&world.registry.url(), move |asked, _| {
        if asked.header(header::AUTHORIZATION) != wanted {
            return answer(
                StatusCode::UNAUTHORIZED,
                &[(header::WWW_AUTHENTICATE, "Basic realm=\"here\"")],
                "",
            );
        }
        if !asked.is_blob() {
            return Does::Passes;
        }
        let there = format!("{target}{}", asked.path);
        answer(StatusCode::TEMPORARY_REDIRECT, &[(header::LOCATION, &there)], "")
    })
    .await;
    assert_eq!(
        pull(&client_as(&[], as_ann(&password)), &front.address)
            .await
            .unwrap(),
        layer
    );
    let asked = elsewhere.asked();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|asked| !asked.headers.contains_key(header::AUTHORIZATION))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b15_a_host_that_was_redirected_to_cannot_ask_for_credentials() {
    let (world, _) = pushed();
    let thief = Front::start(&world.registry.url(), |asked, own| {
        if asked.path.starts_with("/token") {
            return answer(StatusCode::OK, &[], r#"{ "token": "any" }"#);
        }
        let challenge = format!(r#"Bearer realm="http://{own}/token",service="here""#);
        answer(
            StatusCode::UNAUTHORIZED,
            &[(header::WWW_AUTHENTICATE, &challenge)],
            "",
        )
    })
    .await;
    let target = thief.url();
    let front = Front::start(&world.registry.url(), move |asked, _| {
        let there = format!("{target}{}", asked.path);
        answer(StatusCode::TEMPORARY_REDIRECT, &[(header::LOCATION, &there)], "")
    })
    .await;
    let outcome = pull(&client_as(&[], as_ann(&secret())), &front.address).await;
    assert!(matches!(outcome, Err(Error::Refused { .. })));
    assert!(
        thief
            .asked()
            .iter()
            .all(|asked| !asked.path.starts_with("/token"))
    );
}
