//! A key that never leaves the store: what is derived from a secret with it tells nothing about the secret, and is good for
//! nothing elsewhere.

use wharf_digest::Digest;
use wharf_graph::Error;
use wharf_store::Store;

use crate::engine::Engine;

impl Engine {
    /// The key, made when there is none.
    pub(crate) async fn private_key(&self) -> Result<[u8; 32], Error> {
        let make = || self.with_store(private_key);
        self.private_key.get_or_try_init(make).await.copied()
    }
}

fn private_key(store: &Store) -> Result<[u8; 32], wharf_store::Error> {
    let name = Digest::of(b"the store's private key");
    let known: Option<[u8; 32]> = store.note(&name)?.and_then(|note| note.try_into().ok());
    if let Some(key) = known {
        return Ok(key);
    }
    let mut key = [0; 32];
    rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| wharf_store::Error::io("a random key", error))?;
    store.put_note(&name, &key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use wharf_store::StoreOptions;

    use super::*;

    #[test]
    fn a_value_has_one_name_in_one_store_and_another_in_the_next() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let name = |at: usize, value: &[u8]| {
            let store = Store::open(directories[at].path(), StoreOptions::default()).unwrap();
            Digest::keyed(&private_key(&store).unwrap(), value)
        };
        let first = name(0, b"value");
        assert_eq!(name(0, b"value"), first);
        assert_ne!(name(0, b"other"), first);
        assert_ne!(name(1, b"value"), first);
    }
}
