//! Services: processes that others reach while they run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wharf_digest::Digest;

use super::{
    container::ContainerPlan,
    key,
    lifecycle::{self, HealthCheck},
    tree::{Location, Step, Tree},
};
use crate::{
    error::{Error, shell_words},
    op::{ExecOptions, Expect, HostPort, Mount, ServiceOptions, Sharing},
};

/// How long a service may take until it is healthy, unless told otherwise.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How many services may stand behind each other.
const DEPTH: usize = 16;

/// A transport that ports belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port that a service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Its transport.
    pub transport: Transport,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{}/{transport}", self.number)
    }
}

impl Port {
    /// A port as images note it: `80/tcp`, or `80` alone.
    fn read(text: &str) -> Result<Self, Error> {
        let (number, transport) = text.split_once('/').unwrap_or((text, "tcp"));
        let transport = match transport.to_ascii_lowercase().as_str() {
            "tcp" => Some(Transport::Tcp),
            "udp" => Some(Transport::Udp),
            _ => None,
        };
        match (number.parse(), transport) {
            (Ok(number), Some(transport)) if number > 0 => Ok(Self { number, transport }),
            _ => Err(Error::Invalid(format!(
                "the container exposes {text}, which no service can listen on: write a port such as 80/tcp"
            ))),
        }
    }
}

/// A service, as far as the graph settles it.
#[derive(Debug)]
pub struct Service {
    /// The digest of what it is: processes that reach it have it in their keys.
    pub key: Digest,
    /// The same without its inputs' keys.
    pub op_key: Digest,
    /// What answers.
    pub provider: Provider,
    /// Where it answers.
    pub ports: Vec<Port>,
    /// Every name that it, or a service behind it, knows another service by.
    names: BTreeSet<String>,
    depth: usize,
}

/// What answers for a service.
#[derive(Debug)]
pub enum Provider {
    /// A process.
    Process {
        /// The process.
        step: Box<Step>,
        /// Tells whether it is healthy, beside its ports.
        check: Option<HealthCheck>,
        /// It has failed when it is not healthy after this long.
        start_timeout: Duration,
        /// The signal by which it is asked to end.
        stop_signal: i32,
    },
    /// The caller's own machine: where its ports lead there.
    Host {
        /// The address or name that the caller's machine knows.
        host: String,
        /// For each port of the service the caller's.
        ports: Vec<HostPort>,
        /// Whose machine it is, where clients are told apart.
        whose: Option<String>,
    },
}

impl Service {
    /// The service that a container's process is.
    pub(super) fn of_container(container: &ContainerPlan, options: &ServiceOptions) -> Result<Self, Error> {
        let exec = ExecOptions {
            expect: Expect::Any,
            // A container that is a service runs as its image says, unless told otherwise.
            use_entrypoint: options.use_entrypoint.unwrap_or(options.args.is_empty()),
            limits: options.limits,
            ..ExecOptions::default()
        };
        let step = container.step(&options.args, &exec, 0, "a service")?;
        let ports = container.config.exposed_ports.iter().map(|text| Port::read(text));
        let check = lifecycle::health_check(&container.config)?;
        let patience = check
            .as_ref()
            .map_or(START_TIMEOUT, |check| check.patience.max(START_TIMEOUT));
        let provider = Provider::Process {
            step: Box::new(step),
            check,
            start_timeout: options.start_timeout.unwrap_or(patience),
            stop_signal: lifecycle::stop_signal(&container.config)?,
        };
        Ok(Self::new(provider, ports.collect::<Result<_, _>>()?))
    }

    /// The service that the caller's machine offers.
    pub(super) fn of_host(host: &str, ports: &[HostPort], scope: Option<&str>) -> Result<Self, Error> {
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(Error::Invalid(format!(
                "{host:?} is no name or address of a host"
            )));
        }
        let Some(no_port) = ports.iter().find(|port| port.host == 0 || port.service == 0) else {
            if ports.is_empty() {
                return Err(Error::Invalid(format!(
                    "a service of the host {host} needs a port"
                )));
            }
            let provider = Provider::Host {
                host: host.to_owned(),
                ports: ports.to_vec(),
                whose: scope.map(str::to_owned),
            };
            let listening = ports.iter().map(|port| Port {
                number: port.service,
                transport: Transport::Tcp,
            });
            return Ok(Self::new(provider, listening.collect()));
        };
        Err(Error::Invalid(format!(
            "a service of the host {host} has a port that is none: {}",
            no_port.host.min(no_port.service)
        )))
    }

    fn new(provider: Provider, ports: Vec<Port>) -> Self {
        let mut names = BTreeSet::new();
        let mut depth = 1;
        if let Provider::Process { step, .. } = &provider {
            for (name, service) in &step.services {
                names.insert(name.clone());
                names.extend(service.names.iter().cloned());
                depth = depth.max(service.depth + 1);
            }
        }
        let (key, op_key) = key::service_keys(&provider, &ports);
        Self {
            key,
            op_key,
            provider,
            ports,
            names,
            depth,
        }
    }

    /// The process, when one answers.
    pub fn step(&self) -> Option<&Step> {
        match &self.provider {
            Provider::Process { step, .. } => Some(step),
            Provider::Host { .. } => None,
        }
    }

    /// A name for it that no other service has, as hosts are named.
    pub fn hostname(&self) -> String {
        format!("service-{}", &self.key.to_hex()[..12])
    }

    /// What people call it: its command, or where it is.
    pub fn title(&self) -> String {
        match &self.provider {
            Provider::Process { step, .. } => step.reason.clone().unwrap_or_else(|| shell_words(&step.args)),
            Provider::Host { host, ports, .. } => {
                let ports: Vec<_> = ports.iter().map(|port| port.host.to_string()).collect();
                format!("tcp://{host}:{}", ports.join(","))
            }
        }
    }

    /// The places whose content decides what it is, in a fixed order.
    pub fn inputs(&self) -> Vec<Location> {
        self.step().map(Step::inputs).unwrap_or_default()
    }

    /// The names through which it needs a service that it knows as `name`, nearest first.
    fn way_to(&self, name: &str) -> Vec<String> {
        let services = self.step().map(|step| &step.services);
        for (alias, service) in services.into_iter().flatten() {
            if alias == name {
                return vec![alias.clone()];
            }
            if service.names.contains(name) {
                let mut way = vec![alias.clone()];
                way.extend(service.way_to(name));
                return way;
            }
        }
        Vec::new()
    }
}

/// Services by the names under which a container knows them.
pub type Bound = BTreeMap<String, Arc<Service>>;

/// Lets a container know a service by a name.
pub(super) fn bind(bound: &mut Bound, alias: &str, service: Arc<Service>) -> Result<(), Error> {
    check_alias(alias)?;
    if service.names.contains(alias) {
        let way = service.way_to(alias).join(", which needs ");
        return Err(Error::Invalid(format!(
            "services cannot depend on each other: {alias} needs {way}; give one of them another name"
        )));
    }
    if service.depth > DEPTH {
        return Err(Error::Invalid(format!(
            "more than {DEPTH} services stand behind {alias}, each needed by the one before"
        )));
    }
    bound.insert(alias.to_owned(), service);
    Ok(())
}

/// A name as hosts have them: it stands in a hosts file.
fn check_alias(alias: &str) -> Result<(), Error> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if alias.len() > 253 || !alias.split('.').all(is_label) {
        return Err(Error::Invalid(format!(
            "{alias:?} cannot be the name of a service: write letters, digits and dashes, such as db"
        )));
    }
    if alias.parse::<std::net::Ipv4Addr>().is_ok() || alias.eq_ignore_ascii_case("localhost") {
        return Err(Error::Invalid(format!(
            "{alias} cannot be the name of a service: it means something else"
        )));
    }
    Ok(())
}

/// Refuses a process that runs together with services, or whose services run together, when one of them has a cache volume
/// for itself (`locked`) that another mounts: services hold their volumes for as long as they run, so these would wait for each
/// other for ever.
pub(super) fn check_volumes(step: &Step) -> Result<(), Error> {
    struct User<'s> {
        name: String,
        process: &'s Step,
        is_alone: bool,
    }
    let mut users: BTreeMap<_, User<'_>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut all = vec![(format!("`{}`", shell_words(&step.args)), step)];
    while let Some((name, process)) = all.pop() {
        for mount in process.mounts.values() {
            let Mount::Cache(volume) = mount else { continue };
            if volume.sharing == Sharing::Private {
                continue;
            }
            let is_alone = volume.sharing == Sharing::Locked;
            let user = users
                .entry((&volume.scope, &volume.name))
                .or_insert_with(|| User {
                    name: name.clone(),
                    process,
                    is_alone,
                });
            // What one process mounts twice it takes once.
            if !std::ptr::eq(user.process, process) && (is_alone || user.is_alone) {
                return Err(Error::Invalid(format!(
                    "the cache volume {} is mounted by {} and by {name}, which run at the same time, and one of them has it \
                     for itself (locked): they would wait for each other for ever; give them different volumes, or do not \
                     lock this one",
                    volume.name, user.name
                )));
            }
            user.is_alone |= is_alone;
        }
        for (alias, service) in &process.services {
            if let Some(process) = service.step().filter(|_| seen.insert(service.key)) {
                all.push((format!("the service {alias}"), process));
            }
        }
    }
    Ok(())
}

/// Moves the trees that services hold into `orphans`, as far as nobody else holds them.
pub(super) fn take_trees(services: Bound, orphans: &mut Vec<Arc<Tree>>) {
    for service in services.into_values().filter_map(Arc::into_inner) {
        if let Provider::Process { step, .. } = service.provider {
            step.take_trees(orphans);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Port, Transport, check_alias};

    #[test]
    fn ports_are_read_as_images_note_them() {
        let port = |number, transport| Some(Port { number, transport });
        for (text, expected) in [
            ("80", port(80, Transport::Tcp)),
            ("80/tcp", port(80, Transport::Tcp)),
            ("53/udp", port(53, Transport::Udp)),
            ("0/tcp", None),
            ("80/sctp", None),
            ("http", None),
        ] {
            assert_eq!(Port::read(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn names_of_services_are_names_of_hosts() {
        for good in ["db", "my-db", "db.test", "a_b"] {
            check_alias(good).unwrap();
        }
        for bad in ["", "a b", "-a", "a..b", "localhost", "10.0.0.1", "a\n1.1.1.1 b"] {
            check_alias(bad).unwrap_err();
        }
    }
}
