//! What a step prints: streamed to whoever waits, written to the store, its end kept for messages, secrets taken out.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use tokio::{io::AsyncReadExt, net::unix::pipe};
use wharf_digest::Digest;
use wharf_store::LogDraft;

use crate::session::{Audience, Logged, lock};

/// How much of an output's end goes into an error message.
const TAIL: usize = 8 * 1024;
/// Bytes read from a step at once.
const CHUNK: usize = 64 * 1024;
/// What stands where a secret stood.
const MASK: &[u8] = b"***";

/// The end of an output.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let excess = self.0.len().saturating_sub(TAIL);
        self.0.drain(..excess);
    }

    /// As text; what is not UTF-8 is replaced.
    pub(crate) fn text(&self) -> String {
        let (front, back) = self.0.as_slices();
        String::from_utf8_lossy(&[front, back].concat()).into_owned()
    }
}

/// One output of a step on its way.
pub(crate) struct Pump {
    pub(crate) key: Digest,
    pub(crate) stderr: bool,
    pub(crate) audience: Audience,
    pub(crate) scrubber: Scrubber,
    /// This output alone.
    pub(crate) own: LogDraft,
    /// Both outputs in the order of their arrival.
    pub(crate) combined: Arc<Mutex<Combined>>,
}

/// Both outputs of a step in the order of their arrival, on their way to the store.
pub(crate) struct Combined {
    draft: LogDraft,
    /// Bytes that were added.
    length: u64,
    /// For clients that are behind.
    file: Option<Arc<File>>,
}

impl Combined {
    pub(crate) fn new(draft: LogDraft) -> Self {
        Self {
            draft,
            length: 0,
            file: None,
        }
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.length += bytes.len() as u64;
        self.draft.write_all(bytes)
    }

    /// Where the bytes that were added last lie, so many; they can be read.
    fn last(&mut self, length: usize) -> io::Result<Logged> {
        self.draft.flush()?;
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::clone(self.file.insert(Arc::new(self.draft.file()?))),
        };
        Ok(Logged {
            file,
            offset: self.length - length as u64,
            length,
        })
    }

    /// All that was added until now.
    pub(crate) fn so_far(&self) -> io::Result<Vec<u8>> {
        self.draft.so_far()
    }

    pub(crate) fn into_draft(self) -> LogDraft {
        self.draft
    }
}

impl Pump {
    /// Moves everything from the pipe to its places until every writer has closed it.
    pub(crate) async fn run(mut self, mut pipe: pipe::Receiver) -> io::Result<(LogDraft, Tail)> {
        let mut tail = Tail::default();
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = pipe.read(&mut buffer).await?;
            let bytes = if count == 0 {
                self.scrubber.finish()
            } else {
                self.scrubber.push(&buffer[..count])
            };
            if !bytes.is_empty() {
                tail.push(&bytes);
                self.own.write_all(&bytes)?;
                let mut combined = lock(&self.combined);
                combined.add(&bytes)?;
                self.audience
                    .log(self.key, self.stderr, &bytes, || combined.last(bytes.len()))?;
            }
            if count == 0 {
                return Ok((self.own, tail));
            }
        }
    }
}

/// Takes secrets out of a stream: as they are, in base64 and URL-encoded, and each longer line of one that has several.
/// What could be the beginning of one is held back until more arrives.
#[derive(Clone, Default)]
pub(crate) struct Scrubber {
    needles: Arc<[Vec<u8>]>,
    searcher: Option<Arc<aho_corasick::AhoCorasick>>,
    held: Vec<u8>,
}

impl Scrubber {
    /// A scrubber for these values. Values and lines of fewer than four bytes are not masked: they would hide the log.
    pub(crate) fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut needles: Vec<Vec<u8>> = values
            .into_iter()
            .flat_map(forms)
            .filter(|needle| needle.len() >= 4)
            .collect();
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        needles.dedup();
        if needles.is_empty() {
            return Self::default();
        }
        let searcher = aho_corasick::AhoCorasick::builder()
            .match_kind(aho_corasick::MatchKind::LeftmostLongest)
            .build(&needles)
            .map(Arc::new)
            .ok();
        Self {
            needles: needles.into(),
            searcher,
            held: Vec::new(),
        }
    }

    /// What can be shown after these bytes arrived.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Some(searcher) = self.searcher.clone() else {
            return bytes.to_vec();
        };
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(self.held.len());
        let mut done = 0;
        // A match that ends where the bytes end could be the beginning of a longer one; it is masked all the same.
        for found in searcher.find_iter(&self.held) {
            out.extend_from_slice(&self.held[done..found.start()]);
            out.extend_from_slice(MASK);
            done = found.end();
        }
        let keep_from = done.max(self.held.len() - self.longest_beginning(done));
        out.extend_from_slice(&self.held[done..keep_from]);
        self.held.drain(..keep_from);
        out
    }

    /// The rest, when nothing more arrives.
    fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of what is held, from `done` on, with which some secret begins.
    fn longest_beginning(&self, done: usize) -> usize {
        let held = &self.held[done..];
        let longest = self
            .needles
            .first()
            .map_or(0, |needle| needle.len() - 1)
            .min(held.len());
        (1..=longest)
            .rev()
            .find(|length| {
                let end = &held[held.len() - length..];
                self.needles
                    .iter()
                    .any(|needle| needle.len() > *length && needle.starts_with(end))
            })
            .unwrap_or(0)
    }
}

/// The forms in which a value may show up.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    use ::base64::{Engine as _, engine::general_purpose as base64};
    let mut forms = vec![value.to_vec()];
    forms.extend(value.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
    if value.last() == Some(&b'\n') {
        forms.push(value[..value.len() - 1].to_vec());
    }
    let plain: Vec<Vec<u8>> = forms.clone();
    for form in &plain {
        forms.push(base64::STANDARD_NO_PAD.encode(form).into_bytes());
        forms.push(base64::URL_SAFE_NO_PAD.encode(form).into_bytes());
        forms.push(
            percent_encoding::percent_encode(form, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .into_bytes(),
        );
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::Scrubber;

    fn scrub(secrets: &[&str], pieces: &[&str]) -> String {
        let mut scrubber = Scrubber::new(secrets.iter().map(|secret| secret.as_bytes()));
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(scrubber.push(piece.as_bytes()));
        }
        out.extend(scrubber.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_masked_however_its_bytes_arrive() {
        assert_eq!(scrub(&["hunter22"], &["a hunter22 b"]), "a *** b");
        assert_eq!(
            scrub(&["hunter22"], &["a hun", "ter", "22 b hunter2"]),
            "a *** b hunter2"
        );
        let single: Vec<String> = "x hunter22 hunter22y".chars().map(String::from).collect();
        let pieces: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(scrub(&["hunter22"], &pieces), "x *** ***y");
    }

    #[test]
    fn other_forms_and_single_lines_are_masked() {
        assert_eq!(
            scrub(&["pass word/1"], &["pass%20word%2F1 cGFzcyB3b3JkLzE"]),
            "*** ***"
        );
        assert_eq!(
            scrub(&["first line\nsecond line\n"], &["got second line"]),
            "got ***"
        );
    }

    #[test]
    fn without_secrets_nothing_is_held_back() {
        let mut scrubber = Scrubber::new([]);
        assert_eq!(scrubber.push(b"abc"), b"abc");
    }
}
