//! The directory of records: a file each, the newest so many of them.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::record::{FORMAT, Record};

/// How many are kept.
const MOST: usize = 500;
/// How many bytes they may have together.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// How many bytes one may have: more than one that was written here ever has.
const MOST_OF_ONE: u64 = 8 * 1024 * 1024;
/// What drafts are called until they are whole.
const DRAFT: &str = ".draft";

/// Records that are kept.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The directory or a file.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that is no record.
    #[error("{} is no record of a run: {why}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// None is called so.
    #[error("there is no record of a run {0}")]
    Missing(String),
    /// Several are called so.
    #[error("several runs begin with {id}: {}", all.join(", "))]
    Ambiguous {
        /// What was asked for.
        id: String,
        /// What they are called.
        all: Vec<String>,
    },
}

/// Some of the records.
#[derive(Debug, Default)]
pub struct Listing {
    /// The newest first.
    pub records: Vec<Record>,
    /// What lies among them and cannot be read.
    pub broken: Vec<RecordError>,
    /// How many older ones there are.
    pub more: usize,
}

/// A file in the directory.
struct Entry {
    /// Its name without the end.
    name: String,
    path: PathBuf,
    bytes: u64,
}

impl Entry {
    /// The record's id, as the name has it.
    fn id(&self) -> &str {
        self.name.split_once('-').map_or("", |(_, id)| id)
    }
}

impl Records {
    /// Those in this directory, which need not be there yet.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Keeps a record, for its owner's eyes, and lets the oldest go that are too many.
    pub fn keep(&self, record: &Record) -> Result<(), RecordError> {
        let failed = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Io { doing, path, source }
        };
        fs::create_dir_all(&self.directory).map_err(failed("make", &self.directory))?;
        let text = serde_json::to_vec(record).expect("records always encode");
        let path = self
            .directory
            .join(format!("{:013}-{}.json", record.began, record.id));
        // Whole or not at all, whatever happens to this process.
        let mut draft = tempfile::Builder::new()
            .prefix(DRAFT)
            .tempfile_in(&self.directory)
            .map_err(failed("write in", &self.directory))?;
        draft.write_all(&text).map_err(failed("write", &path))?;
        draft
            .persist(&path)
            .map_err(|error| failed("write", &path)(error.error))?;
        self.prune();
        Ok(())
    }

    /// The newest records, so many of them or all.
    pub fn newest(&self, count: Option<usize>) -> Result<Listing, RecordError> {
        let entries = self.entries()?;
        let mut listing = Listing::default();
        let mut left = entries.iter().rev();
        while count.is_none_or(|count| listing.records.len() < count) {
            let Some(entry) = left.next() else { break };
            match read(&entry.path) {
                Ok(record) => listing.records.push(record),
                Err(error) => listing.broken.push(error),
            }
        }
        listing.more = left.len();
        Ok(listing)
    }

    /// The record whose id begins so.
    pub fn find(&self, id: &str) -> Result<Record, RecordError> {
        let entries = self.entries()?;
        let fits = |entry: &&Entry| !id.is_empty() && entry.id().starts_with(id);
        let mut fitting: Vec<_> = entries.iter().filter(fits).collect();
        match (fitting.pop(), fitting.len()) {
            (Some(entry), 0) => read(&entry.path),
            (Some(entry), _) => {
                fitting.push(entry);
                Err(RecordError::Ambiguous {
                    id: id.to_owned(),
                    all: fitting.iter().map(|entry| entry.id().to_owned()).collect(),
                })
            }
            (None, _) => Err(RecordError::Missing(id.to_owned())),
        }
    }

    /// What lies in the directory, the oldest first, but for drafts.
    fn entries(&self) -> Result<Vec<Entry>, RecordError> {
        let failed = |source| RecordError::Io {
            doing: "read",
            path: self.directory.clone(),
            source,
        };
        let all = match fs::read_dir(&self.directory) {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut entries = Vec::new();
        for entry in all {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(DRAFT) {
                continue;
            }
            entries.push(Entry {
                name: name.strip_suffix(".json").unwrap_or(&name).to_owned(),
                path: entry.path(),
                // Another run may have let it go just now.
                bytes: entry.metadata().map_or(0, |facts| facts.len()),
            });
        }
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    /// Lets the oldest go. What cannot be removed now is tried again after the next run.
    fn prune(&self) {
        let Ok(entries) = self.entries() else { return };
        let (mut count, mut bytes) = (0, 0);
        for entry in entries.iter().rev() {
            count += 1;
            bytes += entry.bytes;
            if (count > MOST || bytes > MOST_BYTES) && count > 1 && is_ours(&entry.name) {
                fs::remove_file(&entry.path).ok();
            }
        }
    }
}

/// Is a file called as records are? What others have put there is left alone.
fn is_ours(name: &str) -> bool {
    name.split_once('-').is_some_and(|(began, id)| {
        began.bytes().all(|byte| byte.is_ascii_digit()) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

fn read(path: &Path) -> Result<Record, RecordError> {
    let failed = |source| RecordError::Io {
        doing: "read",
        path: path.to_owned(),
        source,
    };
    let broken = |why: String| RecordError::Broken {
        path: path.to_owned(),
        why,
    };
    let file = fs::File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    file.take(MOST_OF_ONE + 1)
        .read_to_end(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MOST_OF_ONE {
        return Err(broken("it is too large".to_owned()));
    }
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    if version.format != FORMAT {
        return Err(broken(format!(
            "it has form {}, of another version of Wharf",
            version.format
        )));
    }
    serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Collector,
        record::{self, Work},
    };

    fn records() -> (tempfile::TempDir, Records) {
        let directory = tempfile::tempdir().unwrap();
        let records = Records::at(directory.path().join("runs"));
        (directory, records)
    }

    fn record(id: &str, began: u64) -> Record {
        Record {
            id: id.to_owned(),
            began,
            ..Collector::default().record(Work::default(), Duration::ZERO, record::Result::Done, None)
        }
    }

    #[test]
    fn the_newest_come_first_and_are_found_by_their_beginning() {
        let (_directory, records) = records();
        assert!(records.newest(None).unwrap().records.is_empty());
        for (id, began) in [("aa000001", 1), ("ab000002", 20), ("ba000003", 3)] {
            records.keep(&record(id, began)).unwrap();
        }
        let listing = records.newest(Some(2)).unwrap();
        let ids: Vec<_> = listing.records.iter().map(|record| record.id.as_str()).collect();
        assert_eq!((ids, listing.more), (vec!["ab000002", "ba000003"], 1));
        assert_eq!(records.find("b").unwrap(), record("ba000003", 3));
        assert_eq!(
            records.find("a").unwrap_err().to_string(),
            "several runs begin with a: aa000001, ab000002"
        );
        assert!(matches!(records.find("c"), Err(RecordError::Missing(_))));
        assert!(matches!(records.find(""), Err(RecordError::Missing(_))));
    }

    #[test]
    fn what_is_no_record_is_named_and_the_others_are_read() {
        let (directory, records) = records();
        records.keep(&record("aa000001", 1)).unwrap();
        let place = |name: &str| directory.path().join("runs").join(name);
        fs::write(place("0000000000002-bb000002.json"), b"{\"format\":1,\"id\":").unwrap();
        fs::write(place("0000000000003-cc000003.json"), b"{\"format\":99}").unwrap();
        fs::write(place("notes.txt"), b"mine").unwrap();
        fs::create_dir(place("directory")).unwrap();
        fs::write(place(".draft123"), b"{").unwrap();
        let listing = records.newest(None).unwrap();
        assert_eq!(listing.records.len(), 1);
        let told: Vec<_> = listing.broken.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        for says in ["bb000002.json is no record", "form 99", "notes.txt", "directory"] {
            assert!(told.iter().any(|told| told.contains(says)), "{says}: {told:?}");
        }
        assert!(matches!(records.find("bb"), Err(RecordError::Broken { .. })));
    }

    #[test]
    fn the_oldest_go_and_what_is_somebody_elses_stays() {
        let (directory, records) = records();
        let runs = directory.path().join("runs");
        fs::create_dir(&runs).unwrap();
        fs::write(runs.join("0-notes.txt"), b"mine").unwrap();
        for at in 0..MOST {
            fs::write(runs.join(format!("{at:013}-{at:08x}.json")), b"{}").unwrap();
        }
        records.keep(&record("ffffffff", 1_000_000)).unwrap();
        assert!(runs.join("0-notes.txt").exists());
        assert!(!runs.join("0000000000000-00000000.json").exists());
        assert!(runs.join("0000000000001-00000001.json").exists());
        assert!(runs.join("0000001000000-ffffffff.json").exists());
    }
}
