//! What a step prints, on its way to the store and to whoever watches.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::{net::unix::pipe, task::JoinHandle};
use wharf_digest::Digest;
use wharf_graph::{Error, plan::Step};
use wharf_scrub::Scrubber;
use wharf_store::{LogDraft, Snapshot, Store, edit};
use zeroize::Zeroizing;

use super::io_error;
use crate::{
    audience::Audience,
    evaluate::StepOutput,
    log::{Combined, Pump, Tail},
};

/// Reading what a step prints.
pub(crate) struct Outputs {
    /// Where the step writes.
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    printed: Reading,
}

/// It ends when the step has closed both outputs.
pub(crate) struct Reading {
    pumps: [JoinHandle<std::io::Result<(LogDraft, Tail)>>; 2],
    combined: Arc<Mutex<Combined>>,
}

/// All that a step has printed.
pub(crate) struct Printed {
    stdout: LogDraft,
    stderr: LogDraft,
    combined: LogDraft,
    /// The ends of standard output and error.
    pub(crate) tails: [Tail; 2],
}

impl Outputs {
    /// Opens the outputs and begins to read.
    pub(crate) fn open(
        store: &Store,
        key: Digest,
        audience: &Audience,
        secrets: &[Zeroizing<Vec<u8>>],
    ) -> Result<Self, Error> {
        let scrubber = Scrubber::new(secrets.iter().map(|secret| secret.as_slice()));
        let combined = Arc::new(Mutex::new(Combined::new(store.new_log())));
        let open = |stderr| {
            let (read, write) =
                rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io_error)?;
            let pump = Pump {
                key,
                stderr,
                audience: audience.clone(),
                scrubber: scrubber.clone(),
                own: store.new_log(),
                combined: Arc::clone(&combined),
            };
            let pipe = pipe::Receiver::from_owned_fd(read).map_err(io_error)?;
            Ok((write, tokio::spawn(pump.run(pipe))))
        };
        let (stdout, out) = open(false)?;
        let (stderr, err) = open(true)?;
        Ok(Self {
            stdout,
            stderr,
            printed: Reading {
                pumps: [out, err],
                combined,
            },
        })
    }

    /// The ends that the step gets, and the rest.
    pub(crate) fn split(self) -> (OwnedFd, OwnedFd, Reading) {
        (self.stdout, self.stderr, self.printed)
    }
}

impl Reading {
    /// Both outputs, as far as they have come. Whoever looks at it holds it for a moment only: the end waits for that.
    pub(crate) fn so_far(&self) -> Weak<Mutex<Combined>> {
        Arc::downgrade(&self.combined)
    }

    /// Waits until all is read.
    pub(crate) async fn end(self) -> Result<Printed, Error> {
        let defect = |error: tokio::task::JoinError| Error::other("defect", error.to_string());
        let [out, err] = self.pumps;
        let (stdout, out_tail) = out.await.map_err(defect)?.map_err(io_error)?;
        let (stderr, err_tail) = err.await.map_err(defect)?.map_err(io_error)?;
        let mut combined = self.combined;
        let combined = loop {
            match Arc::try_unwrap(combined) {
                Ok(combined) => break combined,
                // Somebody reads just now what has come so far.
                Err(shared) => combined = shared,
            }
            tokio::task::yield_now().await;
        };
        Ok(Printed {
            stdout,
            stderr,
            combined: combined
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .into_draft(),
            tails: [out_tail, err_tail],
        })
    }
}

impl Printed {
    /// Keeps it in the store.
    pub(crate) fn publish(self, store: &Store, exit_code: i32) -> Result<StepOutput, wharf_store::Error> {
        Ok(StepOutput {
            exit_code,
            stdout: store.publish_log(self.stdout)?,
            stderr: store.publish_log(self.stderr)?,
            combined: store.publish_log(self.combined)?,
        })
    }
}

/// Puts what was printed into the files that were asked for.
pub(crate) fn redirect(
    store: &Store,
    step: &Step,
    mut snapshot: Snapshot,
    output: &StepOutput,
) -> Result<Snapshot, wharf_store::Error> {
    for (path, blob) in [
        (&step.redirect_stdout, output.stdout),
        (&step.redirect_stderr, output.stderr),
    ] {
        let Some(path) = path else { continue };
        let lost = || wharf_store::Error::NotFound("a step's output".to_owned());
        let mut content = store.blob(&blob)?.ok_or_else(lost)?;
        snapshot = edit::write_file(store, &snapshot, path, &mut content, 0o644, (0, 0))?;
    }
    Ok(snapshot)
}
