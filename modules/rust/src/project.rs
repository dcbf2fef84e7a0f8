//! What a project is, by its manifest and the names of its files.

use serde::Deserialize;
use wharf_sdk::prelude::*;

/// A project.
#[derive(Debug, PartialEq)]
pub(crate) struct Project {
    /// The cache volume for what is compiled of it.
    pub(crate) volume: String,
    /// The paths of its source files, one a line.
    pub(crate) source_files: String,
}

/// A Cargo.toml, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Manifest {
    package: Option<Package>,
    workspace: Option<toml::Table>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

impl Project {
    /// Reads it from its directory.
    pub(crate) async fn read(source: &Directory) -> Result<Self> {
        for (name, hint) in [
            ("Cargo.toml", "name the project's own directory"),
            ("Cargo.lock", "make it with `cargo generate-lockfile`"),
        ] {
            if !source.exists(name).await? {
                let why = format!("the directory has no {name}: {hint}");
                return Err(Error::with_code("no-project", why));
            }
        }
        let manifest = source.file("Cargo.toml");
        let (text, files) = join!(manifest.contents(), source.glob("**/*.rs"));
        Self::of(&text?, &files?)
    }

    fn of(manifest: &str, files: &[String]) -> Result<Self> {
        let manifest: Manifest =
            toml::from_str(manifest).map_err(|error| Error::Invalid(format!("Cargo.toml: {error}")))?;
        let name = match (&manifest.package, &manifest.workspace) {
            (Some(package), _) => &package.name,
            (None, Some(_)) => "workspace",
            (None, None) => {
                return Err(Error::Invalid(
                    "Cargo.toml: it has neither [package] nor [workspace]".to_owned(),
                ));
            }
        };
        let is_source = |path: &&String| !["target/", ".git/"].iter().any(|place| path.starts_with(place));
        let files: Vec<&str> = files.iter().filter(is_source).map(String::as_str).collect();
        Ok(Self {
            volume: format!("target-{name}"),
            source_files: files.iter().map(|path| format!("{path}\n")).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_known_by_its_name_and_the_names_of_its_files() {
        let files = ["src/main.rs", "target/debug/build/x.rs", "a b.rs"].map(str::to_owned);
        let project = Project::of("[package]\nname = \"app\"\n", &files).unwrap();
        assert_eq!(project.volume, "target-app");
        assert_eq!(project.source_files, "src/main.rs\na b.rs\n");
        let workspace = Project::of("[workspace]\nmembers = [\"a\"]\n", &[]).unwrap();
        assert_eq!(workspace.volume, "target-workspace");
    }

    #[test]
    fn what_is_no_manifest_is_said() {
        for (text, expected) in [
            ("x", "Cargo.toml: "),
            ("[dependencies]\n", "neither [package] nor [workspace]"),
        ] {
            let error = Project::of(text, &[]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
