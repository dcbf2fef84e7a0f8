//! Looking up where a name leads.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::Name,
};

/// Looks names up by the servers that other steps ask.
pub(crate) struct Resolver(TokioResolver);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Nobody has that name.
    NoSuchName,
    /// The servers did not answer.
    NoAnswer,
}

impl Resolver {
    pub(crate) fn new(servers: &[IpAddr]) -> io::Result<Self> {
        let servers = servers
            .iter()
            .map(|server| NameServerConfig::udp_and_tcp(*server));
        let config = ResolverConfig::from_name_servers(servers.collect());
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4Only;
        // What steps see is what the servers say; what is remembered of it, is remembered for a step.
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        builder.build().map(Self).map_err(io::Error::other)
    }

    /// The addresses of a name.
    pub(crate) async fn look_up(&self, name: &str) -> Result<Vec<Ipv4Addr>, Failure> {
        let mut absolute = Name::from_ascii(name).map_err(|_| Failure::NoSuchName)?;
        // As it stands, below no domain that is searched.
        absolute.set_fqdn(true);
        match self.0.ipv4_lookup(absolute).await {
            Ok(found) => {
                let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
                let addresses = addresses.filter_map(|address| match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                });
                Ok(addresses.collect())
            }
            Err(error) if error.is_nx_domain() => Err(Failure::NoSuchName),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => {
                tracing::debug!("{name} was not looked up: {error}");
                Err(Failure::NoAnswer)
            }
        }
    }
}
