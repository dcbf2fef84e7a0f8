//! Reading an image archive.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufReader, Read, Seek},
    path::{Component, Path},
    sync::Arc,
};

use super::{DockerEntry, blob_path};
use crate::{
    digest,
    error::{Error, Failure, Result},
    layer::LayerReader,
    manifest::{AnyManifest, ConfigFile, Descriptor, LayerDescriptor, ResolvedImage},
    platform::Platform,
};

/// How an error names the image while it has no better name.
const UNNAMED: &str = "the image archive";
/// No document in an archive is longer.
const LONGEST_DOCUMENT: u64 = 16 << 20;

/// An archive that holds an image.
pub struct Archive {
    contents: Contents,
    image: ResolvedImage,
    /// Where layers lie, by digest.
    paths: HashMap<String, String>,
}

impl Archive {
    /// Reads what is in an archive: the image for a platform. Its layers stay in the file until they are asked for.
    pub fn open(file: File, platform: &Platform) -> Result<Self> {
        let unreadable = |error| match error {
            Error::Io(error) => explain(Failure::damaged("the file", error)),
            other => other,
        };
        let contents = plain(file).and_then(Contents::read).map_err(unreadable)?;
        let opened = if contents.has("index.json") {
            oci(&contents, platform)
        } else {
            docker(&contents, platform)
        };
        let (image, paths) = opened.map_err(explain)?;
        Ok(Self {
            contents,
            image,
            paths,
        })
    }

    /// The image in it.
    pub fn image(&self) -> &ResolvedImage {
        &self.image
    }

    /// A layer's bytes as the archive has them.
    pub fn blob(&self, layer: &LayerDescriptor) -> Result<impl Read + Send + use<>> {
        let path = self
            .paths
            .get(&layer.digest)
            .map_or(layer.digest.as_str(), String::as_str);
        self.contents.open(path).map_err(explain)
    }

    /// Opens one of its layers.
    pub fn layer(&self, layer: &LayerDescriptor) -> Result<LayerReader> {
        let section = self.blob(layer)?;
        Ok(LayerReader::new(
            Box::new(BufReader::with_capacity(256 << 10, section)),
            &layer.diff_id,
        ))
    }
}

fn explain(failure: Failure) -> Error {
    let reference = UNNAMED.to_owned();
    match failure {
        Failure::Platform { wanted, have } => Error::Platform {
            reference,
            wanted,
            have,
        },
        Failure::Damaged { what, why } => Error::Damaged { reference, what, why },
        Failure::Unavailable { why } | Failure::Rejected { why } => Error::Damaged {
            reference,
            what: "a part".to_owned(),
            why,
        },
        Failure::NotFound | Failure::Refused { .. } => Error::Damaged {
            reference,
            what: "a part".to_owned(),
            why: "it is not there".to_owned(),
        },
    }
}

type Opened = (ResolvedImage, HashMap<String, String>);

/// An OCI image layout.
fn oci(contents: &Contents, platform: &Platform) -> Result<Opened, Failure> {
    let mut list = AnyManifest::read(&contents.document("index.json")?)?;
    let mut found = None;
    for _ in 0..3 {
        let name = list.select(platform)?.to_owned();
        let manifest = AnyManifest::read(&contents.blob(&name)?)?;
        if manifest.config.is_some() {
            found = Some((name, manifest));
            break;
        }
        list = manifest;
    }
    let Some((digest, manifest)) = found else {
        return Err(Failure::damaged(
            "the index",
            "lists of manifests lie too deep in one another",
        ));
    };
    let config = manifest.config.map(|config| config.digest).unwrap_or_default();
    let file = ConfigFile::read(&contents.blob(&config)?)?;
    let layers = file.layers(manifest.layers)?;
    let paths = layers
        .iter()
        .map(|layer| (layer.digest.clone(), blob_path(&layer.digest)))
        .collect();
    let reference = docker_name(contents).unwrap_or_else(|| digest.clone());
    let image = ResolvedImage {
        reference,
        named: digest.clone(),
        manifest: digest,
        platform: file.platform(platform)?,
        config: file.config,
        layers,
        history: file.history,
    };
    Ok((image, paths))
}

/// What Docker saves. It has no manifest, so the configuration's digest, Docker's image id, stands for it.
fn docker(contents: &Contents, platform: &Platform) -> Result<Opened, Failure> {
    let entry = docker_entry(contents)?;
    let text = contents.document(&entry.config)?;
    let file = ConfigFile::read(&text)?;
    let unnamed = entry.layers.iter().map(|path| Descriptor {
        digest: path.clone(),
        size: contents.find(path).map_or(0, |section| section.size),
        media_type: "application/vnd.docker.image.rootfs.diff.tar".to_owned(),
    });
    let mut layers = file.layers(unnamed.collect())?;
    let mut paths = HashMap::new();
    for layer in &mut layers {
        let path = std::mem::replace(&mut layer.digest, layer.diff_id.clone());
        paths.insert(layer.digest.clone(), path);
    }
    let manifest = digest::sha256(&text);
    let reference = docker_name(contents).unwrap_or_else(|| manifest.clone());
    Ok((
        ResolvedImage {
            reference,
            named: manifest.clone(),
            manifest,
            platform: file.platform(platform)?,
            config: file.config,
            layers,
            history: file.history,
        },
        paths,
    ))
}

fn docker_entry(contents: &Contents) -> Result<DockerEntry, Failure> {
    let text = contents.document("manifest.json")?;
    let entries: Vec<DockerEntry> =
        serde_json::from_slice(&text).map_err(|error| Failure::damaged("manifest.json", error))?;
    entries
        .into_iter()
        .next()
        .ok_or_else(|| Failure::damaged("manifest.json", "it names no image"))
}

fn docker_name(contents: &Contents) -> Option<String> {
    docker_entry(contents).ok()?.repo_tags?.into_iter().next()
}

/// The files of a tar archive by name.
struct Contents {
    file: Arc<File>,
    sections: HashMap<String, Section>,
    links: HashMap<String, String>,
}

/// Where a file's bytes lie.
#[derive(Clone, Copy)]
struct Section {
    start: u64,
    size: u64,
}

impl Contents {
    fn read(file: File) -> Result<Self> {
        let (mut sections, mut links) = (HashMap::new(), HashMap::new());
        let mut archive = tar::Archive::new(BufReader::new(file.try_clone()?));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let Some(name) = clean(&entry.path()?) else {
                continue;
            };
            let header = entry.header();
            if header.entry_type().is_file() {
                let size = entry.size();
                sections.insert(
                    name,
                    Section {
                        start: entry.raw_file_position(),
                        size,
                    },
                );
            } else if let Some(target) = entry.link_name()? {
                // Docker saves a layer that occurs twice as a symbolic link; a hard link counts from the top.
                let base = Path::new(&name)
                    .parent()
                    .filter(|_| header.entry_type().is_symlink());
                links.extend(clean(&base.unwrap_or(Path::new("")).join(target)).map(|target| (name, target)));
            }
        }
        Ok(Self {
            file: Arc::new(file),
            sections,
            links,
        })
    }

    fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<Section> {
        let name = clean(Path::new(name))?;
        let name = self.links.get(&name).unwrap_or(&name);
        self.sections.get(name).copied()
    }

    fn open(&self, name: &str) -> Result<SectionReader, Failure> {
        let missing = || Failure::damaged(name, "it is not in the archive");
        let Section { start, size } = self.find(name).ok_or_else(missing)?;
        Ok(SectionReader {
            file: Arc::clone(&self.file),
            at: start,
            end: start + size,
        })
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let section = self.open(name)?;
        if section.end - section.at > LONGEST_DOCUMENT {
            return Err(Failure::damaged(name, "it is longer than 16 MiB"));
        }
        let mut text = Vec::new();
        { section }
            .read_to_end(&mut text)
            .map_err(|error| Failure::damaged(name, error))?;
        Ok(text)
    }

    /// A document by its digest, checked.
    fn blob(&self, digest: &str) -> Result<Vec<u8>, Failure> {
        let text = self.document(&blob_path(digest))?;
        let found = digest::like(digest, &text);
        if found == digest {
            Ok(text)
        } else {
            Err(Failure::damaged(digest, format!("its digest is {found}")))
        }
    }
}

/// A file inside the archive's file.
struct SectionReader {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for SectionReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min((self.end - self.at) as usize);
        if count == 0 {
            return Ok(0);
        }
        let count = wharf_platform::file::read_at(&self.file, &mut buffer[..count], self.at)?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive ends early",
            ));
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// A name without `.` and `..`; `None` when it leaves the archive.
fn clean(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(parts.join("/"))
}

/// The archive without compression: one that is compressed is unpacked into a file that goes with its handle.
fn plain(mut file: File) -> Result<File> {
    let mut start = Vec::new();
    file.by_ref().take(4).read_to_end(&mut start)?;
    file.rewind()?;
    let mut stream: Box<dyn Read> = match start[..] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file)?),
        _ => return Ok(file),
    };
    let mut unpacked = tempfile::tempfile()?;
    io::copy(&mut stream, &mut unpacked)?;
    unpacked.rewind()?;
    Ok(unpacked)
}
