//! What a module's code sees of the modules that it calls: `.wharf/dependencies.rs`, written from the components' own types
//! and documentation, and included by the SDK's macro. Nothing of a component is run for it.

mod rust;
mod shape;
mod wit;

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;
use wharf_manifest::ModuleName;

use crate::{BuildError, error::Result, sections, write_atomically};

/// A module that is called, and its component.
pub(crate) struct Called<'a> {
    pub(crate) name: &'a ModuleName,
    pub(crate) digest: Digest,
    pub(crate) component: &'a Path,
}

/// What the bindings that lie there were written from.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Stamp {
    writer: String,
    called: Vec<(ModuleName, Digest)>,
}

/// Writes the bindings into `.wharf` of the module in this directory, unless they are there. A file whose text is the same is
/// not written again, so that nothing is compiled when a dependency changes inside.
pub(crate) fn ensure(directory: &Path, called: &[Called<'_>]) -> Result<()> {
    let output = directory.join(".wharf");
    let (file, note) = (output.join("dependencies.rs"), output.join("dependencies.json"));
    if called.is_empty() {
        for path in [&file, &note] {
            fs::remove_file(path).ok();
        }
        return Ok(());
    }
    let stamp = Stamp {
        writer: format!("{} {}", env!("CARGO_PKG_VERSION"), wharf_scaffold::SDK_DIGEST),
        called: called.iter().map(|one| (one.name.clone(), one.digest)).collect(),
    };
    let known = fs::read(&note)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Stamp>(&bytes).ok());
    if known.as_ref() == Some(&stamp) && file.is_file() {
        return Ok(());
    }
    let mut text = String::from(
        "// Written by `wharf build` from the modules that wharf.toml names under [dependencies].\n",
    );
    for one in called {
        let bytes = fs::read(one.component).map_err(BuildError::io("read", one.component))?;
        text.push_str(&module(one.name, &bytes)?);
    }
    fs::create_dir_all(&output).map_err(BuildError::io("create", &output))?;
    if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
        write_atomically(&file, text.as_bytes())?;
    }
    let stamp = serde_json::to_vec(&stamp).map_err(|error| BuildError::Component(error.to_string()))?;
    write_atomically(&note, &stamp)
}

/// The bindings of one module.
fn module(name: &ModuleName, component: &[u8]) -> Result<String> {
    let interfaces = shape::read(component).map_err(|error| {
        BuildError::Component(format!(
            "{name} says nothing about its functions that can be read: {error}"
        ))
    })?;
    let sections = sections::read(component)?;
    let docs = sections
        .inner_docs
        .and_then(|text| serde_json::from_slice(text).ok())
        .unwrap_or_default();
    Ok(rust::module(name, &interfaces, &docs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_where_no_module_is_called() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(".wharf")).unwrap();
        fs::write(directory.path().join(".wharf/dependencies.rs"), "old").unwrap();
        ensure(directory.path(), &[]).unwrap();
        assert!(!directory.path().join(".wharf/dependencies.rs").exists());
    }
}
