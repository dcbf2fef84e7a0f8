//! Zip archives, Python's wheels among them.

use std::io::{self, Read, Seek};

use wharf_archive::{Entry, EntryType};
use zip::{ZipArchive, result::ZipError};

use super::{Limit, Limited};
use crate::{
    error::{Error, Result},
    import::{Import, Kind, refused},
    layer::LayerDraft,
};

/// What one file more costs at least.
const EACH: u64 = 512;
/// The bits of a mode that say that it is one of a symbolic link.
const LINK: u32 = 0o120_000;
/// The longest target that a link can have.
const LONGEST_TARGET: u64 = 4096;

pub(super) fn unpack(source: impl Read + Seek, limit: Limit, draft: &LayerDraft) -> Result<()> {
    let mut archive = ZipArchive::new(source).map_err(explain)?;
    // What it says of itself; what is true is found out while it is read.
    let said = archive.decompressed_size().unwrap_or_default();
    let said = u64::try_from(said).unwrap_or(u64::MAX);
    limit
        .check(said)
        .map_err(|error| Error::io("a zip archive", error))?;
    let mut import = Import::into(draft, Kind::Files)?;
    let mut passed = 0;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(explain)?;
        let path = file.name_raw().to_vec();
        let mode = file.unix_mode();
        let is_link = mode.is_some_and(|mode| mode & 0o170_000 == LINK);
        let kind = if path.ends_with(b"/") {
            EntryType::Directory
        } else if is_link {
            EntryType::Symlink
        } else {
            EntryType::Regular
        };
        let default = if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        };
        let modified = file.last_modified().map_or(0, seconds);
        let mut content = Limited {
            inner: &mut file,
            limit,
            passed,
        };
        let mut target = None;
        if kind == EntryType::Symlink {
            let mut text = Vec::new();
            let read = Read::by_ref(&mut content)
                .take(LONGEST_TARGET)
                .read_to_end(&mut text);
            read.map_err(|error| Error::io(String::from_utf8_lossy(&path), error))?;
            if text.is_empty() || text.contains(&0) || text.len() as u64 == LONGEST_TARGET {
                return Err(refused(&path, "links to nothing that a link can"));
            }
            target = Some(text);
        }
        let entry = Entry {
            kind,
            path,
            link_target: target,
            mode: mode
                .map(|mode| mode & 0o777)
                .filter(|mode| *mode != 0)
                .unwrap_or(default),
            owner: (0, 0),
            modified: modified.saturating_mul(1_000_000_000),
            device: (0, 0),
            attributes: Vec::new(),
            sparse: None,
        };
        import.entry(&entry, &mut content)?;
        passed = content.passed + EACH;
    }
    import.finish()
}

/// Seconds since 1970. What stands in a zip archive has no time zone; it is taken for UTC.
fn seconds(time: zip::DateTime) -> i64 {
    let (year, month, day) = (
        i64::from(time.year()),
        i64::from(time.month()),
        i64::from(time.day()),
    );
    // Years that start in March have their leap day at the end.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 719_469;
    days * 86_400 + i64::from(time.hour()) * 3600 + i64::from(time.minute()) * 60 + i64::from(time.second())
}

fn explain(error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => Error::io(
            "a zip archive",
            match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    io::Error::new(io::ErrorKind::InvalidData, "it ends too early")
                }
                _ => error,
            },
        ),
        error => Error::Invalid(format!("its zip format is not one that can be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_counted_from_1970() {
        let time = |year, month, day| zip::DateTime::from_date_and_time(year, month, day, 0, 0, 0).unwrap();
        assert_eq!(seconds(time(1980, 1, 1)), 315_532_800);
        assert_eq!(seconds(time(2000, 2, 29)), 951_782_400);
        assert_eq!(seconds(time(2024, 3, 1)), 1_709_251_200);
    }
}
