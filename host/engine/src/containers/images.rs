//! Images of steps' roots: one for each stack of layers that a step stands on, made of the store's own layers.
//!
//! The daemon knows layers by the digest of their archive, as all image stores do, so each is sent once for as long as an image has
//! it. Below all of them lies a layer with this program, which is a container's first process.

use std::{
    collections::HashMap,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wharf_docker::{DockerError, StepDaemon, own_program};
use wharf_inside::{COMMAND, HOME, PRIVATE};

use crate::session::lock;

/// How many images are kept that no step runs in: the next step often stands on one.
const KEPT: usize = 64;
/// Bytes that are sent at once.
const PIECE: usize = 256 * 1024;
/// Pieces that wait to be sent.
const AHEAD: usize = 16;
/// The repository of the images.
const REPOSITORY: &str = "wharf-step";

/// A layer as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layer {
    /// The digest of its archive, in hexadecimal.
    digest: String,
    /// The archive's bytes.
    size: u64,
    source: Source,
}

/// What a layer is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// This program.
    Own,
    /// A directory of changes.
    Directory(PathBuf),
}

impl Source {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Own => {
                let program = own_program(HOME).map_err(io::Error::other)?;
                // Users other than root find what is theirs in the last one by name.
                program.write_layer(&[(HOME, 0o755), (PRIVATE, 0o711)], to)
            }
            Self::Directory(path) => wharf_store::write_layer(path, to).map_err(io::Error::other),
        }
    }
}

/// An image that the daemon has.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) name: String,
    layers: Vec<Layer>,
}

/// The images of an engine's steps.
#[derive(Debug)]
pub(super) struct Images {
    daemon: StepDaemon,
    /// How this program is started in any of them.
    pub(super) entrypoint: Vec<String>,
    own: Layer,
    /// By the directory that they are made of, which never changes.
    known: Mutex<HashMap<PathBuf, Layer>>,
    /// The one that was used last is the last. Held while one is made: its layers are often those of the next.
    there: tokio::sync::Mutex<Vec<Arc<Image>>>,
}

impl Images {
    pub(super) fn new(daemon: StepDaemon) -> Result<Self, DockerError> {
        let mut entrypoint = own_program(HOME)?.command;
        entrypoint.push(COMMAND.to_owned());
        let own = Layer::of(Source::Own).map_err(|error| unreadable(&error))?;
        Ok(Self {
            daemon,
            entrypoint,
            own,
            known: Mutex::default(),
            there: tokio::sync::Mutex::default(),
        })
    }

    /// The image of these directories, the highest first; it stays for as long as it is held.
    pub(super) async fn of(&self, directories: &[PathBuf]) -> Result<Arc<Image>, DockerError> {
        let mut layers = vec![self.own.clone()];
        for directory in directories.iter().rev() {
            layers.push(self.layer(directory).await?);
        }
        let mut there = self.there.lock().await;
        if let Some(at) = there.iter().position(|image| image.layers == layers) {
            let image = there.remove(at);
            // Somebody else may have removed it.
            if self.daemon.has_image(&image.name).await? {
                there.push(Arc::clone(&image));
                return Ok(image);
            }
        }
        let image = Arc::new(self.load(layers, &there).await?);
        there.push(Arc::clone(&image));
        let unused: Vec<usize> = (0..there.len().saturating_sub(KEPT))
            .filter(|at| Arc::strong_count(&there[*at]) == 1)
            .collect();
        for at in unused.into_iter().rev() {
            let image = there.remove(at);
            self.daemon.remove_image(&image.name).await;
        }
        Ok(image)
    }

    /// What is known of a directory's archive; written once to see.
    async fn layer(&self, directory: &Path) -> Result<Layer, DockerError> {
        if let Some(layer) = lock(&self.known).get(directory) {
            return Ok(layer.clone());
        }
        let source = Source::Directory(directory.to_owned());
        let layer = tokio::task::spawn_blocking(|| Layer::of(source))
            .await
            .map_err(io::Error::other)
            .and_then(|layer| layer)
            .map_err(|error| unreadable(&error))?;
        lock(&self.known).insert(directory.to_owned(), layer.clone());
        Ok(layer)
    }

    /// Makes an image of these layers. Those that another image has below the same ones are not sent, unless the daemon wants
    /// them: some have image stores that take whole images alone.
    async fn load(&self, layers: Vec<Layer>, there: &[Arc<Image>]) -> Result<Image, DockerError> {
        let common = |image: &Arc<Image>| {
            let pairs = image.layers.iter().zip(&layers);
            pairs
                .take_while(|(one, other)| one.digest == other.digest)
                .count()
        };
        let had = there.iter().map(common).max().unwrap_or_default();
        // Another engine's images of the same layers are its own.
        let mut names = Sha256::new_with_prefix(self.daemon.name());
        layers.iter().for_each(|layer| names.update(&layer.digest));
        let name = format!("{REPOSITORY}:{}", &hex(&names.finalize())[..24]);
        let tried = self.send(&name, &layers, had).await;
        let is_there = tried.is_ok() && self.daemon.has_image(&name).await?;
        if !is_there && had == 0 {
            tried?;
        }
        if !is_there {
            self.send(&name, &layers, 0).await?;
        }
        Ok(Image { name, layers })
    }

    /// Sends the archive of an image, without the content of the lowest layers.
    async fn send(&self, name: &str, layers: &[Layer], without: usize) -> Result<(), DockerError> {
        let (pieces, sent) = mpsc::channel(AHEAD);
        let (name, layers) = (name.to_owned(), layers.to_vec());
        let labels = self.daemon.labels();
        let written = tokio::task::spawn_blocking(move || {
            let mut to = Pieces {
                pieces,
                piece: Vec::with_capacity(PIECE),
            };
            let outcome = archive(&name, &layers, without, &labels, &mut to).and_then(|()| to.flush());
            if let Err(error) = outcome {
                // An archive that is cut off must not be taken for one that is whole.
                to.pieces.blocking_send(Err(error)).ok();
            }
        });
        let outcome = self.daemon.load(ReceiverStream::new(sent)).await;
        written.await.ok();
        outcome
    }

    /// Removes them all.
    pub(super) async fn clear(&self) {
        for image in self.there.lock().await.drain(..) {
            self.daemon.remove_image(&image.name).await;
        }
    }
}

impl Layer {
    fn of(source: Source) -> io::Result<Self> {
        let mut sum = Sum {
            hasher: Sha256::new(),
            size: 0,
        };
        source.write(&mut sum)?;
        Ok(Self {
            digest: hex(&sum.hasher.finalize()),
            size: sum.size,
            source,
        })
    }
}

/// Hashes what is written, and counts it.
struct Sum {
    hasher: Sha256,
    size: u64,
}

impl Write for Sum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends what is written.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        // The daemon has said why it wants no more.
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.pieces.blocking_send(Ok(piece.into())).map_err(gone)
    }
}

/// An image as `docker load` takes it.
fn archive(
    name: &str,
    layers: &[Layer],
    without: usize,
    labels: &HashMap<String, String>,
    to: &mut dyn Write,
) -> io::Result<()> {
    let config = serde_json::to_vec(&serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": { "Labels": labels },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect::<Vec<_>>(),
        },
        "history": layers.iter().map(|_| serde_json::json!({ "created_by": "wharf" })).collect::<Vec<_>>(),
    }))?;
    let config_name = format!("{}.json", hex(&Sha256::digest(&config)));
    let paths: Vec<String> = layers
        .iter()
        .map(|layer| format!("{}/layer.tar", layer.digest))
        .collect();
    let manifest = serde_json::to_vec(&serde_json::json!([{
        "Config": config_name, "RepoTags": [name], "Layers": paths,
    }]))?;
    let mut sent = Vec::new();
    for (layer, path) in layers.iter().zip(&paths).skip(without) {
        if sent.contains(&path) {
            continue;
        }
        sent.push(path);
        member(to, path, layer.size, |to| layer.source.write(to))?;
    }
    member(to, &config_name, config.len() as u64, |to| to.write_all(&config))?;
    member(to, "manifest.json", manifest.len() as u64, |to| {
        to.write_all(&manifest)
    })?;
    to.write_all(&[0; 1024])
}

/// One file of an archive, whose content is written as it is made.
fn member(
    to: &mut dyn Write,
    path: &str,
    size: u64,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    to.write_all(header.as_bytes())?;
    let mut counted = Counted { to, count: 0 };
    content(&mut counted)?;
    if counted.count != size {
        return Err(io::Error::other(format!("{path} changed while it was sent")));
    }
    let filled = size.next_multiple_of(512) - size;
    to.write_all(&vec![0; filled as usize])
}

struct Counted<'w> {
    to: &'w mut dyn Write,
    count: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unreadable(error: &io::Error) -> DockerError {
    DockerError::Refused {
        doing: "take a step's layers",
        why: error.to_string(),
    }
}
