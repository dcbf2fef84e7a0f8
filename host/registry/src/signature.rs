//! Signatures of modules, in the form of cosign's: a signed text that names a manifest's digest, kept in the same repository
//! under a tag that follows from the digest. So cosign verifies what Wharf signs, and Wharf what cosign signs with a key.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, UnparsedPublicKey,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wharf_oci::{Document, Reference};

use crate::{
    artifact::{Blob, sha256},
    error::{Error, Result},
    sealed,
};

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";
/// When signatures are made, as far as they say.
const CREATED: &str = "0001-01-01T00:00:00Z";
/// What comes before the key itself in a public key of either kind.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const CURVE25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A key that signs.
pub struct SigningKey(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key that verifies: ECDSA on P-256 with SHA-256, or Ed25519.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// As X.509 has it.
    der: Vec<u8>,
}

/// A signed text and its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    /// The text that was signed.
    payload: String,
    /// In base64.
    signature: String,
}

impl SigningKey {
    /// Is it a key that opens with a password, as `cosign generate-key-pair` writes them?
    pub fn is_sealed(pem: &str) -> bool {
        sealed::is_sealed(pem)
    }

    /// Reads a key that is sealed with a password.
    pub fn open(pem: &str, password: &str) -> Result<Self> {
        Self::of_pkcs8(&sealed::open(pem, password.as_bytes())?)
    }

    /// Reads a key from PEM: PKCS #8, not encrypted.
    pub fn read(pem: &str) -> Result<Self> {
        if pem.contains("ENCRYPTED") {
            return Err(Error::Key(
                "it is encrypted, and not as cosign does: `openssl pkcs8 -topk8 -nocrypt` writes it without".to_owned(),
            ));
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            Error::Key("it is no private key in PEM, as `openssl genpkey` writes it".to_owned())
        })?;
        Self::of_pkcs8(der.secret_pkcs8_der())
    }

    fn of_pkcs8(der: &[u8]) -> Result<Self> {
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).map(Pair::P256);
        let pair = p256.or_else(|_| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519));
        pair.map(Self)
            .map_err(|_| Error::Key("it is neither an ECDSA key on P-256 nor an Ed25519 key".to_owned()))
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        let der = match &self.0 {
            Pair::P256(pair) => [&P256[..], pair.public_key().as_ref()].concat(),
            Pair::Ed25519(pair) => [&CURVE25519[..], pair.public_key().as_ref()].concat(),
        };
        PublicKey { der }
    }

    fn sign(&self, text: &[u8]) -> Result<Vec<u8>> {
        match &self.0 {
            Pair::P256(pair) => {
                let signed = pair.sign(&SystemRandom::new(), text);
                let signed = signed.map_err(|_| Error::Key("it does not sign".to_owned()))?;
                Ok(signed.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(text).as_ref().to_vec()),
        }
    }
}

impl PublicKey {
    /// Reads a key from PEM, as `openssl pkey -pubout` and cosign write it.
    pub fn read(pem: &str) -> Result<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| {
            Error::Key("it is no public key in PEM, as `openssl pkey -pubout` writes it".to_owned())
        })?;
        let key = Self { der: der.to_vec() };
        if key.parts().is_none() {
            return Err(Error::Key(
                "it is neither an ECDSA key on P-256 nor an Ed25519 key".to_owned(),
            ));
        }
        Ok(key)
    }

    /// A short name for it: the digest of its bytes.
    pub fn fingerprint(&self) -> String {
        sha256(&self.der)
    }

    fn parts(&self) -> Option<(bool, &[u8])> {
        let p256 = self.der.strip_prefix(&P256[..]).filter(|point| point.len() == 65);
        let ed25519 = self
            .der
            .strip_prefix(&CURVE25519[..])
            .filter(|key| key.len() == 32);
        p256.map(|point| (true, point))
            .or(ed25519.map(|key| (false, key)))
    }

    fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        let verified = match self.parts() {
            Some((true, point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(text, signature)
            }
            Some((false, key)) => UnparsedPublicKey::new(&ED25519, key).verify(text, signature),
            None => return false,
        };
        verified.is_ok()
    }
}

impl Signature {
    /// Signs an artifact.
    pub(crate) fn new(key: &SigningKey, artifact: &Reference, digest: &str) -> Result<Self> {
        let identity = format!("{}/{}", artifact.registry(), artifact.repository());
        // The text as cosign writes it, to the letter.
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":{}}},"image":{{"docker-manifest-digest":{}}},"type":{}}},"optional":null}}"#,
            json!(identity),
            json!(digest),
            json!(KIND)
        );
        let signature = STANDARD.encode(key.sign(payload.as_bytes())?);
        Ok(Self { payload, signature })
    }

    /// Does a key say with it that it means this artifact?
    pub(crate) fn is_by(&self, key: &PublicKey, digest: &str) -> bool {
        let Ok(signature) = STANDARD.decode(&self.signature) else {
            return false;
        };
        let said: Value = serde_json::from_str(&self.payload).unwrap_or_default();
        let named = said
            .pointer("/critical/image/docker-manifest-digest")
            .and_then(Value::as_str);
        let kind = said.pointer("/critical/type").and_then(Value::as_str);
        named == Some(digest) && kind == Some(KIND) && key.verifies(self.payload.as_bytes(), &signature)
    }

    /// The tag under which an artifact's signatures are kept.
    pub(crate) fn tag(digest: &str) -> String {
        format!("{}.sig", digest.replace(':', "-"))
    }

    /// Its text, as a blob.
    pub(crate) fn payload(&self) -> &[u8] {
        self.payload.as_bytes()
    }
}

/// The manifest and the configuration under which signatures are kept.
pub(crate) fn documents(signatures: &[Signature]) -> (Document, Document) {
    let digests: Vec<String> = signatures.iter().map(|one| sha256(one.payload())).collect();
    let config = json!({
        "architecture": "", "created": CREATED, "os": "", "config": {},
        "history": digests.iter().map(|_| json!({ "created": CREATED })).collect::<Vec<_>>(),
        "rootfs": { "type": "layers", "diff_ids": digests },
    });
    let config = Document::of_text(CONFIG, config.to_string().into_bytes());
    let layers = signatures.iter().zip(&digests).map(|(one, digest)| {
        json!({
            "mediaType": LAYER, "digest": digest, "size": one.payload.len(),
            "annotations": { ANNOTATION: one.signature },
        })
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": { "mediaType": CONFIG, "digest": config.digest, "size": config.text.len() },
        "layers": layers.collect::<Vec<_>>(),
    });
    (
        Document::of_text(MANIFEST, manifest.to_string().into_bytes()),
        config,
    )
}

/// The signatures that a manifest names: the blobs of their texts, and the signatures themselves.
pub(crate) fn listed(manifest: &[u8]) -> Vec<(Blob, String)> {
    #[derive(Deserialize)]
    struct Listed {
        #[serde(default)]
        layers: Vec<Blob>,
    }
    let listed: Option<Listed> = serde_json::from_slice(manifest).ok();
    let layers = listed.map(|listed| listed.layers).unwrap_or_default();
    let signed = layers.into_iter().filter(|layer| layer.media_type == LAYER);
    signed
        .filter_map(|layer| Some((layer.clone(), layer.annotations.get(ANNOTATION)?.clone())))
        .collect()
}

/// A signature whose text has arrived.
pub(crate) fn arrived(payload: Vec<u8>, signature: String) -> Option<Signature> {
    Some(Signature {
        payload: String::from_utf8(payload).ok()?,
        signature,
    })
}

/// Keys for tests, made on the spot.
#[cfg(test)]
pub(crate) mod keys {
    use super::*;

    fn pem(kind: &str, der: &[u8]) -> String {
        format!(
            "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
            STANDARD.encode(der)
        )
    }

    fn pair(der: &[u8]) -> (String, String) {
        let private = pem("PRIVATE KEY", der);
        let public = SigningKey::read(&private).unwrap().public();
        (private, pem("PUBLIC KEY", &public.der))
    }

    /// A private and a public key in PEM, on P-256.
    pub(crate) fn p256() -> (String, String) {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        pair(der.as_ref())
    }

    /// The same for Ed25519.
    pub(crate) fn ed25519() -> (String, String) {
        pair(
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
                .unwrap()
                .as_ref(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa";

    fn artifact() -> Reference {
        "registry.example/acme/tool:1.0.0".parse().unwrap()
    }

    #[test]
    fn what_a_key_signs_its_public_key_verifies_and_no_other() {
        let (one, other) = (keys::p256(), keys::ed25519());
        for ((key, public), (_, other)) in [(&one, &other), (&other, &one), (&one, &keys::p256())] {
            let key = SigningKey::read(key).unwrap();
            let public = PublicKey::read(public).unwrap();
            assert_eq!(key.public(), public);
            let signature = Signature::new(&key, &artifact(), DIGEST).unwrap();
            assert!(signature.is_by(&public, DIGEST));
            assert!(!signature.is_by(&PublicKey::read(other).unwrap(), DIGEST));
            assert!(!signature.is_by(&public, &DIGEST.replace("86e0", "86e1")));
            let mut forged = signature.clone();
            forged.payload = forged.payload.replace("registry.example", "registry.exampel");
            assert!(!forged.is_by(&public, DIGEST));
        }
    }

    #[test]
    fn signatures_are_read_as_they_were_written() {
        let key = SigningKey::read(&keys::p256().0).unwrap();
        let signature = Signature::new(&key, &artifact(), DIGEST).unwrap();
        let (manifest, _) = documents(std::slice::from_ref(&signature));
        let listed = listed(&manifest.text);
        let [(blob, written)] = &listed[..] else {
            panic!("{listed:?}")
        };
        assert_eq!(blob.digest, sha256(signature.payload()));
        assert_eq!(
            arrived(signature.payload().to_vec(), written.clone()),
            Some(signature)
        );
        assert_eq!(
            Signature::tag(DIGEST),
            "sha256-86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa.sig"
        );
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let refused = |pem: &str| PublicKey::read(pem).unwrap_err().to_string();
        assert!(refused("").contains("openssl pkey"));
        assert!(refused(&keys::p256().0).contains("openssl pkey"));
        let refused = |pem: &str| match SigningKey::read(pem) {
            Ok(_) => panic!("it is read"),
            Err(error) => error.to_string(),
        };
        assert!(refused(&keys::p256().1).contains("openssl genpkey"));
        assert!(refused("-----BEGIN ENCRYPTED PRIVATE KEY-----").contains("encrypted"));
    }
}
