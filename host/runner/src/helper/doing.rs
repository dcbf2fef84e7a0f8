//! Errors inside a step's init say what was being done.

use std::io;

/// Says what was done when it fails.
pub(super) trait Doing<T> {
    fn doing(self, what: &str) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> io::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            io::Error::new(error.kind(), format!("{what}: {error}"))
        })
    }
}
