//! Unified diffs, applied to a tree: those of git with all they say of names and modes, and those of diff(1).

use diffy::{
    binary::BinaryPatch,
    patch_set::{FileMode, FileOperation, FilePatch, ParseOptions, PatchKind, PatchSet},
};
use wharf_graph::{Error, build::FILE_MODE, plan::absolute, read::READ_LIMIT};
use wharf_store::{
    Snapshot, Store,
    edit::{self, Put},
    tree::{Kind, View},
};

use crate::{answer::too_large, engine::store_error, image::of_store};

/// Permission bits of an executable file.
const EXECUTABLE_MODE: u32 = 0o755;

/// What is at a path before it is patched.
struct Old {
    bytes: Vec<u8>,
    is_link: bool,
    mode: u32,
    owner: (u32, u32),
}

/// The tree that a patch makes of `base`: all of it applies, or nothing.
pub(crate) fn apply(store: &Store, base: &Snapshot, patch: &str) -> Result<Snapshot, Error> {
    let is_git = patch.lines().any(|line| line.starts_with("diff --git "));
    let options = if is_git {
        ParseOptions::gitdiff()
    } else {
        ParseOptions::unidiff()
    };
    let view = of_store(View::new(store, base))?;
    let mut puts = Vec::new();
    for file in PatchSet::parse(patch, options) {
        let file = file.map_err(|error| Error::Invalid(format!("this is no unified diff: {error}")))?;
        one(&view, &file, &mut puts)?;
    }
    if puts.is_empty() {
        return Err(Error::Invalid(
            "this is no unified diff: it changes no file".to_owned(),
        ));
    }
    of_store(edit::put(store, base, &puts))
}

/// What becomes of one file.
fn one(view: &View<'_>, file: &FilePatch<'_, str>, puts: &mut Vec<(String, Put)>) -> Result<(), Error> {
    let (from, to) = match file.operation() {
        FileOperation::Create(path) => (None, Some(place(path)?)),
        FileOperation::Delete(path) => (Some(place(path)?), None),
        FileOperation::Modify { modified, .. } => (Some(place(modified)?), Some(place(modified)?)),
        FileOperation::Rename { from, to } | FileOperation::Copy { from, to } => {
            (Some(place(from)?), Some(place(to)?))
        }
    };
    let old = from.as_deref().map(|path| old(view, path, puts)).transpose()?;
    if let (None, Some(path)) = (&from, &to)
        && view.stat(path, false).is_ok()
        && !puts
            .iter()
            .any(|(put, what)| put == path && matches!(what, Put::Nothing))
    {
        return Err(Error::Invalid(format!(
            "the patch makes {}, which is there already",
            bare(path)
        )));
    }
    let named = bare(to.as_deref().or(from.as_deref()).unwrap_or_default());
    let before = old.as_ref().map(|old| old.bytes.as_slice()).unwrap_or_default();
    let bytes = patched(named, file, before)?;
    if let Some(from) = &from
        && !matches!(file.operation(), FileOperation::Copy { .. })
        && to.as_ref() != Some(from)
    {
        puts.push((from.clone(), Put::Nothing));
    }
    let Some(to) = to.clone() else { return Ok(()) };
    let is_link = match file.new_mode() {
        Some(FileMode::Gitlink) => {
            return Err(Error::Invalid(format!(
                "{named} is a submodule, which a patch cannot bring"
            )));
        }
        Some(mode) => *mode == FileMode::Symlink,
        None => old.as_ref().is_some_and(|old| old.is_link),
    };
    let put = if is_link {
        let target = String::from_utf8(bytes);
        Put::Symlink(target.map_err(|_| Error::Invalid(format!("{named} leads to what is no text")))?)
    } else {
        let mode = match (file.new_mode(), &old) {
            (Some(FileMode::Executable), _) => EXECUTABLE_MODE,
            (None, Some(old)) => old.mode,
            _ => FILE_MODE,
        };
        Put::File(bytes, mode, old.map_or((0, 0), |old| old.owner))
    };
    puts.push((to, put));
    Ok(())
}

/// What is at a path; what the patch itself put there before counts.
fn old(view: &View<'_>, path: &str, puts: &[(String, Put)]) -> Result<Old, Error> {
    match puts.iter().rev().find(|(put, _)| put == path) {
        Some((_, Put::File(bytes, mode, owner))) => {
            return Ok(Old {
                bytes: bytes.clone(),
                is_link: false,
                mode: *mode,
                owner: *owner,
            });
        }
        Some((_, Put::Symlink(target))) => {
            return Ok(Old {
                bytes: target.clone().into_bytes(),
                is_link: true,
                mode: FILE_MODE,
                owner: (0, 0),
            });
        }
        Some((_, Put::Nothing)) | None => {}
    }
    let stat = view.stat(path, false).map_err(|error| match error {
        wharf_store::Error::NotFound(_) => {
            Error::Invalid(format!("the patch changes {}, which is not there", bare(path)))
        }
        error => store_error(&error),
    })?;
    let bytes = match stat.kind {
        Kind::File if stat.size > READ_LIMIT => return Err(too_large(bare(path), stat.size)),
        Kind::File => view.read_bytes(path.as_bytes()),
        Kind::Symlink => view.read_link(path.as_bytes()),
        _ => {
            return Err(Error::Invalid(format!(
                "the patch changes {}, which is neither a file nor a link",
                bare(path)
            )));
        }
    };
    Ok(Old {
        bytes: of_store(bytes)?,
        is_link: stat.kind == Kind::Symlink,
        mode: stat.mode,
        owner: (stat.uid, stat.gid),
    })
}

fn patched(path: &str, file: &FilePatch<'_, str>, old: &[u8]) -> Result<Vec<u8>, Error> {
    match file.patch() {
        PatchKind::Text(patch) if patch.hunks().is_empty() => Ok(old.to_vec()),
        PatchKind::Text(patch) => {
            let text = std::str::from_utf8(old)
                .map_err(|_| Error::Invalid(format!("the patch has lines for {path}, which is no text")))?;
            diffy::apply(text, patch)
                .map(String::into_bytes)
                .map_err(|error| Error::Invalid(format!("the patch does not fit {path}: {error}")))
        }
        PatchKind::Binary(BinaryPatch::Marker) => Err(Error::Invalid(format!(
            "the patch says that {path} differs and not how: make it with `git diff --binary`"
        ))),
        PatchKind::Binary(patch) => patch
            .apply(old)
            .map_err(|error| Error::Invalid(format!("the patch does not fit {path}: {error}"))),
    }
}

/// A path as the patch names it.
fn bare(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// Where a name of a patch lies in the tree: git's prefixes come off.
fn place(name: &str) -> Result<String, Error> {
    let name = name
        .strip_prefix("a/")
        .or_else(|| name.strip_prefix("b/"))
        .unwrap_or(name);
    if name.starts_with('/') || name.split('/').any(|part| part == "..") {
        return Err(Error::Invalid(format!(
            "the patch names {name}, which is not below the directory"
        )));
    }
    Ok(absolute("/", name))
}
