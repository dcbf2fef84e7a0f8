//! What engine and container say to each other: frames of a kind, a length and that many bytes.

use std::io::{self, Read, Write};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};

/// Bytes before those of a frame.
pub const HEADER: usize = 5;
/// The most bytes of a frame.
const LIMIT: u32 = 64 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A [`Job`], as JSON. The engine begins with it.
    Job,
    /// A piece of the file, tree or standard input that is next.
    Data,
    /// That one is whole.
    End,
    /// The program wrote this to its standard output.
    Stdout,
    /// And this to its standard error.
    Stderr,
    /// How the program has ended, as JSON.
    Outcome,
    /// A piece of the layer that the step has made.
    Layer,
    /// There is no more.
    Done,
    /// The step could not be run, in words.
    Failed,
}

const KINDS: [Kind; 9] = [
    Kind::Job,
    Kind::Data,
    Kind::End,
    Kind::Stdout,
    Kind::Stderr,
    Kind::Outcome,
    Kind::Layer,
    Kind::Done,
    Kind::Failed,
];

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What a container is to do. After it come the contents of its files, those of its trees, and the standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The program; only what is mounted is made when there is none.
    pub spec: Option<Spec>,
    /// Files that are put into the root.
    pub files: Vec<PlacedFile>,
    /// Mounted directories that are filled.
    pub trees: Vec<String>,
}

/// A file that is put into a container's root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlacedFile {
    /// Where.
    pub path: String,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner and group.
    pub owner: (u32, u32),
    /// It lies in memory, and a link leads to it.
    pub private: bool,
}

impl Frame {
    /// What a header says: the kind, and how many bytes follow.
    pub fn read_header(header: [u8; HEADER]) -> io::Result<(Kind, usize)> {
        let damaged = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let [kind, length @ ..] = header;
        let kind = *KINDS
            .get(usize::from(kind))
            .ok_or_else(|| damaged("a frame of no known kind"))?;
        let length = u32::from_le_bytes(length);
        if length > LIMIT {
            return Err(damaged("a frame that is too long"));
        }
        Ok((kind, length as usize))
    }

    /// The header of a frame.
    pub fn header(kind: Kind, bytes: &[u8]) -> [u8; HEADER] {
        let number = KINDS.iter().position(|own| *own == kind).unwrap_or_default();
        let [a, b, c, d] = (bytes.len() as u32).to_le_bytes();
        [number as u8, a, b, c, d]
    }

    /// Writes a frame at once.
    pub(crate) fn write(to: &mut impl Write, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        to.write_all(&[&Self::header(kind, bytes), bytes].concat())?;
        to.flush()
    }

    /// Reads the next frame; an error when there is none.
    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER];
        from.read_exact(&mut header)?;
        let (kind, length) = Self::read_header(header)?;
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        Ok(Self { kind, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_they_were_written() {
        for kind in KINDS {
            let mut bytes = Vec::new();
            Frame::write(&mut bytes, kind, b"some bytes").unwrap();
            let frame = Frame::read(&mut bytes.as_slice()).unwrap();
            assert_eq!(
                (frame.kind, frame.bytes.as_slice()),
                (kind, b"some bytes".as_slice())
            );
        }
        assert!(Frame::read_header([9, 0, 0, 0, 0]).is_err());
        assert!(Frame::read_header([0, 255, 255, 255, 255]).is_err());
    }
}
