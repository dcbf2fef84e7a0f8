//! The one digest type: blake3, 32 bytes.
