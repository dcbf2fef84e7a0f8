//! What an engine may ask its client for: what the nodes that it was sent name.
//!
//! A run may have secrets, logins and places of this machine that a target, which makes one directory of it, has nothing to do
//! with. They stay with those that need them.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use wharf_graph::{
    Node, Op,
    op::SecretId,
    publish::{Login, Publish},
};
use wharf_oci::{Reference, login_server};

use crate::lock;

/// What the nodes name that one engine was sent. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Named(Arc<Mutex<Names>>);

#[derive(Default)]
struct Names {
    secrets: HashSet<SecretId>,
    /// Registries, by the names that Docker keeps logins under.
    logins: HashSet<String>,
    /// Hosts and ports, as this machine knows them.
    places: HashSet<(String, u16)>,
}

impl Named {
    /// Adds what these name.
    pub(crate) fn add(&self, nodes: &[Arc<Node>]) {
        let mut names = lock(&self.0);
        for node in nodes {
            names.secrets.extend(node.op().secrets().into_iter().cloned());
            match node.op() {
                Op::Image { reference, login, .. } => names.add_registry(reference, login.as_ref()),
                Op::HostService { host, ports } => {
                    let places = ports.iter().map(|port| (host.clone(), port.host));
                    names.places.extend(places);
                }
                _ => {}
            }
        }
    }

    /// Adds what this names beside its containers.
    pub(crate) fn add_publish(&self, publish: &Publish) {
        lock(&self.0).add_registry(&publish.reference, publish.login.as_ref());
    }

    pub(crate) fn has_secret(&self, secret: &SecretId) -> bool {
        lock(&self.0).secrets.contains(secret)
    }

    pub(crate) fn has_login(&self, server: &str) -> bool {
        lock(&self.0).logins.contains(server)
    }

    pub(crate) fn has_place(&self, host: &str, port: u16) -> bool {
        lock(&self.0).places.contains(&(host.to_owned(), port))
    }
}

impl Names {
    /// What a registry is told of who asks: by a login of the pipeline's own, or by the user's.
    fn add_registry(&mut self, reference: &str, login: Option<&Login>) {
        match login {
            Some(login) => {
                self.secrets.insert(login.password.clone());
            }
            // What is no reference is refused by the engine before anybody is asked.
            None => self.logins.extend(
                reference
                    .parse()
                    .ok()
                    .map(|reference: Reference| login_server(reference.registry())),
            ),
        }
    }
}
