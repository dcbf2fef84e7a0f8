//! Names for values that must not be told from their names: digests under a key that only this store has.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
};

use wharf_digest::Digest;

use crate::{
    error::{Context, Result},
    store::Store,
};

/// The file with the key.
const FILE: &str = "key";

impl Store {
    /// A name for a secret value: equal for equal values in this store, and good for nothing elsewhere.
    pub fn blind(&self, value: &[u8]) -> Result<Digest> {
        Ok(Digest::keyed(&self.key()?, value))
    }

    /// The key, made when there is none, or none that is whole.
    fn key(&self) -> Result<[u8; 32]> {
        let path = self.directory.join(FILE);
        let said = || path.display().to_string();
        if let Ok(key) = fs::read(&path)
            && let Ok(key) = key.try_into()
        {
            return Ok(key);
        }
        let mut key = [0; 32];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty()).context(said)?;
        let draft = path.with_extension("new");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft);
        file.and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
            .context(said)?;
        fs::rename(&draft, &path).context(said)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Store, StoreOptions};

    #[test]
    fn a_name_is_the_same_in_one_store_and_another_in_the_next() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let name = |at: usize, value: &[u8]| {
            let store = Store::open(directories[at].path(), StoreOptions::default()).unwrap();
            store.blind(value).unwrap()
        };
        let first = name(0, b"value");
        assert_eq!(name(0, b"value"), first);
        assert_ne!(name(0, b"other"), first);
        assert_ne!(name(1, b"value"), first);
    }
}
