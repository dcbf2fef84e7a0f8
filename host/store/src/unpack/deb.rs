//! Debian packages: an `ar` archive whose member `data.tar.*` has the files.

use std::io::{self, BufRead, Read};

use crate::error::{Context, Error, Result};

/// How an `ar` archive starts.
pub(super) const MAGIC: &[u8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: usize = 60;

/// The member that has the package's files.
pub(super) fn data(source: &mut dyn BufRead) -> Result<impl BufRead> {
    let said = || "a Debian package".to_owned();
    let damaged = || Error::Invalid("it is an ar archive whose headers are damaged".to_owned());
    let mut start = [0; MAGIC.len()];
    source.read_exact(&mut start).context(said)?;
    loop {
        let mut header = Vec::with_capacity(HEADER);
        (&mut *source)
            .take(HEADER as u64)
            .read_to_end(&mut header)
            .context(said)?;
        if header.is_empty() {
            let why = "it is an ar archive without data.tar, so no Debian package";
            return Err(Error::Invalid(why.to_owned()));
        }
        if header.len() != HEADER || header[58..] != *b"`\n" {
            return Err(damaged());
        }
        let size = std::str::from_utf8(&header[48..58])
            .ok()
            .and_then(|text| text.trim_end().parse().ok());
        let size: u64 = size.ok_or_else(damaged)?;
        if header.starts_with(b"data.tar") {
            return Ok(source.take(size));
        }
        // Members start at even places.
        let padded = size.checked_next_multiple_of(2).ok_or_else(damaged)?;
        if io::copy(&mut (&mut *source).take(padded), &mut io::sink()).context(said)? < padded {
            return Err(damaged());
        }
    }
}
