//! Writing an image archive.

use std::{
    collections::HashSet,
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
};

use serde_json::json;

use super::{DockerEntry, blob_path};
use crate::{
    digest::{Hasher, sha256},
    error::{Error, Result},
    manifest::Config,
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
    pub layers: &'a [PathBuf],
    /// What it is called when it is loaded.
    pub reference: Option<&'a Reference>,
}

/// Writes an archive; returns the digest of the manifest in it. The same image gives the same bytes.
pub fn write(out: impl Write, image: &NewImage<'_>) -> Result<String> {
    let mut tar = tar::Builder::new(out);
    let mut layers = Vec::new();
    let mut written = HashSet::new();
    for path in image.layers {
        let (digest, size) = measure(path)?;
        if written.insert(digest.clone()) {
            let file = File::open(path)?.take(size);
            tar.append_data(&mut header(size), blob_path(&digest), file)?;
        }
        layers.push((digest, size));
    }
    let diff_ids: Vec<&str> = layers.iter().map(|(digest, _)| digest.as_str()).collect();
    let mut file = json!({
        "os": image.platform.os,
        "architecture": image.platform.architecture,
        "config": image.config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let mut platform = json!({ "os": image.platform.os, "architecture": image.platform.architecture });
    if let Some(variant) = &image.platform.variant {
        file["variant"] = json!(variant);
        platform["variant"] = json!(variant);
    }
    let config = document(&mut tar, None, &file)?;
    let layer = |(digest, size): &(String, u64)| json!({ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size });
    let manifest = document(
        &mut tar,
        None,
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1 },
            "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        }),
    )?;
    let mut entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": manifest.0,
        "size": manifest.1,
        "platform": platform,
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
        config: blob_path(&config.0),
        repo_tags: image
            .reference
            .filter(|reference| reference.tag().is_some())
            .map(|name| vec![name.familiar()]),
        layers: layers.iter().map(|(digest, _)| blob_path(digest)).collect(),
    };
    document(&mut tar, Some("index.json"), &index)?;
    document(&mut tar, Some("manifest.json"), &json!([docker]))?;
    document(
        &mut tar,
        Some("oci-layout"),
        &json!({ "imageLayoutVersion": "1.0.0" }),
    )?;
    tar.into_inner()?.flush()?;
    Ok(manifest.0)
}

/// Adds a document under its name, or as a blob; returns its digest and length.
fn document(
    tar: &mut tar::Builder<impl Write>,
    name: Option<&str>,
    value: &serde_json::Value,
) -> Result<(String, u64)> {
    let text = serde_json::to_vec(value).map_err(|error| Error::Io(io::Error::other(error)))?;
    let (digest, size) = (sha256(&text), text.len() as u64);
    let path = name.map_or_else(|| blob_path(&digest), str::to_owned);
    tar.append_data(&mut header(size), path, &text[..])?;
    Ok((digest, size))
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header
}

/// A file's digest and length.
fn measure(path: &PathBuf) -> Result<(String, u64)> {
    let mut file = File::open(path)?;
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
