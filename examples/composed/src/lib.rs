//! A module that calls another one: see [dependencies] and [grants] in wharf.toml.

/// Reports about texts.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use super::wharf_examples_words as words;

    /// A line for each of the words that a directory's files have most often.
    pub async fn report(
        /// The directory.
        source: Directory,
        /// How many words.
        #[default(5)]
        number: u32,
    ) -> Result<String> {
        let counts = words::most(&source, number).await?;
        let lines = counts
            .iter()
            .map(|count| format!("{:>6} {}\n", count.times, count.word));
        Ok(lines.collect())
    }

    /// Counts the words of one text so many times: what a call of another module costs.
    pub async fn calls(
        /// How many times.
        #[default(1)]
        count: u32,
    ) -> Result<u32> {
        let mut sum = 0;
        for _ in 0..count {
            sum += words::count("two words".to_owned()).await?;
        }
        Ok(sum)
    }
}
