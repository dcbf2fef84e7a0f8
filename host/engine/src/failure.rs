//! What failed steps printed: not remembered as a result, but kept to be read until the store needs the room.

use std::{fs::File, io::Read as _};

use tokio::sync::mpsc;
use tonic::Status;
use wharf_digest::Digest;
use wharf_graph::Error;
use wharf_proto::v1::StepLogReply;
use wharf_store::{ResultRecord, Snapshot, Spent};

use crate::{engine::Engine, evaluate::StepOutput};

/// Bytes of one message.
const PIECE: usize = 256 * 1024;
/// Digits of a log's name.
const NAME: usize = 12;

impl Engine {
    /// The error of a failed step, with the name of its log.
    pub(crate) async fn with_log(&self, mut error: Error, output: &StepOutput) -> Error {
        let Error::Exec(failure) = &mut error else {
            return error;
        };
        if let Some(name) = self.keep_log(output, failure.exit_code).await {
            failure.log = name;
        }
        error
    }

    /// Keeps what a process printed although its result is not remembered; the name it is found by.
    pub(crate) async fn keep_log(&self, output: &StepOutput, exit_code: i32) -> Option<String> {
        let log = output.combined;
        let name = log.to_hex()[..NAME].to_owned();
        let key = key_of(&name);
        // A record of its own keeps the log from being collected, and lets it go as other records go.
        let record = ResultRecord {
            key,
            op_key: key,
            inputs: Vec::new(),
            output: Snapshot::default(),
            exit_code: Some(exit_code),
            stdout: None,
            stderr: None,
            log: Some(log),
            spent: Spent::default(),
        };
        match self.with_store(move |store| store.put_result(&record)).await {
            Ok(()) => Some(name),
            Err(error) => {
                tracing::warn!("the log of a process is lost: {error}");
                None
            }
        }
    }

    /// The log of this name.
    pub(crate) async fn failed_log(&self, name: &str) -> Result<File, Error> {
        let key = key_of(name);
        let file = self
            .with_store(
                move |store| match store.result(&key)?.and_then(|record| record.log) {
                    Some(log) => store.blob(&log),
                    None => Ok(None),
                },
            )
            .await?;
        file.ok_or_else(|| no_log(name))
    }
}

/// There is none, or none for who asks: the two look alike.
pub(crate) fn no_log(name: &str) -> Error {
    Error::NotFound(format!(
        "there is no log {name}: it was pruned, or another engine's step printed it"
    ))
}

/// Sends a log in pieces until its end, or until nobody listens.
pub(crate) fn send_log(mut log: File, pieces: &mpsc::Sender<Result<StepLogReply, Status>>) {
    let mut buffer = vec![0; PIECE];
    loop {
        let reply = match log.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(StepLogReply {
                bytes: buffer[..count].to_vec(),
            }),
            Err(error) => Err(Status::internal(format!("the log cannot be read: {error}"))),
        };
        let is_over = reply.is_err();
        if pieces.blocking_send(reply).is_err() || is_over {
            return;
        }
    }
}

fn key_of(name: &str) -> Digest {
    Digest::of(format!("log of a failed step {name}").as_bytes())
}
