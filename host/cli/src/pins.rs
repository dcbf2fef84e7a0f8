//! What references of images and commits mean by the wharf.lock of the module that is called from its source.

use std::path::PathBuf;

use wharf_client::Meanings;
use wharf_registry::Lock;

use crate::{composition::lock_file, error::Report, module::Loaded, output};

/// The pins of one module.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// Where they are kept; nowhere for a module without source here.
    file: Option<PathBuf>,
    meanings: Meanings,
    /// `--pin`: what a run finds out is noted.
    grows: bool,
    /// `--locked`: what is not in them is refused.
    locked: bool,
}

impl Pins {
    /// Refused before anything runs: pins that could not be kept.
    pub(crate) fn of(loaded: &Loaded, grows: bool, locked: bool) -> Result<Self, Report> {
        let Some(file) = loaded.source.as_deref().map(lock_file) else {
            if grows {
                let why = "--pin is for a module that is called from its source: there is no wharf.lock";
                return Err(Report::usage(why));
            }
            // Without a lock nothing can be said to be missing in it.
            return Ok(Self::default());
        };
        let lock = Lock::load(&file)?.unwrap_or_default();
        Ok(Self {
            file: Some(file),
            meanings: lock.pins,
            grows,
            locked,
        })
    }

    /// What references mean, for a run.
    pub(crate) fn meanings(&self) -> Meanings {
        self.meanings.clone()
    }

    /// Is what they do not have refused?
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Notes what a run has found out, when that was asked for.
    pub(crate) fn note(&self, found: Meanings) -> Result<(), Report> {
        let Some(file) = self.file.as_ref().filter(|_| self.grows) else {
            return Ok(());
        };
        if found.is_empty() {
            output::aside("wharf.lock has all references that were met\n");
            return Ok(());
        }
        let mut lock = Lock::load(file)?.unwrap_or_default();
        for (reference, value) in &found {
            output::aside(&format!("pinned {reference} to {value}\n"));
        }
        lock.pins.extend(found);
        Ok(lock.save(file)?)
    }
}

/// The pins that a name is about: of an image however its name is spelled, or of all references to a repository.
pub(crate) fn named<'p>(pins: &'p Meanings, name: &str) -> Vec<&'p String> {
    let image = name
        .parse::<wharf_oci::Reference>()
        .ok()
        .map(|image| image.to_string());
    let is_meant = |pin: &&String| {
        let repository = pin.split_once('#').map(|(repository, _)| repository);
        pin.as_str() == name || repository == Some(name) || image.as_deref() == Some(pin.as_str())
    };
    pins.keys().filter(is_meant).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_named_as_people_do() {
        let all = [
            "docker.io/library/alpine:3.20",
            "https://git.example/app#main",
            "https://git.example/app#refs/tags/v1",
        ];
        let pins: Meanings = all.map(|name| (name.to_owned(), String::new())).into();
        let count = |name: &str| named(&pins, name).len();
        assert_eq!(
            [
                count("alpine:3.20"),
                count("alpine"),
                count("https://git.example/app"),
                count("https://git.example/app#main")
            ],
            [1, 0, 2, 1]
        );
    }
}
