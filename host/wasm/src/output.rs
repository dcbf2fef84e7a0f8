//! What a module prints: forwarded line by line while it runs. A panic's message is held back, as it belongs to the error.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::state::{Level, Pipeline, Said};

/// Bytes of a line, or of a panic's message, that are kept.
const CAPACITY: usize = 64 * 1024;
/// Bytes that a module may write at once.
const CHUNK: usize = 64 * 1024;

/// Standard output or standard error of a call.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Lines>>);

struct Lines {
    pipeline: Arc<dyn Pipeline>,
    module: String,
    /// A line without its end.
    line: Vec<u8>,
    /// What came from the line on that tells of a panic.
    panic: String,
}

impl Output {
    pub(crate) fn new(pipeline: Arc<dyn Pipeline>, module: &str) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            pipeline,
            module: module.to_owned(),
            line: Vec::new(),
            panic: String::new(),
        })))
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the last line. What a panic said is handed over, and nothing when there was none.
    pub(crate) fn finish(&self) -> String {
        let mut lines = self.lines();
        lines.end_line();
        std::mem::take(&mut lines.panic)
    }
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.extend_line(&bytes[..end]);
            self.end_line();
            bytes = &bytes[end + 1..];
        }
        self.extend_line(bytes);
    }

    fn extend_line(&mut self, bytes: &[u8]) {
        let room = CAPACITY - self.line.len();
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if !self.panic.is_empty() || tells_of_panic(&text) {
            if self.panic.len() < CAPACITY {
                self.panic.push_str(&text);
                self.panic.push('\n');
            }
        } else if !text.trim().is_empty() {
            self.pipeline.log(Said {
                module: self.module.clone(),
                level: Level::Info,
                group: None,
                place: None,
                text: text.trim_end().to_owned(),
            });
        }
    }
}

/// The first line of Rust's panic message.
fn tells_of_panic(line: &str) -> bool {
    line.starts_with("thread '") && line.contains(" panicked at ")
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines().take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.lines().take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
