//! What of a tree is taken: patterns in gitignore's syntax, and the tree's own ignore files.

use std::os::unix::ffi::OsStrExt;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{
    error::{Error, Result},
    tree::{Kind, Merged},
};

/// Files of a tree that leave things out.
const IGNORE_FILES: [&[u8]; 2] = [b".gitignore", b".wharfignore"];

/// What of a tree is taken.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Patterns of which one must match; empty takes everything.
    pub include: Vec<String>,
    /// Patterns that leave out.
    pub exclude: Vec<String>,
    /// Leave out what the tree's own ignore files leave out.
    pub gitignore: bool,
}

/// A filter, compiled, with the ignore files of the directories we are in.
pub(super) struct Matcher {
    include: Option<Gitignore>,
    exclude: Gitignore,
    gitignore: bool,
    /// Depth of the directory and its ignore file.
    own: Vec<(usize, Gitignore)>,
}

/// What a filter says of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Taken.
    Take,
    /// A directory that is not taken itself; something below it may be.
    LookInside,
    /// Left out with all below it.
    Skip,
}

impl Matcher {
    pub(super) fn new(filter: &Filter) -> Result<Self> {
        let include = if filter.include.is_empty() {
            None
        } else {
            Some(compile(&filter.include)?)
        };
        Ok(Self {
            include,
            exclude: compile(&filter.exclude)?,
            gitignore: filter.gitignore,
            own: Vec::new(),
        })
    }

    /// Takes in the ignore files of a directory at this path; forgets those of directories we have left.
    pub(super) fn enter(&mut self, path: &[u8], directory: &Merged) -> Result<()> {
        let depth = if path.is_empty() {
            0
        } else {
            path.split(|byte| *byte == b'/').count()
        };
        self.own.retain(|(at, _)| *at < depth);
        if !self.gitignore {
            return Ok(());
        }
        for name in IGNORE_FILES {
            let Some(place) = directory
                .child(name)?
                .filter(|place| place.stat.kind == Kind::File)
            else {
                continue;
            };
            let mut text = String::new();
            if std::io::Read::read_to_string(&mut place.open()?, &mut text).is_err() {
                continue;
            }
            let mut builder = GitignoreBuilder::new(as_path(path));
            for line in text.lines() {
                // A line that git would not understand either is left out, as git does.
                builder.add_line(None, line).ok();
            }
            if let Ok(compiled) = builder.build() {
                self.own.push((depth, compiled));
            }
        }
        Ok(())
    }

    pub(super) fn judge(&self, path: &[u8], is_directory: bool) -> Verdict {
        let path = as_path(path);
        if self
            .exclude
            .matched_path_or_any_parents(path, is_directory)
            .is_ignore()
        {
            return Verdict::Skip;
        }
        for (_, own) in self.own.iter().rev() {
            let matched = own.matched(path, is_directory);
            if matched.is_ignore() {
                return Verdict::Skip;
            }
            if matched.is_whitelist() {
                break;
            }
        }
        match &self.include {
            Some(include)
                if !include
                    .matched_path_or_any_parents(path, is_directory)
                    .is_ignore() =>
            {
                if is_directory {
                    Verdict::LookInside
                } else {
                    Verdict::Skip
                }
            }
            _ => Verdict::Take,
        }
    }
}

fn as_path(path: &[u8]) -> &std::path::Path {
    std::path::Path::new(std::ffi::OsStr::from_bytes(path))
}

fn compile(patterns: &[String]) -> Result<Gitignore> {
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        builder
            .add_line(None, pattern)
            .map_err(|error| Error::Invalid(format!("the pattern {pattern:?} does not read: {error}")))?;
    }
    builder
        .build()
        .map_err(|error| Error::Invalid(format!("the patterns do not read: {error}")))
}
