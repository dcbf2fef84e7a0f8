//! `wharf call`: one function of one module, from its flags to its result.

mod pipeline;
mod show;

use std::{ffi::OsString, sync::Arc};

use futures::FutureExt;
use wharf_client::{Session, SessionOptions};
use wharf_graph::Error;
use wharf_wasm::{CallContext, CallError, Function, Limits, Value, args::Place};

use self::pipeline::ToEngine;
use crate::{
    args::{CallArgs, FunctionCall},
    engine_choice::EngineSettings,
    error::{Ended, Report},
    flags::{self, Flags},
    interrupt,
    module::{self, Loaded},
    output,
    progress::{Progress, Style, Tally},
};

/// Calls a function and shows its result.
pub(crate) fn run(args: &CallArgs) -> Result<(), Report> {
    let settings = EngineSettings::of(&args.engine)?;
    let style = Style::from(&args.loudness);
    let Some(FunctionCall::Words(words)) = &args.function else {
        let loaded = module::load(&args.module.module, &settings.places, style)?;
        return Err(
            Report::usage("which function?").with_detail(super::functions::table(loaded.module.functions()))
        );
    };
    let (name, words) = words
        .split_first()
        .ok_or_else(|| Report::usage("which function?"))?;
    if let Some(option) = name.to_str().filter(|name| name.starts_with('-')) {
        return Err(Report::usage(format!("`{option}` is no option of `wharf call`"))
            .with_hint("options come before the function, its own flags after it"));
    }
    let loaded = module::load(&args.module.module, &settings.places, style)?;
    let function = module::function(&loaded.module, &name.to_string_lossy())?.clone();
    let request = Request::read(&loaded, function, words)?;
    if request.flags.help {
        return output::text(&flags::explain(&request.function));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Report::failed(format!("this process cannot start its runtime: {error}")))?;
    let outcome = runtime.block_on(call(args, settings, style, loaded, request));
    // What still blocks, such as a command that makes a secret, is not waited for.
    runtime.shutdown_background();
    outcome
}

/// What is called, and with what.
struct Request {
    function: Function,
    flags: Flags,
    arguments: Vec<Value>,
}

impl Request {
    fn read(loaded: &Loaded, function: Function, words: &[OsString]) -> Result<Self, Report> {
        let flags = Flags::read(&function, words)?;
        if flags.help {
            return Ok(Self {
                function,
                flags,
                arguments: Vec::new(),
            });
        }
        let here = std::env::current_dir()
            .map_err(|error| Report::usage(format!("the current directory cannot be read: {error}")))?;
        let arguments = flags.arguments(
            &function,
            Place {
                directory: &here,
                scope: &loaded.scope,
            },
        )?;
        if flags.output.is_some() && !show::can_be_written(&function) {
            let message = format!(
                "-o writes a directory, file or container; {} returns {}",
                function.name,
                flags::result_name(&function)
            );
            return Err(Report::usage(message).with_hint("without -o the value goes to standard output"));
        }
        Ok(Self {
            function,
            flags,
            arguments,
        })
    }
}

async fn call(
    args: &CallArgs,
    settings: EngineSettings,
    style: Style,
    loaded: Loaded,
    request: Request,
) -> Result<(), Report> {
    let interrupted = interrupt::watch()
        .map_err(|error| Report::failed(format!("this process cannot be told of signals: {error}")))?;
    let progress = Progress::start(style);
    let options = SessionOptions {
        no_cache: args.no_cache,
        explain: args.explain,
        stat_cache: settings.places.cache.join("files"),
    };
    let settings = Arc::new(settings);
    let connector = Box::new(move || {
        let settings = Arc::clone(&settings);
        async move { settings.connect().await }.boxed()
    });
    let session = Session::new(connector, options, progress.events.clone());
    let pipeline = ToEngine::new(session.clone(), progress.words.clone());
    let ending = progress.ending();
    let context = CallContext {
        pipeline: Arc::new(pipeline),
        project: loaded.project.clone(),
        scope: loaded.scope.clone(),
        limits: Limits {
            time: args.timeout,
            ..Limits::default()
        },
    };
    let work = async {
        for value in &request.arguments {
            pipeline::allow_secrets(&session, value);
        }
        let value = loaded
            .module
            .call(&request.function, request.arguments.clone(), context)
            .await?;
        show::prepare(&session, value, &request.flags).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupted.cancelled() => Err(Report::from(Error::Cancelled)),
    };
    // The run is over when its last session is gone; its last events come then.
    drop(session);
    let tally = ending.tally().await;
    match outcome {
        Ok(shown) => shown.print(),
        Err(report) if report.ended() == Ended::Interrupted => Err(interruption(&tally)),
        Err(report) => Err(report),
    }
}

/// What an interruption cut short.
fn interruption(tally: &Tally) -> Report {
    let stopped = tally.cut_short();
    if stopped.is_empty() {
        return Report::new(Ended::Interrupted, "interrupted; no step was running");
    }
    let list: String = stopped.iter().map(|title| format!("  {title}\n")).collect();
    Report::new(Ended::Interrupted, "interrupted; these steps were stopped:").with_detail(list)
}

impl From<CallError> for Report {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(error) => error.into(),
            CallError::NoFunction { .. } | CallError::Argument(_) => Self::usage(error.to_string()),
            CallError::Message(_) | CallError::Trap { .. } => Self::failed(error.to_string()),
        }
    }
}
