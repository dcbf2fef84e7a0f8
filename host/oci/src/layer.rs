//! A layer's bytes on their way from compressed stream to tar stream, checked against the image's own digest of it.
//!
//! One thread receives and decompresses, the one that reads hashes and unpacks: most of an image is often one layer.

use std::{
    io::{self, BufRead, Cursor, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use crate::{digest::Hasher, error::Error};

/// Where a layer's compressed bytes come from. An error from it, at the end too, says that they are the wrong ones.
pub(crate) type Source = Box<dyn BufRead + Send>;

/// Bytes that are decompressed at once.
const PIECE: usize = 256 * 1024;
/// Pieces that may wait to be read.
const AHEAD: usize = 8;

/// Reads a layer's tar stream while it arrives.
///
/// What was read may be used when [`LayerReader::finish`] has returned, and is to be thrown away when it, or a read before
/// it, fails: only the end shows whether the bytes were those that the image names. Reads block; they are for threads
/// that may, such as those of `spawn_blocking`.
pub struct LayerReader {
    pieces: Pieces,
    piece: Cursor<Vec<u8>>,
    hasher: Option<Hasher>,
    diff_id: String,
}

/// What is decompressed beside the reader.
enum Pieces {
    /// It begins with the first read.
    Waiting(Source),
    Coming(Receiver<io::Result<Vec<u8>>>),
    Over,
}

impl LayerReader {
    pub(crate) fn new(source: Source, diff_id: &str) -> Self {
        Self {
            pieces: Pieces::Waiting(source),
            piece: Cursor::default(),
            hasher: Some(Hasher::like(diff_id)),
            diff_id: diff_id.to_owned(),
        }
    }

    /// Reads to the end; an error when the stream is not the one that the image names.
    pub fn finish(mut self) -> io::Result<()> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(())
    }

    /// The next piece; none at the end, when everything is what the image says.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Pieces::Waiting(_) = self.pieces
            && let Pieces::Waiting(source) = std::mem::replace(&mut self.pieces, Pieces::Over)
        {
            let (sender, pieces) = sync_channel(AHEAD);
            thread::Builder::new()
                .name("layer".to_owned())
                .spawn(move || decompress(source, &sender))?;
            self.pieces = Pieces::Coming(pieces);
        }
        let piece = match &self.pieces {
            Pieces::Coming(pieces) => pieces.recv().ok(),
            Pieces::Waiting(_) | Pieces::Over => None,
        };
        match piece {
            Some(Ok(piece)) => {
                self.hasher.iter_mut().for_each(|hasher| hasher.update(&piece));
                Ok(Some(piece))
            }
            Some(Err(error)) => {
                self.pieces = Pieces::Over;
                // Never the digest of a stream: whoever reads on after an error is told again.
                self.hasher = Some(Hasher::like(""));
                Err(error)
            }
            None => {
                self.pieces = Pieces::Over;
                match self.hasher.take().map(Hasher::finish) {
                    Some(found) if found != self.diff_id => Err(io::Error::other(format!(
                        "it unpacks to {found}, the image says {}",
                        self.diff_id
                    ))),
                    _ => Ok(None),
                }
            }
        }
    }
}

impl Read for LayerReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.piece.read(buffer)? {
                0 => match self.next()? {
                    Some(piece) => self.piece = Cursor::new(piece),
                    None => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

/// Sends what a source decompresses to, in pieces, until nobody reads them any more.
fn decompress(source: Source, pieces: &SyncSender<io::Result<Vec<u8>>>) {
    let mut stream = match Stream::start(source) {
        Ok(stream) => stream,
        Err(error) => {
            let _ = pieces.send(Err(error));
            return;
        }
    };
    loop {
        let piece = match stream.piece() {
            Ok(piece) if piece.is_empty() => match stream.drain() {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Ok(piece) => Ok(piece),
            Err(error) => Err(stream.blame(error)),
        };
        let is_last = piece.is_err();
        if pieces.send(piece).is_err() || is_last {
            return;
        }
    }
}

type Started = io::Chain<Cursor<Vec<u8>>, Source>;

enum Stream {
    Plain(Started),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Started>>),
    Zstd(zstd::Decoder<'static, Started>),
}

impl Stream {
    /// Tells the compression by the first bytes, whatever the media type says: tools have got it wrong.
    fn start(mut source: Source) -> io::Result<Self> {
        let mut start = Vec::with_capacity(4);
        source.by_ref().take(4).read_to_end(&mut start)?;
        let kind = start.clone();
        let started = Cursor::new(start).chain(source);
        Ok(match kind[..] {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(started))),
            [0x28, 0xb5, 0x2f, 0xfd] => Self::Zstd(zstd::Decoder::with_buffer(started)?),
            _ => Self::Plain(started),
        })
    }

    /// What comes next, decompressed; nothing at the end.
    fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::with_capacity(PIECE);
        let stream: &mut dyn Read = match self {
            Self::Plain(source) => source,
            Self::Gzip(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        };
        stream.take(PIECE as u64).read_to_end(&mut piece)?;
        Ok(piece)
    }

    /// Reads what follows the compressed stream, so that its source can judge the whole.
    fn drain(&mut self) -> io::Result<()> {
        let rest: &mut dyn Read = match self {
            Self::Plain(source) => source,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        };
        io::copy(rest, &mut io::sink()).map(|_| ())
    }

    /// Why decompression failed: the bytes may be the wrong ones, which only their end shows.
    fn blame(&mut self, error: io::Error) -> io::Error {
        let is_ours = error.get_ref().is_some_and(|inner| inner.is::<Error>());
        let verdict = if is_ours { Ok(()) } else { self.drain() };
        verdict.err().unwrap_or(error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read, Write};

    use super::LayerReader;
    use crate::digest::sha256;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(compressed: Vec<u8>, diff_id: &str) -> std::io::Result<Vec<u8>> {
        let mut reader = LayerReader::new(Box::new(Cursor::new(compressed)), diff_id);
        let mut text = Vec::new();
        reader.read_to_end(&mut text)?;
        reader.finish()?;
        Ok(text)
    }

    #[test]
    fn all_compressions_unpack_and_are_checked() {
        let text: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
        let diff_id = sha256(&text);
        let pieces = [gzip(&text[..1000]), gzip(&text[1000..])].concat();
        for compressed in [
            text.clone(),
            gzip(&text),
            pieces,
            zstd::encode_all(&text[..], 1).unwrap(),
        ] {
            assert_eq!(read(compressed.clone(), &diff_id).unwrap(), text);
            let wrong = read(compressed.clone(), &sha256(b"other"))
                .unwrap_err()
                .to_string();
            assert!(wrong.contains(&diff_id), "{wrong}");
            assert!(
                read(compressed[..compressed.len() - 9].to_vec(), &diff_id).is_err(),
                "cut off"
            );
        }
        assert_eq!(read(Vec::new(), &sha256(b"")).unwrap(), b"");
    }

    #[test]
    fn who_reads_on_after_an_error_is_told_again() {
        let mut damaged = gzip(&[7; 100_000]);
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        let mut reader = LayerReader::new(Box::new(Cursor::new(damaged)), &sha256(&[7; 100_000]));
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
        assert!(reader.finish().is_err());
    }
}
