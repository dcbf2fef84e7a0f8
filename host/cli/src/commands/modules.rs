//! Modules: found, built, loaded, listed.

use std::{path::{Path, PathBuf}, sync::Arc};

use serde_json::json;
use wharf_wasm::{Function, Module, Runtime};

use crate::{
    args::{InspectArgs, ListArgs},
    error::CliError,
    output,
    settings::Settings,
};

/// A component's file: the one that is named, or the one that the directory's source makes.
pub(super) fn component(module: &Path) -> Result<PathBuf, CliError> {
    if module.is_file() {
        return Ok(module.to_owned());
    }
    let built = wharf_build::build(module, &|line| output::say(line))?;
    Ok(built.path)
}

pub(super) fn load(path: &Path, settings: &Settings) -> Result<Arc<Module>, CliError> {
    Ok(Runtime::new(&settings.cache.join("compiled"))?.load(path)?)
}

pub(super) fn build(module: &Path) -> Result<(), CliError> {
    let built = wharf_build::build(module, &|line| output::say(line))?;
    output::say(&format!("{} ({})", built.path.display(), built.digest));
    Ok(())
}

pub(super) fn functions(args: &ListArgs, settings: &Settings) -> Result<(), CliError> {
    let module = load(&component(&args.module.module)?, settings)?;
    if args.json {
        let functions: Vec<_> = module.functions().iter().map(describe).collect();
        output::value(&serde_json::to_string_pretty(&functions).unwrap_or_default());
        return Ok(());
    }
    let width = module.functions().iter().map(|function| function.name.len()).max().unwrap_or(0);
    for function in module.functions() {
        let first = function.docs.lines().next().unwrap_or_default();
        output::value(&format!("{:width$}  {first}", function.name));
        for param in &function.params {
            let docs = param.docs.lines().next().unwrap_or_default();
            output::value(&format!("{:width$}    --{} <{}>  {docs}", "", param.name, param.ty));
        }
    }
    Ok(())
}

fn describe(function: &Function) -> serde_json::Value {
    let params: Vec<_> = function
        .params
        .iter()
        .map(|param| json!({ "name": param.name, "type": param.ty.to_string(), "docs": param.docs, "default": param.default }))
        .collect();
    json!({
        "name": function.name, "interface": function.interface, "docs": function.docs, "params": params,
        "returns": function.result.as_ref().map(ToString::to_string)
    })
}

pub(super) fn inspect(args: &InspectArgs, settings: &Settings) -> Result<(), CliError> {
    let path = if args.module.is_file() {
        args.module.clone()
    } else {
        let built = wharf_build::built_component(&args.module);
        if !built.is_file() {
            let module = args.module.display();
            return Err(CliError::Use(format!("{module} is not built yet, and inspect builds nothing: run `wharf build -m {module}`")));
        }
        built
    };
    let module = load(&path, settings)?;
    let capabilities = module.capabilities();
    if args.json {
        let functions: Vec<_> = module.functions().iter().map(describe).collect();
        let capabilities: Vec<_> = capabilities.iter().map(|capability| &capability.name).collect();
        let text = json!({
            "name": module.name(), "version": module.version(), "digest": module.digest().to_string(),
            "size": module.size(), "capabilities": capabilities, "functions": functions
        });
        output::value(&serde_json::to_string_pretty(&text).unwrap_or_default());
        return Ok(());
    }
    output::value(&format!("{} {}", module.name(), module.version().unwrap_or("")));
    if !module.docs().is_empty() {
        output::value(module.docs());
    }
    output::value(&format!("digest  {}\nsize    {} bytes\n\nfunctions", module.digest(), module.size()));
    for function in module.functions() {
        let params: Vec<_> = function.params.iter().map(|param| format!("{}: {}", param.name, param.ty)).collect();
        let result = function.result.as_ref().map(|ty| format!(" -> {ty}")).unwrap_or_default();
        output::value(&format!("  {}({}){result}\n      {}", function.name, params.join(", "), function.docs.lines().next().unwrap_or_default()));
    }
    output::value("\nit can");
    for capability in capabilities {
        output::value(&format!("  {} ({})", capability.meaning, capability.name));
    }
    Ok(())
}
