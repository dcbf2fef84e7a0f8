//! What the hub says of a revision.

use serde::Deserialize;
use serde_json::Value;
use wharf_sdk::{Error, Result};

use crate::RepositoryFile;

/// A revision, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Listing {
    #[serde(rename = "sha")]
    pub(crate) commit: String,
    #[serde(default)]
    private: bool,
    /// `false`, or how access is given.
    #[serde(default)]
    gated: Value,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Listing {
    /// Reads the hub's answer.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let listing: Self = serde_json::from_str(text)
            .map_err(|error| unusable(&format!("its list of files makes no sense: {error}")))?;
        if listing.commit.len() < 40 || !is_hex(&listing.commit) {
            return Err(unusable(&format!("{:?} is no commit", listing.commit)));
        }
        Ok(listing)
    }

    /// Does it take more than being asked to have the files?
    pub(crate) fn is_restricted(&self) -> bool {
        self.private || !matches!(self.gated, Value::Null | Value::Bool(false))
    }

    /// Its files, by path.
    pub(crate) fn files(&self) -> Result<Vec<RepositoryFile>> {
        let mut files: Vec<_> = self.siblings.iter().map(Sibling::file).collect::<Result<_>>()?;
        files.sort_by(|one: &RepositoryFile, other| one.path.cmp(&other.path));
        Ok(files)
    }
}

impl Sibling {
    fn file(&self) -> Result<RepositoryFile> {
        let path = &self.rfilename;
        let is_inside = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_inside || path.contains(['\0', '\\']) {
            return Err(unusable(&format!(
                "the path {path:?} would lead out of the repository"
            )));
        }
        let (digest, size) = match (&self.lfs, &self.blob_id) {
            (Some(lfs), _) if lfs.sha256.len() == 64 && is_hex(&lfs.sha256) => {
                (format!("sha256:{}", lfs.sha256), Some(lfs.size))
            }
            (None, Some(blob)) if blob.len() == 40 && is_hex(blob) => {
                (format!("gitoid:blob:sha1:{blob}"), self.size)
            }
            _ => {
                return Err(unusable(&format!(
                    "it says no digest of {path}, so it cannot be checked"
                )));
            }
        };
        let size = size.ok_or_else(|| unusable(&format!("it does not say how large {path} is")))?;
        Ok(RepositoryFile {
            path: path.clone(),
            size,
            digest,
        })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn unusable(why: &str) -> Error {
    Error::with_code("hub", format!("what the hub says cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(siblings: &str, more: &str) -> Result<Listing> {
        let commit = "c5f93f70e8f4d6e4e4dbd7d5b1d0f4a4b2a2a1a0";
        Listing::read(&format!(
            r#"{{"sha": "{commit}", "siblings": [{siblings}] {more}}}"#
        ))
    }

    #[test]
    fn files_have_the_digest_that_is_published_of_their_content() {
        let (lfs, git) = ("5".repeat(64), "6".repeat(40));
        let text = format!(
            r#"{{"rfilename": "model.safetensors", "size": 7, "blobId": "{git}", "lfs": {{"sha256": "{lfs}", "size": 7, "pointerSize": 134}}}},
               {{"rfilename": "1_Pooling/config.json", "size": 3, "blobId": "{git}"}}"#
        );
        let files = listing(&text, "").unwrap().files().unwrap();
        let shown: Vec<_> = files
            .iter()
            .map(|file| (file.path.as_str(), file.size, file.digest.as_str()))
            .collect();
        let (lfs, git) = (format!("sha256:{lfs}"), format!("gitoid:blob:sha1:{git}"));
        assert_eq!(
            shown,
            [
                ("1_Pooling/config.json", 3, git.as_str()),
                ("model.safetensors", 7, &lfs)
            ]
        );
    }

    #[test]
    fn what_could_not_be_checked_or_leads_out_is_refused() {
        let git = "6".repeat(40);
        for (path, rest, said) in [
            ("a", r#""size": 3"#.to_owned(), "no digest of a"),
            ("a", format!(r#""blobId": "{git}""#), "how large a is"),
            ("a", r#""size": 3, "blobId": "zz""#.to_owned(), "no digest of a"),
            ("../a", format!(r#""size": 3, "blobId": "{git}""#), "lead out"),
            ("/a", format!(r#""size": 3, "blobId": "{git}""#), "lead out"),
            ("a//b", format!(r#""size": 3, "blobId": "{git}""#), "lead out"),
        ] {
            let listing = listing(&format!(r#"{{"rfilename": "{path}", {rest}}}"#), "").unwrap();
            let error = listing.files().unwrap_err().to_string();
            assert!(error.contains(said), "{path} {rest}: {error}");
        }
        for text in ["", "[]", r#"{"sha": "main"}"#] {
            let error = Listing::read(text).unwrap_err().to_string();
            assert!(error.contains("cannot be used"), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_private_or_gated_is_not_for_everybody() {
        for (more, expected) in [
            ("", false),
            (r#", "private": false, "gated": false"#, false),
            (r#", "private": true"#, true),
            (r#", "gated": "manual""#, true),
        ] {
            assert_eq!(listing("", more).unwrap().is_restricted(), expected, "{more}");
        }
    }
}
