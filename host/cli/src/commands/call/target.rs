//! Where `-o` writes, looked at before anything runs: an hour's result must not find that there is no place for it.

use std::path::Path;

use wharf_platform::file::check_writable;
use wharf_wasm::Handle;

use crate::error::Report;

/// Refuses a path that a result of this kind cannot be written to.
pub(super) fn check(handle: Handle, to: &Path) -> Result<(), Report> {
    let wrong = |why: String| Report::usage(format!("-o {}: {why}", to.display()));
    if handle == Handle::Directory && to.exists() && !to.is_dir() {
        return Err(wrong(
            "a file is in the way: a directory is written to a directory".to_owned(),
        ));
    }
    if handle == Handle::Container && to.is_dir() {
        let hint = format!("-o {} names one", to.join("image.tar").display());
        return Err(wrong("it is a directory: a container is written to a file".to_owned()).with_hint(hint));
    }
    let directory = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    // A directory that is there is written into; anything else is put beside what is there, or where it will be.
    let at = directory
        .ancestors()
        .find(|path| path.is_dir() || path.exists() && *path != directory);
    let Some(at) = at else { return Ok(()) };
    if !at.is_dir() {
        return Err(wrong(format!("{} is a file, not a directory", at.display())));
    }
    check_writable(at).map_err(|error| {
        wrong(format!(
            "nothing can be written to {}: {}",
            at.display(),
            error.kind()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_to_is_refused() {
        let world = tempfile::tempdir().unwrap();
        let file = world.path().join("file");
        std::fs::write(&file, "mine").unwrap();
        let refused = |handle, to: &Path| check(handle, to).unwrap_err().text();
        assert!(refused(Handle::Directory, &file).contains("a file is in the way"));
        assert!(refused(Handle::Container, world.path()).contains("image.tar names one"));
        assert!(refused(Handle::File, &file.join("below")).contains("file is a file, not a directory"));
        // A file is replaced, and put into a directory; directories are made.
        for (handle, to) in [
            (Handle::File, file.clone()),
            (Handle::File, world.path().to_owned()),
            (Handle::Container, file.clone()),
            (Handle::Directory, world.path().join("a/b")),
        ] {
            assert!(check(handle, &to).is_ok(), "{handle} {}", to.display());
        }
    }
}
