//! A function's result, as its reader gets it. What has to run for it runs before anything is printed.

use std::path::Path;

use serde_json::json;
use wharf_client::Session;
use wharf_graph::{
    Error, File, Service,
    read::{Answer, Question, READ_LIMIT},
};
use wharf_wasm::{Function, Handle, Value};

use crate::{
    error::Report,
    flags::{Flags, result_handle},
    output,
};

/// What is printed when the run is over.
#[derive(Debug)]
pub(crate) enum Shown {
    /// To standard output, with a newline at its end.
    Text(String),
    /// To standard output, as they are.
    Bytes(Vec<u8>),
    /// To standard output.
    Json(serde_json::Value),
    /// To standard error: there is no value.
    Aside(String),
}

impl Shown {
    /// Prints it.
    pub(crate) fn print(self) -> Result<(), Report> {
        match self {
            Self::Text(text) => output::closed_text(&text),
            Self::Bytes(bytes) => output::bytes(&bytes),
            Self::Json(value) => output::json(&value),
            Self::Aside(text) => {
                output::aside(&format!("{text}\n"));
                Ok(())
            }
        }
    }
}

/// Can what the function returns be written with `-o`?
pub(crate) fn can_be_written(function: &Function) -> bool {
    matches!(
        result_handle(function),
        Some(Handle::Directory | Handle::File | Handle::Container)
    )
}

/// Runs what the value needs and makes it ready to be printed, or writes it where `-o` says.
pub(crate) async fn prepare(session: &Session, value: Value, flags: &Flags) -> Result<Shown, Report> {
    let value = match value {
        Value::Option(Some(value)) if is_handle(&value) => *value,
        value => value,
    };
    if let Some(to) = &flags.output {
        write(session, &value, to).await?;
        return Ok(Shown::Aside(format!("written to {}", to.display())));
    }
    let text = |text: String| {
        if flags.json {
            Shown::Json(json!(text))
        } else {
            Shown::Text(text)
        }
    };
    Ok(match &value {
        Value::Container(container) => match session.read(container.node(), Question::Stdout).await? {
            Answer::Text(output) => text(output),
            _ => return Err(surprise().into()),
        },
        Value::Directory(directory) => match session
            .read(directory.node(), Question::Entries("/".to_owned()))
            .await?
        {
            Answer::Names(names) if flags.json => Shown::Json(json!(names)),
            Answer::Names(names) => Shown::Text(names.join("\n")),
            _ => return Err(surprise().into()),
        },
        Value::File(file) => of_file(contents(session, file).await?, flags)?,
        Value::Changeset(changes) => match session.read(changes.node(), Question::AsPatch).await? {
            Answer::Text(patch) => text(patch),
            _ => return Err(surprise().into()),
        },
        Value::Secret(secret) => Shown::Aside(format!("a secret ({}), which is never shown", secret.name)),
        Value::Volume(_) => Shown::Aside("a cache volume, which has nothing to show".to_owned()),
        Value::Service(service) => of_service(session, service, flags).await?,
        Value::Unit if !flags.json => Shown::Text(String::new()),
        _ if flags.json => Shown::Json(value.to_json()),
        _ => Shown::Text(value.to_text()),
    })
}

fn is_handle(value: &Value) -> bool {
    matches!(
        value,
        Value::Directory(_)
            | Value::File(_)
            | Value::Container(_)
            | Value::Changeset(_)
            | Value::Secret(_)
            | Value::Volume(_)
            | Value::Service(_)
    )
}

async fn write(session: &Session, value: &Value, to: &Path) -> Result<(), Report> {
    match value {
        Value::Directory(directory) => session.export_directory(directory.node(), to).await?,
        Value::File(file) => session.export_file(file.node(), to).await?,
        Value::Container(container) => session.export_container(container.node(), to).await?,
        _ => {
            return Err(Report::failed(
                "there is nothing to write: the function returned no directory, file or container",
            ));
        }
    }
    Ok(())
}

/// Where a service answers, once it has been seen to be healthy.
async fn of_service(session: &Session, service: &Service, flags: &Flags) -> Result<Shown, Report> {
    session.read(service.node(), Question::Sync).await?;
    let Answer::Ports(ports) = session.read(service.node(), Question::Ports).await? else {
        return Err(surprise().into());
    };
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    Ok(if flags.json {
        Shown::Json(json!(ports))
    } else if ports.is_empty() {
        Shown::Aside("a service that exposes no port; it started".to_owned())
    } else {
        Shown::Text(ports.join("\n"))
    })
}

/// All of a file, however large, in pieces.
async fn contents(session: &Session, file: &File) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    loop {
        let piece = Question::Range {
            offset: bytes.len() as u64,
            length: READ_LIMIT,
        };
        let Answer::Bytes(piece) = session.read(file.node(), piece).await? else {
            return Err(surprise());
        };
        let is_last = (piece.len() as u64) < READ_LIMIT;
        bytes.extend(piece);
        if is_last {
            return Ok(bytes);
        }
    }
}

fn of_file(bytes: Vec<u8>, flags: &Flags) -> Result<Shown, Report> {
    let is_text = !bytes.contains(&0) && std::str::from_utf8(&bytes).is_ok();
    if is_text && flags.json {
        return Ok(Shown::Json(json!(String::from_utf8_lossy(&bytes))));
    }
    if !is_text && (flags.json || output::is_terminal()) {
        let message = format!(
            "the file is not text ({})",
            crate::table::bytes(bytes.len() as u64)
        );
        return Err(Report::usage(message).with_hint("`-o PATH` writes it to a file"));
    }
    Ok(Shown::Bytes(bytes))
}

fn surprise() -> Error {
    Error::other(
        "protocol",
        "the engine answered another question than it was asked",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_shown_and_binary_json_refused() {
        let flags = Flags {
            json: true,
            ..Flags::default()
        };
        assert!(matches!(of_file(b"hello".to_vec(), &flags), Ok(Shown::Json(_))));
        let refused = of_file(vec![0, 159], &flags).unwrap_err();
        assert!(refused.text().contains("-o PATH"));
    }
}
