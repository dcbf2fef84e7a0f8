//! Files whose digest is known, into what is kept of them: no byte that came once is asked for again, whatever ended the
//! process that it came to.

use std::{io, sync::mpsc};

use futures::StreamExt;
use reqwest::{Response, StatusCode, header::CONTENT_RANGE};

use crate::{
    digest::Expected,
    error::{Error, innermost},
    fetch::{BEGINNINGS, CONNECTIONS, Failure, Fetcher, PART, PROGRESS, Part, is_part},
    partial::{Layout, Partial},
    patience::Patience,
    request::{Request, Validators},
};

/// How a file that is kept was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it is there.
    Whole(Validators),
    /// It has to be fetched otherwise: the server does not say how large it is, or nothing tells that it is the right one.
    Not,
}

/// What is fetched, and where to.
#[derive(Clone, Copy)]
struct Fetching<'f> {
    request: &'f Request,
    partial: &'f Partial,
    layout: Layout,
}

impl Fetcher {
    /// Fetches what is not there yet of a file, and checks all of it.
    ///
    /// # Errors
    /// What the server said in the end, or that the content is not the one that was expected: then nothing is kept.
    pub async fn fetch_kept(&self, request: &Request, partial: &Partial) -> Result<Kept, Error> {
        let Some(expected) = request.expected.as_ref().filter(|_| request.known.is_none()) else {
            return Ok(Kept::Not);
        };
        let own = request
            .hosts
            .as_ref()
            .map(|hosts| self.within(hosts))
            .transpose()?;
        let fetcher = own.as_ref().unwrap_or(self);
        fetcher.keep(request, expected, partial).await
    }

    async fn keep(&self, request: &Request, expected: &Expected, partial: &Partial) -> Result<Kept, Error> {
        let mut found = None;
        for beginning in 0..BEGINNINGS {
            let resumed = partial.layout()?;
            let (first, layout) = match resumed {
                Some(layout) => (None, layout),
                // As good as here, like any content of a digest that is.
                None if expected.is_of_nothing() => (None, partial.begin(0, PART)?),
                None => {
                    let first = self
                        .begin(request)
                        .await
                        .map_err(|failure| request.explain(failure))?;
                    let Some(size) = whole_size(&first) else {
                        return Ok(Kept::Not);
                    };
                    let in_parts = first.status() == StatusCode::PARTIAL_CONTENT && beginning == 0;
                    let part = if in_parts { PART } else { size.max(1) };
                    (Some(first), partial.begin(size, part)?)
                }
            };
            let validators = first.as_ref().map(|first| Validators::of(first.headers()));
            let fetching = Fetching {
                request,
                partial,
                layout,
            };
            match self
                .keep_parts(fetching, first, validators.clone(), expected)
                .await
            {
                Ok(digest) if digest == *expected => return Ok(Kept::Whole(validators.unwrap_or_default())),
                Ok(digest) => {
                    partial.forget()?;
                    found = Some((digest, layout.size));
                    // What an earlier process left may have been damaged; what came just now was not.
                    if resumed.is_none() {
                        break;
                    }
                }
                Err(Failure::Changed) => partial.forget()?,
                Err(failure) => return Err(request.explain(failure)),
            }
        }
        Err(match found {
            Some((digest, size)) => Error::Digest {
                url: request.shown.clone(),
                expected: expected.to_string(),
                found: digest.to_string(),
                size,
            },
            None => request.explain(Failure::Changed),
        })
    }

    /// Asks for the first part, or for all of it where parts cannot be had.
    async fn begin(&self, request: &Request) -> Result<Response, Failure> {
        let part = Part::Bytes(0, Some(PART), Validators::default());
        match self.ask(request, &part).await {
            // An empty file has no first part.
            Err(Failure::Changed) => self.ask(request, &Part::All).await,
            Ok(response) if response.status() == StatusCode::PARTIAL_CONTENT && !is_part(&response, 0) => {
                self.ask(request, &Part::All).await
            }
            answer => answer,
        }
    }

    /// Fetches what is missing of each part, several at once, and computes the digest of all of them.
    async fn keep_parts(
        &self,
        fetching: Fetching<'_>,
        mut first: Option<Response>,
        validators: Option<Validators>,
        expected: &Expected,
    ) -> Result<Expected, Failure> {
        let layout = fetching.layout;
        let validators = validators.unwrap_or_default();
        let unsized_file = || Failure::Unavailable("its size is not known".to_owned());
        let hasher = expected.hasher(Some(layout.size)).ok_or_else(unsized_file)?;
        let (arrived, ranges) = mpsc::channel();
        let mut reader = fetching.partial.reader()?;
        // Beside what still comes: neither waits for the other.
        let hashing = tokio::task::spawn_blocking(move || reader.hash(ranges, hasher));
        let parts =
            (0..layout.parts()).map(|part| self.keep_part(fetching, part, validators.clone(), first.take()));
        let mut parts = futures::stream::iter(parts).buffered(CONNECTIONS);
        while let Some(part) = parts.next().await {
            // When nobody takes it, what went wrong is said below.
            arrived.send(layout.range(part?)).ok();
        }
        drop(arrived);
        Ok(hashing
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error)))?)
    }

    /// Fetches what is missing of one part, and returns which it was.
    async fn keep_part(
        &self,
        fetching: Fetching<'_>,
        part: u64,
        validators: Validators,
        mut answer: Option<Response>,
    ) -> Result<u64, Failure> {
        let Fetching {
            request,
            partial,
            layout,
        } = fetching;
        let range = layout.range(part);
        let wanted = range.end - range.start;
        let mut at = partial.done(layout, part)?;
        let mut patience = Patience::default();
        while at < wanted {
            let mut response = match answer.take() {
                Some(response) => response,
                None => {
                    let bytes = Part::Bytes(range.start + at, Some(range.end), validators.clone());
                    let response = self.ask(request, &bytes).await?;
                    let is_same_size = whole_size(&response) == Some(layout.size);
                    if !is_same_size || !is_part(&response, range.start + at) {
                        if !is_same_size || layout.parts() > 1 || response.status() != StatusCode::OK {
                            return Err(Failure::Changed);
                        }
                        // All of it again, whatever was asked for.
                        at = 0;
                    }
                    response
                }
            };
            let before = at;
            let why = loop {
                match response.chunk().await {
                    Ok(Some(chunk)) => {
                        let chunk = &chunk[..chunk.len().min((wanted - at) as usize)];
                        partial.write(layout, part, at, chunk)?;
                        at += chunk.len() as u64;
                    }
                    Ok(None) => break "the connection was closed".to_owned(),
                    Err(error) => break innermost(&error),
                }
                if at == wanted {
                    return Ok(part);
                }
            };
            if at - before >= PROGRESS {
                patience = Patience::default();
            }
            let cut = format!("cut off at byte {}: {why}", range.start + at);
            tracing::debug!("{}: {cut}", request.shown);
            patience.wait(cut, None).await.map_err(Failure::Unavailable)?;
        }
        Ok(part)
    }
}

/// How large the whole file is, by an answer that brings all of it or a part.
fn whole_size(response: &Response) -> Option<u64> {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return response.content_length();
    }
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.trim().parse().ok()
}
