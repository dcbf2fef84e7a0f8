//! `wharf.lock`: the modules of registries that a module was resolved to, each by its digest.

use std::{collections::BTreeMap, fmt::Write as _, fs, io, path::Path};

use semver::Version;
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    name::Wanted,
    solve::Need,
};

/// The form of the file.
const FORMAT: u32 = 1;
const HEAD: &str = "# What wharf.toml was resolved to. Written by wharf; it belongs under version control.\n";

/// What was resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// The modules, in the order of their places.
    pub modules: Vec<Locked>,
    /// What references of images and commits mean: a digest by the image's name, a commit by the repository and the reference.
    pub pins: BTreeMap<String, String>,
    /// What modules asked for when the user was last asked about it, by the name that they are called by, as lines of wharf.toml.
    pub asked: BTreeMap<String, Vec<String>>,
}

/// One module of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// The name that it gives itself, or that it is called by.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// Its repository, or the reference that it was called by when that names one thing.
    pub place: String,
    /// The digest of its manifest.
    pub digest: String,
    /// What it calls.
    pub(crate) calls: Vec<Need>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    pins: BTreeMap<String, String>,
    #[serde(default)]
    asked: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    module: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    version: Version,
    from: String,
    digest: String,
    #[serde(default)]
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    version: Option<String>,
    from: String,
}

impl Lock {
    /// Reads a file; one that is not there says nothing.
    pub fn load(file: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(file) {
            Ok(text) => Self::parse(&text).map(Some).map_err(|why| Error::Lock {
                file: file.to_owned(),
                why,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", file)(error)),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.contains("<<<<<<<") {
            return Err("it holds a conflict of two versions of itself".to_owned());
        }
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        if file.version != FORMAT {
            return Err(format!(
                "it was written by another Wharf, in form {}",
                file.version
            ));
        }
        let modules = file
            .module
            .into_iter()
            .map(Entry::read)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            modules,
            pins: file.pins,
            asked: file.asked,
        })
    }

    /// Writes the file, unless it says the same.
    pub fn save(&self, file: &Path) -> Result<()> {
        let text = self.text();
        if fs::read_to_string(file).is_ok_and(|there| there == text) {
            return Ok(());
        }
        let directory = file.parent().unwrap_or(Path::new("."));
        let write = || {
            let mut draft = tempfile::NamedTempFile::new_in(directory)?;
            io::Write::write_all(&mut draft, text.as_bytes())?;
            // As any file of its user's: it is read by others, too.
            wharf_platform::file::set_mode(draft.path(), 0o644)?;
            draft.persist(file)?;
            Ok(())
        };
        write().map_err(Error::io("write", file))
    }

    /// As it is written.
    pub fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!("{HEAD}version = {FORMAT}\n");
        if !self.pins.is_empty() {
            text.push_str("\n[pins]\n");
        }
        for (reference, value) in &self.pins {
            let _ = writeln!(text, "{} = {}", quoted(reference), quoted(value));
        }
        if !self.asked.is_empty() {
            text.push_str("\n[asked]\n");
        }
        for (name, lines) in &self.asked {
            let lines: Vec<_> = lines.iter().map(|line| quoted(line)).collect();
            let _ = writeln!(text, "{} = [{}]", quoted(name), lines.join(", "));
        }
        for module in &self.modules {
            let _ = write!(
                text,
                "\n[[module]]\nname = {}\nversion = \"{}\"\nfrom = {}\ndigest = {}\n",
                quoted(&module.name),
                module.version,
                quoted(&module.place),
                quoted(&module.digest)
            );
            if module.calls.is_empty() {
                continue;
            }
            text.push_str("calls = [\n");
            for call in &module.calls {
                let version = match &call.wanted {
                    Wanted::Newest => String::new(),
                    Wanted::Exactly(version) => format!("version = \"={version}\", "),
                    Wanted::Within(range) => format!("version = {}, ", quoted(&range.to_string())),
                };
                let (name, from) = (quoted(&call.name), quoted(&call.place));
                let _ = writeln!(text, "    {{ name = {name}, {version}from = {from} }},");
            }
            text.push_str("]\n");
        }
        text
    }

    /// Who calls a module, as far as the lock says: `wharf.toml → acme:tool → acme:base`.
    pub(crate) fn callers(&self, place: &str) -> String {
        let (mut names, mut at) = (Vec::new(), place);
        for _ in 0..=self.modules.len() {
            names.extend(self.of_place(at).map(|module| module.name.as_str()));
            let calls = |module: &&Locked| module.calls.iter().any(|need| need.place == at);
            match self.modules.iter().find(calls) {
                Some(caller) => at = &caller.place,
                None => break,
            }
        }
        names.push("wharf.toml");
        names.reverse();
        names.join(" → ")
    }

    /// The module of a place.
    pub fn of_place(&self, place: &str) -> Option<&Locked> {
        self.modules.iter().find(|module| module.place == place)
    }
}

impl Entry {
    fn read(self) -> Result<Locked, String> {
        let calls = self.calls.into_iter().map(|call| {
            let wanted = match &call.version {
                None => Wanted::Newest,
                Some(range) => Wanted::Within(range.parse().map_err(|error| format!("{range:?}: {error}"))?),
            };
            Ok(Need {
                name: call.name,
                place: call.from,
                wanted,
            })
        });
        Ok(Locked {
            calls: calls.collect::<Result<_, String>>()?,
            name: self.name,
            version: self.version,
            place: self.from,
            digest: self.digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let module = |name: &str, calls: Vec<Need>| Locked {
            name: name.to_owned(),
            version: Version::new(1, 2, 0),
            place: format!("r.example/{}", name.replace(':', "/")),
            digest: "sha256:00".to_owned(),
            calls,
        };
        let need = |wanted| Need {
            name: "acme:base".to_owned(),
            place: "r.example/acme/base".to_owned(),
            wanted,
        };
        let calls = vec![
            need(Wanted::Within(">=1, <2".parse().unwrap())),
            need(Wanted::Newest),
        ];
        Lock {
            modules: vec![module("acme:base", Vec::new()), module("acme:tool", calls)],
            pins: BTreeMap::from([("docker.io/library/alpine:3.20".to_owned(), "sha256:11".to_owned())]),
            asked: BTreeMap::from([("acme:tool".to_owned(), vec!["caches = [\"pip\"]".to_owned()])]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("wharf.lock");
        assert_eq!(Lock::load(&file).unwrap(), None);
        lock().save(&file).unwrap();
        assert_eq!(Lock::load(&file).unwrap(), Some(lock()));
        assert_eq!(lock().of_place("r.example/acme/base").unwrap().name, "acme:base");
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.contains(
                "    { name = \"acme:base\", version = \">=1, <2\", from = \"r.example/acme/base\" },"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_does_not_read_says_what_to_do() {
        let refused = |text: &str| Lock::parse(text).unwrap_err();
        assert!(refused("version = 1\n<<<<<<< ours\n").contains("conflict"));
        assert!(refused("version = 7\n").contains("form 7"));
        assert!(refused("version = 1\n[[module]]\nname = \"a:b\"\n").contains("version"));
        assert!(refused("version = 1\n[[modul]]\n").contains("module"));
    }
}
