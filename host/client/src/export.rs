//! Writes what the engine exports, a tar stream, to the user's disk.

use std::{io, path::Path};

use wharf_archive::{Entries, Entry};
use wharf_graph::Error;
use wharf_platform::file;

use crate::unpack;

/// Unpacks the stream into the directory `to`, made when it is not there. What is there and not in the stream stays.
pub(crate) fn unpack(mut stream: impl io::Read, to: &Path) -> Result<(), Error> {
    let failed =
        |error: io::Error| Error::other("files", format!("cannot write to {}: {error}", to.display()));
    std::fs::create_dir_all(to).map_err(failed)?;
    unpack::unpack(&mut stream, to).map_err(failed)
}

/// Writes the stream's only file to `to`.
pub(crate) fn unpack_file(mut stream: impl io::Read, to: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::other("files", format!("cannot write {}: {error}", to.display()));
    let mut entries = Entries::new(&mut stream);
    let entry = entries
        .next()
        .map_err(failed)?
        .ok_or_else(|| Error::NotFound("the engine sent no file".to_owned()))?;
    let name = entry.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let name = wharf_platform::path::name_from_bytes(name);
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
    io::copy(&mut entries, draft.as_file_mut()).map_err(failed)?;
    file::set_mode(draft.path(), entry.mode & 0o777).map_err(failed)?;
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
    file::set_mode(draft.path(), 0o644).map_err(failed)?;
    draft.persist(to).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Where a link leads.
pub(crate) fn link_target(entry: &Entry) -> io::Result<&[u8]> {
    let target = entry.link_target.as_deref();
    target.ok_or_else(|| refused("it is a link to nothing"))
}

/// Why an entry is not unpacked.
pub(crate) fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
