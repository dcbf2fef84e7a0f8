//! Blobs: bytes by their digest. What steps print.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use tempfile::NamedTempFile;
use wharf_digest::{Digest, Hasher};

use crate::{
    edit,
    error::{Context, Error, Result},
    layer::Snapshot,
    store::Store,
};

/// A blob that is being written. Only what is small sits in memory, and only what is not small takes a file to write it.
#[derive(Debug)]
pub struct LogDraft {
    drafts: PathBuf,
    file: Option<NamedTempFile>,
    hasher: Hasher,
    buffer: Vec<u8>,
}

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 * 1024;
/// Bytes that are written at once. With more the kernel looks for so large pieces of memory that it takes ten times as long.
const PIECE: usize = 1024 * 1024;

impl LogDraft {
    /// The file that it is written to, with all that was written so far in it; it stays there once the blob is published.
    pub fn file(&mut self) -> io::Result<File> {
        self.flush_buffer()?;
        match &self.file {
            Some(file) => file.as_file().try_clone(),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn flush_buffer(&mut self) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.put(&buffer)?;
        buffer.clear();
        self.buffer = buffer;
        Ok(())
    }

    /// Writes to the file, which is made when there is none.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(NamedTempFile::new_in(&self.drafts)?),
        };
        self.hasher.update(bytes);
        file.as_file_mut().write_all(bytes)
    }

    /// The digest of what was written. What is small is still in memory after that.
    pub(crate) fn digest(mut self) -> io::Result<(Digest, Self)> {
        if self.file.is_none() {
            return Ok((Digest::of(&self.buffer), self));
        }
        self.flush_buffer()?;
        Ok((self.hasher.finish(), self))
    }

    /// Gives the file that was written a name for good.
    pub(crate) fn persist(mut self, path: &Path) -> io::Result<()> {
        self.flush_buffer()?;
        match self.file {
            Some(file) => file.persist(path).map(drop).map_err(|error| error.error),
            None => Ok(()),
        }
    }

    /// What has been written so far.
    pub fn so_far(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if let Some(file) = &self.file {
            file.reopen()?.read_to_end(&mut bytes)?;
        }
        bytes.extend_from_slice(&self.buffer);
        Ok(bytes)
    }
}

impl Write for LogDraft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let is_large = self.buffer.is_empty() && bytes.len() >= BUFFER;
        let taken = bytes.len().min(if is_large {
            PIECE
        } else {
            BUFFER - self.buffer.len()
        });
        let bytes = &bytes[..taken];
        if is_large {
            self.put(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
            if self.buffer.len() >= BUFFER {
                self.flush_buffer()?;
            }
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_buffer()
    }
}

impl Store {
    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.digest_path("blobs", digest)
    }

    /// Where a part of the store has the file of this digest: many directories, for those that are made at once.
    pub(crate) fn digest_path(&self, part: &str, digest: &Digest) -> PathBuf {
        let hex = digest.to_hex();
        self.directory.join(part).join(&hex[..2]).join(&hex)
    }

    /// A blob to be written piece by piece.
    pub fn new_log(&self) -> LogDraft {
        LogDraft {
            drafts: self.directory.join("drafts"),
            file: None,
            hasher: Hasher::default(),
            buffer: Vec::new(),
        }
    }

    /// A file for what is on its way elsewhere: without a name, gone with its handle.
    pub fn passing_file(&self) -> Result<File> {
        tempfile::tempfile_in(self.directory.join("drafts")).context(|| "a file on its way".to_owned())
    }

    /// Makes a draft a blob.
    pub fn publish_log(&self, draft: LogDraft) -> Result<Digest> {
        let said = || "a new blob".to_owned();
        let (digest, draft) = draft.digest().context(said)?;
        self.pins.made_blob(digest);
        if !self.has_blob(&digest) {
            let path = self.blob_path(&digest);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).context(said)?;
            }
            draft.persist(&path).context(said)?;
            self.grown.store(true, Ordering::Relaxed);
        }
        Ok(digest)
    }

    /// Makes a draft the one file of a new tree, owned by root; returns the digest of its bytes, too.
    pub fn publish_as_file(&self, mut draft: LogDraft, name: &str, mode: u32) -> Result<(Digest, Snapshot)> {
        let said = || format!("the new file {name}");
        draft.flush_buffer().context(said)?;
        let layer = self.new_layer(&Snapshot::default())?;
        if let Some(file) = draft.file.take() {
            edit::set_mode(file.as_file(), mode).context(said)?;
            file.persist(layer.path().join(name))
                .map_err(|error| Error::io(said(), error.error))?;
        }
        let snapshot = Snapshot::default().with(self.publish(layer)?);
        self.pins.give_out(&snapshot);
        Ok((draft.hasher.finish(), snapshot))
    }

    /// Keeps bytes.
    pub fn put_blob(&self, bytes: &mut dyn Read) -> Result<Digest> {
        let mut draft = self.new_log();
        io::copy(bytes, &mut draft).context(|| "a new blob".to_owned())?;
        self.publish_log(draft)
    }

    /// Opens a blob.
    pub fn blob(&self, digest: &Digest) -> Result<Option<File>> {
        match File::open(self.blob_path(digest)) {
            Ok(file) => {
                let is_empty = file.metadata().is_ok_and(|metadata| metadata.len() == 0);
                Ok((!is_empty || *digest == Digest::of(b"")).then_some(file))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(digest.to_string(), error)),
        }
    }

    /// Is there such a blob? One that a failing disk emptied is none.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        let metadata = self.blob_path(digest).metadata();
        metadata.is_ok_and(|metadata| metadata.len() > 0 || *digest == Digest::of(b""))
    }

    /// Removes a blob; one that is not there is no error.
    pub(crate) fn remove_blob(&self, digest: &Digest) -> u64 {
        let path = self.blob_path(digest);
        let size = path.metadata().map_or(0, |metadata| metadata.len());
        std::fs::remove_file(path).map_or(0, |()| size)
    }

    /// Digests and sizes of all blobs.
    pub(crate) fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        self.digests_in("blobs")
    }

    /// Digests and sizes of the files in a part of the store.
    pub(crate) fn digests_in(&self, part: &str) -> Result<Vec<(Digest, u64)>> {
        let directory = self.directory.join(part);
        let said = || directory.display().to_string();
        let mut found = Vec::new();
        for part in std::fs::read_dir(&directory).context(said)? {
            for file in std::fs::read_dir(part.context(said)?.path()).context(said)? {
                let file = file.context(said)?;
                let digest = file.file_name().to_str().and_then(|name| name.parse().ok());
                found.extend(digest.zip(file.metadata().ok().map(|metadata| metadata.len())));
            }
        }
        Ok(found)
    }
}
