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
