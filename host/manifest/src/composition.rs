//! A module with everything that it depends on, found and ready to be loaded: the result of resolving `[dependencies]`.

use std::{collections::BTreeMap, path::PathBuf};

use wharf_digest::Digest;

use crate::{EdgeGrants, ModuleName, Rights};

/// A module and all that it calls, directly or through others.
#[derive(Clone, Debug)]
pub struct Composition {
    parts: Vec<Part>,
}

/// One module of a composition.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name, or the file's when it has none.
    pub name: String,
    /// Its version, when it says one.
    pub version: Option<String>,
    /// Digest of its component.
    pub digest: Digest,
    /// Its component's file.
    pub component: PathBuf,
    /// Bytes of that.
    pub size: u64,
    /// What its author wrote about its functions, as the component has it.
    pub docs: Vec<u8>,
    /// Where it comes from.
    pub origin: Origin,
    /// What it asks its callers for.
    pub asks: Rights,
    /// What it calls.
    pub edges: Vec<Edge>,
}

/// That one module calls another.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The name under which the caller imports it.
    pub name: ModuleName,
    /// Which part it is, as an index.
    pub to: usize,
    /// What the caller's manifest grants it, out of what the caller has itself.
    pub grants: Rights,
    /// What the manifest of the composition's root grants it, whatever its caller has. [`Composition::new`] fills it in.
    pub explicit: Rights,
}

/// Where a module comes from. Caches and secrets of its own belong to this place, never to the name it gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A directory with its source, or a component's file, by its real path.
    Path(PathBuf),
    /// A repository of a registry: `registry.example/acme/quantize`.
    Registry(String),
    /// A git repository's URL and the directory in it.
    Git(String, String),
}

impl Origin {
    /// Who its caches and secrets belong to, as one text.
    pub fn scope(&self) -> String {
        match self {
            Self::Path(path) => format!("path:{}", path.display()),
            Self::Registry(repository) => format!("oci:{repository}"),
            Self::Git(url, directory) => format!("git:{url}#{directory}"),
        }
    }
}

/// Why modules cannot be composed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompositionError {
    /// A module depends on itself.
    #[error("modules depend on each other in a circle: {}: one of them has to do without", .0.join(" → "))]
    Cycle(Vec<String>),
}

impl Composition {
    /// A composition of these parts, the first of which is its root. `grants` are those of the root's manifest.
    ///
    /// # Errors
    /// When a part depends on itself, through others or not.
    pub fn new(
        mut parts: Vec<Part>,
        grants: &BTreeMap<ModuleName, EdgeGrants>,
    ) -> Result<Self, CompositionError> {
        // How the root's manifest calls a module that calls others: as the module calls itself.
        for (at, part) in parts.iter_mut().enumerate() {
            let below = part
                .name
                .parse()
                .ok()
                .and_then(|name: ModuleName| grants.get(&name));
            for edge in &mut part.edges {
                edge.explicit = match below {
                    _ if at == 0 => edge.grants.clone(),
                    Some(grants) => grants.below.get(&edge.name).cloned().unwrap_or_default(),
                    None => Rights::none(),
                };
            }
        }
        let composition = Self { parts };
        composition.check(0, &mut Vec::new(), &mut vec![false; composition.parts.len()])?;
        Ok(composition)
    }

    /// The module that users call.
    pub fn root(&self) -> &Part {
        &self.parts[0]
    }

    /// All of them, the root first.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The indices of all parts, each behind those that it calls.
    pub fn order(&self) -> Vec<usize> {
        let (mut order, mut seen) = (Vec::new(), vec![false; self.parts.len()]);
        self.visit(0, &mut order, &mut seen);
        order
    }

    fn visit(&self, at: usize, order: &mut Vec<usize>, seen: &mut [bool]) {
        if std::mem::replace(&mut seen[at], true) {
            return;
        }
        for edge in &self.parts[at].edges {
            self.visit(edge.to, order, seen);
        }
        order.push(at);
    }

    fn check(&self, at: usize, path: &mut Vec<usize>, done: &mut [bool]) -> Result<(), CompositionError> {
        if let Some(start) = path.iter().position(|earlier| *earlier == at) {
            let circle = path[start..].iter().chain([&at]);
            let names = circle.map(|part| self.parts[*part].name.clone());
            return Err(CompositionError::Cycle(names.collect()));
        }
        if done[at] {
            return Ok(());
        }
        path.push(at);
        for edge in &self.parts[at].edges {
            self.check(edge.to, path, done)?;
        }
        path.pop();
        done[at] = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str, edges: &[(&str, usize)]) -> Part {
        Part {
            name: name.to_owned(),
            version: None,
            digest: Digest::of(name.as_bytes()),
            component: PathBuf::new(),
            size: 0,
            docs: Vec::new(),
            origin: Origin::Path(name.into()),
            asks: Rights::none(),
            edges: edges
                .iter()
                .map(|(name, to)| Edge {
                    name: name.parse().unwrap(),
                    to: *to,
                    grants: Rights::none(),
                    explicit: Rights::none(),
                })
                .collect(),
        }
    }

    #[test]
    fn parts_come_behind_what_they_call() {
        let parts = vec![
            part("a:a", &[("a:b", 1), ("a:c", 2)]),
            part("a:b", &[("a:c", 2)]),
            part("a:c", &[]),
        ];
        assert_eq!(
            Composition::new(parts, &BTreeMap::new()).unwrap().order(),
            [2, 1, 0]
        );
    }

    #[test]
    fn a_circle_is_told_by_its_names() {
        let parts = vec![
            part("a:a", &[("a:b", 1)]),
            part("a:b", &[("a:c", 2)]),
            part("a:c", &[("a:b", 1)]),
        ];
        let error = Composition::new(parts, &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("a:b → a:c → a:b"), "{error}");
    }

    #[test]
    fn the_roots_manifest_reaches_edges_of_others() {
        let mut parts = vec![
            part("a:a", &[("a:b", 1)]),
            part("a:b", &[("a:c", 2)]),
            part("a:c", &[]),
        ];
        parts[0].edges[0].grants = Rights::parse("network").unwrap();
        let below = BTreeMap::from([("a:c".parse().unwrap(), Rights::parse("http").unwrap())]);
        let rights = Rights::parse("network").unwrap();
        let grants = BTreeMap::from([("a:b".parse().unwrap(), EdgeGrants { rights, below })]);
        let composition = Composition::new(parts, &grants).unwrap();
        let explicit = |part: usize| composition.parts()[part].edges[0].explicit.to_string();
        assert_eq!(
            (explicit(0), explicit(1)),
            ("network = true".to_owned(), "http = true".to_owned())
        );
    }
}
