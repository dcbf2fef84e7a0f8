//! What a module calls, directly and through others, and what each of them is granted by whoever calls it.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Value, json};
use wharf_manifest::{About, Composition, Edge, ModuleName, Rights};
use wharf_registry::{Found, Lock, Locked, ModuleRef, Modules, Source, Target};

use crate::error::Report;

/// As many modules may call each other in a row.
const DEEPEST: usize = 32;

/// A module that another one calls.
#[derive(Clone, Debug)]
pub(super) struct Called {
    name: String,
    version: Option<String>,
    digest: String,
    origin: String,
    /// What it asks its callers for.
    asks: Rights,
    /// What this caller grants it, and the module that all this is about.
    grants: Rights,
    calls: Vec<Called>,
}

impl Called {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "version": self.version, "digest": self.digest, "origin": self.origin,
            "asks": self.asks, "grants": self.grants, "dependencies": as_json(&self.calls),
        })
    }

    fn write(&self, depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        let _ = writeln!(
            text,
            "{indent}{} {}",
            self.name,
            self.version.as_deref().unwrap_or_default()
        );
        if self.grants.is_empty() {
            let _ = writeln!(text, "{indent}  granted nothing");
        }
        for (capability, allowed) in self.grants.iter() {
            let meaning = capability.meaning();
            let _ = writeln!(text, "{indent}  granted {capability} = {allowed}: may {meaning}");
        }
        for called in &self.calls {
            called.write(depth + 1, text);
        }
    }
}

/// As JSON.
pub(super) fn as_json(calls: &[Called]) -> Vec<Value> {
    calls.iter().map(Called::to_json).collect()
}

/// As lines, each deeper than who calls it; nothing for nobody.
pub(super) fn text(calls: &[Called]) -> String {
    let mut text = String::new();
    if !calls.is_empty() {
        text.push_str("\nIt calls:\n");
    }
    for called in calls {
        called.write(1, &mut text);
    }
    text
}

/// What a module on this machine calls.
pub(super) fn of_composition(composition: &Composition, part: usize) -> Vec<Called> {
    let called = |edge: &Edge| {
        let part = &composition.parts()[edge.to];
        Called {
            name: edge.name.to_string(),
            version: part.version.clone(),
            digest: part.digest.to_string(),
            origin: part.origin.scope(),
            asks: part.asks.clone(),
            grants: edge.grants.or(&edge.explicit),
            calls: of_composition(composition, edge.to),
        }
    };
    composition.parts()[part].edges.iter().map(called).collect()
}

/// What a module of a registry calls, by what registries say: the versions that a call of it would choose now. Nothing is pulled.
pub(super) async fn of_registry(modules: &Modules, name: &str, found: &Found) -> Result<Vec<Called>, Report> {
    let Some(root) = about(found).filter(|about| !about.dependencies.is_empty()) else {
        return Ok(Vec::new());
    };
    let calls = root.dependencies.clone().into_iter();
    let source = Source {
        place: "component".to_owned(),
        name: name.to_owned(),
        calls: calls
            .map(|(name, dependency)| (name, Target::There(dependency)))
            .collect(),
    };
    let lock = modules.resolve(&[source], None, &[]).await?;
    let mut described = BTreeMap::new();
    for locked in &lock.modules {
        let wanted: ModuleRef = format!("{}@{}", repository(&locked.place), locked.digest).parse()?;
        let found = modules.find(&wanted).await?;
        described.insert(locked.place.as_str(), about(&found));
    }
    let registry = Described {
        root: &root,
        lock: &lock,
        described,
    };
    Ok(registry.calls_of(&root, None, 0))
}

/// A place's repository: the place of what was called by a tag has it, too.
fn repository(place: &str) -> String {
    let parsed: Result<wharf_oci::Reference, _> = place.parse();
    parsed.map_or_else(
        |_| place.to_owned(),
        |reference| format!("{}/{}", reference.registry(), reference.repository()),
    )
}

fn about(found: &Found) -> Option<About> {
    found.artifact.said.as_ref()?.about()
}

/// Modules of registries, and what these say of them.
struct Described<'d> {
    root: &'d About,
    lock: &'d Lock,
    described: BTreeMap<&'d str, Option<About>>,
}

impl Described<'_> {
    fn calls_of(&self, caller: &About, name: Option<&ModuleName>, depth: usize) -> Vec<Called> {
        if depth > DEEPEST {
            return Vec::new();
        }
        let called = |called: &ModuleName| {
            let locked = self.locked(&called.to_string(), caller)?;
            let about = self.described.get(locked.place.as_str()).and_then(Option::as_ref);
            let own = caller.grants.get(called).map(|grants| grants.rights.clone());
            // What the module that is looked at grants to those of others.
            let below = name.and_then(|name| self.root.grants.get(name)?.below.get(called));
            Some(Called {
                name: called.to_string(),
                version: Some(locked.version.to_string()),
                digest: locked.digest.clone(),
                origin: format!("oci:{}", repository(&locked.place)),
                asks: about.map(About::asked).unwrap_or_default(),
                grants: own.unwrap_or_default().or(&below.cloned().unwrap_or_default()),
                calls: about.map_or_else(Vec::new, |about| self.calls_of(about, Some(called), depth + 1)),
            })
        };
        caller.dependencies.keys().filter_map(called).collect()
    }

    /// By the name that it gives itself, or by where the caller says that it is.
    fn locked(&self, name: &str, caller: &About) -> Option<&Locked> {
        let by_name = self.lock.modules.iter().find(|locked| locked.name == name);
        by_name.or_else(|| {
            let dependency = caller
                .dependencies
                .iter()
                .find(|(own, _)| own.to_string() == name)?;
            let wharf_manifest::Dependency::Oci { reference, .. } = dependency.1 else {
                return None;
            };
            let wanted = repository(reference);
            self.lock
                .modules
                .iter()
                .find(|locked| repository(&locked.place) == wanted)
        })
    }
}
