//! Connections: who is trusted, how long they may take, and what a proxy cannot reach.

use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use reqwest::{Certificate, Client, ClientBuilder, redirect};
use wharf_hosts::Hosts;

use crate::{error::innermost, resolve::Within};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a connection is kept for the next request: an engine lives long, and many clients may have come at once.
const IDLE: Duration = Duration::from_secs(5);

/// The settings make no sense.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

/// Clients that share their settings. Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY` …).
#[derive(Clone, Debug)]
pub struct Clients {
    proxied: OnDemand,
    /// For this host's own addresses, which no proxy can reach.
    direct: OnDemand,
}

/// Made when it is asked for: that the host's certificates are read takes longer than most that needs no connection.
type OnDemand =
    Arc<LazyLock<Result<Client, SettingsError>, Box<dyn FnOnce() -> Result<Client, SettingsError> + Send>>>;

impl Clients {
    /// Clients that trust the certificates of this file beside the host's own, and follow redirects as `redirects` says. An
    /// answer in which nothing comes for as long as `silence` is given up.
    ///
    /// # Errors
    /// When the file has no certificates that can be read.
    pub fn new(
        ca_bundle: Option<&Path>,
        silence: Option<Duration>,
        redirects: fn() -> redirect::Policy,
    ) -> Result<Self, SettingsError> {
        Self::within(None, ca_bundle, silence, redirects)
    }

    /// The same, for which names of these hosts lead nowhere that such names may not lead.
    ///
    /// # Errors
    /// When the file has no certificates that can be read.
    pub(crate) fn within(
        hosts: Option<&Hosts>,
        ca_bundle: Option<&Path>,
        silence: Option<Duration>,
        redirects: fn() -> redirect::Policy,
    ) -> Result<Self, SettingsError> {
        let certificates = ca_bundle.map_or(Ok(Vec::new()), certificates)?;
        let on_demand = |builder: fn() -> ClientBuilder| -> OnDemand {
            let (hosts, certificates) = (hosts.cloned(), certificates.clone());
            Arc::new(LazyLock::new(Box::new(move || {
                let mut builder = builder();
                if let Some(silence) = silence {
                    builder = builder.read_timeout(silence);
                }
                if let Some(hosts) = hosts {
                    builder = builder.dns_resolver(Within(hosts));
                }
                builder
                    .user_agent(concat!("wharf/", env!("CARGO_PKG_VERSION")))
                    .connect_timeout(CONNECT)
                    .pool_idle_timeout(IDLE)
                    .redirect(redirects())
                    .tls_certs_merge(certificates)
                    .build()
                    .map_err(|error| {
                        SettingsError(format!("no connection can be made: {}", innermost(&error)))
                    })
            })))
        };
        Ok(Self {
            proxied: on_demand(Client::builder),
            direct: on_demand(|| Client::builder().no_proxy()),
        })
    }

    /// The client for this host's own addresses, or for all others.
    ///
    /// # Errors
    /// When this host's own certificates cannot be used.
    pub fn client(&self, is_loopback: bool) -> Result<&Client, SettingsError> {
        let client = if is_loopback { &self.direct } else { &self.proxied };
        LazyLock::force(client).as_ref().map_err(Clone::clone)
    }
}

/// Is this host (a name or an address, with or without a port) the machine itself?
pub fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, SettingsError> {
    let failed = |why: String| {
        SettingsError(format!(
            "the certificates {} cannot be read: {why}",
            path.display()
        ))
    };
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let found = Certificate::from_pem_bundle(&text).map_err(|error| failed(innermost(&error)))?;
    if found.is_empty() {
        Err(failed("there is none in it".to_owned()))
    } else {
        Ok(found)
    }
}
