//! A layer's bytes on their way from compressed file to tar stream, checked against the image's own digest of it.

use std::{
    fs::File,
    io::{self, Read},
};

use sha2::{Digest, Sha256};

/// Reads a layer's tar stream. [`LayerReader::finish`] says whether it was the one that the image names.
pub struct LayerReader {
    stream: Box<dyn Read + Send>,
    hasher: Sha256,
    diff_id: String,
}

impl LayerReader {
    /// The tar stream in a file: plain, or compressed with gzip or zstd, told by its first bytes.
    pub(crate) fn open(mut file: File, diff_id: &str) -> io::Result<Self> {
        let mut start = [0; 4];
        let count = file.read(&mut start)?;
        io::Seek::rewind(&mut file)?;
        let stream: Box<dyn Read + Send> = match &start[..count] {
            [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(
                256 * 1024,
                file,
            ))),
            [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file)?),
            _ => Box::new(file),
        };
        Ok(Self {
            stream,
            hasher: Sha256::new(),
            diff_id: diff_id.to_owned(),
        })
    }

    /// Reads to the end; an error when the stream is not the one that the image names.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        let found: String = self
            .hasher
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if self.diff_id == format!("sha256:{found}") {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "it unpacks to sha256:{found}, the image says {}",
            self.diff_id
        )))
    }
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
