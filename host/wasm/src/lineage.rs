//! Whose files a step runs: to run a tree that another module made is to run that module's code.
//!
//! A module decides what its steps have. When one of them has a secret or the network, and files in it come from a module that
//! it called, that module's code has them, too, whatever it was granted itself.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use wharf_graph::{
    Container, Node, NodeId, Op,
    op::{Configure, Mount, Network, Stdin},
    shell_words,
};

use crate::value::Value;

/// What a module was given by those that it has called.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    given: HashMap<NodeId, Arc<str>>,
    /// Who has made a part of what is below a node, as far as it was asked.
    known: HashMap<NodeId, Option<Arc<str>>>,
    /// What was told already.
    told: HashSet<String>,
}

/// A step that gives something to files of another module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exposed {
    step: String,
    has: Vec<String>,
    pub(crate) maker: Arc<str>,
}

impl Lineage {
    /// Notes what a module that was called has returned.
    pub(crate) fn returned(&mut self, value: &Value, module: &str) {
        let module: Arc<str> = module.into();
        let noted = value.clone().try_map::<std::convert::Infallible>(&mut |handle| {
            let node = match &handle {
                Value::Directory(made) => Some(made.node().id()),
                Value::File(made) => Some(made.node().id()),
                Value::Container(made) => Some(made.node().id()),
                Value::Changeset(made) => Some(made.node().id()),
                _ => None,
            };
            if let Some(node) = node {
                self.given.insert(node, Arc::clone(&module));
            }
            Ok(handle)
        });
        noted.map_or_else(|never| match never {}, |_| ());
        // What was asked before may stand on it now.
        self.known.clear();
    }

    /// What a step exposes that was just made, when it exposes anything. Each is told once.
    pub(crate) fn exposed(&mut self, step: &Container) -> Option<Exposed> {
        if self.given.is_empty() {
            return None;
        }
        let maker = self.maker(step.node())?;
        let Op::Exec { args, .. } = step.node().op() else {
            return None;
        };
        let has = self.given_to(step.node());
        (!has.is_empty()).then(|| Exposed {
            step: shell_words(args),
            has,
            maker,
        })
    }

    /// Is it told for the first time?
    pub(crate) fn is_news(&mut self, exposed: &Exposed) -> bool {
        self.told.insert(exposed.to_string())
    }

    /// Who of those that were called has made a part of this.
    fn maker(&mut self, node: &Arc<Node>) -> Option<Arc<str>> {
        let mut open = vec![Arc::clone(node)];
        while let Some(next) = open.last().cloned() {
            if self.known.contains_key(&next.id()) {
                open.pop();
                continue;
            }
            let unknown = next
                .inputs()
                .iter()
                .chain(next.elsewhere())
                .filter(|input| !self.known.contains_key(&input.id()));
            let unknown: Vec<_> = unknown.cloned().collect();
            let own = self.given.get(&next.id()).cloned();
            if own.is_some() || unknown.is_empty() {
                let below = || {
                    next.inputs()
                        .iter()
                        .chain(next.elsewhere())
                        .find_map(|input| self.known.get(&input.id())?.clone())
                };
                let maker = own.or_else(below);
                self.known.insert(next.id(), maker);
                open.pop();
            } else {
                open.extend(unknown);
            }
        }
        self.known.get(&node.id())?.clone()
    }

    /// What the module itself has given the step: what was set last counts, and nothing below a container that it was handed.
    fn given_to(&self, step: &Arc<Node>) -> Vec<String> {
        let (mut network, mut decided, mut has) = (None, HashSet::new(), BTreeSet::new());
        let mut next = Some(step);
        while let Some(node) = next.filter(|node| !self.given.contains_key(&node.id())) {
            match node.op() {
                Op::Configure(_, Configure::Network(reach)) => {
                    network.get_or_insert(!matches!(reach, Network::None));
                }
                Op::Configure(_, Configure::SecretEnv(name, _)) if decided.insert(name.clone()) => {
                    has.insert(format!("the secret {name}"));
                }
                Op::Configure(_, Configure::UnsetSecretEnv(name)) => {
                    decided.insert(name.clone());
                }
                Op::Configure(_, Configure::Mount(path, mount)) if decided.insert(path.clone()) => {
                    if matches!(mount, Mount::Secret { .. }) {
                        has.insert(format!("the secret at {path}"));
                    }
                }
                Op::Configure(_, Configure::Unmount(path)) => {
                    decided.insert(path.clone());
                }
                Op::Exec { options, .. }
                    if Arc::ptr_eq(node, step) && matches!(options.stdin, Stdin::Secret(_)) =>
                {
                    has.insert("a secret on its input".to_owned());
                }
                _ => {}
            }
            next = node.inputs().first();
        }
        let network = network.unwrap_or_default().then(|| "the network".to_owned());
        network.into_iter().chain(has).collect()
    }
}

impl std::fmt::Display for Exposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { step, has, maker } = self;
        write!(
            f,
            "`{step}` has {} with files that {maker} made",
            has.join(" and ")
        )
    }
}

#[cfg(test)]
mod tests {
    use wharf_graph::{
        Directory,
        op::{ExecOptions, SecretId},
    };

    use super::*;

    fn run(container: &Container) -> Container {
        container.with_exec(&["make".to_owned()], ExecOptions::default())
    }

    fn secret() -> SecretId {
        SecretId {
            owner: "tests".to_owned(),
            uri: "env:TOKEN".to_owned(),
        }
    }

    fn given() -> (Lineage, Container) {
        let made = run(&Container::scratch(None)).handed_over("b", "a");
        let mut lineage = Lineage::default();
        lineage.returned(&Value::Container(made.clone()), "acme:b");
        (lineage, made)
    }

    #[test]
    fn a_step_in_files_of_another_module_exposes_what_it_has() {
        let (mut lineage, made) = given();
        assert_eq!(lineage.exposed(&run(&made)), None, "it has nothing");
        let own = made
            .configure(Configure::SecretEnv("TOKEN".to_owned(), secret()))
            .with_network(Network::All);
        let exposed = lineage.exposed(&run(&own)).unwrap();
        assert_eq!(
            exposed.to_string(),
            "`make` has the network and the secret TOKEN with files that acme:b made"
        );
        assert!(lineage.is_news(&exposed) && !lineage.is_news(&exposed));
        let without = own
            .with_network(Network::None)
            .configure(Configure::UnsetSecretEnv("TOKEN".to_owned()));
        assert_eq!(lineage.exposed(&run(&without)), None);
    }

    #[test]
    fn mounted_files_of_another_module_count_and_own_ones_do_not() {
        let (mut lineage, made) = given();
        let networked = Container::scratch(None).with_network(Network::All);
        let mounted = networked.with_mounted_directory("/src", &made.rootfs(), None);
        assert_eq!(&*lineage.exposed(&run(&mounted)).unwrap().maker, "acme:b");
        let by_target = made.rootfs().on_target("box");
        let mounted = networked.with_mounted_directory("/src", &by_target, None);
        assert_eq!(&*lineage.exposed(&run(&mounted)).unwrap().maker, "acme:b");
        let own = networked.with_mounted_directory("/src", &Directory::empty(), None);
        assert_eq!(lineage.exposed(&run(&own)), None);
    }
}
