//! Which files of a repository are wanted, by patterns as the hub's own client has them: `*` goes across directories, and a
//! pattern that ends in `/` means all below that directory.

use glob::Pattern;
use wharf_sdk::{Error, Result};

use crate::RepositoryFile;

/// What is wanted and what is not.
#[derive(Debug)]
pub(crate) struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    /// Reads them.
    pub(crate) fn read(include: &[String], exclude: &[String]) -> Result<Self> {
        let all = |texts: &[String]| texts.iter().map(|text| read(text)).collect::<Result<_>>();
        Ok(Self {
            include: all(include)?,
            exclude: all(exclude)?,
        })
    }

    /// The files that are wanted: at least one.
    pub(crate) fn chosen<'f>(&self, files: &'f [RepositoryFile]) -> Result<Vec<&'f RepositoryFile>> {
        let chosen: Vec<_> = files.iter().filter(|file| self.want(&file.path)).collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let mut shown: Vec<_> = files.iter().take(10).map(|file| file.path.as_str()).collect();
        if files.len() > shown.len() {
            shown.push("…");
        }
        Err(Error::NotFound(if files.is_empty() {
            "the repository has no files at this revision".to_owned()
        } else {
            format!("no file of the repository is wanted; it has {}", shown.join(", "))
        }))
    }

    fn want(&self, path: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(path));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

fn read(text: &str) -> Result<Pattern> {
    let whole = if text.ends_with('/') {
        format!("{text}*")
    } else {
        text.to_owned()
    };
    Pattern::new(&whole)
        .map_err(|error| Error::Invalid(format!("{text:?} is no pattern of files: {}", error.msg)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<RepositoryFile> {
        let file = |path: &&str| RepositoryFile {
            path: (*path).to_owned(),
            size: 1,
            digest: "sha256:0".to_owned(),
        };
        paths.iter().map(file).collect()
    }

    fn chosen(include: &[&str], exclude: &[&str]) -> Result<String> {
        let files = files(&[
            "README.md",
            "config.json",
            "model.safetensors",
            "onnx/model.onnx",
            "onnx/a/b.json",
        ]);
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let patterns = Patterns::read(&owned(include), &owned(exclude))?;
        let chosen = patterns.chosen(&files)?;
        Ok(chosen
            .iter()
            .map(|file| file.path.as_str())
            .collect::<Vec<_>>()
            .join(" "))
    }

    #[test]
    fn patterns_choose_as_those_of_the_hubs_client_do() {
        for (include, exclude, expected) in [
            (&[][..], &["onnx/"][..], "README.md config.json model.safetensors"),
            (&["*.json"], &[], "config.json onnx/a/b.json"),
            (&["*.json"], &["onnx/*"], "config.json"),
            (&["model.*", "*.md"], &[], "README.md model.safetensors"),
            (&["[Rc]*"], &["*.json"], "README.md"),
            (&["onnx/?????.onnx"], &[], "onnx/model.onnx"),
        ] {
            assert_eq!(
                chosen(include, exclude).unwrap(),
                expected,
                "{include:?} {exclude:?}"
            );
        }
    }

    #[test]
    fn what_chooses_nothing_says_what_there_is() {
        let error = chosen(&["*.bin"], &[]).unwrap_err().to_string();
        assert_eq!(
            error,
            "no file of the repository is wanted; it has README.md, config.json, model.safetensors, onnx/model.onnx, onnx/a/b.json"
        );
        let error = chosen(&["[a"], &[]).unwrap_err().to_string();
        assert!(error.starts_with("\"[a\" is no pattern of files"), "{error}");
    }
}
