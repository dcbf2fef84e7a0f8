//! Helpers for generous parameters: lists of anything that is text.

/// Owned strings from anything that yields text.
pub(crate) fn owned<I, S>(texts: I) -> Vec<String>
where
    I: IntoIterator<Item = S>,
    S: Into<String>,
{
    texts.into_iter().map(Into::into).collect()
}
