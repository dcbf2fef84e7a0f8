//! A module for others to call: it counts words. It asks for one image, and for nothing else.

/// How often a word is there.
#[derive(Debug, wharf_sdk::Type)]
pub struct Count {
    /// The word, in lower case.
    word: String,
    /// How often.
    times: u32,
}

/// Counts words.
#[wharf_sdk::module]
mod functions {
    use std::collections::BTreeMap;

    use wharf_sdk::prelude::*;

    use crate::Count;

    /// How many words a text has. Plain Rust: no container is involved.
    pub fn count(
        /// The text.
        text: String,
    ) -> u32 {
        u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX)
    }

    /// The words that the files of a directory have most often, by a step in busybox.
    pub async fn most(
        /// The directory.
        source: Directory,
        /// How many words.
        #[default(10)]
        number: u32,
    ) -> Result<Vec<Count>> {
        let words = image::pull("busybox:1.36")
            .with_mounted_directory("/source", &source)
            .with_exec([
                "sh",
                "-c",
                "find /source -type f -exec cat {} + | tr -cs '[:alpha:]' '\\n'",
            ])
            .stdout()
            .await?;
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for word in words.split_whitespace() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
        let mut counts: Vec<_> = counts
            .into_iter()
            .map(|(word, times)| Count { word, times })
            .collect();
        counts.sort_by(|one, other| other.times.cmp(&one.times).then(one.word.cmp(&other.word)));
        counts.truncate(number as usize);
        Ok(counts)
    }
}
