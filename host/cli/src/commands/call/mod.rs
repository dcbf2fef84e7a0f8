//! `wharf call`: one function of one module, from its flags to its result.

mod chain;
mod show;
mod target;

use wharf_manifest::Rights;
use wharf_record::Work;
use wharf_wasm::{Function, Value};

use self::{
    chain::{Chain, Written},
    show::Shown,
};
use crate::{
    args::{CallArgs, FunctionCall},
    engine_choice::EngineSettings,
    error::Report,
    module::{self, Loaded},
    output,
    pins::Pins,
    progress::Style,
    registries::Reach,
    run::{self, Judged, RunOptions, Within},
    terminal,
};

/// Calls a function and shows its result.
pub(crate) fn run(args: &CallArgs) -> Result<(), Report> {
    let settings = EngineSettings::of(&args.engine)?;
    let style = Style::from(&args.loudness);
    terminal::needed(args.interactive)?;
    let reach = Reach::new(args.pinning, args.engine.ca_cert.as_deref()).by(&settings);
    let Some(FunctionCall::Words(words)) = &args.function else {
        let loaded = module::load(&args.module.module, &settings.places, style, &reach)?;
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
    let loaded = module::load_asking(
        &args.module.module,
        &settings.places,
        style,
        &reach,
        args.no_input,
    )?;
    let function = module::function(&loaded.module, &name.to_string_lossy())?.clone();
    let chain = match Chain::read(&loaded, function, words)? {
        Written::Chain(chain) => *chain,
        Written::Help(text) => return output::text(&text),
    };
    let pins = Pins::of(&loaded, args.pin, args.pinning.locked)?;
    let options = RunOptions {
        no_cache: args.no_cache,
        explain: args.explain,
        interactive: args.interactive,
        meanings: pins.meanings(),
        locked: pins.is_locked(),
        work: Work {
            command: "call".to_owned(),
            module: loaded.module.name().to_owned(),
            functions: chain.names(),
        },
    };
    let shown = run::run(settings, style, options, |within| async move {
        let session = within.session.clone();
        let shown = call(args, loaded, chain, within).await?;
        pins.note(session.found_meanings())?;
        Ok(shown)
    })?;
    shown.print()
}

impl Judged for Shown {}

async fn call(args: &CallArgs, loaded: Loaded, chain: Chain, within: Within) -> Result<Shown, Report> {
    for value in chain.all_arguments() {
        within.allow(value);
    }
    let more = args.allow.iter().fold(Rights::none(), |all, one| all.or(one));
    let context = within.context(&loaded, &more, args.strict, args.timeout);
    let mut value = loaded
        .module
        .call(&chain.function, chain.arguments.clone(), context)
        .await?;
    for (method, arguments) in &chain.methods {
        value = method
            .call(&present(value, &chain.function)?, arguments, &*within.pipeline)
            .await?;
    }
    let shown = show::prepare(&within.session, value, &chain.ending).await;
    // The process ends next, and takes the module's code and memory with it sooner than they could be given back.
    std::mem::forget(loaded);
    shown
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
