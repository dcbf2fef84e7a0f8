//! Searches in files: lines that match a regular expression.

use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use wharf_graph::{
    Error,
    read::{MATCH_LIMIT, Match, READ_LIMIT, Search},
};
use wharf_store::tree::View;

use crate::{answer::text_name, image::of_store};

/// The longest line that is looked at, in bytes.
const LINE_LIMIT: usize = 16 * 1024 * 1024;

/// Lines of the files below a directory.
pub(crate) fn directory(view: &View<'_>, root: &str, search: &Search) -> Result<Vec<Match>, Error> {
    let mut seeker = Seeker::new(search)?;
    let included = included(&search.options.include)?;
    for entry in of_store(view.walk(root))? {
        let entry = of_store(entry)?;
        if !entry.stat.is_file() {
            continue;
        }
        let path = text_name(&entry.path, root)?;
        let is_wanted = included
            .as_ref()
            .is_none_or(|wanted| wanted.matched_path_or_any_parents(&path, false).is_ignore());
        if is_wanted && !seeker.file(view, &wharf_graph::plan::absolute(root, &path), &path)? {
            break;
        }
    }
    Ok(seeker.found)
}

/// Lines of one file.
pub(crate) fn file(view: &View<'_>, path: &str, search: &Search) -> Result<Vec<Match>, Error> {
    let mut seeker = Seeker::new(search)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    seeker.file(view, path, name)?;
    Ok(seeker.found)
}

fn included(patterns: &[String]) -> Result<Option<Gitignore>, Error> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        builder
            .add_line(None, pattern)
            .map_err(|error| Error::Invalid(format!("the pattern {pattern:?} does not read: {error}")))?;
    }
    let built = builder.build();
    built.map(Some).map_err(|error| Error::Invalid(error.to_string()))
}

/// A search under way.
struct Seeker {
    matcher: RegexMatcher,
    searcher: Searcher,
    limit: Option<u32>,
    found: Vec<Match>,
    /// Bytes of the lines found.
    bytes: u64,
}

impl Seeker {
    fn new(search: &Search) -> Result<Self, Error> {
        let options = &search.options;
        let matcher = RegexMatcherBuilder::new()
            .fixed_strings(options.literal)
            .case_insensitive(options.ignore_case)
            .line_terminator(Some(b'\n'))
            .build(&search.pattern)
            .map_err(|error| {
                Error::Invalid(format!(
                    "the regular expression {:?} does not read: {error}",
                    search.pattern
                ))
            })?;
        let searcher = SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            .heap_limit(Some(LINE_LIMIT))
            .line_number(true)
            .build();
        Ok(Self {
            matcher,
            searcher,
            limit: options.limit,
            found: Vec::new(),
            bytes: 0,
        })
    }

    /// Searches one file; is there room for more?
    fn file(&mut self, view: &View<'_>, at: &str, path: &str) -> Result<bool, Error> {
        let file = of_store(view.open_file(at))?;
        let before = self.found.len();
        let mut taker = Taker {
            matcher: &self.matcher,
            path,
            limit: self.limit,
            found: &mut self.found,
            bytes: &mut self.bytes,
            is_binary: false,
        };
        let searched = self.searcher.search_file(&self.matcher, &file, &mut taker);
        let is_binary = taker.is_binary;
        searched.map_err(|error| Error::Invalid(format!("{path} cannot be searched: {error}")))?;
        if is_binary {
            self.found.truncate(before);
        }
        let count = self.found.len();
        match self.limit {
            Some(limit) => Ok(count < limit as usize),
            None if count > MATCH_LIMIT as usize => Err(Error::Invalid(format!(
                "more than {MATCH_LIMIT} lines match: narrow the pattern, or set a limit"
            ))),
            None if self.bytes > READ_LIMIT => Err(Error::Invalid(format!(
                "the lines that match have more than {} MiB: narrow the pattern, or set a limit",
                READ_LIMIT / 1024 / 1024
            ))),
            None => Ok(true),
        }
    }
}

/// Takes what a searcher finds.
struct Taker<'t> {
    matcher: &'t RegexMatcher,
    path: &'t str,
    limit: Option<u32>,
    found: &'t mut Vec<Match>,
    bytes: &'t mut u64,
    is_binary: bool,
}

impl Sink for Taker<'_> {
    type Error = std::io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> Result<bool, Self::Error> {
        let limit = self.limit.unwrap_or(MATCH_LIMIT + 1) as usize;
        if self.found.len() >= limit {
            return Ok(false);
        }
        let line = found.bytes();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let start = grep_matcher::Matcher::find(self.matcher, line)
            .ok()
            .flatten()
            .map_or(0, |place| place.start());
        self.found.push(Match {
            path: self.path.to_owned(),
            line: found.line_number().unwrap_or_default(),
            column: u32::try_from(start).unwrap_or(u32::MAX).saturating_add(1),
            text: String::from_utf8_lossy(line).into_owned(),
        });
        *self.bytes += line.len() as u64;
        Ok(self.found.len() < limit && (self.limit.is_some() || *self.bytes <= READ_LIMIT))
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> Result<bool, Self::Error> {
        self.is_binary = true;
        Ok(false)
    }
}
