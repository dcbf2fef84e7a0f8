//! Networks of processes: what each is to reach, and for those that are to reach some hosts alone, the gate that they go through.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use wharf_digest::Digest;
use wharf_egress::{Gate, Pass, Sockets};
use wharf_graph::{Error, op::Network};
use wharf_proto::v1::{Notice, event};
use wharf_runner::{FilterSockets, NetworkMode, StepNetwork, is_of_steps};

use crate::{
    audience::Audience,
    engine::Engine,
    step::{io_error, runner_error},
};

/// A process's network, and what lets it through the gate for as long as this is held.
pub(crate) struct Connected {
    network: Arc<StepNetwork>,
    _pass: Option<Pass>,
}

impl Deref for Connected {
    type Target = Arc<StepNetwork>;

    fn deref(&self) -> &Arc<StepNetwork> {
        &self.network
    }
}

/// How the runner makes such a network.
pub(crate) fn network_mode(network: &Network) -> NetworkMode {
    match network {
        Network::None => NetworkMode::None,
        Network::Hosts(_) if wharf_egress::is_off("egress") => NetworkMode::Bridged,
        Network::Hosts(_) => NetworkMode::Filtered,
        Network::All => NetworkMode::Bridged,
    }
}

impl Engine {
    /// Makes a network for the process that is known by `key`, which also reaches these. What it tries beside what it may reach
    /// is told to its audience.
    pub(crate) async fn connect(
        &self,
        network: &Network,
        services: Vec<Arc<StepNetwork>>,
        key: Digest,
        audience: &Audience,
    ) -> Result<Connected, Error> {
        let mode = network_mode(network);
        let gate = match network {
            Network::Hosts(hosts) => Some((self.gate().await?, hosts.clone())),
            Network::None | Network::All => None,
        };
        let network = self.runner.network(mode, services).await;
        let network = network.map_err(|error| runner_error(&error))?;
        let pass = gate.map(|(gate, hosts)| {
            let audience = audience.clone();
            gate.admit(network.address(), hosts, move |what| {
                let text = format!("the step may not reach {what}");
                audience.tell(key, &event::What::Notice(Notice { text }));
            })
        });
        Ok(Connected { network, _pass: pass })
    }

    /// The gate, opened when the first process needs it.
    async fn gate(&self) -> Result<&Arc<Gate>, Error> {
        let open = || async {
            let sockets = self.runner.filter_sockets().await;
            let FilterSockets {
                connections,
                questions,
                long_questions,
            } = sockets.map_err(|error| runner_error(&error))?;
            let sockets = Sockets {
                connections,
                questions,
                long_questions,
            };
            Gate::open(sockets, &self.name_servers, is_of_steps).map_err(io_error)
        };
        self.gate.get_or_try_init(open).await
    }
}

/// The servers that a `resolv.conf` names.
pub(crate) fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let servers = resolv_conf
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    servers.collect()
}
