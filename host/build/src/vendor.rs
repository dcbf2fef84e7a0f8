//! The crates that the program has put beside a module's SDK, as a replacement of the registry that needs no network.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

/// The crates beside the module's SDK, when everything that its lock names from a registry is among them. A module without a
/// lock gets one from them.
pub(crate) fn sufficient(directory: &Path) -> Option<PathBuf> {
    let vendor = wharf_scaffold::vendored_crates(directory)?;
    let Ok(lock) = fs::read_to_string(directory.join("Cargo.lock")) else {
        return Some(vendor);
    };
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let all_there = packages.into_iter().flatten().all(|package| {
        let text = |key: &str| package.get(key).and_then(toml::Value::as_str);
        // A package without a source is the module itself or lies at a path.
        text("source").is_none()
            || text("name")
                .zip(text("version"))
                .is_some_and(|(name, version)| vendor.join(format!("{name}-{version}")).is_dir())
    });
    all_there.then_some(vendor)
}

/// Arguments by which cargo takes the registry's crates from this directory.
pub(crate) fn settings(vendor: &Path) -> [String; 4] {
    let place = toml::Value::from(vendor.to_string_lossy().into_owned());
    [
        "--config".to_owned(),
        "source.crates-io.replace-with=\"wharf-sdk\"".to_owned(),
        "--config".to_owned(),
        format!("source.wharf-sdk.directory={place}"),
    ]
}

/// Whether cargo has failed because the module asks for a crate, or a version of one, that is not beside the SDK.
pub(crate) fn lacks_a_crate(output: &str) -> bool {
    output.contains("directory source `")
        || output.contains("perhaps a crate was updated and forgotten to be re-vendored")
}

/// Holds cargo's lines back until it compiles: before that it may find that it lacks a crate, and is run again.
pub(crate) struct Held<'a> {
    lines: RefCell<Option<Vec<String>>>,
    on_output: &'a dyn Fn(&str),
}

impl<'a> Held<'a> {
    pub(crate) fn new(on_output: &'a dyn Fn(&str)) -> Self {
        Self {
            lines: RefCell::new(Some(Vec::new())),
            on_output,
        }
    }

    pub(crate) fn line(&self, line: &str) {
        if let Some(lines) = self.lines.borrow_mut().as_mut() {
            lines.push(line.to_owned());
        } else {
            return (self.on_output)(line);
        }
        if line.trim_start().starts_with("Compiling ") {
            self.release();
        }
    }

    pub(crate) fn release(&self) {
        for line in self.lines.take().into_iter().flatten() {
            (self.on_output)(&line);
        }
    }
}
