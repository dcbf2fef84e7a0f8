//! What there is of a file that comes in parts, on the disk: a later attempt asks for the rest, in another process too.
//!
//! The file has its size from the start; beside it stands how much of each part has come, written after the bytes. What is
//! there after a power failure may be less than that says: whoever uses it checks the whole file.

use std::{
    fs::{self, File, TryLockError},
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use wharf_platform::file::{self, Facts};

use crate::digest::{Expected, Hasher};

/// The numbers before those of the parts: the file's size and a part's.
const HEAD: u64 = 16;
/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// What there is of one file. Whoever holds it is alone with it.
#[derive(Debug)]
pub struct Partial {
    directory: PathBuf,
    /// The bytes, each in its place.
    data: File,
    /// Numbers of 64 bits: [`HEAD`], and for each part how many of its first bytes are there.
    progress: File,
}

/// How a file is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: u64,
    pub(crate) part: u64,
}

impl Layout {
    pub(crate) fn parts(self) -> u64 {
        self.size.div_ceil(self.part)
    }

    pub(crate) fn range(self, part: u64) -> Range<u64> {
        part * self.part..self.size.min((part + 1) * self.part)
    }
}

impl Partial {
    /// Opens what there is in this directory, which is made when it is not there. None: somebody else has it.
    ///
    /// # Errors
    /// When it can neither be opened nor made.
    pub fn open(directory: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(directory)?;
        let open = |name: &str| {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            options.open(directory.join(name))
        };
        let data = open("data")?;
        match data.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever had it before may have moved it away meanwhile.
        let is_in_place = fs::metadata(directory.join("data")).is_ok_and(|now| {
            data.metadata().is_ok_and(|own| {
                let (own, now) = (Facts::of(&own), Facts::of(&now));
                (own.inode, own.device) == (now.inode, now.device)
            })
        });
        if !is_in_place {
            return Ok(None);
        }
        Ok(Some(Self {
            directory: directory.to_owned(),
            data,
            progress: open("progress")?,
        }))
    }

    /// Where the whole file is, once it is fetched.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// How many bytes there are.
    #[cfg(test)]
    fn bytes(&self) -> io::Result<u64> {
        let Some(layout) = self.layout()? else {
            return Ok(0);
        };
        (0..layout.parts()).map(|part| self.done(layout, part)).sum()
    }

    /// How the file is divided that is being fetched; none when none is, or when what is there makes no sense.
    pub(crate) fn layout(&self) -> io::Result<Option<Layout>> {
        let length = self.progress.metadata()?.len();
        if length < HEAD {
            return Ok(None);
        }
        let (size, part) = (self.number(0)?, self.number(8)?);
        let layout = Layout { size, part };
        let fits = part > 0 && self.data.metadata()?.len() == size && length == HEAD + 8 * layout.parts();
        Ok(fits.then_some(layout))
    }

    /// Begins a file of this size.
    pub(crate) fn begin(&self, size: u64, part: u64) -> io::Result<Layout> {
        self.forget()?;
        let layout = Layout { size, part };
        self.data.set_len(size)?;
        self.progress.set_len(HEAD + 8 * layout.parts())?;
        file::write_all_at(&self.progress, &size.to_le_bytes(), 0)?;
        file::write_all_at(&self.progress, &part.to_le_bytes(), 8)?;
        Ok(layout)
    }

    /// Forgets all that is there.
    pub(crate) fn forget(&self) -> io::Result<()> {
        self.progress.set_len(0)?;
        self.data.set_len(0)
    }

    /// How many of a part's first bytes are there.
    pub(crate) fn done(&self, layout: Layout, part: u64) -> io::Result<u64> {
        let range = layout.range(part);
        Ok(self.number(HEAD + 8 * part)?.min(range.end - range.start))
    }

    /// Keeps bytes that follow on so many of a part's.
    pub(crate) fn write(&self, layout: Layout, part: u64, before: u64, bytes: &[u8]) -> io::Result<()> {
        file::write_all_at(&self.data, bytes, layout.range(part).start + before)?;
        let done = before + bytes.len() as u64;
        file::write_all_at(&self.progress, &done.to_le_bytes(), HEAD + 8 * part)
    }

    /// Reads what is there on another thread.
    pub(crate) fn reader(&self) -> io::Result<Reader> {
        Ok(Reader {
            // Opened once more: with a copy of the handle the file would stay locked for as long as that one is there.
            data: File::open(self.data())?,
            buffer: vec![0; BUFFER],
        })
    }

    fn number(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        file::read_exact_at(&self.progress, &mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Reads parts that are whole.
pub(crate) struct Reader {
    data: File,
    buffer: Vec<u8>,
}

impl Reader {
    /// The digest of ranges, as they are said to be there.
    pub(crate) fn hash(
        &mut self,
        ranges: impl IntoIterator<Item = Range<u64>>,
        mut hasher: Hasher,
    ) -> io::Result<Expected> {
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let length = self.buffer.len().min((range.end - at) as usize);
                let bytes = &mut self.buffer[..length];
                file::read_exact_at(&self.data, bytes, at)?;
                hasher.update(bytes);
                at += length as u64;
            }
        }
        Ok(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

    use super::*;

    #[test]
    fn what_came_is_there_when_it_is_opened_again_by_one() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("file");
        let partial = Partial::open(&directory).unwrap().unwrap();
        assert_eq!(partial.layout().unwrap(), None);
        let layout = partial.begin(10, 4).unwrap();
        partial.write(layout, 0, 0, b"abcd").unwrap();
        partial.write(layout, 2, 0, b"i").unwrap();
        assert!(Partial::open(&directory).unwrap().is_none(), "one has it");
        drop(partial);
        let again = Partial::open(&directory).unwrap().unwrap();
        assert_eq!(again.layout().unwrap(), Some(layout));
        let done = |part| again.done(layout, part).unwrap();
        assert_eq!([done(0), done(1), done(2)], [4, 0, 1]);
        assert_eq!(again.bytes().unwrap(), 5);
        again.forget().unwrap();
        assert_eq!(again.bytes().unwrap(), 0);
    }

    #[test]
    fn what_makes_no_sense_is_begun_anew() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("progress"), [7; 30]).unwrap();
        fs::write(place.path().join("data"), "abc").unwrap();
        let partial = Partial::open(place.path()).unwrap().unwrap();
        assert_eq!(partial.layout().unwrap(), None);
        assert_eq!(partial.bytes().unwrap(), 0);
        // A part can have no more bytes than it has.
        let layout = partial.begin(3, 2).unwrap();
        file::write_all_at(&partial.progress, &[255; 16], HEAD).unwrap();
        assert_eq!(partial.done(layout, 1).unwrap(), 1);
    }
}
