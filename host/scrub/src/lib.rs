//! Takes secrets out of what a step prints, as it streams: as they are, each line of one that has several, in base64
//! wherever they stand in what was encoded, and URL-encoded. Hygiene, not a boundary: a step can say a secret in other ways.
//!
//! A stream is searched for the first bytes of each form, its anchor. What follows an anchor is taken out for as long as it
//! goes on like a form that begins so; thus nothing is held back but what may be the beginning of an anchor, however long
//! a secret is.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::{Engine as _, engine::general_purpose as base64_forms};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";
/// Bytes of a form that are searched for.
const ANCHOR: usize = 64;
/// Values and lines of fewer bytes are not masked: they would hide the log.
const SHORTEST: usize = 4;
/// Parts of encoded text are only looked for from this length on, as shorter ones come about by themselves.
const SHORTEST_PART: usize = 8;
/// Of a secret of more lines than this, the single lines are looked for as they are only.
const MANY_LINES: usize = 256;

/// What URLs leave as it is, and what is left in a path.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const IN_PATH: &AsciiSet = &UNRESERVED.remove(b'/');
/// What JavaScript's encodeURIComponent leaves, beside the unreserved.
const IN_SCRIPTS: &AsciiSet = &UNRESERVED
    .remove(b'!')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*');

/// A form in which a value may show up.
#[derive(PartialEq, Eq)]
struct Form {
    bytes: Zeroizing<Vec<u8>>,
    /// Line ends may stand in it.
    is_wrapped: bool,
}

impl Form {
    /// What forms are sorted by.
    fn order(&self) -> (&[u8], bool) {
        (&self.bytes, self.is_wrapped)
    }
}

/// The forms, sorted, and what finds their anchors.
struct Forms {
    sorted: Vec<Form>,
    searcher: AhoCorasick,
}

/// What goes on in the stream after an anchor: forms, by place, and how much of them is through.
struct Following {
    forms: Vec<usize>,
    at: usize,
}

/// Takes secrets out of one stream.
#[derive(Default)]
pub struct Scrubber {
    forms: Option<Arc<Forms>>,
    held: Zeroizing<Vec<u8>>,
    following: Option<Following>,
}

impl Clone for Scrubber {
    /// Another stream's, for the same secrets.
    fn clone(&self) -> Self {
        Self {
            forms: self.forms.clone(),
            ..Self::default()
        }
    }
}

impl Scrubber {
    /// A scrubber for these values.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut sorted: Vec<Form> = values.into_iter().flat_map(forms).collect();
        sorted.sort_by(|one, other| one.order().cmp(&other.order()));
        sorted.dedup();
        let anchors = sorted.iter().map(|form| anchor(&form.bytes));
        let searcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(anchors);
        match searcher {
            Ok(searcher) if !sorted.is_empty() => Self {
                forms: Some(Arc::new(Forms { sorted, searcher })),
                ..Self::default()
            },
            _ => Self::default(),
        }
    }

    /// A whole text without the values in it; nothing that was pushed before.
    pub fn text(&self, text: &str) -> String {
        if self.forms.is_none() {
            return text.to_owned();
        }
        String::from_utf8_lossy(&self.clone().scrub(text.as_bytes(), true)).into_owned()
    }

    /// What can be shown after these bytes arrived.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.scrub(bytes, false)
    }

    /// What is held back, as it may be the beginning of a secret.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Shows what is held back: it is known to be none.
    pub fn release(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held).to_vec()
    }

    /// The rest, when nothing more arrives.
    pub fn finish(&mut self) -> Vec<u8> {
        self.scrub(&[], true)
    }

    fn scrub(&mut self, bytes: &[u8], is_end: bool) -> Vec<u8> {
        let Some(forms) = self.forms.clone() else {
            return bytes.to_vec();
        };
        self.held.extend_from_slice(bytes);
        let mut shown = Vec::with_capacity(self.held.len());
        let mut done = 0;
        loop {
            if let Some(following) = self.following.take() {
                let (gone_by, next) = forms.follow(following, &self.held[done..]);
                done += gone_by;
                self.following = next;
                if self.following.is_some() {
                    break;
                }
            }
            let rest = &self.held[done..];
            let kept = if is_end { 0 } else { forms.longest_beginning(rest) };
            let unclear = rest.len() - kept;
            match forms.searcher.find(rest) {
                // What may become a form that begins earlier goes first.
                Some(found) if found.start() <= unclear => {
                    shown.extend_from_slice(&rest[..found.start()]);
                    shown.extend_from_slice(MASK);
                    self.following = forms.that_begin(&rest[found.range()]);
                    done += found.end();
                }
                _ => {
                    shown.extend_from_slice(&rest[..unclear]);
                    done += unclear;
                    break;
                }
            }
        }
        self.held = Zeroizing::new(self.held[done..].to_vec());
        shown
    }
}

impl Forms {
    /// The longer forms that begin like this.
    fn that_begin(&self, like: &[u8]) -> Option<Following> {
        let from = self.sorted.partition_point(|form| form.bytes.as_slice() < like);
        let forms: Vec<usize> = (from..self.sorted.len())
            .take_while(|at| self.sorted[*at].bytes.starts_with(like))
            .filter(|at| self.sorted[*at].bytes.len() > like.len())
            .collect();
        (!forms.is_empty()).then_some(Following {
            forms,
            at: like.len(),
        })
    }

    /// How many bytes go on like one of the forms, and what may still follow when all of them do.
    fn follow(&self, following: Following, bytes: &[u8]) -> (usize, Option<Following>) {
        let Following { mut forms, mut at } = following;
        for (gone_by, byte) in bytes.iter().enumerate() {
            let goes_on = |form: &usize| self.sorted[*form].bytes.get(at) == Some(byte);
            if forms.iter().any(goes_on) {
                forms.retain(goes_on);
                at += 1;
                continue;
            }
            let is_line_end = matches!(byte, b'\n' | b'\r');
            let wrapped = |form: &usize| self.sorted[*form].is_wrapped && self.sorted[*form].bytes.len() > at;
            if is_line_end && forms.iter().any(wrapped) {
                forms.retain(wrapped);
                continue;
            }
            return (gone_by, None);
        }
        let is_open = forms.iter().any(|form| self.sorted[*form].bytes.len() > at);
        (bytes.len(), is_open.then_some(Following { forms, at }))
    }

    /// Length of the longest end of these bytes with which an anchor begins.
    fn longest_beginning(&self, bytes: &[u8]) -> usize {
        (1..ANCHOR.min(bytes.len() + 1))
            .rev()
            .find(|length| {
                let end = &bytes[bytes.len() - length..];
                let at = self.sorted.partition_point(|form| form.bytes.as_slice() < end);
                self.sorted
                    .get(at)
                    .is_some_and(|form| form.bytes.starts_with(end))
            })
            .unwrap_or(0)
    }
}

fn anchor(form: &[u8]) -> &[u8] {
    &form[..form.len().min(ANCHOR)]
}

/// The forms in which a value may show up.
fn forms(value: &[u8]) -> Vec<Form> {
    let mut found = Vec::new();
    let whole = value.strip_suffix(b"\n").unwrap_or(value);
    let lines: Vec<&[u8]> = whole
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .collect();
    let encoded = if lines.len() > MANY_LINES { 1 } else { usize::MAX };
    for (at, part) in std::iter::once(whole).chain(lines).enumerate() {
        if part.len() < SHORTEST {
            continue;
        }
        found.push(Form {
            bytes: Zeroizing::new(part.to_vec()),
            is_wrapped: false,
        });
        if at < encoded {
            found.extend(in_base64(part));
            found.extend(in_urls(part));
        }
    }
    if value.len() > whole.len() && whole.len() >= SHORTEST {
        found.extend(in_base64(value));
    }
    found
}

/// A value in base64 of both alphabets, wherever it stands in what was encoded: at each of three places in a group, without
/// the letters that its neighbours share.
fn in_base64(value: &[u8]) -> Vec<Form> {
    let mut found = Vec::new();
    for engine in [&base64_forms::STANDARD_NO_PAD, &base64_forms::URL_SAFE_NO_PAD] {
        for before in 0..3_usize {
            let mut text = Zeroizing::new(vec![0; before]);
            text.extend_from_slice(value);
            let letters = Zeroizing::new(engine.encode(&*text).into_bytes());
            let from = [0, 2, 3][before];
            let to = letters.len() - usize::from(text.len() % 3 != 0);
            if to > from && to - from >= SHORTEST_PART {
                found.push(Form {
                    bytes: Zeroizing::new(letters[from..to].to_vec()),
                    is_wrapped: true,
                });
            }
            // As a whole, its last letter says a part of it, too.
            if before == 0 {
                found.push(Form {
                    bytes: letters,
                    is_wrapped: true,
                });
            }
        }
    }
    found
}

/// A value as URLs hold it, with digits in capitals and in small letters.
fn in_urls(value: &[u8]) -> Vec<Form> {
    let mut found = Vec::new();
    for left in [NON_ALPHANUMERIC, UNRESERVED, IN_PATH, IN_SCRIPTS] {
        let text = Zeroizing::new(percent_encode(value, left).to_string());
        for text in [
            Zeroizing::new(in_small_letters(&text)),
            Zeroizing::new(text.replace("%20", "+")),
            text,
        ] {
            found.push(Form {
                bytes: Zeroizing::new(text.as_bytes().to_vec()),
                is_wrapped: false,
            });
        }
    }
    found
}

fn in_small_letters(encoded: &str) -> String {
    let mut left = 0;
    let small = |c: char| {
        if c == '%' {
            left = 3;
        }
        let is_digit = left > 0;
        left = std::cmp::max(left, 1) - 1;
        if is_digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(small).collect()
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

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

    /// Whatever the pieces, the outcome is the same.
    fn scrub_all_ways(secrets: &[&str], text: &str) -> String {
        let whole = scrub(secrets, &[text]);
        let single: Vec<String> = text.chars().map(String::from).collect();
        let single: Vec<&str> = single.iter().map(String::as_str).collect();
        assert_eq!(scrub(secrets, &single), whole);
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(scrub(secrets, &[&text[..at], &text[at..]]), whole, "cut at {at}");
        }
        whole
    }

    #[test]
    fn b39_a_secret_is_masked_however_its_bytes_arrive() {
        assert_eq!(
            scrub_all_ways(&["hunter22"], "a hunter22 b hunter2"),
            "a *** b hunter2"
        );
        assert_eq!(
            scrub_all_ways(&["hunter22"], "x hunter22 hunter22y"),
            "x *** ***y"
        );
        // One that stands in another, whose end has not come yet, or does not come.
        assert_eq!(
            scrub_all_ways(&["xabcdyyyy", "abcd"], "xabcdyyyy xabcdy"),
            "*** x***y"
        );
        // One that begins like another.
        assert_eq!(scrub_all_ways(&["abcd", "abcdefgh"], "abcdefgh abcd"), "*** ***");
    }

    #[test]
    fn b39_other_forms_and_single_lines_are_masked() {
        let secret = "pass word/1-2.3~é";
        for form in [
            "pass%20word%2F1%2D2%2E3%7E%C3%A9",
            "pass%20word%2F1-2.3~%C3%A9",
            "pass%20word/1-2.3~%c3%a9",
            "pass+word%2F1-2.3~%C3%A9",
        ] {
            assert_eq!(scrub_all_ways(&[secret], &format!("<{form}>")), "<***>", "{form}");
        }
        for user in ["", "u", "us", "use", "user"] {
            let basic = STANDARD.encode(format!("{user}:{secret}"));
            let shown = scrub_all_ways(&[secret], &format!("Basic {basic}"));
            let left: String = shown.replace("Basic ", "").replace("***", "");
            assert!(
                shown.contains("***") && left.len() <= user.len() * 2 + 6,
                "{shown}"
            );
        }
        assert_eq!(
            scrub_all_ways(&["first line\nsecond line\n"], "got second line"),
            "got ***"
        );
        assert_eq!(
            scrub_all_ways(&["first line\nsecond line\n"], "first line\nsecond line\n"),
            "***\n"
        );
    }

    #[test]
    fn b39_a_long_secret_is_masked_without_being_held() {
        let long: String = (0..100_000).map(|at| format!("{:x}", at * 7919)).collect();
        let mut scrubber = Scrubber::new([long.as_bytes()]);
        let mut shown = Vec::new();
        for piece in long.as_bytes().chunks(1000) {
            shown.extend(scrubber.push(piece));
            assert!(scrubber.held.len() < 64);
        }
        shown.extend(scrubber.push(b" end"));
        shown.extend(scrubber.finish());
        assert_eq!(shown, b"*** end");
        // As the base64 program wraps it.
        let letters = STANDARD.encode(&long);
        let wrapped: Vec<&str> = letters
            .as_bytes()
            .chunks(76)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        let shown = scrub(&[&long], &[&wrapped.join("\n"), "\nend"]);
        assert!(
            shown.starts_with("***") && shown.len() < 16 && shown.ends_with("end"),
            "{shown}"
        );
    }

    #[test]
    fn without_secrets_nothing_is_held_back() {
        let mut scrubber = Scrubber::new([]);
        assert_eq!(scrubber.push(b"abc"), b"abc");
        assert_eq!(Scrubber::new([b"".as_slice()]).push(b"abc"), b"abc");
    }

    #[test]
    fn a_whole_text_is_scrubbed_to_its_end() {
        let scrubber = Scrubber::new([b"hunter22".as_slice()]);
        assert_eq!(scrubber.text("a hunter22"), "a ***");
        assert_eq!(scrubber.text("a hunter2"), "a hunter2");
        assert_eq!(Scrubber::default().text("a hunter22"), "a hunter22");
    }
}
