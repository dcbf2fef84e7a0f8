//! The SDK beside a module, in `.wharf/sdk`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::ScaffoldError;

/// Where the SDK lies in a module's directory; a module's Cargo.toml depends on `guest/rust` in it.
pub const SDK: &str = ".wharf/sdk";
/// Digest of the SDK that this program carries, in hexadecimal.
pub const SDK_DIGEST: &str = include_str!(concat!(env!("OUT_DIR"), "/digest"));

const ARCHIVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sdk.tar.zst"));
/// The file that says which SDK lies there. It is written last.
const MARK: &str = "DIGEST";

/// Writes the SDK into a module's directory, unless this one is there.
///
/// # Errors
/// When the directory cannot be written.
pub fn ensure_sdk(module: &Path) -> Result<(), ScaffoldError> {
    let place = module.join(SDK);
    let is_there = || fs::read_to_string(place.join(MARK)).is_ok_and(|digest| digest == SDK_DIGEST);
    if is_there() {
        return Ok(());
    }
    let new = place.with_extension(format!("new-{}", std::process::id()));
    let written = unpack(&new).and_then(|()| {
        if place.exists() {
            fs::remove_dir_all(&place).map_err(ScaffoldError::io(&place))?;
        }
        fs::rename(&new, &place).map_err(ScaffoldError::io(&place))
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

fn unpack(to: &Path) -> Result<(), ScaffoldError> {
    fs::create_dir_all(to).map_err(ScaffoldError::io(to))?;
    let decoder = zstd::Decoder::new(ARCHIVE).map_err(ScaffoldError::io(to))?;
    let mut archive = tar::Archive::new(decoder);
    // Cargo compares times of change: what is new has to look new.
    archive.set_preserve_mtime(false);
    archive.unpack(to).map_err(ScaffoldError::io(to))?;
    fs::write(to.join(MARK), SDK_DIGEST).map_err(ScaffoldError::io(to))
}

/// The crates that lie beside the SDK, as a directory source of cargo's, when it is there.
pub fn vendored_crates(module: &Path) -> Option<PathBuf> {
    Some(module.join(SDK).join("vendor")).filter(|vendor| vendor.is_dir())
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

        let edited = sdk.join("guest/rust/src/lib.rs");
        fs::write(&edited, "").unwrap();
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
