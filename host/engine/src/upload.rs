//! What clients send: files by digest, then the tree that holds them.

use std::{io::Write, sync::Arc};

use futures::StreamExt;
use tokio::task::JoinSet;
use tonic::Streaming;
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

use crate::engine::{Engine, store_error};

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
    /// What of a tree has to be sent.
    pub(crate) async fn missing(&self, request: MissingRequest) -> Result<MissingReply, Error> {
        let (content, stamp) = (digest(&request.content)?, digest(&request.stamp)?);
        self.with_store(move |store| {
            let known = store
                .note(&stamp_name(content))?
                .is_some_and(|noted| noted == stamp.as_bytes());
            if known && store.result(&upload_tree(content).key)?.is_some() {
                return Ok(MissingReply {
                    complete: true,
                    files: Vec::new(),
                });
            }
            let asked = request.files.iter();
            let asked = asked.filter_map(|bytes| Digest::try_from(bytes.as_slice()).ok());
            let lacking = store.lacking(asked)?;
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
        mut messages: Streaming<UploadRequest>,
    ) -> Result<Digest, Error> {
        let mut manifest = Vec::new();
        let mut file: Option<(Digest, LogDraft)> = None;
        let mut whole = JoinSet::new();
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        while let Some(message) = messages.next().await {
            let message = message.map_err(|_| Error::Cancelled)?;
            match message.message {
                Some(upload_request::Message::File(bytes)) => {
                    self.finish_file(file.take()).await?;
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
                    self.finish_file(file.take()).await?;
                    if whole.len() >= at_once {
                        settle(&mut whole).await?;
                    }
                    let store = Arc::clone(&self.store);
                    whole.spawn_blocking(move || keep(&store, &batch.files));
                }
                Some(upload_request::Message::Manifest(bytes)) => {
                    self.finish_file(file.take()).await?;
                    manifest.extend_from_slice(&bytes);
                }
                None => {}
            }
        }
        self.finish_file(file.take()).await?;
        while !whole.is_empty() {
            settle(&mut whole).await?;
        }
        let manifest: Manifest =
            decode(&manifest).map_err(|error| Error::other("protocol", error.to_string()))?;
        self.take_tree(manifest).await
    }

    async fn finish_file(&self, file: Option<(Digest, LogDraft)>) -> Result<(), Error> {
        let Some((wanted, draft)) = file else {
            return Ok(());
        };
        let found = self.with_store(move |store| store.receive_draft(draft)).await?;
        same(found, wanted)
    }

    async fn take_tree(&self, manifest: Manifest) -> Result<Digest, Error> {
        let (content, stamp) = (manifest.content(), manifest.stamp());
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
            Ok(content)
        })
        .await
    }
}

/// Waits for one batch of files.
async fn settle(batches: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
    match batches.join_next().await {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => {
            let message = format!("work on sent files ended badly: {error}");
            Err(Error::other("defect", message))
        }
    }
}

fn keep(store: &Store, files: &[WholeFile]) -> Result<(), Error> {
    for file in files {
        let found = store
            .receive(&file.content)
            .map_err(|error| store_error(&error))?;
        same(found, digest(&file.digest)?)?;
    }
    Ok(())
}

/// Is what came what was announced?
fn same(found: Digest, announced: Digest) -> Result<(), Error> {
    if found == announced {
        return Ok(());
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
