//! Blobs on their way here: checked against their digest, taken up again where a connection was cut.

use std::{
    io::{self, BufRead, Read},
    sync::Arc,
};

use bytes::Bytes;
use reqwest::{Response, StatusCode, header};
use tokio::sync::mpsc;
use wharf_http::{Patience, innermost};

use crate::{
    digest::Hasher,
    error::{Error, Failure, Result, explain},
    manifest::LayerDescriptor,
    place::Place,
    places::Places,
    transport::{Ask, Transport},
};

/// Pieces that wait for the reader.
const AHEAD: usize = 32;
/// A connection that carried so much was worth having: the next one starts with all attempts.
const PROGRESS: u64 = 64 << 10;

/// A blob that is being fetched.
pub(crate) struct Download {
    pub(crate) transport: Arc<Transport>,
    pub(crate) places: Arc<Places>,
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) reference: String,
    pub(crate) blob: LayerDescriptor,
}

/// What the reader is handed.
enum Part {
    Bytes(Bytes),
    /// All of it arrived and has the right digest.
    End,
    Failed(Error),
}

/// How a connection ended.
enum End {
    Complete,
    /// Nobody reads any more.
    Unwanted,
    Cut(String),
    TooLong,
}

impl Download {
    /// Waits for the first answer; the rest arrives while it is read.
    pub(crate) async fn start(self) -> Result<Arriving> {
        let order = self.places.of(&self.registry);
        let mut failures = Vec::new();
        for (index, place) in order.iter().enumerate() {
            match self.ask(place, 0).await {
                Ok(response) => {
                    let (parts, receiver) = mpsc::channel(AHEAD);
                    let rest = order[index..].to_vec();
                    tokio::spawn(async move { self.run(response, rest, failures, parts).await });
                    return Ok(Arriving {
                        parts: receiver,
                        piece: Bytes::new(),
                        ended: false,
                    });
                }
                Err(failure) => failures.push(self.places.remember(place, failure)),
            }
        }
        Err(explain(
            &self.reference,
            &Place::registry(&self.registry),
            failures,
        ))
    }

    async fn ask(&self, place: &Place, from: u64) -> Result<Response, Failure> {
        let mut ask = Ask::get(place, &self.repository, format!("blobs/{}", self.blob.digest));
        if from > 0 {
            ask = ask.header(header::RANGE, format!("bytes={from}-"));
        }
        self.transport.ask(&ask).await
    }

    /// Carries the blob to its reader, from one place after the other if need be.
    async fn run(
        self,
        first: Response,
        order: Vec<Place>,
        mut failures: Vec<(Place, Failure)>,
        parts: mpsc::Sender<Part>,
    ) {
        let mut state = State {
            hasher: Hasher::like(&self.blob.digest),
            done: 0,
        };
        let mut answer = Some(first);
        for place in &order {
            let failure = match self.from(place, answer.take(), &mut state, &parts).await {
                Ok(true) => {
                    let last = self.verdict(place, state);
                    // A reader that has gone needs no verdict.
                    let _ = parts.send(last).await;
                    return;
                }
                Ok(false) => return,
                Err(failure) => failure,
            };
            failures.push(self.places.remember(place, failure));
        }
        let error = explain(&self.reference, &Place::registry(&self.registry), failures);
        let _ = parts.send(Part::Failed(error)).await;
    }

    /// Carries the blob from one place. False: nobody reads it.
    async fn from(
        &self,
        place: &Place,
        mut answer: Option<Response>,
        state: &mut State,
        parts: &mpsc::Sender<Part>,
    ) -> Result<bool, Failure> {
        let mut patience = Patience::default();
        loop {
            let before = state.done;
            let response = match answer.take() {
                Some(response) => response,
                None => self.ask(place, state.done).await?,
            };
            let why = match state.carry(response, self.blob.size, parts).await {
                End::Complete => return Ok(true),
                End::Unwanted => return Ok(false),
                End::TooLong => {
                    return Err(Failure::damaged(
                        &self.what(),
                        format!("it is longer than {} bytes", self.blob.size),
                    ));
                }
                End::Cut(why) => why,
            };
            if state.done - before >= PROGRESS {
                patience = Patience::default();
            }
            tracing::debug!(
                "{} cut {} off at {} bytes: {why}",
                place.base,
                self.blob.digest,
                state.done
            );
            let cut = format!("cut off after {} bytes: {why}", state.done);
            patience.wait(cut, None).await.map_err(Failure::unavailable)?;
        }
    }

    fn verdict(&self, place: &Place, state: State) -> Part {
        let found = state.hasher.finish();
        if found == self.blob.digest {
            return Part::End;
        }
        let failure = Failure::damaged(
            &self.what(),
            format!("its digest is {found}, {} bytes", state.done),
        );
        // The next attempt had better start elsewhere.
        let (place, failure) = self.places.remember(place, failure);
        Part::Failed(explain(&self.reference, &place.clone(), vec![(place, failure)]))
    }

    fn what(&self) -> String {
        format!("the layer {}", self.blob.digest)
    }
}

/// How far a blob has come.
struct State {
    hasher: Hasher,
    done: u64,
}

impl State {
    /// Passes on what an answer carries beyond what is here already.
    async fn carry(&mut self, mut response: Response, size: u64, parts: &mpsc::Sender<Part>) -> End {
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if starts_at(&response, self.done) => 0,
            StatusCode::PARTIAL_CONTENT => return End::Cut("it answered with another part".to_owned()),
            _ => self.done,
        };
        loop {
            let mut bytes = match response.chunk().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) if size == 0 || self.done == size => return End::Complete,
                Ok(None) => return End::Cut("the connection was closed".to_owned()),
                Err(_) if size > 0 && self.done == size => return End::Complete,
                Err(error) => return End::Cut(innermost(&error)),
            };
            let known = skip.min(bytes.len() as u64);
            skip -= known;
            let bytes = bytes.split_off(known as usize);
            if bytes.is_empty() {
                continue;
            }
            if size > 0 && self.done + bytes.len() as u64 > size {
                return End::TooLong;
            }
            self.hasher.update(&bytes);
            self.done += bytes.len() as u64;
            if parts.send(Part::Bytes(bytes)).await.is_err() {
                return End::Unwanted;
            }
        }
    }
}

fn starts_at(response: &Response, start: u64) -> bool {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

/// A blob's bytes as they arrive. The end is an error unless the whole has the right digest.
pub(crate) struct Arriving {
    parts: mpsc::Receiver<Part>,
    piece: Bytes,
    ended: bool,
}

impl BufRead for Arriving {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Part::Bytes(bytes)) => self.piece = bytes,
                Some(Part::End) => self.ended = true,
                Some(Part::Failed(error)) => return Err(io::Error::other(error)),
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the download was given up",
                    ));
                }
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        let _ = self.piece.split_to(count);
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
