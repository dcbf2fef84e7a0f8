//! What references mean by a client's lock: an image's tag by its digest, a repository's reference by its commit.

use std::collections::HashMap;

use wharf_graph::{
    Error,
    source::{Reference, Repository},
};
use wharf_oci::Reference as ImageReference;
use wharf_proto::v1::{self, SessionOpen};

/// A client's lock.
#[derive(Debug, Default)]
pub(crate) struct Meanings {
    known: HashMap<String, String>,
    /// What is not known is refused.
    locked: bool,
}

/// A reference that may mean something else tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Moving {
    /// Known: this is what it means.
    Fixed(String),
    /// Not known: what it is called in a lock.
    Free(String),
}

impl Meanings {
    pub(crate) fn of(open: &SessionOpen) -> Self {
        let known = open.meanings.iter();
        Self {
            known: known
                .map(|one| (one.reference.clone(), one.value.clone()))
                .collect(),
            locked: open.locked,
        }
    }

    /// What an image's reference means; nothing for one that names its digest itself, or that is no reference, which whoever
    /// resolves it says.
    pub(crate) fn image(&self, reference: &str) -> Result<Option<Moving>, Error> {
        let Ok(parsed) = reference.parse::<ImageReference>() else {
            return Ok(None);
        };
        if parsed.digest().is_some() {
            return Ok(None);
        }
        let moving = self.find(parsed.to_string(), "image", reference)?;
        Ok(Some(match moving {
            Moving::Fixed(digest) => Moving::Fixed(parsed.at_digest(&digest).to_string()),
            free => free,
        }))
    }

    /// What a repository's reference means; nothing for a repository in a directory, which is content.
    pub(crate) fn commit<S>(
        &self,
        repository: &Repository<S>,
        reference: &Reference,
    ) -> Result<Option<Moving>, Error> {
        let Some(name) = repository.name_in_lock(reference) else {
            return Ok(None);
        };
        self.find(name.clone(), "commit", &name).map(Some)
    }

    fn find(&self, name: String, what: &str, shown: &str) -> Result<Moving, Error> {
        match self.known.get(&name) {
            Some(value) => Ok(Moving::Fixed(value.clone())),
            None if self.locked => Err(Error::Invalid(format!(
                "wharf.lock does not say which {what} {shown} is, and it was to be left as it is: `wharf call --pin` notes it"
            ))),
            None => Ok(Moving::Free(name)),
        }
    }
}

/// That a reference means this, as a client is told.
pub(crate) fn told(reference: String, value: &str) -> v1::event::What {
    v1::event::What::Meaning(v1::Meaning {
        reference,
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meanings(locked: bool) -> Meanings {
        let pinned = v1::Meaning {
            reference: "docker.io/library/alpine:3.20".to_owned(),
            value: format!("sha256:{}", "0".repeat(64)),
        };
        Meanings::of(&SessionOpen {
            meanings: vec![pinned],
            locked,
            ..SessionOpen::default()
        })
    }

    #[test]
    fn images_are_known_by_what_docker_calls_them() {
        let fixed = meanings(false).image("alpine:3.20").unwrap();
        assert!(
            matches!(&fixed, Some(Moving::Fixed(reference)) if reference.ends_with(&"0".repeat(64))),
            "{fixed:?}"
        );
        let free = Moving::Free("docker.io/library/alpine:latest".to_owned());
        assert_eq!(meanings(false).image("alpine").unwrap(), Some(free));
        let digest = format!("alpine@sha256:{}", "1".repeat(64));
        assert_eq!(meanings(true).image(&digest).unwrap(), None);
    }

    #[test]
    fn what_is_not_known_is_refused_when_locked() {
        let error = meanings(true).image("debian:12").unwrap_err().to_string();
        assert!(error.contains("debian:12") && error.contains("--pin"), "{error}");
        assert!(meanings(true).image("alpine:3.20").is_ok());
    }
}
