//! A layer on its way into a blob: compressed, and both digests computed while it passes.

use std::io::{self, Write};

use crate::{
    digest::{Hasher, sha256},
    manifest::LayerDescriptor,
    members::GzipMembers,
};

/// How a layer's tar stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// What every client reads.
    Gzip,
    /// Smaller and faster.
    Zstd,
    /// Not at all.
    None,
}

/// Takes a layer's tar stream and writes its blob. The same stream gives the same bytes.
pub struct LayerWriter<W: Write> {
    tar: Hashing<Encoder<W>>,
    compression: Compression,
}

/// Hashes and counts what passes.
struct Hashing<W> {
    inner: W,
    hasher: Hasher,
    size: u64,
}

enum Encoder<W: Write> {
    Gzip(GzipMembers<Hashing<W>>),
    Zstd(zstd::Encoder<'static, Hashing<W>>),
    None(Hashing<W>),
}

impl<W: Write> LayerWriter<W> {
    /// A writer of a blob.
    pub fn new(out: W, compression: Compression) -> io::Result<Self> {
        let out = Hashing::new(out);
        let encoder = match compression {
            Compression::Gzip => Encoder::Gzip(GzipMembers::new(out)),
            Compression::Zstd => Encoder::Zstd(zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?),
            Compression::None => Encoder::None(out),
        };
        Ok(Self {
            tar: Hashing::new(encoder),
            compression,
        })
    }

    /// Ends the blob, and says what it is.
    pub fn finish(self) -> io::Result<LayerDescriptor> {
        let diff_id = self.tar.hasher.finish();
        let mut blob = match self.tar.inner {
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Zstd(encoder) => encoder.finish()?,
            Encoder::None(blob) => blob,
        };
        blob.inner.flush()?;
        let suffix = match self.compression {
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
            Compression::None => "",
        };
        Ok(LayerDescriptor {
            digest: blob.hasher.finish(),
            diff_id,
            size: blob.size,
            media_type: format!("application/vnd.oci.image.layer.v1.tar{suffix}"),
        })
    }
}

impl LayerDescriptor {
    /// Is it compressed? Docker's own archives have layers that are not, as no registry has them.
    pub fn is_compressed(&self) -> bool {
        self.digest != self.diff_id
    }

    /// Is there nothing in it? Such a layer changes nothing.
    pub fn is_empty(&self) -> bool {
        // A tar stream's end: two blocks of zeros.
        self.diff_id == sha256(&[0; 1024])
    }
}

impl<W: Write> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tar.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tar.flush()
    }
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Hasher::like("sha256:"),
            size: 0,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
            Self::None(blob) => blob.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
            Self::None(blob) => blob.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Write};

    use super::{Compression, LayerWriter};
    use crate::{digest::sha256, layer::LayerReader};

    #[test]
    fn what_was_packed_unpacks_and_is_what_it_says() {
        let text: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
            let pack = || {
                let mut blob = Vec::new();
                let mut writer = LayerWriter::new(&mut blob, compression).unwrap();
                writer.write_all(&text).unwrap();
                let layer = writer.finish().unwrap();
                (blob, layer)
            };
            let (blob, layer) = pack();
            assert_eq!((blob.clone(), layer.clone()), pack(), "the same bytes again");
            assert_eq!((layer.size, &layer.digest), (blob.len() as u64, &sha256(&blob)));
            let mut reader = LayerReader::new(Box::new(Cursor::new(blob)), &layer.diff_id);
            let mut found = Vec::new();
            reader.read_to_end(&mut found).unwrap();
            reader.finish().unwrap();
            assert_eq!(found, text);
            assert!(!layer.is_empty());
        }
        let mut nothing = LayerWriter::new(Vec::new(), Compression::Gzip).unwrap();
        tar::Builder::new(&mut nothing).finish().unwrap();
        assert!(nothing.finish().unwrap().is_empty());
    }
}
