//! A container as an OCI image archive: one tar file with an image layout in it, the same bytes for the same container.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wharf_graph::{image::ImageConfig, plan::ContainerPlan};
use wharf_store::{Error, Snapshot, Store};

/// A blob of the layout.
struct Blob {
    digest: String,
    size: u64,
    content: File,
}

/// Writes the archive.
pub(crate) fn write(
    store: &Store,
    snapshot: &Snapshot,
    container: &ContainerPlan,
    to: &mut dyn Write,
) -> Result<(), Error> {
    let io_error = |source: io::Error| Error::Io {
        context: "an image archive".to_owned(),
        source,
    };
    let mut layers = Vec::new();
    for id in snapshot.layers() {
        let mut file = tempfile::tempfile().map_err(io_error)?;
        store.export_layer(*id, &mut file)?;
        layers.push(blob(file).map_err(io_error)?);
    }
    let config = blob_of(&config(container, &layers)).map_err(io_error)?;
    let descriptor =
        |kind: &str, blob: &Blob| json!({ "mediaType": kind, "digest": blob.digest, "size": blob.size });
    let manifest = blob_of(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer)).collect::<Vec<_>>(),
    }))
    .map_err(io_error)?;
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("application/vnd.oci.image.manifest.v1+json", &manifest)],
    });
    pack(to, layers.into_iter().chain([config, manifest]), &index).map_err(io_error)
}

fn pack(to: &mut dyn Write, blobs: impl Iterator<Item = Blob>, index: &Value) -> io::Result<()> {
    let mut archive = tar::Builder::new(to);
    let mut seen = std::collections::HashSet::new();
    for mut blob in blobs {
        if seen.insert(blob.digest.clone()) {
            blob.content.rewind()?;
            append(
                &mut archive,
                &format!("blobs/{}", blob.digest.replace(':', "/")),
                blob.size,
                &mut blob.content,
            )?;
        }
    }
    for (name, text) in [
        ("index.json", index.to_string()),
        ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string()),
    ] {
        append(&mut archive, name, text.len() as u64, &mut text.as_bytes())?;
    }
    archive.finish()
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    name: &str,
    size: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content)
}

fn blob_of(value: &Value) -> io::Result<Blob> {
    let mut file = tempfile::tempfile()?;
    file.write_all(value.to_string().as_bytes())?;
    blob(file)
}

fn blob(mut content: File) -> io::Result<Blob> {
    content.rewind()?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
    let hex: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Blob {
        digest: format!("sha256:{hex}"),
        size,
        content,
    })
}

fn config(container: &ContainerPlan, layers: &[Blob]) -> Value {
    let ImageConfig {
        env,
        entrypoint,
        default_args,
        user,
        workdir,
        labels,
        exposed_ports,
        rest,
    } = &container.config;
    let mut config: Value = serde_json::from_str(rest).unwrap_or_else(|_| json!({}));
    let ports: serde_json::Map<String, Value> = exposed_ports
        .iter()
        .map(|port| (port.clone(), json!({})))
        .collect();
    let env: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    for (name, value, is_set) in [
        ("Env", json!(env), !env.is_empty()),
        ("Entrypoint", json!(entrypoint), !entrypoint.is_empty()),
        ("Cmd", json!(default_args), !default_args.is_empty()),
        ("User", json!(user), !user.is_empty()),
        ("WorkingDir", json!(workdir), !workdir.is_empty()),
        ("Labels", json!(labels), !labels.is_empty()),
        ("ExposedPorts", json!(ports), !ports.is_empty()),
    ] {
        if is_set {
            config[name] = value;
        }
    }
    let mut file = json!({
        "architecture": container.platform.architecture,
        "os": container.platform.os,
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>() },
        "created": "1970-01-01T00:00:00Z",
    });
    if let Some(variant) = &container.platform.variant {
        file["variant"] = json!(variant);
    }
    file
}
