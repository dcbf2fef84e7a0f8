//! `wharf inspect`: what a module is, before anything of it runs.

mod tree;

use std::fmt::Write as _;

use serde_json::{Value, json};
use wharf_manifest::Dependency;
use wharf_registry::{Contents, Found, Signed};
use wharf_wasm::{Capability, Module, capabilities_of};

use self::tree::Called;
use crate::{
    args::InspectArgs,
    commands::functions,
    error::Report,
    module::{self, Place},
    output,
    places::Places,
    printable,
    registries::Reach,
    table::{bytes, columns},
};

/// Shows a module; builds and runs nothing.
pub(crate) fn run(args: &InspectArgs) -> Result<(), Report> {
    let places = Places::find()?;
    if let Place::Registry(wanted) = Place::of(&args.module)? {
        let modules = Reach::new(args.pinning, None).modules(&places)?;
        let (found, signed, calls) = super::runtime()?.block_on(async {
            let found = modules.find(&wanted).await?;
            let signed = modules.signed(&found).await?;
            let calls = tree::of_registry(&modules, &wanted.to_string(), &found).await;
            Ok::<_, Report>((found, signed, calls))
        })?;
        return remote(args, &found, &signed, calls.as_deref());
    }
    if args.wit {
        let path = module::built_file(&args.module)?;
        let bytes = std::fs::read(&path)
            .map_err(|error| Report::usage(format!("{} cannot be read: {error}", path.display())))?;
        let contents = Contents::of(&bytes);
        let contents = contents.map_err(|why| Report::usage(format!("{}: {why}", path.display())))?;
        return wit(contents.wit.as_deref());
    }
    let loaded = module::load_built(&args.module, &places)?;
    let (module, calls) = (&loaded.module, tree::of_composition(&loaded.composition, 0));
    if args.json {
        return output::json(&json!({
            "name": module.name(), "version": module.version(), "digest": module.digest().to_string(),
            "size": module.size(), "docs": module.docs(),
            "functions": module.functions().iter().map(functions::as_json).collect::<Vec<_>>(),
            "capabilities": module.capabilities().iter().map(capability).collect::<Vec<_>>(),
            "dependencies": tree::as_json(&calls),
        }));
    }
    output::text(&(text(module) + &tree::text(&calls)))
}

fn wit(text: Option<&str>) -> Result<(), Report> {
    match text {
        Some(text) => output::closed_text(&printable::lines(text)),
        None => Err(Report::failed("its registry does not say its interface")
            .with_hint("`wharf functions -m` pulls it, and lists what it can do")),
    }
}

fn capability(capability: &Capability) -> Value {
    json!({"name": capability.name, "meaning": capability.meaning})
}

fn row(name: &str, value: impl Into<String>) -> [String; 2] {
    [name.to_owned(), value.into()]
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}\n")).collect()
}

fn text(module: &Module) -> String {
    let mut facts = vec![row("name", module.name())];
    facts.extend(module.version().map(|version| row("version", version)));
    facts.extend([
        row("digest", module.digest().to_string()),
        row("size", bytes(module.size())),
    ]);
    let mut text = columns(&facts);
    if !module.docs().is_empty() {
        let _ = writeln!(text, "\n{}", module.docs().trim());
    }
    let _ = write!(
        text,
        "\nFunctions:\n{}",
        indented(&functions::table(module.functions()))
    );
    text + &may(module.capabilities())
}

fn may(capabilities: &[Capability]) -> String {
    let rows: Vec<_> = capabilities
        .iter()
        .map(|capability| row(&capability.name, capability.meaning))
        .collect();
    if rows.is_empty() {
        "\nIt asks for nothing: it can only compute.\n".to_owned()
    } else {
        format!("\nIt may:\n{}", indented(&columns(&rows)))
    }
}

/// A module that a registry has, by what is said of it there, and what it calls, as far as that can be told.
fn remote(
    args: &InspectArgs,
    found: &Found,
    signed: &Signed,
    calls: Result<&[Called], &Report>,
) -> Result<(), Report> {
    let artifact = &found.artifact;
    let said = artifact.said.clone().unwrap_or_default();
    if args.wit {
        return wit(said.wit.as_deref());
    }
    let annotation = |name: &str| {
        let name = format!("org.opencontainers.image.{name}");
        artifact.annotations.get(&name).map(String::as_str)
    };
    let name = said.name().or_else(|| annotation("title"));
    let version = said.version().or_else(|| annotation("version"));
    if args.json {
        return output::json(&json!({
            "name": name, "version": version, "reference": found.reference.to_string(),
            "digest": artifact.digest, "component": artifact.component, "size": artifact.component.size,
            "signatures": signed.count, "signers": signed.by,
            "annotations": artifact.annotations, "described": artifact.said.is_some(),
            "docs": said.docs.as_ref().and_then(|docs| docs.pointer("/module/docs")),
            "functions": said.docs.as_ref().and_then(|docs| docs.get("functions")),
            "types": said.docs.as_ref().and_then(|docs| docs.get("types")),
            "exports": said.exports, "imports": said.imports, "manifest": said.manifest,
            "dependencies": calls.ok().map(tree::as_json),
            "unresolved": calls.err().map(Report::words),
            "capabilities": capabilities_of(said.imports.iter().map(String::as_str)).iter().map(capability).collect::<Vec<_>>(),
        }));
    }
    let mut facts = Vec::new();
    facts.extend(name.map(|name| row("name", name)));
    facts.extend(version.map(|version| row("version", version)));
    facts.extend([
        row("reference", found.reference.to_string()),
        row("size", bytes(artifact.component.size)),
    ]);
    for (key, name) in [("licences", "licenses"), ("source", "source")] {
        facts.extend(annotation(name).map(|value| row(key, value)));
    }
    facts.push(row("signed by", signers(signed)));
    // Its publisher and its registry have their say in it.
    output::text(&printable::lines(&columns(&facts)))?;
    if artifact.said.is_none() {
        return output::text(
            "\nIts registry says no more of it: it was not published by Wharf. `wharf functions -m` pulls it.\n",
        );
    }
    output::text(&described(&said))?;
    let calls = match calls {
        Ok(calls) => tree::text(calls),
        Err(report) => format!(
            "{}\nWhich versions it would call, and what these call, cannot be told: {}\n",
            self::calls(&said),
            report.words()
        ),
    };
    output::text(&printable::lines(&calls))?;
    output::text("\nThis is what its registry says. It is compared with the component when that is pulled.\n")
}

/// Who has signed it, as far as a policy names the keys.
fn signers(signed: &Signed) -> String {
    match (signed.count, &signed.by[..]) {
        (0, _) => "nobody".to_owned(),
        (_, []) => "a key that no policy of yours names".to_owned(),
        (_, names) => names.join(", "),
    }
}

/// What a component says of itself, as text.
pub(crate) fn described(contents: &Contents) -> String {
    let docs = |pointer: &str| contents.docs.as_ref().and_then(|docs| docs.pointer(pointer));
    let mut text = String::new();
    if let Some(docs) = docs("/module/docs")
        .and_then(Value::as_str)
        .filter(|docs| !docs.is_empty())
    {
        let _ = writeln!(text, "\n{}", docs.trim());
    }
    let rows: Vec<[String; 3]> = match docs("/functions").and_then(Value::as_array) {
        Some(functions) => functions.iter().map(function).collect(),
        None => contents
            .exports
            .iter()
            .map(|name| [name.clone(), String::new(), String::new()])
            .collect(),
    };
    let _ = write!(text, "\nFunctions:\n{}", indented(&functions::laid_out(&rows)));
    text.push_str(&may(&capabilities_of(
        contents.imports.iter().map(String::as_str),
    )));
    printable::lines(&text)
}

/// What a module of a registry asks its callers for, and the lines that grant it.
pub(crate) fn asked(name: &str, found: &Found) -> String {
    let about = found.artifact.said.as_ref().and_then(Contents::about);
    let asked = about.map(|about| about.asked()).unwrap_or_default();
    if asked.is_empty() {
        return "it asks for nothing\n".to_owned();
    }
    let mut text = "it asks for:\n".to_owned();
    for (capability, _) in asked.iter() {
        let _ = writeln!(text, "  {capability}: may {}", capability.meaning());
    }
    let _ = write!(
        text,
        "these lines in wharf.toml grant it:\n[grants.\"{name}\"]\n{}\n",
        asked
    );
    printable::lines(&text)
}

/// What it calls, by name and version, as text.
pub(crate) fn calls(contents: &Contents) -> String {
    let dependencies = contents
        .about()
        .map(|about| about.dependencies)
        .unwrap_or_default();
    let version = |dependency: &Dependency| match dependency {
        Dependency::Registry { version } => version.to_string(),
        Dependency::Oci {
            reference,
            version: Some(version),
        } => format!("{version} of {reference}"),
        Dependency::Oci {
            reference,
            version: None,
        } => reference.clone(),
        Dependency::Path(path) => path.display().to_string(),
        Dependency::Git { url, .. } => url.clone(),
    };
    let rows: Vec<_> = dependencies
        .iter()
        .map(|(name, one)| row(&name.to_string(), version(one)))
        .collect();
    match rows.is_empty() {
        true => String::new(),
        false => format!("\nIt calls:\n{}", indented(&columns(&rows))),
    }
}

/// The row of a function, from its documentation.
fn function(function: &Value) -> [String; 3] {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let params = function["params"].as_array().into_iter().flatten();
    let params: Vec<_> = params
        .map(|param| format!("{}: {}", text(param, "name"), text(param, "type")))
        .collect();
    let result = function["result"].as_str().unwrap_or("nothing");
    let docs = text(function, "docs");
    [
        text(function, "name"),
        docs.lines().next().unwrap_or_default().to_owned(),
        format!("({}) -> {result}", params.join(", ")),
    ]
}
