//! Directories and files that are elsewhere: `git+https://…#ref:path`, `git+ssh://…`, `git+file://…` and `https://…`.

use std::path::{Path, PathBuf};

use wharf_graph::{
    Directory, File,
    build::GitRepository,
    op::{Filter, SecretId},
    source::{Access, Checkout, FetchRequest, Reference},
};

use super::Place;
use crate::{types::Handle, value::Value};

/// Private keys that ssh itself looks for, the best first.
const KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// What a user wrote as a directory or file, when it is elsewhere; an error says what to write.
pub(super) fn parse(handle: Handle, text: &str, place: Place<'_>) -> Option<Result<Value, String>> {
    if let Some(address) = text.strip_prefix("git+") {
        return Some(git(handle, address, place));
    }
    if !text.starts_with("https://") && !text.starts_with("http://") {
        return None;
    }
    let path = text.split(['?', '#']).next().unwrap_or(text);
    if handle == Handle::Directory && path.ends_with(".git") {
        return Some(Err(format!("a repository is written git+{text}")));
    }
    let file = File::fetch(FetchRequest::new(text));
    Some(Ok(match handle {
        Handle::Directory => Value::Directory(file.unpack()),
        _ => Value::File(file),
    }))
}

fn git(handle: Handle, address: &str, place: Place<'_>) -> Result<Value, String> {
    let (url, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (name, path) = fragment.split_once(':').unwrap_or((fragment, ""));
    let repository = match url.split_once("://") {
        Some(("https" | "http", _)) => GitRepository::at(url, Access::Open, ""),
        Some(("ssh", _)) => by_ssh(url, place),
        Some(("file", path)) => local(place.directory.join(path))?,
        _ => return Err("write git+https://…, git+ssh://… or git+file://…".to_owned()),
    };
    let reference = match name {
        "" => Reference::Head,
        name => Reference::Any(name.to_owned()),
    };
    let tree = repository.reference(reference).tree(Checkout::default());
    Ok(match (handle, path) {
        (Handle::Directory, "") => Value::Directory(tree),
        (Handle::Directory, path) => Value::Directory(tree.directory(path)),
        (_, "") => {
            return Err(format!(
                "write which file of the repository: git+{url}#{name}:path/to/file"
            ));
        }
        (_, path) => Value::File(tree.file(path)),
    })
}

/// As the user's own ssh would ask: with their key and the servers that they know.
fn by_ssh(url: &str, place: Place<'_>) -> GitRepository {
    let directory = std::env::home_dir().unwrap_or_default().join(".ssh");
    let key = KEYS
        .iter()
        .map(|name| directory.join(name))
        .find(|path| path.is_file());
    let access = key.map_or(Access::Open, |path| {
        Access::Key(SecretId {
            owner: place.scope.to_owned(),
            uri: format!("file:{}", path.display()),
        })
    });
    let known_hosts = std::fs::read_to_string(directory.join("known_hosts")).unwrap_or_default();
    GitRepository::at(url, access, &known_hosts)
}

/// A repository on the user's disk, which is sent as any directory is.
fn local(path: PathBuf) -> Result<GitRepository, String> {
    let inner = path.join(".git");
    if inner.is_file() {
        let why = "is a worktree of another repository: name that one";
        return Err(format!("{} {why}", path.display()));
    }
    let path = if inner.is_dir() { inner } else { path };
    if !path.join("HEAD").is_file() {
        return Err(format!("{} is no git repository", path.display()));
    }
    let text = path
        .to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()))?;
    Ok(GitRepository::of_directory(&Directory::host(
        absolute(text).as_str(),
        Filter::default(),
    )))
}

fn absolute(path: &str) -> String {
    std::path::absolute(Path::new(path)).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::parse;
    use crate::{Handle, Value, args::Place};

    fn read(handle: Handle, text: &str) -> Option<Result<Value, String>> {
        let place = Place {
            project: Path::new("/usr"),
            directory: Path::new("/"),
            scope: "test",
        };
        parse(handle, text, place)
    }

    #[test]
    fn remote_sources_are_told_by_how_they_start() {
        for text in [
            "git+https://a.example/x.git",
            "git+https://a.example/x#main:docs",
            "https://a.example/x.tar.gz",
        ] {
            assert!(
                matches!(read(Handle::Directory, text), Some(Ok(Value::Directory(_)))),
                "{text}"
            );
        }
        for text in [
            "git+https://a.example/x#v1.0:README.md",
            "https://a.example/x.tar.gz",
        ] {
            assert!(
                matches!(read(Handle::File, text), Some(Ok(Value::File(_)))),
                "{text}"
            );
        }
        assert!(read(Handle::Directory, "./git+x").is_none());
    }

    #[test]
    fn b47_what_is_wrong_says_what_to_write() {
        let wrong = |handle, text| read(handle, text).unwrap().unwrap_err();
        assert!(wrong(Handle::File, "git+https://a.example/x#main").contains("#main:path/to/file"));
        assert!(wrong(Handle::Directory, "https://a.example/x.git").contains("git+https://a.example/x.git"));
        assert!(wrong(Handle::Directory, "git+ftp://a.example/x").contains("git+https://"));
        assert!(wrong(Handle::Directory, "git+file:///nowhere/at/all").contains("no git repository"));
    }
}
