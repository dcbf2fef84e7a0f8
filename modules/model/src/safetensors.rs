//! The header of a safetensors file: which tensors it has, of which type, and where. The weights are not read.

use std::collections::BTreeMap;

use serde::Deserialize;
use wharf_sdk::prelude::*;

/// The longest header that the format allows.
const LONGEST: u64 = 100_000_000;
/// Bytes that are read at once.
const READ: u64 = 8 << 20;
/// Types and how many bits one value has.
const TYPES: [(&str, u64); 17] = [
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
    ("F32", 32),
    ("I32", 32),
    ("U32", 32),
    ("F16", 16),
    ("BF16", 16),
    ("I16", 16),
    ("U16", 16),
    ("F8_E4M3", 8),
    ("F8_E5M2", 8),
    ("F8_E8M0", 8),
    ("I8", 8),
    ("U8", 8),
    ("BOOL", 8),
    ("F4", 4),
];

/// What a file says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    #[serde(rename = "__metadata__", default)]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Tensor {
    pub(crate) dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

/// How a tensor was stored that has fewer bits than its type.
#[derive(Debug, Deserialize)]
struct Quantized {
    shape: Vec<u64>,
}

impl Tensor {
    pub(crate) fn bytes(&self) -> u64 {
        self.data_offsets.1.saturating_sub(self.data_offsets.0)
    }
}

impl Header {
    /// Reads the header of a file, and no more of it.
    pub(crate) async fn read(file: &File, path: &str) -> Result<Self> {
        let (size, start) = join!(file.size(), file.read(0, 8));
        let size = size?;
        let start: [u8; 8] = start?
            .try_into()
            .map_err(|_| broken(path, "it is shorter than a header"))?;
        let length = u64::from_le_bytes(start);
        if length > LONGEST || length > size.saturating_sub(8) {
            return Err(broken(
                path,
                &format!("it says that its header has {length} bytes, and has {size} itself"),
            ));
        }
        let mut text = Vec::with_capacity(length as usize);
        while (text.len() as u64) < length {
            let at = text.len() as u64;
            let part = file.read(8 + at, READ.min(length - at) as u32).await?;
            if part.is_empty() {
                return Err(broken(path, "it ends within its header"));
            }
            text.extend(part);
        }
        Self::parse(&text, size - 8 - length).map_err(|why| broken(path, &why))
    }

    /// Reads a header before so many bytes of content.
    fn parse(text: &[u8], content: u64) -> std::result::Result<Self, String> {
        let header: Self =
            serde_json::from_slice(text).map_err(|error| format!("its header makes no sense: {error}"))?;
        let mut tensors: Vec<_> = header.tensors.iter().collect();
        tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
        let mut end = 0;
        for (name, tensor) in tensors {
            let (from, to) = tensor.data_offsets;
            if from != end || to < from {
                return Err(format!(
                    "the tensor {name} lies at {from} to {to}, and the one before it ends at {end}"
                ));
            }
            let bits = TYPES.iter().find(|(known, _)| *known == tensor.dtype);
            let (_, bits) =
                bits.ok_or_else(|| format!("the tensor {name} has the unknown type {}", tensor.dtype))?;
            let needed = product(&tensor.shape).and_then(|values| values.checked_mul(*bits));
            if needed != (to - from).checked_mul(8) {
                return Err(format!(
                    "the tensor {name} of {} and the shape {:?} cannot have {} bytes",
                    tensor.dtype,
                    tensor.shape,
                    to - from
                ));
            }
            end = to;
        }
        if end != content {
            return Err(format!(
                "its tensors have {end} bytes, and {content} follow the header"
            ));
        }
        Ok(header)
    }

    /// Its tensors by name, each with how many parameters it has: values that were packed or are only scales count as the ones
    /// that they stand for.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&Tensor, u64)> {
        let quantized: BTreeMap<String, Quantized> = self
            .metadata
            .get("quantized")
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        self.tensors.iter().map(move |(name, tensor)| {
            let is_scale = name
                .strip_suffix(".scale")
                .is_some_and(|name| quantized.contains_key(name));
            let shape = quantized.get(name).map_or(&tensor.shape, |own| &own.shape);
            let parameters = if is_scale { 0 } else { product(shape).unwrap_or(0) };
            (tensor, parameters)
        })
    }
}

fn product(shape: &[u64]) -> Option<u64> {
    shape
        .iter()
        .try_fold(1_u64, |product, length| product.checked_mul(*length))
}

fn broken(path: &str, why: &str) -> Error {
    Error::with_code(
        "broken-model",
        format!("{path} is no whole safetensors file: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, content: u64) -> std::result::Result<Header, String> {
        Header::parse(text.as_bytes(), content)
    }

    #[test]
    fn a_header_tells_types_and_parameters() {
        let text = r#"{"__metadata__": {"format": "pt"},
            "b": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
            "a": {"dtype": "F16", "shape": [2, 2], "data_offsets": [12, 20]},
            "none": {"dtype": "I64", "shape": [0], "data_offsets": [20, 20]}}"#;
        let header = parse(text, 20).unwrap();
        let told: Vec<_> = header
            .tensors()
            .map(|(tensor, parameters)| (tensor.dtype.as_str(), tensor.bytes(), parameters))
            .collect();
        assert_eq!(told, [("F16", 8, 4), ("F32", 12, 3), ("I64", 0, 0)]);
    }

    #[test]
    fn what_was_packed_counts_as_what_it_stands_for() {
        let text = r#"{"__metadata__": {"quantized": "{\"w\": {\"bits\": 4, \"shape\": [3, 3]}}"},
            "w": {"dtype": "U8", "shape": [5], "data_offsets": [0, 5]},
            "w.scale": {"dtype": "F32", "shape": [1], "data_offsets": [5, 9]}}"#;
        let parameters: u64 = parse(text, 9).unwrap().tensors().map(|(_, count)| count).sum();
        assert_eq!(parameters, 9);
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let tensor = |dtype: &str, shape: &str, offsets: &str| {
            format!(r#"{{"a": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": {offsets}}}}}"#)
        };
        for (text, said) in [
            (
                tensor("F32", "[2]", "[0, 8]"),
                "its tensors have 8 bytes, and 12 follow",
            ),
            (tensor("F32", "[2]", "[4, 12]"), "lies at 4 to 12"),
            (tensor("F32", "[3]", "[0, 8]"), "cannot have 8 bytes"),
            (
                tensor("F32", "[4294967296, 4294967296]", "[0, 12]"),
                "cannot have 12 bytes",
            ),
            (tensor("F32", "[3]", "[12, 0]"), "lies at 12 to 0"),
            (tensor("Q7", "[3]", "[0, 12]"), "unknown type Q7"),
            ("[]".to_owned(), "makes no sense"),
        ] {
            let error = parse(&text, 12).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
