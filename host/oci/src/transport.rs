//! Requests to registries: signed, made again when the reason may pass, redirected without taking secrets along.

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::{
    Certificate, Client, ClientBuilder, Response,
    header::{HeaderName, RETRY_AFTER},
    redirect,
};

use crate::{
    auth::{Authority, NoPass},
    credentials::CredentialSource,
    error::{Error, Failure, Result, innermost},
    place::Place,
};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a registry may say nothing.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a connection is kept for the next request: an engine lives long, and many clients may have come at once.
const IDLE: Duration = Duration::from_secs(5);
/// The longest wait that a registry may ask for.
const PATIENCE: Duration = Duration::from_secs(60);
/// No manifest or configuration is longer: what is, is held to be an attack on our memory.
const LONGEST_DOCUMENT: usize = 16 << 20;
/// As much of a registry's explanation as an error quotes.
const QUOTED: usize = 300;

/// Makes requests.
pub(crate) struct Transport {
    client: Client,
    /// For this host's own addresses, which no proxy can reach.
    direct: Client,
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
        let certificates = ca_bundle.map_or(Ok(Vec::new()), certificates)?;
        let build = |builder: ClientBuilder| {
            builder
                .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .read_timeout(SILENCE)
                .pool_idle_timeout(IDLE)
                .redirect(redirect_policy())
                .tls_certs_merge(certificates.clone())
                .build()
                .map_err(|error| Error::Settings(format!("no connection can be made: {}", innermost(&error))))
        };
        let (client, direct) = (build(Client::builder())?, build(Client::builder().no_proxy())?);
        Ok(Self {
            client,
            direct,
            authority: Authority::new(source),
        })
    }

    fn client(&self, place: &Place) -> &Client {
        if place.is_loopback() {
            &self.direct
        } else {
            &self.client
        }
    }

    /// Makes a request until it is answered for good.
    pub(crate) async fn get(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let mut delays = delays();
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
                    408 | 429 | 500..=599 => {
                        let asked = retry_after(&response);
                        (said(response).await, asked)
                    }
                    _ => return Err(Failure::unavailable(said(response).await)),
                },
                Err(error) if error.is_connect() => return Err(Failure::unreachable(&error)),
                Err(error) => (innermost(&error), None),
            };
            let Some(delay) = delays.next() else {
                return Err(Failure::unavailable(why));
            };
            if let Some(asked) = asked.filter(|asked| *asked > PATIENCE) {
                return Err(Failure::unavailable(format!(
                    "{why}; it wants to be left alone for {} s",
                    asked.as_secs()
                )));
            }
            tracing::debug!("{} {}: {why}; asking again", ask.place.name, ask.path);
            tokio::time::sleep(asked.unwrap_or(delay)).await;
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
        let mut delays = delays();
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
            let delay = delays
                .next()
                .ok_or_else(|| Failure::unavailable(innermost(&cut)))?;
            tokio::time::sleep(delay).await;
        }
    }
}

/// The waits between attempts: 0.1 s, 0.3 s, 0.9 s, 2.7 s, each a little longer by chance so that clients part.
pub(crate) fn delays() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_factor(3.0)
        .with_max_times(4)
        .with_jitter()
        .build()
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

/// `Retry-After`: seconds or a date.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    let until = || {
        httpdate::parse_http_date(text)
            .ok()?
            .duration_since(SystemTime::now())
            .ok()
    };
    text.parse().map(Duration::from_secs).ok().or_else(until)
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

fn certificates(path: &Path) -> Result<Vec<Certificate>> {
    let failed = |why: String| {
        Error::Settings(format!(
            "the certificates {} cannot be read: {why}",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|error| failed(innermost(&error)))?;
    if found.is_empty() {
        Err(failed("there is none in it".to_owned()))
    } else {
        Ok(found)
    }
}
