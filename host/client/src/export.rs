//! Writes what the engine exports, a tar stream, to the user's disk.

use std::{io, path::Path};

use wharf_graph::Error;

/// Unpacks the stream into `to`. Files arrive under another name and are renamed, so that what was there is whole until
/// its successor is. What is there and not in the stream stays.
pub(crate) fn unpack(stream: impl io::Read, to: &Path) -> Result<(), Error> {
    let failed =
        |error: io::Error| Error::other("files", format!("cannot write to {}: {error}", to.display()));
    std::fs::create_dir_all(to).map_err(failed)?;
    let mut archive = tar::Archive::new(stream);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(false);
    archive.set_overwrite(true);
    archive.unpack(to).map_err(failed)
}

/// Writes the stream's only file to `to`.
pub(crate) fn unpack_file(stream: impl io::Read, to: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::other("files", format!("cannot write {}: {error}", to.display()));
    let mut archive = tar::Archive::new(stream);
    let mut entry = archive
        .entries()
        .and_then(|mut entries| entries.next().transpose())
        .map_err(failed)?
        .ok_or_else(|| Error::NotFound("the engine sent no file".to_owned()))?;
    let name = entry
        .path()
        .ok()
        .and_then(|path| path.file_name().map(ToOwned::to_owned))
        .unwrap_or_default();
    let to_directory = to.is_dir() || to.as_os_str().as_encoded_bytes().ends_with(b"/");
    let target = if to_directory {
        to.join(name)
    } else {
        to.to_owned()
    };
    let parent = target
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let mut draft = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    io::copy(&mut entry, draft.as_file_mut()).map_err(failed)?;
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    draft.as_file().set_permissions(permissions).map_err(failed)?;
    draft.persist(&target).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Writes the stream itself, an archive, to `to`.
pub(crate) fn write_archive(mut stream: impl io::Read, to: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::other("files", format!("cannot write {}: {error}", to.display()));
    let parent = to
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(failed)?;
    let mut draft = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    io::copy(&mut stream, draft.as_file_mut()).map_err(failed)?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    draft.as_file().set_permissions(permissions).map_err(failed)?;
    draft.persist(to).map_err(|error| failed(error.error))?;
    Ok(())
}
