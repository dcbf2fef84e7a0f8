//! Changes of OCI image layouts, made as another tool would.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::image::{read_json, sha256, write};
use crate::{Error, Result};

/// Changes the configuration of the one image in a layout whose index names its manifest, as skopeo writes it.
pub fn edit_config(layout: &Path, change: impl FnOnce(&mut Value)) -> Result<()> {
    let name = layout.join("index.json");
    let mut index = read_json(&name)?;
    let mut manifest = read_json(&blob(layout, &index["manifests"][0]["digest"]))?;
    let mut config = read_json(&blob(layout, &manifest["config"]["digest"]))?;
    change(&mut config);
    put(layout, &config, &mut manifest["config"])?;
    put(layout, &manifest, &mut index["manifests"][0])?;
    write(&name, index.to_string().as_bytes())
}

/// Where the blob of a digest lies.
fn blob(layout: &Path, digest: &Value) -> PathBuf {
    let digest = digest.as_str().unwrap_or_default();
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Puts a document into the layout, and says in its descriptor what it is now.
fn put(layout: &Path, document: &Value, descriptor: &mut Value) -> Result<()> {
    let text = document.to_string();
    let digest = sha256(text.as_bytes()).map_err(Error::io("hashing", layout))?;
    descriptor["digest"] = digest.into();
    descriptor["size"] = text.len().into();
    let path = blob(layout, &descriptor["digest"]);
    fs::write(&path, &text).map_err(Error::io("writing", &path))
}
