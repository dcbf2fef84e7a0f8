//! The entries of a tar stream, one after another, each with what all its headers say of it. It writes nothing: what is
//! made of an entry, and what is refused, is for those who read.
//!
//! The `tar` crate, which writes our archives, cannot read them all: it ends a PAX record at the first line end, and the
//! values of extended attributes may have some.

use std::io::{self, ErrorKind, Read};

pub use tar_core::{EntryType, SparseEntry};
use tar_core::{
    PaxExtensions,
    parse::{Limits, ParseError, ParseEvent, ParsedEntry, Parser},
};

/// Blocks that headers and contents are filled up to, in bytes.
const BLOCK: u64 = tar_core::HEADER_SIZE as u64;

/// An entry without its content.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub kind: EntryType,
    /// As the archive has it: nothing is checked.
    pub path: Vec<u8>,
    /// Of a link: where it leads, or which entry it is another name of.
    pub link_target: Option<Vec<u8>>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner and group by number.
    pub owner: (u32, u32),
    /// Nanoseconds since 1970.
    pub modified: i64,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Extended attributes: names and values.
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the parts of a file with holes lie that the content has, one after another.
    pub sparse: Option<Sparse>,
}

/// A file with holes.
#[derive(Debug)]
pub struct Sparse {
    /// In the order of the content.
    pub parts: Vec<SparseEntry>,
    /// The file's size in bytes, holes included.
    pub size: u64,
}

/// A tar stream that is being read; reading from it reads the present entry's content.
pub struct Entries<'r> {
    stream: &'r mut dyn Read,
    parser: Parser,
    /// Bytes of headers that have come and are not parsed.
    headers: Vec<u8>,
    /// Bytes of the entry's content that are not read.
    content: u64,
    /// Bytes that fill up the content's last block.
    padding: u64,
}

impl<'r> Entries<'r> {
    /// From its beginning.
    pub fn new(stream: &'r mut dyn Read) -> Self {
        let mut parser = Parser::new(Limits::default());
        parser.set_allow_empty_path(true);
        Self {
            stream,
            parser,
            headers: Vec::new(),
            content: 0,
            padding: 0,
        }
    }

    /// The next entry; what was not read of the last one's content is passed over.
    ///
    /// # Errors
    ///
    /// Of the stream, one that ends within an entry, and headers that do not read.
    #[allow(
        clippy::should_implement_trait,
        reason = "an entry's content is read from what gives the entries"
    )]
    pub fn next(&mut self) -> io::Result<Option<Entry>> {
        let unread = self.content + self.padding;
        if io::copy(&mut (&mut *self.stream).take(unread), &mut io::sink())? < unread {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        (self.content, self.padding) = (0, 0);
        loop {
            let (consumed, entry, size) = match self.parser.parse(&self.headers).map_err(io_error)? {
                ParseEvent::NeedData { min_bytes } => {
                    if self.read_headers(min_bytes)? {
                        continue;
                    }
                    return Ok(None);
                }
                ParseEvent::GlobalExtensions { consumed, .. } => {
                    self.headers.drain(..consumed);
                    continue;
                }
                ParseEvent::End { .. } => return Ok(None),
                ParseEvent::Entry { consumed, entry } => (consumed, Entry::of(&entry, None), entry.size),
                ParseEvent::SparseEntry {
                    consumed,
                    entry,
                    sparse_map: parts,
                    real_size: size,
                } => (
                    consumed,
                    Entry::of(&entry, Some(Sparse { parts, size })),
                    entry.size,
                ),
            };
            // No more was read than the headers needed.
            self.headers.drain(..consumed);
            let padded = size.checked_next_multiple_of(BLOCK);
            let padded = padded.ok_or_else(|| io_error(ParseError::InvalidSize(size)))?;
            self.content = size;
            self.padding = padded - size;
            return Ok(Some(entry));
        }
    }

    /// Reads on until so many bytes of headers are there. False where the stream ends as an archive may: before a
    /// header, or after the first of the two empty blocks that should be there.
    fn read_headers(&mut self, wanted: usize) -> io::Result<bool> {
        let missing = wanted.saturating_sub(self.headers.len()) as u64;
        let read = (&mut *self.stream).take(missing).read_to_end(&mut self.headers)?;
        if read as u64 == missing {
            return Ok(true);
        }
        if self.headers.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        Err(ErrorKind::UnexpectedEof.into())
    }
}

/// The entry's content.
impl Read for Entries<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = (&mut *self.stream).take(self.content).read(buffer)?;
        if read == 0 && self.content > 0 && !buffer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.content -= read as u64;
        Ok(read)
    }
}

/// The part of a modification time that is less than a second, which PAX headers alone have.
fn nanoseconds(pax: Option<&[u8]>) -> i64 {
    const DIGITS: usize = 9;
    let records = pax.into_iter().flat_map(PaxExtensions::new).flatten();
    let times = records.filter(|record| record.key_bytes() == b"mtime");
    let fraction = times
        .filter_map(|record| record.value().ok()?.split_once('.'))
        .last();
    let Some((_, fraction)) = fraction else { return 0 };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    format!("{fraction:0<DIGITS$}")[..DIGITS]
        .parse()
        .unwrap_or_default()
}

impl Entry {
    fn of(entry: &ParsedEntry<'_>, sparse: Option<Sparse>) -> Self {
        // Before directories had a kind of their own, they were files whose names end so.
        let directory = entry.entry_type == EntryType::Regular && entry.path.ends_with(b"/");
        let seconds = i64::try_from(entry.mtime).unwrap_or(i64::MAX);
        Self {
            kind: if directory {
                EntryType::Directory
            } else {
                entry.entry_type
            },
            path: entry.path.to_vec(),
            link_target: entry.link_target.as_ref().map(|target| target.to_vec()),
            mode: entry.mode & 0o7777,
            owner: (entry.uid as u32, entry.gid as u32),
            modified: seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanoseconds(entry.pax)),
            device: (
                entry.dev_major.unwrap_or_default(),
                entry.dev_minor.unwrap_or_default(),
            ),
            attributes: entry
                .xattrs
                .iter()
                .map(|(name, value)| (name.to_vec(), value.to_vec()))
                .collect(),
            sparse,
        }
    }
}

fn io_error(error: ParseError) -> io::Error {
    match error {
        ParseError::Io(error) => error,
        error => io::Error::new(ErrorKind::InvalidData, error),
    }
}
