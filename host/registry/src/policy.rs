//! Whose signature a module needs: files in which an operator and a user say it.
//!
//! ```toml
//! [signatures]
//! acme = ["acme.pub"]                      # every module of the namespace acme
//! "registry.example/acme" = ["acme.pub"]   # every module from repositories below that
//! ```
//!
//! A key is a file beside the policy, or the key itself in PEM. Every line that is about a module has to be satisfied, each by
//! one of its keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use wharf_oci::Reference;

use crate::{
    error::{Error, Result},
    signature::{PublicKey, Signature},
};

/// What files say of signatures.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
struct Line {
    file: PathBuf,
    /// A namespace, or the beginning of repositories.
    about: String,
    keys: Vec<(String, PublicKey)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    signatures: BTreeMap<String, Vec<String>>,
}

impl Policy {
    /// Reads files; those that are not there say nothing.
    pub fn load(files: &[&Path]) -> Result<Self> {
        let mut policy = Self::default();
        for file in files {
            let text = match fs::read_to_string(file) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("read", file)(error)),
            };
            let wrong = |why: String| Error::Settings {
                file: (*file).to_owned(),
                why,
            };
            let read: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
            for (about, keys) in read.signatures {
                let keys = keys.iter().map(|key| {
                    let (name, pem) = if key.contains("-----BEGIN") {
                        (format!("a key in {}", file.display()), key.clone())
                    } else {
                        let path = file.parent().unwrap_or(Path::new(".")).join(key);
                        let pem = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
                        (key.clone(), pem)
                    };
                    let read = PublicKey::read(&pem).map_err(|error| wrong(format!("{name}: {error}")))?;
                    Ok((name, read))
                });
                policy.lines.push(Line {
                    file: (*file).to_owned(),
                    about,
                    keys: keys.collect::<Result<_>>()?,
                });
            }
        }
        Ok(policy)
    }

    /// The lines that are about a module: by the names that it goes by, and by its repository.
    fn about<'a>(&'a self, names: &'a [&str], repository: &Reference) -> impl Iterator<Item = &'a Line> {
        let place = format!("{}/{}", repository.registry(), repository.repository());
        self.lines.iter().filter(move |line| {
            let by_name = |name: &&str| name.split(':').next() == Some(line.about.as_str());
            let below = place.strip_prefix(&line.about);
            names.iter().any(by_name) || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// Does it say nothing at all?
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Is anything said of a module?
    pub(crate) fn is_about(&self, names: &[&str], repository: &Reference) -> bool {
        self.about(names, repository).next().is_some()
    }

    /// Refuses a module that lacks a signature.
    pub(crate) fn check(
        &self,
        names: &[&str],
        repository: &Reference,
        digest: &str,
        signatures: &[Signature],
    ) -> Result<()> {
        for line in self.about(names, repository) {
            let is_signed = line
                .keys
                .iter()
                .any(|(_, key)| signatures.iter().any(|signature| signature.is_by(key, digest)));
            if !is_signed {
                return Err(Error::Unsigned {
                    module: repository.at_digest(digest).to_string(),
                    how: match signatures.len() {
                        0 => "it is not signed",
                        _ => "none of its signatures is by such a key",
                    },
                    about: line.about.clone(),
                    file: line.file.clone(),
                });
            }
        }
        Ok(())
    }

    /// The names of the keys that have signed an artifact, as far as any line names them.
    pub(crate) fn signers(&self, digest: &str, signatures: &[Signature]) -> Vec<String> {
        let keys = self.lines.iter().flat_map(|line| &line.keys);
        let signed = keys.filter(|(_, key)| signatures.iter().any(|signature| signature.is_by(key, digest)));
        let names: BTreeSet<String> = signed.map(|(name, _)| name.clone()).collect();
        names.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::{SigningKey, keys};

    const DIGEST: &str = "sha256:86e0e091d0da6bde2456dbb48306f3956bbeb2eae1b5b9a43045843f69fe4aaa";

    fn policy(text: &str) -> Result<Policy> {
        with_key(text, &keys::p256().1)
    }

    /// A policy beside which lie a key and another one.
    fn with_key(text: &str, key: &str) -> Result<Policy> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.toml");
        fs::write(directory.path().join("acme.pub"), key).unwrap();
        fs::write(directory.path().join("other.pub"), keys::ed25519().1).unwrap();
        fs::write(&file, text).unwrap();
        Policy::load(&[&file, Path::new("/nowhere")])
    }

    #[test]
    fn a_line_is_about_a_namespace_or_about_repositories() {
        let repository: Reference = "registry.example/acme/tool".parse().unwrap();
        let is_about = |line: &str, names: &[&str]| {
            policy(&format!("[signatures]\n\"{line}\" = []\n"))
                .unwrap()
                .is_about(names, &repository)
        };
        assert!(is_about("acme", &["acme:tool"]));
        assert!(is_about("acme", &["other:tool", "acme:tool"]));
        assert!(!is_about("acm", &["acme:tool"]));
        assert!(is_about("registry.example", &[]) && is_about("registry.example/acme", &[]));
        assert!(!is_about("registry.example/ac", &[]) && !is_about("registry.exampl", &[]));
    }

    #[test]
    fn every_line_has_to_be_satisfied() {
        let repository: Reference = "registry.example/acme/tool".parse().unwrap();
        let (key, public) = keys::p256();
        let signature = Signature::new(&SigningKey::read(&key).unwrap(), &repository, DIGEST).unwrap();
        let policy = |text: &str| with_key(text, &public);
        let check = |text: &str, signatures: &[Signature]| {
            policy(text)
                .unwrap()
                .check(&["acme:tool"], &repository, DIGEST, signatures)
        };
        let wanted = "[signatures]\nacme = [\"other.pub\", \"acme.pub\"]\n";
        assert!(check(wanted, std::slice::from_ref(&signature)).is_ok());
        assert!(check("", &[]).is_ok());
        let unsigned = check(wanted, &[]).unwrap_err().to_string();
        assert!(
            unsigned.contains("not signed") && unsigned.contains("acme"),
            "{unsigned}"
        );
        let more = format!("{wanted}\"registry.example\" = [\"other.pub\"]\n");
        let refused = check(&more, std::slice::from_ref(&signature))
            .unwrap_err()
            .to_string();
        assert!(refused.contains("none of its signatures"), "{refused}");
        assert!(
            check("[signatures]\nacme = []\n", std::slice::from_ref(&signature)).is_err(),
            "no key is nobody's"
        );
        assert_eq!(
            policy(wanted).unwrap().signers(DIGEST, &[signature]),
            ["acme.pub"]
        );
    }

    #[test]
    fn a_policy_that_does_not_read_is_no_policy() {
        let wrong = |text: &str| policy(text).unwrap_err().to_string();
        assert!(wrong("[signature]\nacme = []\n").contains("signatures"));
        assert!(wrong("[signatures]\nacme = [\"missing.pub\"]\n").contains("missing.pub"));
        assert!(wrong("[signatures]\nacme = [\"-----BEGIN X-----\"]\n").contains("public key"));
    }
}
