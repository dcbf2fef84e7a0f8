//! What a project needs, by what its pyproject.toml says.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use wharf_sdk::prelude::*;

/// What builds a project that does not say what does.
const USUAL_BUILD: [&str; 2] = ["setuptools", "wheel"];
/// How extras for tests are usually called.
const FOR_TESTS: [&str; 3] = ["test", "tests", "testing"];

/// A project.
#[derive(Debug, Default)]
pub(crate) struct Project {
    said: PyProject,
    has_setup: bool,
}

/// A pyproject.toml, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct PyProject {
    build_system: Option<BuildSystem>,
    project: Option<About>,
    dependency_groups: BTreeMap<String, Vec<Member>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BuildSystem {
    requires: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct About {
    name: String,
    dynamic: Vec<String>,
    dependencies: Vec<String>,
    optional_dependencies: BTreeMap<String, Vec<String>>,
}

/// A member of a dependency group: a package, or another group.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Member {
    Package(String),
    Group {
        #[serde(rename = "include-group")]
        name: String,
    },
}

impl Project {
    /// Reads it from its directory.
    pub(crate) async fn read(source: &Directory) -> Result<Self> {
        let (has_manifest, has_setup) = join!(source.exists("pyproject.toml"), source.exists("setup.py"));
        let has_setup = has_setup?;
        let text = match (has_manifest?, has_setup) {
            (true, _) => source.file("pyproject.toml").contents().await?,
            (false, true) => String::new(),
            (false, false) => {
                return Err(Error::with_code(
                    "no-project",
                    "the directory has neither a pyproject.toml nor a setup.py",
                ));
            }
        };
        let project = Self::parse(&text, has_setup)?;
        if project.about().dynamic.iter().any(|name| name == "dependencies") {
            log::warn(
                "the project computes its dependencies: those are not installed unless they are named as packages",
            );
        }
        Ok(project)
    }

    /// Reads the text of a pyproject.toml; none is as good as an empty one.
    fn parse(text: &str, has_setup: bool) -> Result<Self> {
        let said =
            toml::from_str(text).map_err(|error| Error::Invalid(format!("pyproject.toml: {error}")))?;
        Ok(Self { said, has_setup })
    }

    /// Can it be built and installed?
    pub(crate) fn is_package(&self) -> bool {
        self.has_setup || self.said.build_system.is_some() || self.said.project.is_some()
    }

    /// What it needs to be built.
    pub(crate) fn to_build(&self) -> Vec<String> {
        match &self.said.build_system {
            Some(build) => build.requires.clone(),
            None if self.is_package() => USUAL_BUILD.map(str::to_owned).to_vec(),
            None => Vec::new(),
        }
    }

    /// What it needs to be built and run, with these extras.
    pub(crate) fn needs(&self, extras: &[String]) -> Result<Vec<String>> {
        let mut needed = self.to_build();
        needed.extend(self.about().dependencies.iter().cloned());
        let mut seen = BTreeSet::new();
        for extra in extras {
            self.add_extra(extra, &mut seen, &mut needed)?;
        }
        Ok(needed)
    }

    /// Its extras for tests, by their usual names.
    pub(crate) fn for_tests(&self) -> Vec<String> {
        let all: BTreeSet<_> = self.extras().map(normal).collect();
        let usual = FOR_TESTS.iter().filter(|name| all.contains(**name));
        usual.map(|name| (*name).to_owned()).collect()
    }

    fn about(&self) -> &About {
        const NONE: &About = &About {
            name: String::new(),
            dynamic: Vec::new(),
            dependencies: Vec::new(),
            optional_dependencies: BTreeMap::new(),
        };
        self.said.project.as_ref().unwrap_or(NONE)
    }

    /// Optional dependencies and dependency groups, by name.
    fn extras(&self) -> impl Iterator<Item = &str> {
        let optional = self.about().optional_dependencies.keys();
        optional
            .chain(self.said.dependency_groups.keys())
            .map(String::as_str)
    }

    /// Adds what an extra names, with what it names in turn.
    fn add_extra(&self, name: &str, seen: &mut BTreeSet<String>, needed: &mut Vec<String>) -> Result<()> {
        let name = normal(name);
        if !seen.insert(name.clone()) {
            return Ok(());
        }
        let of_name = |(key, _): &(&String, _)| normal(key) == name;
        let mut is_there = false;
        if let Some((_, packages)) = self.about().optional_dependencies.iter().find(of_name) {
            is_there = true;
            for package in packages {
                match self.own_extras(package) {
                    Some(extras) => extras
                        .split(',')
                        .try_for_each(|extra| self.add_extra(extra, seen, needed))?,
                    None => needed.push(package.clone()),
                }
            }
        }
        let group = self
            .said
            .dependency_groups
            .iter()
            .find(|(key, _)| normal(key) == name);
        if let Some((_, members)) = group {
            is_there = true;
            for member in members {
                match member {
                    Member::Package(package) => needed.push(package.clone()),
                    Member::Group { name } => self.add_extra(name, seen, needed)?,
                }
            }
        }
        if is_there {
            return Ok(());
        }
        let all = self.extras().collect::<Vec<_>>().join(", ");
        let has = if all.is_empty() {
            "no extras".to_owned()
        } else {
            format!("these: {all}")
        };
        Err(Error::NotFound(format!(
            "the project has no extra {name:?}; it has {has}"
        )))
    }

    /// The extras in a requirement that means the project itself, as in `this[test,docs]`: nothing to fetch.
    fn own_extras<'p>(&self, package: &'p str) -> Option<&'p str> {
        let (name, rest) = package.split_once('[')?;
        let (extras, _) = rest.split_once(']')?;
        let is_own = !self.about().name.is_empty() && normal(name) == normal(&self.about().name);
        is_own.then_some(extras)
    }
}

/// A name as Python's packaging compares it: lower case, with one `-` for any of `-`, `_` and `.`.
fn normal(name: &str) -> String {
    let words = name.trim().split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        [build-system]
        requires = ["hatchling>=1"]
        [project]
        name = "My_App"
        dependencies = ["attrs"]
        [project.optional-dependencies]
        Test = ["hypothesis", "my-app[io]"]
        io = ["anyio"]
        [dependency-groups]
        dev = ["ruff", { include-group = "typing" }]
        typing = ["mypy"]
    "#;

    fn needs(text: &str, extras: &[&str]) -> Result<Vec<String>> {
        let extras: Vec<_> = extras.iter().map(|extra| (*extra).to_owned()).collect();
        Project::parse(text, false)?.needs(&extras)
    }

    #[test]
    fn needs_are_those_of_the_build_of_the_project_and_of_its_extras() {
        assert_eq!(needs(WHOLE, &[]).unwrap(), ["hatchling>=1", "attrs"]);
        assert_eq!(
            needs(WHOLE, &["test", "dev", "io"]).unwrap(),
            ["hatchling>=1", "attrs", "hypothesis", "anyio", "ruff", "mypy"]
        );
        assert_eq!(Project::parse(WHOLE, false).unwrap().for_tests(), ["test"]);
    }

    #[test]
    fn a_project_that_says_little_is_built_as_usual() {
        for (text, has_setup) in [("", true), ("[project]\nname = \"a\"\n", false)] {
            let project = Project::parse(text, has_setup).unwrap();
            assert!(project.is_package());
            assert_eq!(project.to_build(), USUAL_BUILD, "{text}");
        }
        let tools = Project::parse("[tool.ruff]\nline-length = 100\n", false).unwrap();
        assert!(!tools.is_package());
        assert!(tools.needs(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        let unknown = needs(WHOLE, &["tset"]).unwrap_err().to_string();
        assert_eq!(
            unknown,
            "the project has no extra \"tset\"; it has these: Test, io, dev, typing"
        );
        let none = needs("", &["test"]).unwrap_err().to_string();
        assert_eq!(none, "the project has no extra \"test\"; it has no extras");
        let broken = needs("[project\n", &[]).unwrap_err().to_string();
        assert!(broken.starts_with("pyproject.toml: "), "{broken}");
    }
}
