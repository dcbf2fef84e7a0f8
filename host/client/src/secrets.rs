//! Values of secrets: read when the engine asks, from the environment, a file or a command, and only those that were
//! passed to the run; and values that modules made.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use wharf_graph::op::SecretId;
use wharf_scrub::Scrubber;
use zeroize::Zeroizing;

use crate::lock;

/// How much of what a failed command said is told, in letters.
const SAID: usize = 1000;

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The reference is of no known kind.
    #[error("`{0}` is no secret: write env:NAME, file:PATH or cmd:COMMAND")]
    Scheme(String),
    /// Nobody passed it.
    #[error("the secret {0} was not passed to this run")]
    Unknown(String),
    /// The variable is not set.
    #[error("the secret env:{0} has no value: the variable is not set")]
    Variable(String),
    /// The file cannot be read.
    #[error("the secret file:{path} cannot be read: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The command failed.
    #[error("the secret cmd:{command} has no value: the command {outcome}")]
    Command {
        /// Which.
        command: String,
        /// How it ended.
        outcome: String,
    },
}

/// The secrets of a run.
#[derive(Default)]
pub(crate) struct Secrets {
    passed: Mutex<HashSet<SecretId>>,
    /// What modules made, by name.
    held: Mutex<HashMap<SecretId, Zeroizing<Vec<u8>>>>,
    /// What was read of those that were passed.
    read: Mutex<Vec<Zeroizing<Vec<u8>>>>,
}

/// The values that a run has read, to be taken out of what is kept of the run. It outlives the session.
#[derive(Clone)]
pub struct SecretsRead(pub(crate) Arc<Secrets>);

impl SecretsRead {
    /// Takes the values out of text.
    pub fn scrubber(&self) -> Scrubber {
        let (held, read) = (lock(&self.0.held), lock(&self.0.read));
        Scrubber::new(held.values().chain(read.iter()).map(|value| value.as_slice()))
    }
}

impl Secrets {
    /// Allows a secret to be asked for.
    pub(crate) fn register(&self, secret: SecretId) {
        lock(&self.passed).insert(secret);
    }

    /// Keeps a value under a name that says nothing of it.
    pub(crate) fn hold(&self, owner: &str, value: Zeroizing<Vec<u8>>) -> SecretId {
        let mut held = lock(&self.held);
        let secret = SecretId {
            owner: owner.to_owned(),
            uri: format!("value:{}", held.len()),
        };
        held.insert(secret.clone(), value);
        secret
    }

    /// Does a secret that was passed come from here?
    pub(crate) fn is_source(&self, uri: &str) -> bool {
        lock(&self.passed).iter().any(|secret| secret.uri == uri)
    }

    /// The files that secrets that were passed come from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let passed = lock(&self.passed);
        let paths = passed
            .iter()
            .filter_map(|secret| secret.uri.strip_prefix("file:"));
        paths.map(PathBuf::from).collect()
    }

    /// The value of a secret.
    pub(crate) fn value(&self, secret: &SecretId) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        if let Some(value) = lock(&self.held).get(secret) {
            return Ok(value.clone());
        }
        if !lock(&self.passed).contains(secret) {
            return Err(SecretError::Unknown(secret.uri.clone()));
        }
        let value = value(&secret.uri)?;
        let mut read = lock(&self.read);
        if !read.contains(&value) {
            read.push(value.clone());
        }
        Ok(value)
    }
}

/// The value that `uri` names. A command's value loses one trailing newline.
fn value(uri: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    match uri.split_once(':') {
        Some(("env", name)) => {
            let value = std::env::var_os(name).ok_or_else(|| SecretError::Variable(name.to_owned()))?;
            Ok(Zeroizing::new(value.into_encoded_bytes()))
        }
        Some(("file", path)) => std::fs::read(path)
            .map(Zeroizing::new)
            .map_err(|source| SecretError::File {
                path: path.to_owned(),
                source,
            }),
        Some(("cmd", command)) => from_command(command),
        _ => Err(SecretError::Scheme(uri.to_owned())),
    }
}

fn from_command(command: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |outcome: String| SecretError::Command {
        command: command.to_owned(),
        outcome,
    };
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("could not be run: {error}")))?;
    let mut value = Zeroizing::new(output.stdout);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim_end().chars().take(SAID).collect();
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        return Err(failed(format!("ended with {}{said}", output.status)));
    }
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(value)
}
