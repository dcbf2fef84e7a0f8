//! Where the bytes of a file go: to a thread of their own, which hashes and keeps them while the next ones come.

use std::io;

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{self, JoinHandle},
};

use crate::{
    digest::{Expected, Hasher},
    fetch::Failure,
};

/// Pieces that wait to be taken: of a large file, parts.
const AHEAD: usize = 2;

/// Takes a file's bytes in order.
pub trait Sink: Send {
    /// Forget all that came: the file begins anew.
    fn restart(&mut self) -> io::Result<()>;
    /// The next bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// The way to the sink.
pub(crate) struct Arriving {
    pieces: mpsc::Sender<Piece>,
    expected: Option<Expected>,
    /// Bytes that have come since the file began.
    pub(crate) size: u64,
}

enum Piece {
    /// The file begins, and has this hasher.
    Begins(Option<Hasher>),
    Bytes(Bytes),
}

/// What came of a file.
pub(crate) struct Arrived<S> {
    pub(crate) sink: S,
    pub(crate) digest: Option<Expected>,
    pub(crate) size: u64,
}

impl Arriving {
    /// Into this sink, which is given back once the way to it is dropped.
    pub(crate) fn into<S: Sink + 'static>(
        sink: S,
        expected: Option<Expected>,
    ) -> (Self, JoinHandle<io::Result<Arrived<S>>>) {
        let (pieces, waiting) = mpsc::channel(AHEAD);
        let taker = task::spawn_blocking(move || take(sink, waiting));
        let arriving = Self {
            pieces,
            expected,
            size: 0,
        };
        (arriving, taker)
    }

    /// Begins anew, with a file of this size as far as it is known.
    pub(crate) async fn restart(&mut self, size: Option<u64>) -> Result<(), Failure> {
        let hasher = self.expected.as_ref().and_then(|expected| expected.hasher(size));
        if self.expected.is_some() && hasher.is_none() {
            let why = "the server does not say how large it is, and git's digest of a file depends on that";
            return Err(Failure::Unavailable(why.to_owned()));
        }
        self.size = 0;
        self.send(Piece::Begins(hasher)).await
    }

    pub(crate) async fn take(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.size += bytes.len() as u64;
        self.send(Piece::Bytes(bytes)).await
    }

    async fn send(&self, piece: Piece) -> Result<(), Failure> {
        let gone = |_| Failure::Io(io::Error::other("nobody takes the file any more"));
        self.pieces.send(piece).await.map_err(gone)
    }
}

fn take<S: Sink>(mut sink: S, mut pieces: mpsc::Receiver<Piece>) -> io::Result<Arrived<S>> {
    let (mut hasher, mut size) = (None, 0);
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Begins(anew) => {
                if size > 0 {
                    sink.restart()?;
                }
                (hasher, size) = (anew, 0);
            }
            Piece::Bytes(bytes) => {
                if let Some(hasher) = &mut hasher {
                    hasher.update(&bytes);
                }
                size += bytes.len() as u64;
                sink.write(&bytes)?;
            }
        }
    }
    Ok(Arrived {
        sink,
        digest: hasher.map(Hasher::finish),
        size,
    })
}
