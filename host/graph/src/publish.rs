//! What is pushed to a registry, and how.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{build::Container, node::NodeId, op::SecretId};

/// How the layers that a pipeline made are compressed. Those of the image that a container started from stay as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compression {
    /// What every client reads.
    #[default]
    Gzip,
    /// Smaller and faster, for clients of this decade.
    Zstd,
    /// As they are.
    None,
}

/// Who a registry is told that we are: never a key's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The secret whose value is the password, or a token in its place.
    pub password: SecretId,
}

/// How an image is published.
#[derive(Clone, Debug, Default)]
pub struct PublishOptions {
    /// Further tags.
    pub tags: Vec<String>,
    /// The same image for other platforms.
    pub platforms: Vec<Container>,
    /// How new layers are compressed.
    pub compression: Compression,
    /// What the manifest says beside.
    pub annotations: BTreeMap<String, String>,
    /// Who the registry is told that we are; what the caller is logged in as unless given.
    pub login: Option<Login>,
}

/// Containers that are published as one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// The containers; several make an image of several platforms.
    pub containers: Vec<NodeId>,
    /// Where to, with a tag.
    pub reference: String,
    /// Further tags.
    pub tags: Vec<String>,
    /// How new layers are compressed.
    pub compression: Compression,
    /// What the manifest says beside.
    pub annotations: BTreeMap<String, String>,
    /// Who the registry is told that we are.
    pub login: Option<Login>,
}

impl Publish {
    /// This container, and those of the options, under a reference.
    pub fn new(container: &Container, reference: &str, options: &PublishOptions) -> Self {
        Self {
            containers: std::iter::once(container)
                .chain(&options.platforms)
                .map(|container| container.node().id())
                .collect(),
            reference: reference.to_owned(),
            tags: options.tags.clone(),
            compression: options.compression,
            annotations: options.annotations.clone(),
            login: options.login.clone(),
        }
    }
}
