//! What is sent to a registry: nothing, a document, or a part of a file.

use std::{
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

/// Bytes of a file that are read at once.
const PIECE: u64 = 256 << 10;

/// A request's body. It can be sent again.
#[derive(Clone)]
pub(crate) enum Body {
    Empty,
    Document(Bytes),
    /// A file from an offset up to an end.
    Part {
        file: Arc<File>,
        from: u64,
        end: u64,
    },
}

/// How much of a part was handed to the connection.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(crate) fn sent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Body {
    /// The body as a client takes it, and what tells how far it has come.
    pub(crate) fn stream(&self) -> (reqwest::Body, Progress) {
        let progress = Progress::default();
        let body = match self {
            Self::Empty => reqwest::Body::default(),
            Self::Document(bytes) => bytes.clone().into(),
            Self::Part { file, from, end } => {
                let (file, end, noted) = (Arc::clone(file), *end, progress.clone());
                let pieces = futures_util::stream::try_unfold(*from, move |at| {
                    let (file, noted) = (Arc::clone(&file), noted.clone());
                    async move {
                        if at >= end {
                            return Ok::<_, io::Error>(None);
                        }
                        let piece = tokio::task::spawn_blocking(move || read(&file, at, end)).await??;
                        let next = at + piece.len() as u64;
                        noted.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
                        Ok(Some((piece, next)))
                    }
                });
                reqwest::Body::wrap_stream(pieces)
            }
        };
        (body, progress)
    }
}

fn read(file: &File, at: u64, end: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE.min(end - at) as usize];
    wharf_platform::file::read_exact_at(file, &mut piece, at)?;
    Ok(piece.into())
}
