//! What archives and compressed files hold, as trees. Their kind is told by their content.
//!
//! Archives come from anywhere. What would be written outside of the tree is refused, and so is one that unpacks to far more
//! than it is; either way nothing is left behind.

mod deb;
mod zip;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read, Seek},
};

use wharf_archive::Entries;

use crate::{
    edit,
    error::{Context, Error, Result},
    import::{Import, Kind},
    layer::{LayerDraft, Snapshot},
    store::Store,
    tree::View,
};

/// So many bytes may always come out.
const ALWAYS: u64 = 1 << 30;
/// More may come out when they are at most so many times what went in. Text is compressed to a fiftieth, at best.
const TIMES: u64 = 200;
/// Bytes by which tar archives and formats are told.
const START: usize = 512;
/// Memory that one decoder may take, in KiB.
const DECODER: u32 = 256 * 1024;
/// Permission bits of a file that was compressed by itself.
const MODE: u32 = 0o644;

/// Endings that compressed files have.
const ENDINGS: [&str; 6] = [".gz", ".xz", ".zst", ".zstd", ".bz2", ".z"];

impl Store {
    /// The tree of what the file at `path` holds: an archive's files, or the one file that was compressed, by its name without
    /// the ending.
    pub fn unpack(&self, snapshot: &Snapshot, path: &str) -> Result<Snapshot> {
        let file = View::new(self, snapshot)?.open_file(path)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let draft = self.new_layer(&Snapshot::default())?;
        unpack(file, name, &draft).map_err(|error| blame(error, name))?;
        let tree = Snapshot::default().with(self.publish(draft)?);
        self.pins.give_out(&tree);
        Ok(tree)
    }
}

/// What is wrong with the archive, as far as it is the archive that is wrong.
fn blame(error: Error, name: &str) -> Error {
    let is_content = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
        )
    };
    match error {
        Error::Io { source, .. } if is_content(&source) => {
            Error::Invalid(format!("{name} cannot be unpacked: {source}"))
        }
        Error::Invalid(why) => Error::Invalid(format!("{name} cannot be unpacked: {why}")),
        error => error,
    }
}

fn unpack(mut file: File, name: &str, draft: &LayerDraft) -> Result<()> {
    let said = || name.to_owned();
    let size = file.metadata().context(said)?.len();
    let limit = Limit::of(size);
    let mut start = Vec::with_capacity(START);
    Read::by_ref(&mut file)
        .take(START as u64)
        .read_to_end(&mut start)
        .context(said)?;
    file.rewind().context(said)?;
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return zip::unpack(reader, limit, draft);
    }
    if start.starts_with(deb::MAGIC) {
        let mut data = deb::data(&mut reader)?;
        return stream(&mut data, name, limit, draft);
    }
    stream(&mut reader, name, limit, draft)
}

/// A tar archive, compressed or not, or one compressed file.
fn stream(source: &mut dyn BufRead, name: &str, limit: Limit, draft: &LayerDraft) -> Result<()> {
    let said = || name.to_owned();
    let (mut decoder, is_compressed) = decoder(source).context(said)?;
    let mut content = Limited {
        inner: &mut *decoder,
        limit,
        passed: 0,
    };
    let mut start = Vec::with_capacity(START);
    Read::by_ref(&mut content)
        .take(START as u64)
        .read_to_end(&mut start)
        .context(said)?;
    let is_archive = is_tar(&start);
    let mut content = Cursor::new(start).chain(content);
    if is_archive {
        let mut import = Import::into(draft, Kind::Files)?;
        let mut entries = Entries::new(&mut content);
        while let Some(entry) = entries.next().context(said)? {
            import.entry(&entry, &mut entries)?;
        }
        return import.finish();
    }
    if !is_compressed {
        let why = "it is no archive (tar, zip, deb) and is not compressed (gzip, xz, bzip2, zstd)";
        return Err(Error::Invalid(why.to_owned()));
    }
    let own = ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(name);
    let path = draft.path().join(if own.is_empty() { name } else { own });
    let mut file = File::create_new(path).context(said)?;
    io::copy(&mut content, &mut file).context(said)?;
    edit::set_mode(&file, MODE).context(said)
}

/// What the source is decompressed to, and whether it was compressed at all.
fn decoder<'s>(source: &'s mut dyn BufRead) -> io::Result<(Box<dyn Read + 's>, bool)> {
    // A buffer's first filling has the few bytes that tell, unless the file ends before.
    let start = source.fill_buf()?;
    let starts = |magic: &[u8]| start.starts_with(magic);
    Ok(if starts(&[0x1f, 0x8b]) {
        (Box::new(flate2::bufread::MultiGzDecoder::new(source)), true)
    } else if starts(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        (
            Box::new(lzma_rust2::XzReader::new_mem_limit(source, true, DECODER)),
            true,
        )
    } else if starts(&[0x28, 0xb5, 0x2f, 0xfd]) {
        (Box::new(zstd::Decoder::with_buffer(source)?), true)
    } else if starts(b"BZh") {
        (Box::new(bzip2::bufread::MultiBzDecoder::new(source)), true)
    } else {
        (Box::new(source), false)
    })
}

/// Is this the first block of a tar archive? Its header has a sum of its own bytes.
fn is_tar(block: &[u8]) -> bool {
    let Some(field) = block.get(148..156).filter(|_| block.len() == START) else {
        return false;
    };
    let digits: Vec<u8> = field.iter().copied().filter(u8::is_ascii_digit).collect();
    let said = std::str::from_utf8(&digits)
        .ok()
        .and_then(|text| u32::from_str_radix(text, 8).ok());
    let others = block[..148].iter().chain(&block[156..]);
    let sum = others.map(|byte| u32::from(*byte)).sum::<u32>() + 8 * u32::from(b' ');
    said == Some(sum)
}

/// How much may come out.
#[derive(Clone, Copy)]
struct Limit {
    packed: u64,
    most: u64,
}

impl Limit {
    fn of(packed: u64) -> Self {
        Self {
            packed,
            most: ALWAYS.max(packed.saturating_mul(TIMES)),
        }
    }

    /// Refuses what comes out beyond that.
    fn check(self, passed: u64) -> io::Result<()> {
        if passed <= self.most {
            return Ok(());
        }
        let why = format!(
            "the archive is refused: its {} bytes unpack to more than {} bytes",
            self.packed, self.most
        );
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }
}

/// Passes on what comes out, as long as it is not too much. What goes wrong in a decoder is the content's fault.
struct Limited<'r> {
    inner: &'r mut dyn Read,
    limit: Limit,
    passed: u64,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => io::Error::new(io::ErrorKind::InvalidData, format!("it is damaged: {error}")),
        })?;
        self.passed += count as u64;
        self.limit.check(self.passed)?;
        Ok(count)
    }
}
