//! Requests to registries: signed, made again when the reason may pass, redirected without taking secrets along.

use std::{path::Path, time::Duration};

use reqwest::{
    Client, Method, Response, Url,
    header::{HeaderMap, HeaderName, LOCATION},
    redirect,
};
use wharf_http::{Clients, Patience, innermost, may_pass, retry_after};

use crate::{
    auth::{Access, Authority, NoPass},
    body::{Body, Progress},
    credentials::CredentialSource,
    error::{Error, Failure, Result},
    place::Place,
};

/// How long a registry may say nothing when it was asked something.
const SILENCE: Duration = Duration::from_secs(30);
/// How long a registry may take nothing of what it is sent, or think about it when it has all.
const STANDSTILL: Duration = Duration::from_secs(120);
/// No manifest or configuration is longer: what is, is held to be an attack on our memory.
const LONGEST_DOCUMENT: usize = 16 << 20;
/// As much of a registry's explanation as an error quotes.
const QUOTED: usize = 300;

/// Makes requests.
pub(crate) struct Transport {
    /// For answers, whose silence ends them.
    asking: Clients,
    /// For what is sent: a registry says nothing while it takes.
    sending: Clients,
    authority: Authority,
}

/// What is asked of a registry.
#[derive(Clone)]
pub(crate) struct Ask<'a> {
    place: &'a Place,
    repository: &'a str,
    access: &'a Access,
    method: Method,
    /// `manifests/…`, `blobs/…`, or where the registry said that an upload goes on.
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Body,
}

/// Why a request brought nothing.
pub(crate) enum Trouble {
    /// It would bring nothing again.
    Lasting(Failure),
    /// It may pass; and when the registry wants to be asked again.
    Passing { why: String, after: Option<Duration> },
}

impl<'a> Ask<'a> {
    pub(crate) fn get(place: &'a Place, repository: &'a str, path: String) -> Self {
        Self::new(Method::GET, place, repository, &Access::Pull, path)
    }

    pub(crate) fn new(
        method: Method,
        place: &'a Place,
        repository: &'a str,
        access: &'a Access,
        path: String,
    ) -> Self {
        Self {
            place,
            repository,
            access,
            method,
            path,
            headers: Vec::new(),
            body: Body::Empty,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    fn url(&self) -> String {
        if self.path.contains("://") {
            self.path.clone()
        } else {
            format!("{}/v2/{}/{}", self.place.base, self.repository, self.path)
        }
    }
}

/// Who asks it.
fn client<'c>(clients: &'c Clients, ask: &Ask<'_>) -> Result<&'c Client, Failure> {
    let client = clients.client(ask.place.is_loopback());
    client.map_err(|error| Failure::unavailable(error.to_string()))
}

impl Transport {
    pub(crate) fn new(ca_bundle: Option<&Path>, source: CredentialSource) -> Result<Self> {
        let clients = |silence| {
            Clients::new(ca_bundle, silence, redirect_policy)
                .map_err(|error| Error::Settings(error.to_string()))
        };
        Ok(Self {
            asking: clients(Some(SILENCE))?,
            sending: clients(None)?,
            authority: Authority::new(source),
        })
    }

    /// The same connections for somebody else.
    pub(crate) fn for_another(&self, source: CredentialSource) -> Self {
        Self {
            asking: self.asking.clone(),
            sending: self.sending.clone(),
            authority: Authority::new(source),
        }
    }

    /// Makes a request until it is answered for good.
    pub(crate) async fn ask(&self, ask: &Ask<'_>) -> Result<Response, Failure> {
        let mut patience = Patience::default();
        loop {
            let (why, after) = match self.ask_once(ask).await {
                Ok(response) => return Ok(response),
                Err(Trouble::Lasting(failure)) => return Err(failure),
                Err(Trouble::Passing { why, after }) => (why, after),
            };
            tracing::debug!("{} {}: {why}; asking again", ask.place.name, ask.path);
            patience.wait(why, after).await.map_err(Failure::unavailable)?;
        }
    }

    /// Makes a request, and once more with credentials when they are wanted.
    pub(crate) async fn ask_once(&self, ask: &Ask<'_>) -> Result<Response, Trouble> {
        let mut challenged = false;
        loop {
            let response = self.send(ask).await?;
            let failure = match response.status().as_u16() {
                // What cannot be sent anew is not redirected by the client: whoever asks does it.
                200..=299 | 307 | 308 => return Ok(response),
                // Only the registry itself may say where credentials go: not a host that it redirected to.
                401 if !challenged && is_of(response.url(), ask.place) => {
                    challenged = true;
                    self.answer(ask, &response).await.map_err(Trouble::Lasting)?;
                    continue;
                }
                401 | 403 => Failure::Refused {
                    user: self.authority.user(ask.place).await,
                },
                404 => Failure::NotFound,
                _ if may_pass(response.status()) => {
                    let after = retry_after(&response);
                    let why = said(response).await;
                    return Err(Trouble::Passing { why, after });
                }
                _ => Failure::Rejected {
                    why: said(response).await,
                },
            };
            return Err(Trouble::Lasting(failure));
        }
    }

    async fn send(&self, ask: &Ask<'_>) -> Result<Response, Trouble> {
        let (body, progress) = ask.body.stream();
        let is_question = matches!(ask.method, Method::GET | Method::HEAD);
        let clients = if is_question { &self.asking } else { &self.sending };
        let client = client(clients, ask).map_err(Trouble::Lasting)?;
        let mut request = client.request(ask.method.clone(), ask.url()).body(body);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if is_of_place(&ask.url(), ask.place) {
            request = self
                .authority
                .sign(request, ask.place, ask.repository, ask.access);
        }
        let answer = if is_question {
            request.send().await
        } else {
            while_it_moves(request.send(), &progress).await?
        };
        answer.map_err(|error| {
            if error.is_connect() {
                Trouble::Lasting(Failure::unreachable(&error))
            } else {
                Trouble::Passing {
                    why: innermost(&error),
                    after: None,
                }
            }
        })
    }

    async fn answer(&self, ask: &Ask<'_>, refused: &Response) -> Result<(), Failure> {
        let client = client(&self.asking, ask)?;
        let answered = self
            .authority
            .answer(client, ask.place, ask.repository, ask.access, refused);
        match answered.await {
            Ok(()) => Ok(()),
            Err(NoPass::Refused) => Err(Failure::Refused {
                user: self.authority.user(ask.place).await,
            }),
            Err(NoPass::Unavailable(why)) => Err(Failure::unavailable(why)),
        }
    }

    /// Fetches a manifest, a configuration or a list, and what the registry says of it.
    pub(crate) async fn document(&self, ask: &Ask<'_>) -> Result<(Vec<u8>, HeaderMap), Failure> {
        let mut patience = Patience::default();
        loop {
            let mut response = self.ask(ask).await?;
            let headers = response.headers().clone();
            let mut text = Vec::new();
            let cut = loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => text.extend_from_slice(&bytes),
                    Ok(None) => return Ok((text, headers)),
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

fn is_of(url: &Url, place: &Place) -> bool {
    Url::parse(&place.base).is_ok_and(|base| base.origin() == url.origin())
}

/// Credentials go to the registry itself, not to a host that it sends uploads to.
fn is_of_place(url: &str, place: &Place) -> bool {
    Url::parse(url).is_ok_and(|url| is_of(&url, place))
}

/// Where a registry says that things go on: relative to where it was asked, or another address. Not out of encryption.
pub(crate) fn location(response: &Response, place: &Place) -> Result<Url, Failure> {
    let header = response.headers().get(LOCATION);
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let url = response.url().join(text).ok().filter(|_| !text.is_empty());
    let url =
        url.ok_or_else(|| Failure::unavailable("it does not say where to send an upload".to_owned()))?;
    if url.scheme() != "https" && !place.is_plain() {
        let host = url.host_str().unwrap_or_default();
        return Err(Failure::unavailable(format!(
            "it wants an upload to go to {host} without encryption"
        )));
    }
    Ok(url)
}

/// Waits for an answer for as long as the registry takes what is sent, and a while longer.
async fn while_it_moves<T>(answer: impl Future<Output = T>, progress: &Progress) -> Result<T, Trouble> {
    let mut answer = std::pin::pin!(answer);
    let mut before = progress.sent();
    loop {
        let waited = tokio::time::timeout(STANDSTILL, &mut answer).await;
        match waited {
            Ok(answer) => return Ok(answer),
            Err(_) if progress.sent() == before => {
                return Err(Trouble::Passing {
                    why: format!("it took nothing for {} s", STANDSTILL.as_secs()),
                    after: None,
                });
            }
            Err(_) => before = progress.sent(),
        }
    }
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
