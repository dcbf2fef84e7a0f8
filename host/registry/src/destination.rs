//! Where a component is published: what was written for it, and what it says of itself.

use semver::Version;
use wharf_oci::Reference;

use crate::{
    contents::Contents,
    error::{Error, Result},
    modules::{Modules, tagged},
    name::{ModuleRef, Wanted, named},
};

/// Where a component is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What it is called: by itself, or by who publishes it.
    pub name: String,
    /// Its version: the tag.
    pub version: Version,
    /// Its repository, when it was written; its name stands for one otherwise.
    repository: Option<Reference>,
}

impl Destination {
    /// Reads what was written for a component; nothing has it go where its own name says.
    pub fn read(written: Option<&str>, contents: &Contents) -> Result<Self> {
        let unpublishable = |why: String| Error::Unpublishable {
            what: contents.name().unwrap_or("this component").to_owned(),
            why,
        };
        if let Some(name) = path_dependency(contents) {
            return Err(unpublishable(format!(
                "its dependency {name} is a directory of this machine, which nobody else has: publish that, and depend on its version"
            )));
        }
        let own = contents.version().map(str::parse::<Version>).transpose();
        let own = own.map_err(|error| unpublishable(format!("its version does not read: {error}")))?;
        let written: Option<ModuleRef> = written.map(str::parse).transpose()?;
        let (name, version, repository) = match &written {
            None => (None, None, None),
            Some(ModuleRef::Name { name, wanted }) => (
                Some(name.to_string()),
                one_version(wanted).map_err(unpublishable)?,
                None,
            ),
            Some(ModuleRef::Place { reference, is_pinned }) => {
                let version = tag(reference, *is_pinned).map_err(unpublishable)?;
                (None, version, Some(reference.clone()))
            }
        };
        if let (Some(written), Some(own)) = (&name, contents.name())
            && written != own
        {
            return Err(unpublishable(format!(
                "it would go by the name {written}: write that into wharf.toml, or publish it under its own name"
            )));
        }
        if let (Some(written), Some(own)) = (&version, &own)
            && written != own
        {
            return Err(unpublishable(format!(
                "it is version {own} and would go by {written}: `version` in wharf.toml says which it is"
            )));
        }
        let missing = |what: &str| {
            unpublishable(format!(
                "it does not say its {what}: write it, as in `wharf publish registry.example/acme/tool:1.0.0`"
            ))
        };
        let version = own.or(version).ok_or_else(|| missing("version"))?;
        if !version.build.is_empty() {
            return Err(unpublishable(format!(
                "its version is {version}, and a registry's tags have no `+`: leave away what is behind it"
            )));
        }
        let own_name = contents.name().map(str::to_owned).or(name);
        let of_place = || {
            repository
                .as_ref()
                .map(|place: &Reference| place.repository().to_owned())
        };
        Ok(Self {
            name: own_name.or_else(of_place).ok_or_else(|| missing("name"))?,
            version,
            repository,
        })
    }

    /// Its reference: in the repository that was written, or that its name stands for, under its version.
    pub async fn reference(&self, modules: &Modules) -> Result<Reference> {
        let repository = match &self.repository {
            Some(repository) => repository.clone(),
            None => modules.repository(&named(&self.name)?).await?,
        };
        Ok(tagged(&repository, &self.version)?)
    }
}

fn path_dependency(contents: &Contents) -> Option<&str> {
    let dependencies = contents.manifest.as_ref()?.get("dependencies")?.as_object()?;
    let by_path = dependencies.iter().find(|(_, place)| place.get("path").is_some());
    by_path.map(|(name, _)| name.as_str())
}

fn one_version(wanted: &Wanted) -> Result<Option<Version>, String> {
    match wanted {
        Wanted::Newest => Ok(None),
        Wanted::Exactly(version) => Ok(Some(version.clone())),
        Wanted::Within(range) => Err(format!(
            "{range} is no version: a version is three numbers, as in 1.2.0"
        )),
    }
}

fn tag(reference: &Reference, is_pinned: bool) -> Result<Option<Version>, String> {
    if reference.digest().is_some() {
        return Err("its digest follows from its content: leave that away".to_owned());
    }
    match reference.tag().filter(|_| is_pinned) {
        None => Ok(None),
        Some(tag) => match tag.parse() {
            Ok(version) => Ok(Some(version)),
            Err(_) => Err(format!(
                "it goes by its version, and {tag} is none: leave that away, or have it follow with --tag {tag}"
            )),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(name: &str, version: &str) -> Contents {
        Contents {
            manifest: Some(serde_json::json!({ "module": { "name": name, "version": version } })),
            ..Contents::default()
        }
    }

    fn read(written: &str, contents: &Contents) -> std::result::Result<(String, String), String> {
        let read = Destination::read(Some(written).filter(|text| !text.is_empty()), contents);
        let read = read.map_err(|error| error.to_string())?;
        Ok((read.name, read.version.to_string()))
    }

    #[test]
    fn a_module_goes_by_its_own_name_and_version() {
        let own = contents("acme:tool", "0.2.0");
        for written in [
            "",
            "acme:tool",
            "acme:tool@0.2.0",
            "r.example/a/b",
            "r.example/a/b:0.2.0",
        ] {
            assert_eq!(
                read(written, &own),
                Ok(("acme:tool".into(), "0.2.0".into())),
                "{written}"
            );
        }
        let foreign = Contents::default();
        assert_eq!(
            read("r.example/a/b:1.0.0", &foreign),
            Ok(("a/b".into(), "1.0.0".into()))
        );
        assert_eq!(
            read("acme:x@1.0.0", &foreign),
            Ok(("acme:x".into(), "1.0.0".into()))
        );
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let own = contents("acme:tool", "0.2.0");
        for (written, why) in [
            ("acme:other", "by the name acme:other"),
            ("r.example/a/b:0.3.0", "it is version 0.2.0"),
            ("r.example/a/b:latest", "--tag latest"),
            ("acme:tool@0.2", "three numbers"),
            (
                &format!("r.example/a/b@sha256:{}", "0".repeat(64)),
                "follows from its content",
            ),
        ] {
            let refused = read(written, &own).unwrap_err();
            assert!(refused.contains(why), "{written}: {refused}");
        }
        assert!(read("", &Contents::default()).unwrap_err().contains("version"));
        assert!(
            read("r.example/a/b", &Contents::default())
                .unwrap_err()
                .contains("version")
        );
        assert!(
            read("", &contents("acme:tool", "1.0.0+5"))
                .unwrap_err()
                .contains('+')
        );
        let mut local = contents("acme:tool", "1.0.0");
        local.manifest.as_mut().unwrap()["dependencies"] =
            serde_json::json!({ "acme:x": { "path": "../x" } });
        assert!(read("", &local).unwrap_err().contains("acme:x is a directory"));
    }
}
