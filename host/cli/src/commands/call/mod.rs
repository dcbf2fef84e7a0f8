//! `wharf call`: one function of one module, from its flags to its result.

mod chain;
mod pipeline;
mod show;

use std::sync::Arc;

use futures::FutureExt;
use wharf_client::{Session, SessionOptions};
use wharf_graph::Error;
use wharf_wasm::{CallContext, CallError, Function, Limits, Pipeline, Value};

use self::{
    chain::{Chain, Written},
    pipeline::ToEngine,
};
use crate::{
    args::{CallArgs, FunctionCall},
    engine_choice::EngineSettings,
    error::{Ended, Report},
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
    let chain = match Chain::read(&loaded, function, words)? {
        Written::Chain(chain) => *chain,
        Written::Help(text) => return output::text(&text),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Report::failed(format!("this process cannot start its runtime: {error}")))?;
    let outcome = runtime.block_on(call(args, settings, style, loaded, chain));
    // What still blocks, such as a command that makes a secret, is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn call(
    args: &CallArgs,
    settings: EngineSettings,
    style: Style,
    loaded: Loaded,
    chain: Chain,
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
    session.offer_docker(Box::new(|name, to| pipeline::save_image(name, to).boxed()));
    let pipeline: Arc<dyn Pipeline> = Arc::new(ToEngine::new(session.clone(), progress.words.clone()));
    let ending = progress.ending();
    let context = CallContext {
        pipeline: Arc::clone(&pipeline),
        project: loaded.project.clone(),
        scope: loaded.scope.clone(),
        limits: Limits {
            time: args.timeout,
            ..Limits::default()
        },
    };
    let work = async {
        for value in chain.all_arguments() {
            pipeline::allow(&session, value);
        }
        let mut value = loaded
            .module
            .call(&chain.function, chain.arguments.clone(), context)
            .await?;
        for (method, arguments) in &chain.methods {
            value = method
                .call(&present(value, &chain.function)?, arguments, &*pipeline)
                .await?;
        }
        show::prepare(&session, value, &chain.ending).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupted.cancelled() => Err(Report::from(Error::Cancelled)),
    };
    // The run is over when its last session is gone; its last events come then.
    drop((session, pipeline));
    let tally = ending.tally().await;
    match outcome {
        Ok(shown) => shown.print(),
        Err(report) if report.ended() == Ended::Interrupted => Err(interruption(&tally)),
        Err(report) => Err(report),
    }
}

/// The handle that a method is called on: a function may have returned none.
fn present(value: Value, function: &Function) -> Result<Value, Report> {
    match value {
        Value::Option(Some(value)) => Ok(*value),
        Value::Option(None) => Err(Report::failed(format!(
            "{} returned nothing to call a method of",
            function.name
        ))),
        value => Ok(value),
    }
}

/// What an interruption cut short.
fn interruption(tally: &Tally) -> Report {
    let stopped = tally.cut_short();
    if stopped.is_empty() {
        return Report::new(Ended::Interrupted, "interrupted; no step was running");
    }
    let list: String = stopped.iter().map(|title| format!("  {title}\n")).collect();
    Report::new(Ended::Interrupted, "interrupted; what ran was stopped:").with_detail(list)
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
