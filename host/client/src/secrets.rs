//! Values of secrets: read when the engine asks, from the environment, a file or a command, and only those that were
//! passed to the run.

use std::process::{Command, Stdio};

use zeroize::Zeroizing;

/// Why a secret has no value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The reference is of no known kind.
    #[error("`{0}` is no secret: write env:NAME, file:PATH or cmd:COMMAND")]
    Scheme(String),
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

/// The value that `uri` names. A command's value loses one trailing newline.
pub(crate) fn value(uri: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    match uri.split_once(':') {
        Some(("env", name)) => {
            let value = std::env::var_os(name).ok_or_else(|| SecretError::Variable(name.to_owned()))?;
            Ok(Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value)))
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
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| failed(format!("could not be run: {error}")))?;
    let mut value = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Err(failed(format!("ended with {}", output.status)));
    }
    if value.last() == Some(&b'\n') {
        value.pop();
    }
    Ok(value)
}
