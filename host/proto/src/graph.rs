//! The graph's own types as bytes in a message.

use serde::{Serialize, de::DeserializeOwned};

/// Bytes that are not what the message says; both ends of a connection are the same version, so this is a defect.
#[derive(Debug, thiserror::Error)]
#[error("a message between client and engine does not decode: are both of the same version?")]
pub struct DecodeError;

/// A question, answer, error or pin as bytes.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("values of the graph always encode")
}

/// Back from bytes.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    postcard::from_bytes(bytes).map_err(|_| DecodeError)
}
