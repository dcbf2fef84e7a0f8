//! What clients send: files by digest, then the tree that holds them.

use std::{collections::BTreeSet, io::Write, sync::Arc};

use futures::StreamExt;
use tokio::task::JoinSet;
use tonic::{Status, Streaming};
use wharf_digest::Digest;
use wharf_graph::{
    Error, NodeId,
    plan::{Make, Tree},
};
use wharf_proto::{
    Manifest, decode,
    manifest::EntryKind,
    v1::{MissingReply, MissingRequest, UploadRequest, WholeFile, upload_request},
};
use wharf_store::{LogDraft, ManifestEntry, ManifestKind, ResultRecord, Spent, Store};

use crate::{
    engine::{Engine, store_error},
    peer::Peer,
    possession,
};

/// The code of an error that sending again may mend.
pub(crate) const CHANGED_WHILE_SENT: &str = "changed-while-sent";

/// The tree of sent content: its key is that content alone.
fn upload_tree(content: Digest) -> Arc<Tree> {
    Tree::new(Make::Upload {
        node: NodeId(Digest::ZERO),
        content,
        path: String::new(),
    })
}

/// Under which name the modification times of a tree's present form are noted.
fn stamp_name(content: Digest) -> Digest {
    Digest::of(format!("stamp {content}").as_bytes())
}

fn digest(bytes: &[u8]) -> Result<Digest, Error> {
    Digest::try_from(bytes).map_err(|error| Error::other("protocol", error.to_string()))
}

impl Engine {
    /// What of a tree has to be sent: what the engine has not, and for a client of another machine what it has never sent,
    /// whoever else has.
    pub(crate) async fn missing(&self, peer: &Peer, request: MissingRequest) -> Result<MissingReply, Error> {
        let (content, stamp) = (digest(&request.content)?, digest(&request.stamp)?);
        let peer = peer.clone();
        self.with_store(move |store| {
            let known = store
                .note(&stamp_name(content))?
                .is_some_and(|noted| noted == stamp.as_bytes());
            let is_proved = possession::has_tree(store, &peer, &content)?;
            if is_proved && known && store.result(&upload_tree(content).key)?.is_some() {
                return Ok(MissingReply {
                    complete: true,
                    files: Vec::new(),
                });
            }
            let asked = request.files.iter();
            let asked: Vec<_> = asked
                .filter_map(|bytes| Digest::try_from(bytes.as_slice()).ok())
                .collect();
            let unproved = possession::unproved(store, &peer, &asked)?;
            let mut lacking: BTreeSet<_> = store.lacking(asked)?.into_iter().collect();
            lacking.extend(unproved);
            Ok(MissingReply {
                complete: false,
                files: lacking.iter().map(|file| file.as_bytes().to_vec()).collect(),
            })
        })
        .await
    }

    /// Takes files and the manifest of their tree; returns the tree's content digest.
    pub(crate) async fn receive_upload(
        &self,
        peer: &Peer,
        mut messages: Streaming<UploadRequest>,
    ) -> Result<Digest, Status> {
        self.receive(peer, &mut messages)
            .await
            .map_err(|error| match error {
                Refusal::Limit(status) => status,
                Refusal::Error(Error::Other { code, message }) if code == CHANGED_WHILE_SENT => {
                    Status::aborted(message)
                }
                Refusal::Error(error) => Status::internal(error.to_string()),
            })
    }

    async fn receive(&self, peer: &Peer, messages: &mut Streaming<UploadRequest>) -> Result<Digest, Refusal> {
        let mut sent = Vec::new();
        let mut manifest = Vec::new();
        let mut file: Option<(Digest, LogDraft)> = None;
        let mut whole = JoinSet::new();
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        while let Some(message) = messages.next().await {
            let message = message.map_err(|_| Error::Cancelled)?;
            self.peers
                .send(peer, size_of(&message), &self.peer_limits)
                .map_err(Refusal::Limit)?;
            match message.message {
                Some(upload_request::Message::File(bytes)) => {
                    sent.extend(self.finish_file(file.take()).await?);
                    file = Some((digest(&bytes)?, self.store.new_log()));
                }
                Some(upload_request::Message::Bytes(bytes)) => {
                    let (_, draft) = file
                        .as_mut()
                        .ok_or_else(|| Error::other("protocol", "bytes of no file"))?;
                    draft
                        .write_all(&bytes)
                        .map_err(|error| store_error(&wharf_store::Error::io("what was sent", error)))?;
                }
                Some(upload_request::Message::Whole(batch)) => {
                    sent.extend(self.finish_file(file.take()).await?);
                    if whole.len() >= at_once {
                        sent.extend(settle(&mut whole).await?);
                    }
                    let store = Arc::clone(&self.store);
                    whole.spawn_blocking(move || keep(&store, &batch.files));
                }
                Some(upload_request::Message::Manifest(bytes)) => {
                    sent.extend(self.finish_file(file.take()).await?);
                    manifest.extend_from_slice(&bytes);
                }
                None => {}
            }
        }
        sent.extend(self.finish_file(file.take()).await?);
        while !whole.is_empty() {
            sent.extend(settle(&mut whole).await?);
        }
        let manifest: Manifest =
            decode(&manifest).map_err(|error| Error::other("protocol", error.to_string()))?;
        self.prove(peer, sent, &manifest).await?;
        Ok(self.take_tree(peer, manifest).await?)
    }

    /// Takes in what a client has sent, and whether that is all that its tree holds.
    async fn prove(&self, peer: &Peer, sent: Vec<Digest>, manifest: &Manifest) -> Result<(), Error> {
        if !peer.is_remote() {
            return Ok(());
        }
        let (owner, files) = (peer.clone(), possession::files(manifest));
        let unproved = self
            .with_store(move |store| {
                possession::sent(store, &owner, &sent)?;
                possession::unproved(store, &owner, &files)
            })
            .await?;
        if unproved.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "the tree names {} file(s) that {peer} has not sent",
            unproved.len()
        )))
    }

    /// The file that was received, when one was.
    async fn finish_file(&self, file: Option<(Digest, LogDraft)>) -> Result<Option<Digest>, Error> {
        let Some((wanted, draft)) = file else {
            return Ok(None);
        };
        let found = self.with_store(move |store| store.receive_draft(draft)).await?;
        same(found, wanted).map(Some)
    }

    async fn take_tree(&self, peer: &Peer, manifest: Manifest) -> Result<Digest, Error> {
        let (content, stamp) = (manifest.content(), manifest.stamp());
        let peer = peer.clone();
        self.with_store(move |store| {
            let entries: Vec<ManifestEntry> = manifest.entries.into_iter().map(entry).collect();
            let output = store.layer_from_manifest(&entries)?;
            let tree = upload_tree(content);
            store.put_result(&ResultRecord {
                key: tree.key,
                op_key: tree.op_key,
                inputs: Vec::new(),
                output,
                exit_code: None,
                stdout: None,
                stderr: None,
                log: None,
                spent: Spent::default(),
            })?;
            store.put_note(&stamp_name(content), stamp.as_bytes())?;
            possession::sent_tree(store, &peer, &content)?;
            Ok(content)
        })
        .await
    }
}

/// Why an upload is not taken.
enum Refusal {
    /// It is more than its client may send.
    Limit(Status),
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// How much is in a message.
fn size_of(message: &UploadRequest) -> usize {
    match &message.message {
        Some(upload_request::Message::File(bytes)) => bytes.len(),
        Some(upload_request::Message::Bytes(bytes) | upload_request::Message::Manifest(bytes)) => bytes.len(),
        Some(upload_request::Message::Whole(batch)) => {
            batch.files.iter().map(|file| file.content.len()).sum()
        }
        None => 0,
    }
}

/// Waits for one batch of files; which they are.
async fn settle(batches: &mut JoinSet<Result<Vec<Digest>, Error>>) -> Result<Vec<Digest>, Error> {
    match batches.join_next().await {
        None => Ok(Vec::new()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => {
            let message = format!("work on sent files ended badly: {error}");
            Err(Error::other("defect", message))
        }
    }
}

fn keep(store: &Store, files: &[WholeFile]) -> Result<Vec<Digest>, Error> {
    let keep = |file: &WholeFile| {
        let found = store
            .receive(&file.content)
            .map_err(|error| store_error(&error))?;
        same(found, digest(&file.digest)?)
    };
    files.iter().map(keep).collect()
}

/// What came, when it is what was announced.
fn same(found: Digest, announced: Digest) -> Result<Digest, Error> {
    if found == announced {
        return Ok(found);
    }
    Err(Error::other(
        CHANGED_WHILE_SENT,
        "a file changed while it was sent: run again",
    ))
}

fn entry(entry: wharf_proto::manifest::Entry) -> ManifestEntry {
    let kind = match entry.kind {
        EntryKind::Directory => ManifestKind::Directory,
        EntryKind::File { digest, .. } => ManifestKind::File(digest),
        EntryKind::Symlink(target) => ManifestKind::Symlink(target),
    };
    ManifestEntry {
        path: entry.path,
        mode: entry.mode,
        modified: entry.modified,
        kind,
    }
}
