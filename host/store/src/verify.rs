//! Looking for damage: what is not what it was when it was made is forgotten, and made again when it is asked for.

use std::io::{Read, Write};

use wharf_digest::{Digest, Hasher};

use crate::{
    error::{Context, Result},
    store::{Seen, Store},
};

/// What a search for damage found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Results that were looked at.
    pub results: u64,
    /// Blobs whose bytes were read.
    pub blobs: u64,
    /// What was damaged and is forgotten, in words.
    pub damaged: Vec<String>,
}

impl Store {
    /// Reads every blob and every tree whose digest is known, and forgets what is damaged. A damaged layer whose digest was
    /// never asked for is found only when it is missing.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for (blob, _) in self.blobs()? {
            verified.blobs += 1;
            if !self.has_its_bytes(&blob)? {
                self.remove_blob(&blob);
                verified.damaged.push(format!("file {blob}"));
            }
        }
        let mut damaged = Vec::new();
        for (record, _) in self.index.all_results()? {
            verified.results += 1;
            let _pin = self.pin(&record.output);
            if !self.is_whole(&record, &Seen::default()) || !self.is_as_computed(&record.output)? {
                verified.damaged.push(format!("result {}", record.key));
                damaged.push(record.key);
            }
        }
        self.index.remove_results(&damaged)?;
        for what in &verified.damaged {
            tracing::warn!("{what} is damaged: it is forgotten and will be made again");
        }
        Ok(verified)
    }

    fn has_its_bytes(&self, digest: &Digest) -> Result<bool> {
        let Some(mut file) = self.blob(digest)? else {
            return Ok(false);
        };
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut buffer).context(|| digest.to_string())?;
            if count == 0 {
                return Ok(hasher.finish() == *digest);
            }
            hasher
                .write_all(&buffer[..count])
                .context(|| digest.to_string())?;
        }
    }
}
