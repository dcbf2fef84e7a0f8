//! Writing an image archive.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{Read, Seek, Write},
};

use serde_json::json;

use super::{DockerEntry, blob_path};
use crate::{
    digest::Hasher,
    document::ImageParts,
    error::Result,
    manifest::{Config, History, LayerDescriptor},
    platform::Platform,
    reference::Reference,
};

/// An image that is to be written.
pub struct NewImage<'a> {
    /// What it is for.
    pub platform: &'a Platform,
    /// How its processes run.
    pub config: &'a Config,
    /// Its layers as plain tar files, the lowest first.
    pub layers: &'a [File],
    /// How its layers came to be; may be empty.
    pub history: &'a [History],
    /// What its manifest says beside.
    pub annotations: &'a BTreeMap<String, String>,
    /// What it is called when it is loaded.
    pub reference: Option<&'a Reference>,
}

/// Writes an archive; returns the digest of the manifest in it. The same image gives the same bytes.
pub fn write(out: impl Write, image: &NewImage<'_>) -> Result<String> {
    let mut tar = tar::Builder::new(out);
    let mut layers = Vec::new();
    let mut written = HashSet::new();
    for mut file in image.layers {
        let (digest, size) = measure(file)?;
        if written.insert(digest.clone()) {
            file.rewind()?;
            tar.append_data(&mut header(size), blob_path(&digest), file.take(size))?;
        }
        layers.push(LayerDescriptor {
            diff_id: digest.clone(),
            digest,
            size,
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
        });
    }
    let parts = ImageParts {
        platform: image.platform,
        config: image.config,
        layers: &layers,
        history: image.history,
        annotations: image.annotations,
    };
    let config = parts.config();
    let manifest = parts.manifest(&config);
    for document in [&config, &manifest] {
        append(&mut tar, &blob_path(&document.digest), &document.text)?;
    }
    let mut entry = json!({
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.text.len(),
        "platform": image.platform,
    });
    if let Some(reference) = image.reference {
        entry["annotations"] = json!({
            "io.containerd.image.name": reference.to_string(),
            "org.opencontainers.image.ref.name": reference.tag().unwrap_or("latest"),
        });
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [entry],
    });
    let docker = DockerEntry {
        config: blob_path(&config.digest),
        repo_tags: image
            .reference
            .filter(|reference| reference.tag().is_some())
            .map(|name| vec![name.familiar()]),
        layers: layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
    };
    append(&mut tar, "index.json", index.to_string().as_bytes())?;
    append(&mut tar, "manifest.json", json!([docker]).to_string().as_bytes())?;
    let layout = json!({ "imageLayoutVersion": "1.0.0" });
    append(&mut tar, "oci-layout", layout.to_string().as_bytes())?;
    tar.into_inner()?.flush()?;
    Ok(manifest.digest)
}

fn append(tar: &mut tar::Builder<impl Write>, path: &str, text: &[u8]) -> Result<()> {
    Ok(tar.append_data(&mut header(text.len() as u64), path, text)?)
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

/// A file's digest and length.
fn measure(mut file: &File) -> Result<(String, u64)> {
    file.rewind()?;
    let (mut hasher, mut size, mut buffer) = (Hasher::like("sha256:"), 0, vec![0; 256 << 10]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((hasher.finish(), size));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}
