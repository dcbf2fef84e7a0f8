//! Makes images: reproducible layers from directories, written as an OCI image layout.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// OCI's media type of an image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI's media type of a gzip layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The modification time of every file in a layer, so that the same recipe gives the same digests.
const EPOCH: u64 = 1_700_000_000;

/// An image that lies in a directory as an OCI image layout.
#[derive(Debug, Clone)]
pub struct Image {
    /// The name users know it by, such as `python:3.11-slim`.
    pub name: String,
    /// The OCI image layout.
    pub layout: PathBuf,
}

/// What is content-addressed in a layout.
#[derive(Debug, Clone)]
pub struct Blob {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
}

impl Blob {
    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }

    fn from_descriptor(value: &Value) -> Option<Self> {
        Some(Self {
            digest: value["digest"].as_str()?.to_owned(),
            media_type: value["mediaType"].as_str()?.to_owned(),
            size: value["size"].as_u64()?,
        })
    }
}

impl Image {
    /// An image whose layout is already there.
    pub fn open(name: &str, layout: &Path) -> Self {
        Self {
            name: name.into(),
            layout: layout.into(),
        }
    }

    /// The file of a blob.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.layout
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    /// The digest of the image index that the layout's own index names.
    pub fn index(&self) -> Result<Blob> {
        let path = self.layout.join("index.json");
        let value = read_json(&path)?;
        first_blob(&value["manifests"], &path)
    }

    /// The manifest, as JSON and by digest.
    pub fn manifest(&self) -> Result<(Blob, Value)> {
        let index = self.blob_path(&self.index()?.digest);
        let blob = first_blob(&read_json(&index)?["manifests"], &index)?;
        let value = read_json(&self.blob_path(&blob.digest))?;
        Ok((blob, value))
    }

    /// The image's configuration.
    pub fn config(&self) -> Result<Blob> {
        let (blob, manifest) = self.manifest()?;
        let path = self.blob_path(&blob.digest);
        Blob::from_descriptor(&manifest["config"]).ok_or_else(|| malformed(&path, "names no configuration"))
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> Result<Vec<Blob>> {
        let (_, manifest) = self.manifest()?;
        Ok(manifest["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Blob::from_descriptor)
            .collect())
    }

    /// Unpacks all layers into a directory, with owners when root, for tests that need a root file system.
    pub fn unpack(&self, into: &Path) -> Result<()> {
        for layer in self.layers()? {
            let path = self.blob_path(&layer.digest);
            let file = File::open(&path).map_err(Error::io("opening", &path))?;
            let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
            archive.set_preserve_permissions(true);
            archive.set_preserve_ownerships(crate::paths::is_root());
            archive.set_unpack_xattrs(false);
            unpack_layer(&mut archive, into).map_err(Error::io("unpacking", &path))?;
        }
        Ok(())
    }

    /// Writes the archive that `docker load` reads.
    pub fn write_docker_archive(&self, out: impl Write) -> Result<()> {
        let failed = |error| Error::io("writing the archive of", &self.layout)(error);
        let mut archive = tar::Builder::new(out);
        let config = self.config()?;
        let hex = config.digest.trim_start_matches("sha256:");
        archive
            .append_path_with_name(self.blob_path(&config.digest), format!("{hex}.json"))
            .map_err(failed)?;
        let mut names = Vec::new();
        for layer in self.layers()? {
            let name = format!("{}/layer.tar", layer.digest.trim_start_matches("sha256:"));
            archive
                .append_path_with_name(self.blob_path(&layer.digest), &name)
                .map_err(failed)?;
            names.push(name);
        }
        let manifest = json!([{ "Config": format!("{hex}.json"), "RepoTags": [self.name], "Layers": names }])
            .to_string();
        let mut header = tar::Header::new_gnu();
        header.set_size(manifest.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, "manifest.json", manifest.as_bytes())
            .map_err(failed)?;
        archive
            .into_inner()
            .and_then(|mut out| out.flush())
            .map_err(failed)
    }
}

/// Unpacks one layer over those below it; a whiteout removes what they have put there.
fn unpack_layer(archive: &mut tar::Archive<impl Read>, into: &Path) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(hidden) = name.strip_prefix(".wh.") else {
            entry.unpack_in(into)?;
            continue;
        };
        let parent = into.join(path.parent().unwrap_or(Path::new("")));
        // The opaque mark comes right after its directory, before what the layer has in it.
        let doomed = match hidden {
            ".wh..opq" => fs::read_dir(&parent)?
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<_>>()?,
            name => vec![parent.join(name)],
        };
        for path in doomed {
            if path.symlink_metadata()?.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Makes an image in a directory, layer by layer.
#[derive(Debug)]
pub struct Builder {
    layout: PathBuf,
    layers: Vec<(Blob, String)>,
}

impl Builder {
    /// Starts an image layout in `layout`, which need not exist.
    pub fn new(layout: &Path) -> Result<Self> {
        let blobs = layout.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::io("creating", &blobs))?;
        Ok(Self {
            layout: layout.into(),
            layers: Vec::new(),
        })
    }

    /// Adds a directory as the next layer. It is in overlayfs form: 0:0 devices and opaque marks become whiteouts.
    pub fn layer(&mut self, tree: &Path) -> Result<()> {
        let temporary = self.layout.join("layer.partial");
        let failed = |error| Error::io("packing", tree)(error);
        let file = File::create(&temporary).map_err(Error::io("creating", &temporary))?;
        let compressed = Hashing::new(BufWriter::new(file));
        let gzip = GzEncoder::new(compressed, Compression::new(3));
        let mut archive = tar::Builder::new(Hashing::new(gzip));
        append_tree(&mut archive, tree).map_err(failed)?;
        let (gzip, diff_id, _) = archive.into_inner().map_err(failed)?.finish();
        let (mut file, digest, size) = gzip.finish().map_err(failed)?.finish();
        file.flush().map_err(failed)?;
        self.layers.push((
            Blob {
                digest: digest.clone(),
                media_type: LAYER.into(),
                size,
            },
            diff_id,
        ));
        self.publish(&temporary, &digest)
    }

    /// Writes configuration, manifest and indexes; `settings` is the configuration's `config` object.
    pub fn finish(self, name: &str, settings: &Value) -> Result<Image> {
        let created = "2023-11-14T22:13:20Z";
        let diff_ids: Vec<_> = self.layers.iter().map(|(_, diff_id)| diff_id).collect();
        let history: Vec<_> = diff_ids.iter().map(|_| json!({ "created": created })).collect();
        let config = self.blob(
            CONFIG,
            &json!({
                "created": created,
                "architecture": architecture(),
                "os": "linux",
                "config": settings,
                "rootfs": { "type": "layers", "diff_ids": diff_ids },
                "history": history,
            }),
        )?;
        let layers: Vec<_> = self.layers.iter().map(|(blob, _)| blob.descriptor()).collect();
        let manifest = self.blob(
            MANIFEST,
            &json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config.descriptor(), "layers": layers }),
        )?;
        let mut entry = manifest.descriptor();
        entry["platform"] = json!({ "os": "linux", "architecture": architecture() });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        let mut named = self.blob(INDEX, &index)?.descriptor();
        named["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        write(
            &self.layout.join("index.json"),
            json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [named] })
                .to_string()
                .as_bytes(),
        )?;
        write(
            &self.layout.join("oci-layout"),
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        Ok(Image::open(name, &self.layout))
    }

    fn blob(&self, media_type: &str, value: &Value) -> Result<Blob> {
        let bytes = value.to_string().into_bytes();
        let digest = format!("sha256:{}", hex(&Sha256::digest(&bytes)));
        let temporary = self.layout.join("blob.partial");
        write(&temporary, &bytes)?;
        self.publish(&temporary, &digest)?;
        Ok(Blob {
            digest,
            media_type: media_type.into(),
            size: bytes.len() as u64,
        })
    }

    fn publish(&self, file: &Path, digest: &str) -> Result<()> {
        let path = self
            .layout
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"));
        fs::rename(file, &path).map_err(Error::io("renaming to", &path))
    }
}

/// The architecture of this machine, as images name it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Appends a tree in the order of its names, with numeric owners and one modification time.
fn append_tree<W: Write>(archive: &mut tar::Builder<W>, root: &Path) -> io::Result<()> {
    let mut first_names = HashMap::new();
    append_directory(archive, root, Path::new(""), &mut first_names)
}

fn append_directory<W: Write>(
    archive: &mut tar::Builder<W>,
    root: &Path,
    below: &Path,
    first_names: &mut HashMap<u64, PathBuf>,
) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(root.join(below))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let path = below.join(&name);
        let on_disk = root.join(&path);
        let metadata = fs::symlink_metadata(&on_disk)?;
        let kind = metadata.file_type();
        let mut header = header(&metadata);
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, &path, io::empty())?;
            if xattr::get(&on_disk, "trusted.overlay.opaque")?.is_some_and(|value| value == b"y") {
                whiteout(archive, &path.join(".wh..wh..opq"))?;
            }
            append_directory(archive, root, &path, first_names)?;
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, &path, fs::read_link(&on_disk)?)?;
        } else if kind.is_char_device() && metadata.rdev() == 0 {
            let mut hidden = std::ffi::OsString::from(".wh.");
            hidden.push(&name);
            whiteout(archive, &below.join(hidden))?;
        } else if kind.is_file() {
            append_file(archive, &on_disk, &path, header, &metadata, first_names)?;
        } else {
            let what = String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned();
            return Err(io::Error::other(format!(
                "{what} is neither file, directory nor link"
            )));
        }
    }
    Ok(())
}

fn append_file<W: Write>(
    archive: &mut tar::Builder<W>,
    on_disk: &Path,
    path: &Path,
    mut header: tar::Header,
    metadata: &fs::Metadata,
    first_names: &mut HashMap<u64, PathBuf>,
) -> io::Result<()> {
    if metadata.nlink() > 1 {
        if let Some(first) = first_names.get(&metadata.ino()) {
            header.set_entry_type(tar::EntryType::Link);
            return archive.append_link(&mut header, path, first);
        }
        first_names.insert(metadata.ino(), path.to_owned());
    }
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(metadata.len());
    archive.append_data(&mut header, path, File::open(on_disk)?)
}

fn header(metadata: &fs::Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(metadata.mode() & 0o7777);
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header.set_mtime(EPOCH);
    header.set_size(0);
    header
}

fn whiteout<W: Write>(archive: &mut tar::Builder<W>, path: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(EPOCH);
    header.set_size(0);
    archive.append_data(&mut header, path, io::empty())
}

/// Passes bytes on and counts and hashes them.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    fn finish(self) -> (W, String, u64) {
        (
            self.inner,
            format!("sha256:{}", hex(&self.hash.finalize())),
            self.size,
        )
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// The SHA-256 of a reader's bytes, as a digest.
pub fn sha256(mut reader: impl Read) -> io::Result<String> {
    let mut hashing = Hashing::new(io::sink());
    io::copy(&mut reader, &mut hashing)?;
    Ok(hashing.finish().1)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn first_blob(manifests: &Value, path: &Path) -> Result<Blob> {
    Blob::from_descriptor(&manifests[0]).ok_or_else(|| malformed(path, "names no manifest"))
}

pub(crate) fn read_json(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).map_err(Error::io("reading", path))?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error.to_string()))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io("writing", path))
}

fn malformed(path: &Path, why: &str) -> Error {
    Error::Malformed {
        path: path.into(),
        why: why.into(),
    }
}
