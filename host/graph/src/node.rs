//! Nodes: an operation, its inputs, and the digest of both.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;

use crate::op::Op;

/// Names a node: the digest of its operation, which names its inputs the same way. Not a cache key: sources are not pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub Digest);

/// One operation and what it works on. Shared by reference; never changes.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    encoding: Vec<u8>,
    op: Op,
    inputs: Vec<Arc<Node>>,
    elsewhere: Option<Arc<Node>>,
}

/// Bytes that are not a node of this version, or a node whose inputs were not supplied.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NodeError {
    /// The bytes do not decode.
    #[error("these bytes are not a graph node of this version")]
    Encoding,
    /// An input was never sent.
    #[error("a node refers to one that was not sent")]
    MissingInput,
}

impl Node {
    /// A node of this operation. `inputs` holds the nodes that the operation names.
    ///
    /// # Panics
    /// When `inputs` are not the nodes that `op` names, in order.
    pub fn new(op: Op, inputs: Vec<Arc<Node>>) -> Arc<Self> {
        assert!(
            op.inputs().into_iter().eq(inputs.iter().map(|node| node.id)),
            "a node's inputs are those that its operation names"
        );
        Arc::new(Self::of(op, inputs, None))
    }

    /// A node whose content another engine makes of `node`, which is no input: it is never sent with it.
    pub(crate) fn made_elsewhere(op: Op, node: &Arc<Node>) -> Arc<Self> {
        Arc::new(Self::of(op, Vec::new(), Some(Arc::clone(node))))
    }

    fn of(op: Op, inputs: Vec<Arc<Node>>, elsewhere: Option<Arc<Node>>) -> Self {
        let encoding = postcard::to_stdvec(&op).expect("operations always encode");
        Self {
            id: NodeId(Digest::of(&encoding)),
            encoding,
            op,
            inputs,
            elsewhere,
        }
    }

    /// The node in these bytes; `find` supplies inputs by id.
    pub fn decode(
        encoding: &[u8],
        find: impl Fn(NodeId) -> Option<Arc<Node>>,
    ) -> Result<Arc<Self>, NodeError> {
        let op: Op = postcard::from_bytes(encoding).map_err(|_| NodeError::Encoding)?;
        let inputs: Option<Vec<_>> = op.inputs().into_iter().map(find).collect();
        Ok(Self::new(op, inputs.ok_or(NodeError::MissingInput)?))
    }

    /// The node's name.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The operation as bytes; their digest is the id.
    pub fn encoding(&self) -> &[u8] {
        &self.encoding
    }

    /// The operation.
    pub fn op(&self) -> &Op {
        &self.op
    }

    /// The nodes it works on.
    pub fn inputs(&self) -> &[Arc<Node>] {
        &self.inputs
    }

    /// What another engine makes this node's content of; none once it was sent.
    pub fn elsewhere(&self) -> Option<&Arc<Node>> {
        self.elsewhere.as_ref()
    }

    /// This node and all below it that `skip` does not hold back, inputs before what uses them. What is skipped is not
    /// descended into.
    pub fn closure(self: &Arc<Self>, mut skip: impl FnMut(NodeId) -> bool) -> Vec<Arc<Node>> {
        let mut seen = std::collections::HashSet::new();
        let mut order = Vec::new();
        let mut stack = vec![(Arc::clone(self), false)];
        while let Some((node, inputs_done)) = stack.pop() {
            if inputs_done {
                order.push(node);
            } else if !skip(node.id) && seen.insert(node.id) {
                let inputs: Vec<_> = node
                    .inputs
                    .iter()
                    .rev()
                    .map(|input| (Arc::clone(input), false))
                    .collect();
                stack.push((node, true));
                stack.extend(inputs);
            }
        }
        order
    }
}

impl Drop for Node {
    /// Chains are thousands of nodes long: taken apart in a loop, as recursion would overflow the stack.
    fn drop(&mut self) {
        let mut orphans = std::mem::take(&mut self.inputs);
        orphans.extend(self.elsewhere.take());
        while let Some(node) = orphans.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                orphans.append(&mut node.inputs);
                orphans.extend(node.elsewhere.take());
            }
        }
    }
}
