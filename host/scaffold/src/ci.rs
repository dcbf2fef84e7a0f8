//! The one file that makes a CI system call `wharf check`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::ScaffoldError;

/// A CI system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions.
    GitHub,
    /// GitLab CI.
    GitLab,
    /// Jenkins.
    Jenkins,
}

impl Ci {
    /// Where it looks for the file, from the repository's root.
    pub fn file(self) -> &'static str {
        match self {
            Self::GitHub => ".github/workflows/wharf.yml",
            Self::GitLab => ".gitlab-ci.yml",
            Self::Jenkins => "Jenkinsfile",
        }
    }

    fn template(self) -> &'static str {
        match self {
            Self::GitHub => include_str!("../template/ci/github.yml"),
            Self::GitLab => include_str!("../template/ci/gitlab.yml"),
            Self::Jenkins => include_str!("../template/ci/Jenkinsfile"),
        }
    }

    /// A text as the file's language quotes it.
    fn quoted(self, text: &str) -> String {
        let (mark, escaped) = match self {
            // YAML's double quotes, which take JSON's escapes.
            Self::GitHub | Self::GitLab => ('"', text.replace('\\', "\\\\").replace('"', "\\\"")),
            Self::Jenkins => ('\'', text.replace('\\', "\\\\").replace('\'', "\\'")),
        };
        format!("{mark}{escaped}{mark}")
    }
}

/// The file for a module.
#[derive(Clone, Debug)]
pub struct CiFile {
    /// Whose it is.
    pub ci: Ci,
    /// Where it will be.
    pub path: PathBuf,
    text: String,
}

impl CiFile {
    /// For the module in this directory, which need not be there yet. The file belongs into the root of the repository that the
    /// directory is in, and into the directory itself where there is none.
    ///
    /// # Errors
    /// When there is such a file, or the module's path cannot be written into it.
    pub fn new(ci: Ci, directory: &Path) -> Result<Self, ScaffoldError> {
        let root = directory
            .ancestors()
            .find(|place| place.join(".git").exists())
            .unwrap_or(directory);
        let path = root.join(ci.file());
        // A link that leads nowhere is there, too.
        if path.symlink_metadata().is_ok() {
            return Err(ScaffoldError::Exists(path));
        }
        let below = directory.strip_prefix(root).unwrap_or(Path::new(""));
        let module = below
            .components()
            .map(|part| part.as_os_str().to_str().filter(|name| is_plain(name)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| ScaffoldError::Path(below.to_owned()))?
            .join("/");
        let prefix = if module.is_empty() {
            String::new()
        } else {
            format!("{module}/")
        };
        let module = if module.is_empty() { "." } else { &module };
        let text = ci
            .template()
            .replace("{{module}}", &ci.quoted(module))
            .replace("{{prefix}}", &prefix);
        Ok(Self { ci, path, text })
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written, or somebody else has written one since.
    pub fn write(&self) -> Result<(), ScaffoldError> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(ScaffoldError::io(parent))?;
        let mut file = match fs::File::create_new(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(ScaffoldError::Exists(self.path.clone()));
            }
            file => file.map_err(ScaffoldError::io(&self.path))?,
        };
        std::io::Write::write_all(&mut file, self.text.as_bytes()).map_err(ScaffoldError::io(&self.path))
    }
}

/// A name that means itself in YAML, in Groovy, in a shell and in patterns of paths.
fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|letter| letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-' | '+' | '@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(".git")).unwrap();
        directory
    }

    #[test]
    fn the_file_is_where_the_repository_begins_and_names_the_module() {
        let repository = repository();
        let module = repository.path().join("tools/ci");
        let file = CiFile::new(Ci::GitHub, &module).unwrap();
        assert_eq!(file.path, repository.path().join(".github/workflows/wharf.yml"));
        assert!(file.text.contains("MODULE: \"tools/ci\"\n") && file.text.contains(" tools/ci/.wharf\n"));
        assert!(!file.text.contains("{{module}}") && !file.text.contains("{{prefix}}"));
        file.write().unwrap();
        let text = fs::read_to_string(&file.path).unwrap();
        assert_eq!(text, file.text);
        assert!(matches!(
            CiFile::new(Ci::GitHub, &module),
            Err(ScaffoldError::Exists(_))
        ));
        assert!(matches!(file.write(), Err(ScaffoldError::Exists(_))));
        assert_eq!(fs::read_to_string(&file.path).unwrap(), text);
        let root = CiFile::new(Ci::Jenkins, repository.path()).unwrap();
        assert!(root.text.contains("MODULE = '.'\n"));
    }

    #[test]
    fn a_link_is_not_followed_and_a_strange_path_is_refused() {
        let repository = repository();
        std::os::unix::fs::symlink("nowhere", repository.path().join(".gitlab-ci.yml")).unwrap();
        assert!(matches!(
            CiFile::new(Ci::GitLab, repository.path()),
            Err(ScaffoldError::Exists(_))
        ));
        let module = repository.path().join("a b\"$(x)");
        let error = CiFile::new(Ci::GitHub, &module).unwrap_err().to_string();
        assert!(error.contains("a b\"$(x)"), "{error}");
    }
}
