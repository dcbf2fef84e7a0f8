//! Where terminals are not lent yet: the descriptors of other systems' terminals cannot be waited for as Linux's can.

use std::io;

/// There is nothing to restore.
pub(crate) fn restore() {}

/// The terminal, which cannot be had.
pub(super) enum Raw {}

impl Raw {
    /// Says so.
    pub(super) fn enter() -> io::Result<Self> {
        let why = "programs in containers get a terminal on Linux only";
        Err(io::Error::new(io::ErrorKind::Unsupported, why))
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> (u16, u16) {
        match *self {}
    }

    /// What is typed.
    pub(super) async fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    /// Shows all of it.
    pub(super) async fn write(&self, _bytes: &[u8]) -> io::Result<()> {
        match *self {}
    }
}

/// It never is.
pub(super) struct Resized;

impl Resized {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) async fn next(&mut self) {
        std::future::pending().await
    }
}
