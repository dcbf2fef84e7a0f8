//! Where cargo keeps what it has compiled of modules' dependencies: a second module with the same ones finds them there.
//!
//! Cargo tells packages apart by their names, versions and places below the module, and sees by times of change whether one has to
//! be compiled again. That holds for one module; another one may have other code at the same place. So modules share a
//! directory when nothing below them is compiled but themselves, which cargo tells apart by their flags, and an SDK that is the same.
//! The crates beside that are taken from one place, as cargo compares where they lie.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use wharf_digest::Hasher;

use crate::{BuildError, carries_sdk, error::Result};

/// How long a directory is kept that no build uses.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The file in it that is written whenever one does.
const USED: &str = "used";

/// The directory for a module whose dependencies are compiled with these flags, made when it is not there. One that stands alone has
/// it to itself.
pub(crate) fn directory(shared: &Path, module: &Path, flags: &OsStr, is_alone: bool) -> Result<PathBuf> {
    let mut key = Hasher::in_domain("what modules share of their builds");
    key.field(flags.as_encoded_bytes());
    if is_alone || has_other_code(module) {
        key.field(wharf_scaffold::SDK_DIGEST.as_bytes());
        key.field(module.as_os_str().as_encoded_bytes());
    }
    // Paths below it are long, and some systems limit them.
    let directory = shared.join(&key.finish().to_hex()[..16]);
    fs::create_dir_all(&directory).map_err(BuildError::io("create", &directory))?;
    mark_used(&directory)?;
    remove_unused(shared);
    Ok(directory)
}

/// The SDK that a module has, as it lies here for all of them; none for one that has another than this program's, or has changed it.
pub(crate) fn sdk(shared: &Path, module: &Path) -> Result<Option<PathBuf>> {
    if !carries_sdk(module) || wharf_scaffold::is_edited(module) {
        return Ok(None);
    }
    fs::create_dir_all(shared).map_err(BuildError::io("create", shared))?;
    let sdk = shared.join(format!("sdk-{}", &wharf_scaffold::SDK_DIGEST[..16]));
    wharf_scaffold::ensure_sdk_at(&sdk)?;
    mark_used(&sdk)?;
    Ok(Some(sdk))
}

fn mark_used(directory: &Path) -> Result<()> {
    let used = directory.join(USED);
    fs::write(&used, "").map_err(BuildError::io("write", &used))
}

/// May code be compiled with the flags of dependencies that is the module's own, or that of a workspace?
fn has_other_code(module: &Path) -> bool {
    let manifest = |directory: &Path| {
        let text = fs::read_to_string(directory.join("Cargo.toml")).ok()?;
        text.parse::<toml::Table>().ok()
    };
    let Some(own) = manifest(module) else { return true };
    let has_build_script = own
        .get("package")
        .is_some_and(|package| package.get("build").is_some())
        || module.join("build.rs").exists();
    let is_workspace =
        |directory: &Path| manifest(directory).is_some_and(|table| table.contains_key("workspace"));
    let is_member = !own.contains_key("workspace") && module.ancestors().skip(1).any(is_workspace);
    has_build_script
        || is_member
        || ["patch", "replace", "target"]
            .iter()
            .any(|table| own.contains_key(*table))
}

/// Removes what no build has used for long. One that cannot be removed is tried again.
fn remove_unused(shared: &Path) {
    for entry in fs::read_dir(shared).into_iter().flatten().flatten() {
        let used = fs::metadata(entry.path().join(USED)).and_then(|used| used.modified());
        let age = used.ok().and_then(|used| used.elapsed().ok());
        if age.is_some_and(|age| age > UNUSED) {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path, module: &str, manifest: &str) -> PathBuf {
        let module = root.join(module);
        fs::create_dir_all(&module).unwrap();
        fs::write(module.join("Cargo.toml"), manifest).unwrap();
        directory(&root.join("shared"), &module, OsStr::new("--flag"), false).unwrap()
    }

    #[test]
    fn modules_share_what_is_not_their_own() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let simple = "[package]\nname = \"one\"\n";
        let shared = place(root, "one", simple);
        assert_eq!(place(root, "other", "[package]\nname = \"other\"\n"), shared);
        let differs = |flags: &str, is_alone: bool| {
            let own = directory(
                &root.join("shared"),
                &root.join("one"),
                OsStr::new(flags),
                is_alone,
            );
            assert_ne!(own.unwrap(), shared);
        };
        differs("--other", false);
        differs("--flag", true);

        let own = [
            place(root, "script", "[package]\nname = \"one\"\nbuild = \"make.rs\"\n"),
            place(root, "patched", "[package]\nname = \"one\"\n[patch.crates-io]\n"),
            place(
                root,
                "targets",
                "[target.'cfg(all())'.dependencies]\nx = { path = \"x\" }\n",
            ),
            place(root, "no manifest", "]"),
        ];
        for (number, one) in own.iter().enumerate() {
            assert_ne!(*one, shared);
            assert!(!own[..number].contains(one), "{number}");
        }
        fs::write(root.join("one/build.rs"), "").unwrap();
        assert_ne!(place(root, "one", simple), shared);

        fs::write(root.join("Cargo.toml"), "[workspace]\n").unwrap();
        assert_ne!(place(root, "other", simple), shared, "a member of a workspace");
        let alone = "[package]\nname = \"other\"\n[workspace]\n";
        assert_eq!(place(root, "other", alone), shared);
    }

    #[test]
    fn the_sdk_is_shared_unless_it_was_edited() {
        let root = tempfile::tempdir().unwrap();
        let (shared, module) = (root.path().join("shared"), root.path().join("module"));
        fs::create_dir_all(&module).unwrap();
        fs::write(module.join("Cargo.toml"), "[package]\nname = \"one\"\n").unwrap();
        assert_eq!(sdk(&shared, &module).unwrap(), None, "it has none");
        let carries = "[dependencies]\nwharf-sdk = { path = \".wharf/sdk/guest/rust\" }\n";
        fs::write(module.join("Cargo.toml"), carries).unwrap();
        wharf_scaffold::ensure_sdk(&module).unwrap();
        let taken = sdk(&shared, &module).unwrap().unwrap();
        assert!(taken.starts_with(&shared) && taken.join("guest/rust/Cargo.toml").is_file());
        fs::write(module.join(".wharf/sdk/guest/rust/src/lib.rs"), "// mine\n").unwrap();
        assert_eq!(sdk(&shared, &module).unwrap(), None);
    }

    #[test]
    fn what_no_build_uses_goes() {
        let root = tempfile::tempdir().unwrap();
        let old = place(
            root.path(),
            "old",
            "[package]\nname = \"old\"\nbuild = \"make.rs\"\n",
        );
        let long_ago = std::time::SystemTime::now() - UNUSED - Duration::from_secs(60);
        let used = fs::File::options().write(true).open(old.join(USED)).unwrap();
        used.set_modified(long_ago).unwrap();
        let new = place(root.path(), "new", "[package]\nname = \"new\"\n");
        assert!(new.exists() && !old.exists());
    }
}
