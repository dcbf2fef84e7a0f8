//! What a step prints: streamed to whoever waits, written to the store, its end kept for messages, secrets taken out.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tokio::{io::AsyncReadExt, net::unix::pipe};
use wharf_digest::Digest;
use wharf_scrub::Scrubber;
use wharf_store::LogDraft;

use crate::{
    audience::Audience,
    session::{Logged, lock},
};

/// How much of an output's end goes into an error message.
const TAIL: usize = 8 * 1024;
/// Bytes read from a step at once.
const CHUNK: usize = 64 * 1024;

/// The end of an output.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let excess = self.0.len().saturating_sub(TAIL);
        self.0.drain(..excess);
    }

    /// As text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.0.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

/// One output of a step on its way.
pub(crate) struct Pump {
    pub(crate) key: Digest,
    pub(crate) stderr: bool,
    pub(crate) audience: Audience,
    pub(crate) scrubber: Scrubber,
    /// This output alone.
    pub(crate) own: LogDraft,
    /// Both outputs in the order of their arrival.
    pub(crate) combined: Arc<Mutex<Combined>>,
}

/// Both outputs of a step in the order of their arrival, on their way to the store.
pub(crate) struct Combined {
    draft: LogDraft,
    /// Bytes that were added.
    length: u64,
    /// For clients that are behind.
    file: Option<Arc<File>>,
}

impl Combined {
    pub(crate) fn new(draft: LogDraft) -> Self {
        Self {
            draft,
            length: 0,
            file: None,
        }
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.draft.write_all(bytes)
    }

    /// Where the bytes that were added last lie, so many; they can be read.
    fn last(&mut self, length: usize) -> io::Result<Logged> {
        self.draft.flush()?;
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(Arc::new(self.draft.file()?))),
        };
        Ok(Logged {
            file,
            offset: self.length - length as u64,
            length,
        })
    }

    /// All that was added until now.
    pub(crate) fn so_far(&self) -> io::Result<Vec<u8>> {
        self.draft.so_far()
    }

    pub(crate) fn into_draft(self) -> LogDraft {
        self.draft
    }
}

impl Pump {
    /// Moves everything from the pipe to its places until every writer has closed it.
    pub(crate) async fn run(mut self, mut pipe: pipe::Receiver) -> io::Result<(LogDraft, Tail)> {
        let mut tail = Tail::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = pipe.read(&mut buffer).await?;
            let bytes = if count == 0 {
                self.scrubber.finish()
            } else {
                self.scrubber.push(&buffer[..count])
            };
            if !bytes.is_empty() {
                tail.push(&bytes);
                self.own.write_all(&bytes)?;
                let mut combined = lock(&self.combined);
                combined.add(&bytes)?;
                self.audience
                    .log(self.key, self.stderr, &bytes, || combined.last(bytes.len()))?;
            }
            if count == 0 {
                return Ok((self.own, tail));
            }
        }
    }
}
