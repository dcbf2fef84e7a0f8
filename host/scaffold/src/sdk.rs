//! The SDK beside a module, in `.wharf/sdk`.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::ScaffoldError;

/// Where the SDK lies in a module's directory; a module's Cargo.toml depends on `guest/rust` in it.
pub const SDK: &str = ".wharf/sdk";
/// Digest of the SDK that this program carries, in hexadecimal.
pub const SDK_DIGEST: &str = include_str!(concat!(env!("OUT_DIR"), "/digest"));

const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sdk.tar.zst"));
/// Where the crates that it is built from lie, in the SDK.
pub const CRATES: &str = "vendor";
/// The file that says which SDK lies there. It is written last.
const MARK: &str = "DIGEST";

/// Writes the SDK into a module's directory, unless this one is there.
///
/// # Errors
/// When the directory cannot be written.
pub fn ensure_sdk(module: &Path) -> Result<(), ScaffoldError> {
    ensure_sdk_at(&module.join(SDK))
}

/// Writes the SDK into this directory, unless this one is there.
///
/// # Errors
/// When the directory cannot be written.
pub fn ensure_sdk_at(place: &Path) -> Result<(), ScaffoldError> {
    let is_there = || fs::read_to_string(place.join(MARK)).is_ok_and(|digest| digest == SDK_DIGEST);
    if is_there() {
        return Ok(());
    }
    let new = place.with_extension(format!("new-{}", std::process::id()));
    // Cargo compares times of change with those of what it has compiled. Where another SDK was, what is new has to look new; where none
    // was, it is as old as this program, so that what was compiled of it for other modules is not compiled again.
    let age = if place.exists() { None } else { age_of_program() };
    let written = unpack(&new, age).and_then(|()| {
        if is_there() {
            // Somebody else was faster, and may use it by now.
            return fs::remove_dir_all(&new).map_err(ScaffoldError::io(&new));
        }
        if place.exists() {
            fs::remove_dir_all(place).map_err(ScaffoldError::io(place))?;
        }
        fs::rename(&new, place).map_err(ScaffoldError::io(place))
    });
    if written.is_err() {
        fs::remove_dir_all(&new).ok();
        // Somebody else may have written the same in the meantime.
        if is_there() {
            return Ok(());
        }
    }
    written
}

/// Whether a file of the SDK in a module's directory was written after it was put there. Crates beside it are checked by cargo.
pub fn is_edited(module: &Path) -> bool {
    let place = module.join(SDK);
    let written = |path: &Path| fs::symlink_metadata(path).and_then(|facts| facts.modified()).ok();
    let whole = written(&place.join(MARK));
    own_files(&place).iter().any(|file| written(file) > whole)
}

fn unpack(to: &Path, age: Option<SystemTime>) -> Result<(), ScaffoldError> {
    fs::create_dir_all(to).map_err(ScaffoldError::io(to))?;
    let decoder = zstd::Decoder::new(ARCHIVE).map_err(ScaffoldError::io(to))?;
    let mut archive = tar::Archive::new(decoder);
    archive.set_preserve_mtime(false);
    archive.unpack(to).map_err(ScaffoldError::io(to))?;
    let mark = to.join(MARK);
    fs::write(&mark, SDK_DIGEST).map_err(ScaffoldError::io(to))?;
    if let Some(age) = age {
        for file in own_files(to).iter().chain([&mark]) {
            fs::File::options()
                .write(true)
                .open(file)
                .and_then(|file| file.set_modified(age))
                .map_err(ScaffoldError::io(file))?;
        }
    }
    Ok(())
}

fn age_of_program() -> Option<SystemTime> {
    std::env::current_exe()
        .and_then(|program| program.metadata()?.modified())
        .ok()
}

/// The files of the SDK itself.
fn own_files(place: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![place.join("guest"), place.join("wit")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                _ => files.push(entry.path()),
            }
        }
    }
    files
}

/// The crates that lie beside the SDK, as a directory source of cargo's, when it is there.
pub fn vendored_crates(module: &Path) -> Option<PathBuf> {
    Some(module.join(SDK).join(CRATES)).filter(|vendor| vendor.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_written_once_and_again_when_it_is_another() {
        let module = tempfile::tempdir().unwrap();
        ensure_sdk(module.path()).unwrap();
        let sdk = module.path().join(SDK);
        assert!(sdk.join("guest/rust/Cargo.toml").is_file());
        assert!(sdk.join("wit/container.wit").is_file());
        assert!(vendored_crates(module.path()).is_some());

        assert!(!is_edited(module.path()));
        let edited = sdk.join("guest/rust/src/lib.rs");
        fs::write(&edited, "").unwrap();
        assert!(is_edited(module.path()));
        ensure_sdk(module.path()).unwrap();
        assert_eq!(
            fs::read_to_string(&edited).unwrap(),
            "",
            "the same SDK is not written again"
        );

        fs::write(sdk.join(MARK), "another").unwrap();
        ensure_sdk(module.path()).unwrap();
        assert_ne!(fs::read_to_string(&edited).unwrap(), "");
        assert_eq!(fs::read_dir(module.path().join(".wharf")).unwrap().count(), 1);
    }
}
