//! The files of a new module.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wharf_manifest::ModuleName;

use crate::{ScaffoldError, ensure_sdk};

/// What is written, with `{{package}}` and `{{module}}` to be filled in.
const FILES: [(&str, &str); 4] = [
    ("wharf.toml", include_str!("../template/wharf.toml")),
    ("Cargo.toml", include_str!("../template/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../template/src/lib.rs")),
    (".gitignore", include_str!("../template/gitignore")),
];

/// The name that a directory suggests: `my:` and its own name, with what a name cannot have made into dashes.
pub fn suggested_name(directory: &Path) -> ModuleName {
    let own = directory
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let words = own
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()))
        .filter(|word| !word.is_empty());
    let name = words.collect::<Vec<_>>().join("-");
    let name = if name.is_empty() { "pipeline" } else { &name };
    format!("my:{name}")
        .parse()
        .expect("words of letters and digits, each of which starts with a letter")
}

/// A new module.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its directory, which may be there already.
    pub directory: PathBuf,
    /// Its name.
    pub name: ModuleName,
}

impl Project {
    /// Writes the module's files and its SDK, and returns the files' names. Nothing is overwritten, and nothing is written
    /// when something would be.
    ///
    /// # Errors
    /// When one of the files is there, or cannot be written.
    pub fn write(&self) -> Result<Vec<&'static str>, ScaffoldError> {
        for (name, _) in FILES.iter().filter(|(name, _)| *name != ".gitignore") {
            let path = self.directory.join(name);
            if path.exists() {
                return Err(ScaffoldError::Exists(path));
            }
        }
        let mut written = Vec::new();
        for (name, template) in FILES {
            let path = self.directory.join(name);
            // A repository has its own, which is the one file that may be there.
            if path.exists() {
                continue;
            }
            let parent = path.parent().unwrap_or(&self.directory);
            fs::create_dir_all(parent).map_err(ScaffoldError::io(parent))?;
            let text = template
                .replace("{{package}}", self.name.name())
                .replace("{{module}}", &self.name.to_string());
            fs::write(&path, text).map_err(ScaffoldError::io(&path))?;
            written.push(name);
        }
        ensure_sdk(&self.directory)?;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_suggests_a_name() {
        let name = |path: &str| suggested_name(Path::new(path)).to_string();
        assert_eq!(name("/work/hello"), "my:hello");
        assert_eq!(name("/work/My App_2"), "my:my-app");
        assert_eq!(name("/work/3d-models"), "my:d-models");
        assert_eq!(name("/"), "my:pipeline");
        assert_eq!(name("/x/a..b"), "my:a-b");
    }

    #[test]
    fn nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let project = Project {
            directory: directory.path().join("new"),
            name: "acme:new".parse().unwrap(),
        };
        fs::create_dir(&project.directory).unwrap();
        fs::write(project.directory.join("Cargo.toml"), "mine").unwrap();
        assert!(matches!(project.write(), Err(ScaffoldError::Exists(path)) if path.ends_with("Cargo.toml")));
        assert_eq!(fs::read_dir(&project.directory).unwrap().count(), 1);

        fs::remove_file(project.directory.join("Cargo.toml")).unwrap();
        fs::write(project.directory.join(".gitignore"), "mine").unwrap();
        assert_eq!(
            project.write().unwrap(),
            ["wharf.toml", "Cargo.toml", "src/lib.rs"]
        );
        assert_eq!(
            fs::read_to_string(project.directory.join(".gitignore")).unwrap(),
            "mine"
        );
        let manifest = fs::read_to_string(project.directory.join("wharf.toml")).unwrap();
        assert!(manifest.contains("\"acme:new\"") && !manifest.contains("{{"));
    }
}
