//! One file on its way here.
//!
//! The first answer says how large the file is and whether parts of it can be asked for. A large one then comes over several
//! connections, handed on in order; any other comes over one. A part that was cut off is asked for again from where it
//! ended, on condition that the file is still the same one.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::StreamExt;
use reqwest::{
    Response, StatusCode, Url,
    header::{
        ACCEPT_RANGES, CONTENT_RANGE, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        LOCATION, RANGE,
    },
    redirect,
};
use wharf_hosts::Hosts;

use crate::{
    arriving::{Arriving, Sink},
    clients::{Clients, SettingsError, is_loopback},
    error::{Error, innermost},
    patience::{Patience, may_pass, retry_after},
    request::{Request, Validators},
};

/// A file of so many bytes is fetched in parts.
const LARGE: u64 = 32 << 20;
/// Bytes of one part.
pub(crate) const PART: u64 = 8 << 20;
/// Parts that are on their way at once; as many are held in memory, beside those that wait to be taken.
pub(crate) const CONNECTIONS: usize = 4;
/// A connection that carried so much was worth having: the next one starts with all attempts.
pub(crate) const PROGRESS: u64 = 64 << 10;
/// Redirects that are followed.
const REDIRECTS: usize = 10;
/// How often a file that changes while it is fetched is begun again.
pub(crate) const BEGINNINGS: usize = 3;
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The sink has all of it.
    Whole(Validators),
    /// It is the one that was known.
    Unchanged,
}

/// Fetches files. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Fetcher {
    clients: Clients,
    ca_bundle: Option<PathBuf>,
}

/// Why a request or a connection did not do.
pub(crate) enum Failure {
    NotFound(StatusCode),
    Refused(StatusCode),
    Unavailable(String),
    /// This server may not be asked.
    NotAllowed(String),
    /// Another file is there now than the one whose parts are here.
    Changed,
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is asked for of a file.
#[derive(Clone)]
pub(crate) enum Part {
    /// All of it, unless it is the one that is known.
    All,
    /// These bytes of the file that these tell; to its end when there is no end.
    Bytes(u64, Option<u64>, Validators),
}

/// What the first answer says of the file.
struct Facts {
    size: Option<u64>,
    validators: Validators,
    /// Can parts be asked for?
    ranges: bool,
}

impl Fetcher {
    /// A fetcher that trusts the certificates of this file beside the host's own.
    ///
    /// # Errors
    /// When the file has no certificates that can be read.
    pub fn new(ca_bundle: Option<&Path>) -> Result<Self, SettingsError> {
        // Redirects are followed here: secrets are not taken along.
        Ok(Self {
            clients: Clients::new(ca_bundle, Some(SILENCE), redirect::Policy::none)?,
            ca_bundle: ca_bundle.map(Path::to_owned),
        })
    }

    /// The same for a request that asks no other servers than these. It has connections of its own.
    pub(crate) fn within(&self, hosts: &Hosts) -> Result<Self, Error> {
        let clients = Clients::within(
            Some(hosts),
            self.ca_bundle.as_deref(),
            Some(SILENCE),
            redirect::Policy::none,
        );
        Ok(Self {
            clients: clients.map_err(|error| Error::Invalid(error.to_string()))?,
            ca_bundle: self.ca_bundle.clone(),
        })
    }

    /// Fetches a file into a sink that has nothing in it, and gives it back.
    ///
    /// # Errors
    /// What the server said in the end, or that the content is not the one that was expected.
    pub async fn fetch<S: Sink + 'static>(&self, request: &Request, sink: S) -> Result<(Fetched, S), Error> {
        let own = request
            .hosts
            .as_ref()
            .map(|hosts| self.within(hosts))
            .transpose()?;
        let fetcher = own.as_ref().unwrap_or(self);
        let (mut arriving, taker) = Arriving::into(sink, request.expected.clone());
        let fetched = fetcher.fetch_whole(request, &mut arriving).await;
        drop(arriving);
        // What went wrong with the sink is why the rest could not go on.
        let arrived = taker.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        let arrived = arrived.map_err(Error::Io)?;
        let validators = match fetched.map_err(|failure| request.explain(failure))? {
            Some(validators) => validators,
            None => return Ok((Fetched::Unchanged, arrived.sink)),
        };
        match (&request.expected, arrived.digest) {
            (Some(expected), Some(found)) if *expected != found => Err(Error::Digest {
                url: request.shown.clone(),
                expected: expected.to_string(),
                found: found.to_string(),
                size: arrived.size,
            }),
            _ => Ok((Fetched::Whole(validators), arrived.sink)),
        }
    }

    /// All of a file, begun again when it changes meanwhile. None: it is the one that was known.
    async fn fetch_whole(
        &self,
        request: &Request,
        arriving: &mut Arriving,
    ) -> Result<Option<Validators>, Failure> {
        for beginning in 0..BEGINNINGS {
            let response = self.ask(request, &Part::All).await?;
            if response.status() == StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let facts = Facts::of(&response);
            arriving.restart(facts.size).await?;
            let can_resume = facts.ranges && (facts.validators.can_tell() || request.expected.is_some());
            let carried = match facts.size {
                Some(size) if size >= LARGE && can_resume && beginning == 0 => {
                    self.in_parts(request, response, size, &facts.validators, arriving)
                        .await
                }
                _ => self.in_order(request, response, &facts, arriving).await,
            };
            match carried {
                Err(Failure::Changed) => {}
                carried => return carried.map(|()| Some(facts.validators)),
            }
        }
        Err(Failure::Unavailable(
            "it changed again and again while it was fetched".to_owned(),
        ))
    }

    /// Over several connections, the first answer's among them.
    async fn in_parts(
        &self,
        request: &Request,
        first: Response,
        size: u64,
        validators: &Validators,
        arriving: &mut Arriving,
    ) -> Result<(), Failure> {
        let mut first = Some(first);
        let ranges = (0..size.div_ceil(PART)).map(|part| part * PART..size.min((part + 1) * PART));
        let parts = ranges.map(|range| self.part(request, range, validators, first.take()));
        let mut parts = futures::stream::iter(parts).buffered(CONNECTIONS);
        while let Some(bytes) = parts.next().await {
            arriving.take(bytes?.into()).await?;
        }
        Ok(())
    }

    /// One part, from an answer that is there already and from others.
    async fn part(
        &self,
        request: &Request,
        range: Range<u64>,
        validators: &Validators,
        mut answer: Option<Response>,
    ) -> Result<Vec<u8>, Failure> {
        let wanted = (range.end - range.start) as usize;
        let mut bytes = Vec::with_capacity(wanted);
        let mut patience = Patience::default();
        loop {
            let before = bytes.len();
            let start = range.start + before as u64;
            let mut response = match answer.take() {
                Some(response) => response,
                None => {
                    let part = Part::Bytes(start, Some(range.end), validators.clone());
                    let response = self.ask(request, &part).await?;
                    if !is_part(&response, start) {
                        return Err(Failure::Changed);
                    }
                    response
                }
            };
            let why = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => {
                        bytes.extend_from_slice(&chunk[..chunk.len().min(wanted - bytes.len())])
                    }
                    Ok(None) => break "the connection was closed".to_owned(),
                    Err(error) => break innermost(&error),
                }
                if bytes.len() == wanted {
                    return Ok(bytes);
                }
            };
            if (bytes.len() - before) as u64 >= PROGRESS {
                patience = Patience::default();
            }
            let cut = format!("cut off at byte {}: {why}", range.start + bytes.len() as u64);
            tracing::debug!("{}: {cut}", request.shown);
            patience.wait(cut, None).await.map_err(Failure::Unavailable)?;
        }
    }

    /// Over one connection at a time.
    async fn in_order(
        &self,
        request: &Request,
        first: Response,
        facts: &Facts,
        arriving: &mut Arriving,
    ) -> Result<(), Failure> {
        let can_resume = facts.validators.can_tell() || request.expected.is_some();
        let mut patience = Patience::default();
        let mut response = first;
        loop {
            let before = arriving.size;
            let why = loop {
                match response.chunk().await {
                    Ok(Some(bytes)) => arriving.take(bytes).await?,
                    Ok(None) if facts.size.is_none_or(|size| size == arriving.size) => return Ok(()),
                    Ok(None) => break "the connection was closed".to_owned(),
                    Err(_) if facts.size == Some(arriving.size) => return Ok(()),
                    Err(error) => break innermost(&error),
                }
            };
            if arriving.size - before >= PROGRESS {
                patience = Patience::default();
            }
            let cut = format!("cut off after {} bytes: {why}", arriving.size);
            tracing::debug!("{}: {cut}", request.shown);
            patience.wait(cut, None).await.map_err(Failure::Unavailable)?;
            let part = if can_resume && arriving.size > 0 {
                Part::Bytes(arriving.size, None, facts.validators.clone())
            } else {
                Part::All
            };
            response = self.ask(request, &part).await?;
            if !is_part(&response, arriving.size) {
                let now = Facts::of(&response);
                if (now.size, now.validators) != (facts.size, facts.validators.clone()) {
                    return Err(Failure::Changed);
                }
                // All of it again, whatever was asked for.
                arriving.restart(facts.size).await?;
            }
        }
    }

    /// Makes a request until it is answered for good.
    pub(crate) async fn ask(&self, request: &Request, part: &Part) -> Result<Response, Failure> {
        let mut patience = Patience::default();
        loop {
            let (why, asked) = match self.follow(request, part).await? {
                Ok(response) => match response.status() {
                    StatusCode::OK | StatusCode::PARTIAL_CONTENT => return Ok(response),
                    StatusCode::NOT_MODIFIED if request.known.is_some() => return Ok(response),
                    StatusCode::RANGE_NOT_SATISFIABLE => return Err(Failure::Changed),
                    status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                        return Err(Failure::Refused(status));
                    }
                    status @ (StatusCode::NOT_FOUND | StatusCode::GONE) => {
                        return Err(Failure::NotFound(status));
                    }
                    status if may_pass(status) => (format!("it answered {status}"), retry_after(&response)),
                    status => return Err(Failure::Unavailable(format!("it answered {status}"))),
                },
                Err(error) if error.is_connect() => {
                    let why = if error.is_timeout() {
                        "no connection within 5 s".to_owned()
                    } else {
                        innermost(&error)
                    };
                    return Err(Failure::Unavailable(why));
                }
                Err(error) => (innermost(&error), None),
            };
            tracing::debug!("{}: {why}; asking again", request.shown);
            patience.wait(why, asked).await.map_err(Failure::Unavailable)?;
        }
    }

    /// Sends a request and follows where the answers lead, without taking secrets to another server or out of encryption.
    async fn follow(&self, request: &Request, part: &Part) -> Result<reqwest::Result<Response>, Failure> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            request.check(&url)?;
            let mut headers = request.headers.clone();
            if url.origin() == request.url.origin() {
                headers.extend(request.secret_headers.clone());
            }
            part.describe(request, &mut headers);
            let client = self.clients.client(url.host_str().is_some_and(is_loopback));
            let client = client.map_err(|error| Failure::Unavailable(error.to_string()))?;
            let response = match client.get(url.clone()).headers(headers).send().await {
                Ok(response) => response,
                Err(error) => return Ok(Err(error)),
            };
            let Some(next) = leads_to(&url, &response)? else {
                return Ok(Ok(response));
            };
            url = next;
        }
        Err(Failure::Unavailable("it redirects in circles".to_owned()))
    }
}

/// Where a redirect leads; none for any other answer.
fn leads_to(url: &Url, response: &Response) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response
        .headers()
        .get(LOCATION)
        .and_then(|value| value.to_str().ok());
    let next = location
        .and_then(|location| url.join(location).ok())
        .filter(|next| matches!(next.scheme(), "http" | "https"))
        .ok_or_else(|| Failure::Unavailable("it redirects to nowhere".to_owned()))?;
    if url.scheme() == "https" && next.scheme() != "https" {
        return Err(Failure::Unavailable("it redirects from https to http".to_owned()));
    }
    Ok(Some(next))
}

impl Part {
    /// Adds the headers that ask for it.
    fn describe(&self, request: &Request, headers: &mut HeaderMap) {
        let mut set = |name, text: String| {
            // What a server sent as a header can be sent back as one.
            headers.extend(HeaderValue::from_str(&text).ok().map(|value| (name, value)));
        };
        match self {
            Self::All => {
                let known = request.known.clone().unwrap_or_default();
                known.etag.into_iter().for_each(|etag| set(IF_NONE_MATCH, etag));
                known
                    .last_modified
                    .into_iter()
                    .for_each(|date| set(IF_MODIFIED_SINCE, date));
            }
            Self::Bytes(start, end, validators) => {
                let last = end.map(|end| (end - 1).to_string()).unwrap_or_default();
                set(RANGE, format!("bytes={start}-{last}"));
                validators
                    .condition()
                    .into_iter()
                    .for_each(|condition| set(IF_RANGE, condition));
            }
        }
    }
}

impl Facts {
    fn of(response: &Response) -> Self {
        let headers = response.headers();
        Self {
            size: response.content_length(),
            validators: Validators::of(headers),
            ranges: headers.get(ACCEPT_RANGES).is_some_and(|value| value == "bytes"),
        }
    }
}

/// Is this answer the part that starts there?
pub(crate) fn is_part(response: &Response, start: u64) -> bool {
    let range = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

impl Request {
    /// May the server be asked that is at this address?
    fn check(&self, url: &Url) -> Result<(), Failure> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
        match &self.hosts {
            Some(hosts) if !hosts.allows(host, port.unwrap_or_default()) => Err(Failure::NotAllowed(
                format!("{host}:{}", port.unwrap_or_default()),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn explain(&self, failure: Failure) -> Error {
        let url = self.shown.clone();
        match failure {
            Failure::NotFound(status) => Error::NotFound {
                url,
                status: status.to_string(),
            },
            Failure::Refused(status) => Error::Refused {
                url,
                status: status.to_string(),
                user: self.user.clone(),
                had_credentials: !self.secret_headers.is_empty(),
            },
            Failure::Unavailable(why) => Error::Unavailable { url, why },
            Failure::NotAllowed(host) => Error::NotAllowed {
                url,
                host,
                hosts: self.hosts.as_ref().map(ToString::to_string).unwrap_or_default(),
            },
            Failure::Changed => Error::Unavailable {
                url,
                why: "it changed while it was fetched".to_owned(),
            },
            Failure::Io(error) => Error::Io(error),
        }
    }
}
