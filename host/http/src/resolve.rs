//! Where names lead that an allow-list names: whoever owns a name decides it, and must not decide that we ask ourselves.

use std::{io, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use wharf_hosts::Hosts;

/// The addresses to which a host of the list may lead, with this port. The host is a name, or an address as in a URL.
///
/// # Errors
/// When nobody knows the name, or it leads where it may not.
pub async fn addresses_within(hosts: &Hosts, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = tokio::net::lookup_host((bare, port)).await?.collect();
    let first = found.first().copied();
    let allowed: Vec<_> = found
        .into_iter()
        .filter(|address| hosts.may_lead_to(address.ip()))
        .collect();
    match first {
        Some(first) if allowed.is_empty() => Err(io::Error::other(format!(
            "{host} leads to {}, which has to be in the list of hosts, too",
            first.ip()
        ))),
        _ => Ok(allowed),
    }
}

/// Looks up names of a list so, and others, which are those of proxies, as they are.
pub(crate) struct Within(pub(crate) Hosts);

impl Resolve for Within {
    fn resolve(&self, name: Name) -> Resolving {
        let hosts = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = if hosts.has_name(&host.trim_end_matches('.').to_ascii_lowercase()) {
                addresses_within(&hosts, host, 0).await?
            } else {
                tokio::net::lookup_host((host, 0)).await?.collect()
            };
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
