//! Requests to registries: signed, made again when the reason may pass, redirected without taking secrets along.

use std::path::Path;

use reqwest::{Client, Response, header::HeaderName, redirect};
use wharf_http::{Clients, Patience, innermost, may_pass, retry_after};

use crate::{
    auth::{Authority, NoPass},
    credentials::CredentialSource,
    error::{Error, Failure, Result},
    place::Place,
};

/// No manifest or configuration is longer: what is, is held to be an attack on our memory.
const LONGEST_DOCUMENT: usize = 16 << 20;
/// As much of a registry's explanation as an error quotes.
const QUOTED: usize = 300;

/// Makes requests.
pub(crate) struct Transport {
    clients: Clients,
    authority: Authority,
}

/// What is asked for.
pub(crate) struct Ask<'a> {
    pub(crate) place: &'a Place,
    pub(crate) repository: &'a str,
    /// `manifests/…` or `blobs/…`.
    pub(crate) path: String,
    pub(crate) header: Option<(HeaderName, String)>,
}

impl Transport {
    pub(crate) fn new(ca_bundle: Option<&Path>, source: CredentialSource) -> Result<Self> {
        let clients =
            Clients::new(ca_bundle, redirect_policy).map_err(|error| Error::Settings(error.to_string()))?;
        Ok(Self {
            clients,
            authority: Authority::new(source),
        })
    }

    fn client(&self, place: &Place) -> &Client {
        self.clients.client(place.is_loopback())
    }

    /// Makes a request until it is answered for good.
    pub(crate) async fn get(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let mut patience = Patience::default();
        let mut challenged = false;
        loop {
            let (why, asked) = match self.send(ask).await {
                Ok(response) => match response.status().as_u16() {
                    200 | 206 => return Ok(response),
                    // Only the registry itself may say where credentials go: not a host that it redirected to.
                    401 if !challenged && is_of(&response, ask.place) => {
                        challenged = true;
                        self.answer(ask, &response).await?;
                        continue;
                    }
                    401 | 403 => {
                        return Err(Failure::Refused {
                            user: self.authority.user(ask.place).await,
                        });
                    }
                    404 => return Err(Failure::NotFound),
                    _ if may_pass(response.status()) => {
                        let asked = retry_after(&response);
                        (said(response).await, asked)
                    }
                    _ => return Err(Failure::unavailable(said(response).await)),
                },
                Err(error) if error.is_connect() => return Err(Failure::unreachable(&error)),
                Err(error) => (innermost(&error), None),
            };
            tracing::debug!("{} {}: {why}; asking again", ask.place.name, ask.path);
            patience.wait(why, asked).await.map_err(Failure::unavailable)?;
        }
    }

    async fn send(&self, ask: &Ask<'_>) -> reqwest::Result<Response> {
        let Ask {
            place,
            repository,
            path,
            header,
        } = ask;
        let mut request = self
            .client(place)
            .get(format!("{}/v2/{repository}/{path}", place.base));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        self.authority.sign(request, place, repository).send().await
    }

    async fn answer(&self, ask: &Ask<'_>, refused: &Response) -> Result<(), Failure> {
        match self
            .authority
            .answer(self.client(ask.place), ask.place, ask.repository, refused)
            .await
        {
            Ok(()) => Ok(()),
            Err(NoPass::Refused) => Err(Failure::Refused {
                user: self.authority.user(ask.place).await,
            }),
            Err(NoPass::Unavailable(why)) => Err(Failure::unavailable(why)),
        }
    }

    /// Fetches a manifest or a configuration, and what the registry says its digest is.
    pub(crate) async fn document(&self, ask: &Ask<'_>) -> Result<(Vec<u8>, Option<String>), Failure> {
        let mut patience = Patience::default();
        loop {
            let mut response = self.get(ask).await?;
            let header = response.headers().get("docker-content-digest");
            let digest = header.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let mut text = Vec::new();
            let cut = loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => text.extend_from_slice(&bytes),
                    Ok(None) => return Ok((text, digest)),
                    Err(error) => break error,
                }
                if text.len() > LONGEST_DOCUMENT {
                    let (what, why) = (ask.path.clone(), "it is longer than 16 MiB".to_owned());
                    return Err(Failure::Damaged { what, why });
                }
            };
            patience
                .wait(innermost(&cut), None)
                .await
                .map_err(Failure::unavailable)?;
        }
    }
}

/// Follows redirects, but not out of encryption. The client itself drops credentials when the host changes.
fn redirect_policy() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let was_secret = attempt
            .previous()
            .last()
            .is_some_and(|url| url.scheme() == "https");
        if attempt.previous().len() > 10 {
            attempt.error("it redirects in circles")
        } else if was_secret && attempt.url().scheme() != "https" {
            attempt.error("it redirects from https to http")
        } else {
            attempt.follow()
        }
    })
}

fn is_of(response: &Response, place: &Place) -> bool {
    reqwest::Url::parse(&place.base).is_ok_and(|base| base.origin() == response.url().origin())
}

/// What a registry says about its refusal: its own words where it has some.
async fn said(response: Response) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        errors: Vec<Reason>,
    }
    #[derive(serde::Deserialize)]
    struct Reason {
        #[serde(default)]
        message: String,
    }
    let status = response.status();
    let text = response.bytes().await.unwrap_or_default();
    let answer: Option<Answer> = serde_json::from_slice(&text).ok();
    let reasons = answer.map(|answer| answer.errors).unwrap_or_default();
    let words: Vec<String> = reasons
        .into_iter()
        .map(|reason| reason.message)
        .filter(|text| !text.is_empty())
        .collect();
    let words: String = words
        .join(", ")
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTED)
        .collect();
    if words.is_empty() {
        format!("it answered {status}")
    } else {
        format!("it answered {status}: {words}")
    }
}
