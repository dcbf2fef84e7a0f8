//! A graph as text: each chain of builders a block, in the order in which they were made, so that a change of one call
//! changes one line.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    sync::Arc,
};

use super::{
    node::{Argument, Node},
    recording::Read,
};

/// Calls in a chain that is written where it is used.
const INLINE: usize = 2;

/// What was planned: the nodes behind reads and results, the reads, the results.
pub(crate) fn text(reads: &[Read], returned: &[Arc<Node>]) -> String {
    let read = reads
        .iter()
        .flat_map(|read| &read.arguments)
        .flat_map(|(_, argument)| argument.nodes());
    let graph = Graph::of(read.chain(returned).cloned().collect());
    let mut text = String::new();
    for chain in graph
        .chains
        .iter()
        .filter(|chain| graph.names.contains_key(&chain.end().order))
    {
        let _ = writeln!(text, "{}", graph.names[&chain.end().order]);
        for line in graph.lines(chain) {
            let _ = writeln!(text, "  {line}");
        }
    }
    for read in reads {
        let (on, rest) = match read.arguments.split_first() {
            Some(((_, Argument::Node(node)), rest)) => (format!("{}.", graph.expression(node)), rest),
            _ => (String::new(), &read.arguments[..]),
        };
        let answer = match read.answer.as_str() {
            "()" => String::new(),
            answer => format!(" -> {answer}"),
        };
        let _ = writeln!(text, "{on}{}({}){answer}", read.name, graph.arguments(rest));
    }
    if !returned.is_empty() {
        let names: Vec<_> = returned.iter().map(|node| graph.expression(node)).collect();
        let _ = writeln!(text, "returns {}", names.join(", "));
    }
    text
}

/// A text of one line, cut where it is long.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Builders that were called on each other, with nobody else looking at what is between.
struct Chain(Vec<Arc<Node>>);

impl Chain {
    fn end(&self) -> &Node {
        &self.0[self.0.len() - 1]
    }
}

struct Graph {
    chains: Vec<Chain>,
    /// Names of the blocks, by the order of their last node.
    names: HashMap<u64, String>,
}

impl Graph {
    fn of(roots: Vec<Arc<Node>>) -> Self {
        let mut uses: HashMap<u64, usize> = HashMap::new();
        let mut nodes: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
        let roots_by_order: Vec<_> = roots.iter().map(|root| root.order).collect();
        let mut open = roots;
        while let Some(node) = open.pop() {
            *uses.entry(node.order).or_default() += 1;
            if nodes.insert(node.order, Arc::clone(&node)).is_none() {
                open.extend(node.inputs().cloned());
            }
        }
        let continued = |node: &Node| {
            node.receiver
                .as_ref()
                .filter(|receiver| uses[&receiver.order] == 1 && !receiver.is_stand_in)
                .cloned()
        };
        let inside: Vec<_> = nodes.values().filter_map(|node| continued(node)).collect();
        let is_end =
            |node: &&Arc<Node>| !node.is_stand_in && inside.iter().all(|inner| inner.order != node.order);
        let mut chains = Vec::new();
        for end in nodes.values().filter(is_end) {
            let mut chain = vec![Arc::clone(end)];
            while let Some(before) = continued(&chain[chain.len() - 1]) {
                chain.push(before);
            }
            chain.reverse();
            chains.push(Chain(chain));
        }
        let (mut names, mut counts) = (HashMap::new(), HashMap::new());
        for chain in &chains {
            let end = chain.end();
            let is_inline =
                uses[&end.order] == 1 && chain.0.len() <= INLINE && !roots_by_order.contains(&end.order);
            if !is_inline {
                let count = counts.entry(end.kind).or_insert(0_usize);
                *count += 1;
                names.insert(end.order, format!("{} {count}", end.kind));
            }
        }
        Self { chains, names }
    }

    /// The calls of a chain, each as a line.
    fn lines(&self, chain: &Chain) -> Vec<String> {
        let mut lines = Vec::new();
        for (at, node) in chain.0.iter().enumerate() {
            if let (0, Some(receiver)) = (at, &node.receiver) {
                lines.push(self.expression(receiver));
            }
            let dot = if node.receiver.is_some() { "." } else { "" };
            lines.push(format!("{dot}{}({})", node.call, self.arguments(&node.arguments)));
        }
        lines
    }

    /// A value where it is used: by its name, or in place when it has none.
    fn expression(&self, node: &Arc<Node>) -> String {
        if node.is_stand_in {
            return node.call.clone();
        }
        if let Some(name) = self.names.get(&node.order) {
            return name.clone();
        }
        let chain = self.chains.iter().find(|chain| chain.end().order == node.order);
        chain.map(|chain| self.lines(chain).concat()).unwrap_or_default()
    }

    fn arguments(&self, arguments: &[(&'static str, Argument)]) -> String {
        let shown = arguments.iter().filter_map(|(name, argument)| match argument {
            Argument::Usual => None,
            Argument::Labelled(inner) => Some(match &**inner {
                settings @ Argument::Settings(_) => self.argument(settings),
                inner => format!("{name}: {}", self.argument(inner)),
            }),
            argument => Some(self.argument(argument)),
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    fn argument(&self, argument: &Argument) -> String {
        let list = |items: &[Argument]| {
            let items: Vec<_> = items.iter().map(|item| self.argument(item)).collect();
            items.join(", ")
        };
        match argument {
            Argument::Text(text) => text.clone(),
            Argument::Node(node) => self.expression(node),
            Argument::List(items) => format!("[{}]", list(items)),
            Argument::Settings(settings) => {
                let settings = settings
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", self.argument(value)));
                format!("{{{}}}", settings.collect::<Vec<_>>().join(", "))
            }
            Argument::Labelled(inner) => self.argument(inner),
            Argument::Usual => String::new(),
        }
    }
}
