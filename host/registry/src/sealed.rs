//! Private keys as cosign keeps them: sealed with a password, by scrypt and NaCl's secretbox.

use base64::{Engine, engine::general_purpose::STANDARD};
use crypto_secretbox::{KeyInit, XSalsa20Poly1305, aead::Aead};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What cosign writes around such a key, now and formerly.
const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
/// The most that a key may ask for to be opened: 1 GiB of memory (128 bytes times `N` times `r`).
const MEMORY: u64 = 1 << 30;
/// The most rounds that it may ask for.
const ROUNDS: u32 = 16;
/// The bytes of a secretbox's key and nonce.
const KEY: usize = 32;
const NONCE: usize = 24;

#[derive(Deserialize)]
struct Sealed {
    kdf: Derivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Derivation {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Clone, Copy, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Is this text such a key?
pub(crate) fn is_sealed(pem: &str) -> bool {
    LABELS.iter().any(|label| pem.contains(&format!("-----BEGIN {label}-----")))
}

/// The key itself, as PKCS #8.
pub(crate) fn open(text: &str, password: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let wrong = |what: &str| Error::Key(format!("it is sealed as cosign does, and {what}"));
    let damaged = || wrong("what it says about that cannot be read");
    let block = pem::parse(text).map_err(|_| damaged())?;
    let sealed: Sealed = serde_json::from_slice(block.contents()).map_err(|_| damaged())?;
    if (sealed.kdf.name.as_str(), sealed.cipher.name.as_str()) != ("scrypt", "nacl/secretbox") {
        return Err(wrong(&format!(
            "in a way that this version does not know: {} and {}",
            sealed.kdf.name, sealed.cipher.name
        )));
    }
    let decoded = |text: &str| STANDARD.decode(text).map_err(|_| damaged());
    let (salt, nonce) = (decoded(&sealed.kdf.salt)?, decoded(&sealed.cipher.nonce)?);
    let nonce: [u8; NONCE] = nonce.try_into().map_err(|_| damaged())?;
    let mut key = Zeroizing::new([0; KEY]);
    let params = params(sealed.kdf.params).ok_or_else(|| wrong("asks for more memory or time than a key should"))?;
    scrypt::scrypt(password, &salt, &params, &mut *key).map_err(|_| damaged())?;
    let opened = XSalsa20Poly1305::new((&*key).into()).decrypt((&nonce).into(), &*decoded(&sealed.ciphertext)?);
    opened.map(Zeroizing::new).map_err(|_| wrong("this is not its password"))
}

fn params(params: Params) -> Option<scrypt::Params> {
    let memory = params.n.checked_mul(u64::from(params.r))?.checked_mul(128)?;
    if !params.n.is_power_of_two() || memory > MEMORY || params.p > ROUNDS {
        return None;
    }
    let log = u8::try_from(params.n.trailing_zeros()).ok()?;
    scrypt::Params::new(log, params.r, params.p, KEY).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signature::{SigningKey, keys};

    const LOG: u8 = 10;

    /// The key in `pem`, sealed as cosign does.
    fn seal(pem: &str, password: &[u8], change: impl FnOnce(&mut Value)) -> String {
        let key = pem::parse(pem).unwrap();
        let (salt, nonce) = ([7; 32], [9; NONCE]);
        let mut derived = [0; KEY];
        let params = scrypt::Params::new(LOG, 8, 1, KEY).unwrap();
        scrypt::scrypt(password, &salt, &params, &mut derived).unwrap();
        let sealed = XSalsa20Poly1305::new((&derived).into()).encrypt((&nonce).into(), key.contents());
        let mut said = json!({
            "kdf": { "name": "scrypt", "params": { "N": 1 << LOG, "r": 8, "p": 1 }, "salt": STANDARD.encode(salt) },
            "cipher": { "name": "nacl/secretbox", "nonce": STANDARD.encode(nonce) },
            "ciphertext": STANDARD.encode(sealed.unwrap()),
        });
        change(&mut said);
        pem::encode(&pem::Pem::new(LABELS[0], said.to_string()))
    }

    fn refused(text: &str, password: &[u8]) -> String {
        open(text, password).unwrap_err().to_string()
    }

    #[test]
    fn a_sealed_key_opens_with_its_password_alone() {
        let (private, _) = keys::p256();
        let sealed = seal(&private, b"right", |_| {});
        assert!(is_sealed(&sealed) && !is_sealed(&private));
        let opened = SigningKey::open(&sealed, "right").unwrap();
        assert_eq!(opened.public(), SigningKey::read(&private).unwrap().public());
        assert!(refused(&sealed, b"wrong").contains("not its password"));
        assert!(refused(&sealed, b"").contains("not its password"));
    }

    #[test]
    fn a_key_asks_for_no_more_memory_and_time_than_it_should() {
        let (private, _) = keys::p256();
        for params in [
            json!({ "N": 1_u64 << 40, "r": 8, "p": 1 }),
            json!({ "N": u64::MAX, "r": 8, "p": 1 }),
            json!({ "N": 1000, "r": 8, "p": 1 }),
            json!({ "N": 1024, "r": 8, "p": 4096 }),
            json!({ "N": 1024, "r": 0, "p": 1 }),
            json!({ "N": 0, "r": 8, "p": 1 }),
        ] {
            let sealed = seal(&private, b"right", |said| said["kdf"]["params"] = params.clone());
            assert!(refused(&sealed, b"right").contains("more memory or time"), "{params}");
        }
    }

    #[test]
    fn what_is_no_sealed_key_is_said_to_be_none() {
        let (private, _) = keys::p256();
        let other = seal(&private, b"right", |said| said["kdf"]["name"] = json!("argon2"));
        assert!(refused(&other, b"right").contains("argon2 and nacl/secretbox"));
        for damage in ["ciphertext", "kdf", "cipher"] {
            let damaged = seal(&private, b"right", |said| said[damage] = json!("?"));
            assert!(refused(&damaged, b"right").contains("cannot be read"), "{damage}");
        }
        let label = LABELS[1];
        let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert!(is_sealed(&text));
        assert!(refused(&text, b"right").contains("cannot be read"));
        assert!(refused("nothing", b"right").contains("cannot be read"));
    }
}
