//! Sends the host's directories and files: what is in them by digest first, then only what the engine lacks.

mod stat_cache;
mod walk;

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use wharf_digest::Digest;
use wharf_graph::{Error, NodeId, Op, op::Filter};
use wharf_proto::{
    Manifest, encode,
    manifest::EntryKind,
    v1::{MissingRequest, UploadRequest, WholeFile, WholeFiles, upload_request::Message},
};

use crate::{connect::Connection, events::Events};

/// Bytes of one message.
const PIECE: usize = 1024 * 1024;
/// Files up to this size are sent whole, many in a message.
const WHOLE: u64 = 256 * 1024;
/// Messages on their way at once.
const PIECES_AHEAD: usize = 8;
/// How often a tree that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// A tree, as engines know it that it was sent to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Content {
    /// Digest of everything but modification times.
    pub(crate) digest: Digest,
    /// Digest of everything.
    pub(crate) stamp: Digest,
}

impl Content {
    fn of(manifest: &Manifest) -> Self {
        Self {
            digest: manifest.content(),
            stamp: manifest.stamp(),
        }
    }

    /// The question whether an engine has it.
    fn request(&self) -> MissingRequest {
        MissingRequest {
            files: Vec::new(),
            content: self.digest.as_bytes().to_vec(),
            stamp: self.stamp.as_bytes().to_vec(),
        }
    }
}

/// Does the engine have it, as far as this client may know?
pub(crate) async fn is_complete(connection: &Connection, content: &Content) -> Result<bool, Error> {
    let reply = connection.client().missing(content.request()).await;
    let reply = reply.map_err(|status| Error::Unavailable(status.message().to_owned()))?;
    Ok(reply.into_inner().complete)
}

/// Uploads for one run.
pub(crate) struct Uploader {
    stat_cache: PathBuf,
}

impl Uploader {
    pub(crate) fn new(stat_cache: PathBuf) -> Self {
        Self { stat_cache }
    }

    /// Makes sure that the engine has what `op` names on this host; the digest of its content is the pin.
    pub(crate) async fn upload(
        &self,
        connection: &Connection,
        op: &Op,
        events: &Events,
        node: NodeId,
    ) -> Result<Digest, Error> {
        let (path, filter) = match op {
            Op::HostDirectory { path, filter } => (path, Some(filter)),
            Op::HostFile(path) => (path, None),
            _ => {
                return Err(Error::other(
                    "protocol",
                    "only host directories and files are uploaded",
                ));
            }
        };
        events
            .upload(node, format!("upload {path}"), async {
                let (content, sent) = self.upload_tree(connection, Path::new(path), filter).await?;
                Ok((content.digest, sent))
            })
            .await
    }

    /// Makes sure that the engine has what is at a path, a directory where there is a filter; what it is, and whether anything had
    /// to be sent.
    pub(crate) async fn upload_tree(
        &self,
        connection: &Connection,
        path: &Path,
        filter: Option<&Filter>,
    ) -> Result<(Content, bool), Error> {
        let mut attempt = 1;
        loop {
            let manifest = self.read(path, filter).await?;
            match send(connection, path, &manifest).await {
                Err(Error::Other { code, .. }) if code == CHANGED && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                outcome => return outcome.map(|sent| (Content::of(&manifest), sent)),
            }
        }
    }

    async fn read(&self, path: &Path, filter: Option<&Filter>) -> Result<Manifest, Error> {
        let (path, filter, cache) = (path.to_owned(), filter.cloned(), self.stat_cache.clone());
        tokio::task::spawn_blocking(move || match filter {
            Some(filter) => walk::directory(&path, &filter, &cache),
            None => walk::file(&path, &cache),
        })
        .await
        .map_err(|error| Error::other("upload", error.to_string()))?
    }
}

/// The code of an error that another attempt may mend.
const CHANGED: &str = "changed-while-sent";

fn changed(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::other(
        CHANGED,
        format!("{} changed while it was sent: {why}", path.display()),
    )
}

/// Sends what the engine lacks; says whether that was anything.
async fn send(connection: &Connection, root: &Path, manifest: &Manifest) -> Result<bool, Error> {
    let files = manifest.entries.iter().filter_map(|entry| match entry.kind {
        EntryKind::File { digest, .. } => Some((digest, entry.path.as_slice())),
        EntryKind::Directory | EntryKind::Symlink(_) => None,
    });
    let by_digest: std::collections::BTreeMap<Digest, &[u8]> = files.collect();
    let mut request = Content::of(manifest).request();
    let broken = |status: tonic::Status| {
        let message = format!("upload of {}: {}", root.display(), status.message());
        match status.code() {
            // What came is not what was announced.
            tonic::Code::Aborted => changed(root, &status.message()),
            // The engine answered, and could not do it.
            tonic::Code::Internal => Error::other("upload", message),
            _ => Error::Unavailable(message),
        }
    };
    // Most trees are known as they are; the list of files is sent only for one that is not.
    if connection
        .client()
        .missing(request.clone())
        .await
        .map_err(broken)?
        .into_inner()
        .complete
    {
        return Ok(false);
    }
    request.files = by_digest
        .keys()
        .map(|digest| digest.as_bytes().to_vec())
        .collect();
    let reply = connection
        .client()
        .missing(request)
        .await
        .map_err(broken)?
        .into_inner();
    let mut missing: Vec<(Digest, PathBuf)> = reply
        .files
        .iter()
        .filter_map(|bytes| Digest::try_from(bytes.as_slice()).ok())
        .filter_map(|digest| Some((digest, walk::join(root, by_digest.get(&digest)?))))
        .collect();
    // As they lie on the disk: those of a directory are found one after the other.
    missing.sort_unstable_by(|(_, one), (_, other)| one.cmp(other));
    let (pieces, messages) = mpsc::channel(PIECES_AHEAD);
    let manifest = encode(manifest);
    let sender = tokio::task::spawn_blocking(move || send_files(&missing, &manifest, &pieces));
    let reply = connection
        .client()
        .upload(tokio_stream::wrappers::ReceiverStream::new(messages))
        .await;
    sender
        .await
        .map_err(|error| Error::other("upload", error.to_string()))??;
    reply.map_err(broken)?;
    Ok(true)
}

/// Sends files and then the manifest. The engine hashes what it gets, so nothing that changed meanwhile gets into a tree.
fn send_files(
    files: &[(Digest, PathBuf)],
    manifest: &[u8],
    pieces: &mpsc::Sender<UploadRequest>,
) -> Result<(), Error> {
    let mut batch = Batch::default();
    for (digest, path) in files {
        let unreadable = |error: std::io::Error| changed(path, &error);
        let mut file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let sent = if size <= WHOLE {
            let mut content = Vec::with_capacity(size as usize + 1);
            file.read_to_end(&mut content).map_err(unreadable)?;
            batch.add(*digest, content);
            batch.bytes < PIECE || batch.send(pieces)
        } else {
            send_pieces(*digest, &mut file, pieces).map_err(unreadable)?
        };
        // A receiver that is gone has its reason in the call's own answer.
        if !sent {
            return Ok(());
        }
    }
    if batch.send(pieces) {
        for piece in manifest.chunks(PIECE) {
            if !send_message(Message::Manifest(piece.to_vec()), pieces) {
                break;
            }
        }
    }
    Ok(())
}

/// Files that go in one message.
#[derive(Default)]
struct Batch {
    files: Vec<WholeFile>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, digest: Digest, content: Vec<u8>) {
        self.bytes += content.len();
        self.files.push(WholeFile {
            digest: digest.as_bytes().to_vec(),
            content: content.into(),
        });
    }

    /// Sends what there is; says whether somebody receives.
    fn send(&mut self, pieces: &mpsc::Sender<UploadRequest>) -> bool {
        self.bytes = 0;
        let files = std::mem::take(&mut self.files);
        files.is_empty() || send_message(Message::Whole(WholeFiles { files }), pieces)
    }
}

/// Sends a large file; says whether somebody receives.
fn send_pieces(
    digest: Digest,
    file: &mut File,
    pieces: &mpsc::Sender<UploadRequest>,
) -> std::io::Result<bool> {
    if !send_message(Message::File(digest.as_bytes().to_vec()), pieces) {
        return Ok(false);
    }
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(true);
        }
        if !send_message(Message::Bytes(piece), pieces) {
            return Ok(false);
        }
    }
}

fn send_message(message: Message, pieces: &mpsc::Sender<UploadRequest>) -> bool {
    let request = UploadRequest {
        message: Some(message),
    };
    pieces.blocking_send(request).is_ok()
}
