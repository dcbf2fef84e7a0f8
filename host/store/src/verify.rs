//! Looking for damage: what is not what it was when it was made is forgotten, and made again when it is asked for.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Write},
};

use wharf_digest::{Digest, Hasher};

use crate::{
    error::{Context, Result},
    layer::LayerId,
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
    /// Reads every blob, every file that was sent and every tree whose digest is known, and forgets what is damaged. Other
    /// damaged layers whose digest was never asked for are found only when they are missing.
    pub fn verify(&self) -> Result<Verified> {
        let mut verified = Verified::default();
        for (blob, _) in self.blobs()? {
            verified.blobs += 1;
            let has_its_bytes = match self.blob(&blob)? {
                Some(file) => has_bytes_of(file, &blob)?,
                None => false,
            };
            if !has_its_bytes {
                self.remove_blob(&blob);
                verified.damaged.push(format!("file {blob}"));
            }
        }
        let torn = self.torn_trees(&mut verified)?;
        let mut damaged = Vec::new();
        for (record, _) in self.index.all_results()? {
            verified.results += 1;
            let _pin = self.pin(&record.output);
            let is_torn = record.output.layers().iter().any(|layer| torn.contains(layer));
            if is_torn || !self.is_whole(&record, &Seen::default()) || !self.is_as_computed(&record.output)? {
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

    /// Uploaded trees with files that are not what was sent, and files that are in no tree yet and damaged: these are removed.
    fn torn_trees(&self, verified: &mut Verified) -> Result<HashSet<LayerId>> {
        let mut torn = HashSet::new();
        for (digest, _) in self.digests_in("received")? {
            verified.blobs += 1;
            if let Some(file) = self.open_received(&digest)?
                && !has_bytes_of(file, &digest)?
            {
                std::fs::remove_file(self.received_path(&digest)).ok();
                verified.damaged.push(format!("file {digest}"));
            }
        }
        for placed in self.index.all_placed()? {
            verified.blobs += 1;
            let has_its_bytes = match self.open_placed(&placed.digest)? {
                Some((file, _, _pin)) => has_bytes_of(file, &placed.digest)?,
                None => false,
            };
            if !has_its_bytes {
                torn.insert(placed.layer);
            }
        }
        self.index.forget_placed(&torn)?;
        Ok(torn)
    }
}

fn has_bytes_of(mut file: File, digest: &Digest) -> Result<bool> {
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
