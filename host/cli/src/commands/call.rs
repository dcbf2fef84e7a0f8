//! `wharf call`: runs a function and shows what it returned.

use std::{path::{Path, PathBuf}, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use wharf_client::{Session, SessionOptions};
use wharf_graph::{
    Error,
    read::{Answer, Question},
};
use wharf_wasm::{CallContext, CallError, Limits, Value, args::Place as ArgPlace};

use super::{flags, modules};
use crate::{
    args::CallArgs, engine_choice::Place, error::CliError, output, pipeline::SessionPipeline, progress::Progress,
    settings::Settings,
};

pub(super) async fn call(args: CallArgs, settings: &Settings) -> Result<(), CliError> {
    let (module_path, place) = (&args.module.module, Place::choose(&args.engine, settings)?);
    crate::settings::runtime_program(&args.engine.runtime).map_err(CliError::Use)?;
    let module = modules::load(&modules::component(module_path)?, settings)?;
    let Some((name, words)) = args.call.split_first() else {
        let names: Vec<_> = module.functions().iter().map(|function| function.name.as_str()).collect();
        return Err(CliError::Use(format!("which function? {} has: {}", module.name(), names.join(", "))));
    };
    let function = flags::find(&module, name)?;
    let written = flags::read(function, words)?;
    if written.help {
        output::value(&format!("{}\n\n{}", function.docs, flags::usage(function)));
        return Ok(());
    }
    let here = std::env::current_dir().map_err(|error| CliError::Use(format!("the current directory: {error}")))?;
    let scope = scope(module_path, module.name());
    let values = flags::values(function, &written, ArgPlace { directory: &here, scope: &scope })?;
    let options = SessionOptions {
        no_cache: args.no_cache,
        explain: args.explain,
        stat_cache: settings.cache.join("stat"),
    };
    let (events, received) = mpsc::unbounded_channel();
    let session = Session::new(place.connector(), options, events);
    let progress = tokio::spawn(Progress::new(args.progress, args.quiet).follow(received));
    let context = CallContext {
        pipeline: Arc::new(SessionPipeline { session: session.clone(), quiet: args.quiet }),
        project: project(module_path, &here),
        scope,
        limits: Limits { time: Duration::from_secs(args.timeout), ..Limits::default() },
    };
    let work = async {
        let value = module.call(function, values, context).await?;
        finish(&session, value, written.output.as_deref(), written.json, &here).await.map_err(CallError::from)
    };
    let outcome = tokio::select! {
        outcome = work => outcome.map_err(CliError::from),
        _ = tokio::signal::ctrl_c() => Err(CliError::Interrupted("the steps of this run are ended".to_owned())),
    };
    drop(session);
    // Whatever is still on its way to the screen gets there; an engine that hangs does not keep us.
    tokio::time::timeout(Duration::from_secs(5), progress).await.ok();
    if let Ok(Some(text)) = &outcome {
        output::bytes(text);
    }
    outcome.map(drop)
}

/// Who caches and secrets of a module belong to: its project's place and its name.
fn scope(module: &Path, name: &str) -> String {
    let place = std::fs::canonicalize(module).unwrap_or_else(|_| module.to_owned());
    format!("{}:{name}", place.display())
}

/// Where a module's own paths on the caller's disk start.
fn project(module: &Path, here: &Path) -> PathBuf {
    if module.is_dir() { here.join(module) } else { here.to_owned() }
}

/// What the user gets to see or find on disk for a value.
async fn finish(
    session: &Session,
    value: Value,
    to: Option<&Path>,
    json: bool,
    here: &Path,
) -> Result<Option<Vec<u8>>, Error> {
    if let Some(to) = to {
        let to = here.join(to);
        match &value {
            Value::Directory(directory) => session.export_directory(directory.node(), &to).await?,
            Value::File(file) => session.export_file(file.node(), &to).await?,
            Value::Container(container) => session.export_container(container.node(), &to).await?,
            other => {
                let text = if json { other.to_json().to_string() } else { other.to_text() };
                std::fs::write(&to, text)
                    .map_err(|error| Error::Invalid(format!("{} cannot be written: {error}", to.display())))?;
            }
        }
        output::say(&format!("wrote {}", to.display()));
        return Ok(None);
    }
    if json {
        return Ok(Some(format!("{}\n", value.to_json()).into_bytes()));
    }
    let text = match &value {
        Value::Container(container) => {
            session.read(container.node(), Question::Sync).await?;
            match session.read(container.node(), Question::Stdout).await {
                Ok(Answer::Text(text)) => text,
                _ => String::new(),
            }
        }
        Value::Directory(directory) => {
            match session.read(directory.node(), Question::Entries("/".to_owned())).await? {
                Answer::Names(names) => names.iter().map(|name| format!("{name}\n")).collect(),
                _ => String::new(),
            }
        }
        Value::File(file) => {
            let Answer::Bytes(bytes) = session.read(file.node(), Question::Contents).await? else { return Ok(None) };
            let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
            if is_terminal && bytes.iter().any(|byte| *byte == 0) {
                return Err(Error::Invalid("the file is not text: write it to disk with -o PATH".to_owned()));
            }
            return Ok(Some(bytes));
        }
        Value::Secret(secret) => format!("secret {} (its value is not shown)\n", secret.name),
        other => {
            let text = other.to_text();
            if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
        }
    };
    Ok(Some(text.into_bytes()))
}
