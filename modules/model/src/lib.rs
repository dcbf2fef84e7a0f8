//! Models in safetensors: what they hold, fewer bits for their weights, and how well they do then.

mod evaluation;
mod safetensors;

pub use evaluation::{Candidate, Level};

/// What a model's weights are.
#[derive(Clone, Debug, PartialEq, Eq, wharf_sdk::Type)]
pub struct Description {
    /// How many parameters it has.
    pub parameters: u64,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// How many files they are in.
    pub files: u32,
    /// By the type that they are stored as.
    pub types: Vec<Stored>,
}

/// What is stored as one type.
#[derive(Clone, Debug, PartialEq, Eq, wharf_sdk::Type)]
pub struct Stored {
    /// The type, as safetensors calls it: `F32`, `BF16`, `I8` …
    pub dtype: String,
    /// How many tensors.
    pub tensors: u64,
    /// How many parameters.
    pub parameters: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Models in safetensors: what they hold, fewer bits for their weights, and how well they do then.
///
/// It computes in containers that it is handed and has no network.
#[wharf_sdk::module]
mod functions {
    use std::collections::BTreeMap;

    use wharf_sdk::prelude::*;

    use crate::{Candidate, Description, Level, Stored, evaluation, safetensors::Header};

    /// What a model's weights are, by the headers of its safetensors files: the weights are not loaded. Fails when a file is not
    /// whole, or its tensors do not fit together.
    pub async fn describe(
        /// The model's directory.
        model: Directory,
    ) -> Result<Description> {
        let paths = model.glob("**/*.safetensors").await?;
        if paths.is_empty() {
            return Err(Error::NotFound("the model has no safetensors file".to_owned()));
        }
        let reads = paths.iter().map(|path| {
            let file = model.file(path);
            async move { Header::read(&file, path).await }
        });
        let mut types: BTreeMap<String, Stored> = BTreeMap::new();
        for header in join_all(reads).await {
            for (tensor, parameters) in header?.tensors() {
                let stored = types.entry(tensor.dtype.clone()).or_insert_with(|| Stored {
                    dtype: tensor.dtype.clone(),
                    tensors: 0,
                    parameters: 0,
                    bytes: 0,
                });
                stored.tensors += 1;
                stored.parameters += parameters;
                stored.bytes += tensor.bytes();
            }
        }
        let types: Vec<_> = types.into_values().collect();
        Ok(Description {
            parameters: types.iter().map(|stored| stored.parameters).sum(),
            bytes: types.iter().map(|stored| stored.bytes).sum(),
            files: paths.len() as u32,
            types,
        })
    }

    /// The model with fewer bits for its weights, in safetensors as before, and its other files as they were.
    pub async fn quantize(
        /// The model's directory.
        model: Directory,
        /// How many bits.
        level: Level,
        /// A container with Python and numpy.
        python: Container,
    ) -> Result<Directory> {
        Ok(evaluation::quantized(&model, level, &python))
    }

    /// How well a model does, as a script of yours says: `evaluate.py` of a directory, run as `python evaluate.py MODEL DATA`. The last
    /// line that it prints is a JSON object with a number `score`. It can `import wharf_weights`.
    pub async fn evaluate(
        /// The model's directory.
        model: Directory,
        /// A directory with `evaluate.py` and what it imports.
        evaluation: Directory,
        /// What the model is tried on.
        data: File,
        /// A container with Python and what the script imports.
        python: Container,
    ) -> Result<f64> {
        let place = evaluation::place().await?;
        Ok(evaluation::scored(&model, &evaluation, &data, &python, &place)
            .await?
            .score)
    }

    /// Tries several levels at once, and says of each how large it is, how well it does, and whether that is enough.
    pub async fn compare(
        /// The model's directory.
        model: Directory,
        /// A directory with `evaluate.py` and what it imports.
        evaluation: Directory,
        /// What the model is tried on.
        data: File,
        /// The least score that is enough.
        threshold: f64,
        /// The levels; all of them when none is named.
        levels: Vec<Level>,
        /// A container with Python, numpy and what the script imports.
        python: Container,
    ) -> Result<Vec<Candidate>> {
        evaluation::compared(&model, &evaluation, &data, threshold, &levels, &python).await
    }

    /// The smallest of several levels whose score is enough. Fails when none is, and says how well each does.
    pub async fn smallest(
        /// The model's directory.
        model: Directory,
        /// A directory with `evaluate.py` and what it imports.
        evaluation: Directory,
        /// What the model is tried on.
        data: File,
        /// The least score that is enough.
        threshold: f64,
        /// The levels; all of them when none is named.
        levels: Vec<Level>,
        /// A container with Python, numpy and what the script imports.
        python: Container,
    ) -> Result<Candidate> {
        let candidates =
            evaluation::compared(&model, &evaluation, &data, threshold, &levels, &python).await?;
        evaluation::chosen(candidates, threshold)
    }

    /// `wharf_weights.py`, which loads models of every level with numpy alone: for scripts and services.
    pub fn loader() -> File {
        evaluation::loader()
    }
}

#[cfg(test)]
mod tests;
