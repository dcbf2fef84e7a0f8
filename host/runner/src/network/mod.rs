//! Networks of steps: a namespace each, with a routed link to the host and address translation.
//!
//! Each step's link has addresses of its own and no shared segment, so steps do not see each other. What leaves is
//! translated to the host's address; the host's own addresses, link-local and metadata addresses are out of reach.
//!
//! A step that may reach a service has a second link, to that service's network alone ([`Networks::join`]): packets between
//! them pass neither the host nor its filter, and no other step has a way to the service.
//!
//! Where the engine is no root of the machine, the links end in a namespace of the engine's instead of on the host, and a program
//! of the user's brings what leaves there to the world ([`uplink`]).
//!
//! The link of a step whose network is filtered does not end on the host but in a namespace of the engine's, which has no way
//! out ([`filter`]): what the step sends reaches the engine's own sockets there or nobody.

mod filter;
mod join;
mod link;
mod netlink;
mod rules;
mod uplink;

use std::{
    collections::VecDeque,
    io,
    net::Ipv4Addr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use netlink::Socket;
use uplink::Uplink;
use wharf_userns::owns_network;

pub use filter::FilterSockets;
pub use join::Listening;
pub(crate) use uplink::try_uplink;

use crate::{
    error::{Error, Result},
    runner::NetworkMode,
};

/// The first two bytes of every step's address.
const POOL: [u8; 2] = [10, 88];
/// The host's end of every link.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(POOL[0], POOL[1], 0, 1);
/// The first step's address; the next steps follow.
const FIRST: u32 = u32::from_be_bytes([POOL[0], POOL[1], 0, 2]);
/// How many steps can have a network at once.
const COUNT: u32 = 60_000;

type Numbers = Arc<Mutex<VecDeque<u32>>>;

/// Networks of one engine.
#[derive(Debug)]
pub(crate) struct Networks {
    /// Those that were used longest ago come first: the kernel takes a while to remove an old link.
    free: Numbers,
    resolvers: Vec<Ipv4Addr>,
    /// What the engine has for networks while it runs.
    state: PathBuf,
    /// Set up when the first step needs it, and tried again by the next when that fails.
    host: Mutex<Option<Arc<Host>>>,
    /// Set up when the first step needs it: where the links of filtered steps end.
    filter: OnceLock<std::result::Result<filter::Filter, String>>,
}

/// Where links end that reach out.
#[derive(Debug)]
struct Host {
    /// A socket in that namespace: the machine's own, or one with a way out.
    socket: Mutex<Socket>,
    uplink: Option<Uplink>,
}

/// One step's network; its links go with the namespace.
#[derive(Debug)]
pub struct StepNetwork {
    pub(crate) namespace: OwnedFd,
    number: u32,
    free: Numbers,
}

impl StepNetwork {
    /// Its address, which the services that it joins, and the steps that join it, reach it by.
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from(FIRST + self.number)
    }
}

impl Drop for StepNetwork {
    fn drop(&mut self) {
        give_back(&self.free, self.number);
    }
}

fn give_back(free: &Numbers, number: u32) {
    free.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push_back(number);
}

impl Networks {
    /// `resolv_conf` names the servers that steps may ask even where they are the host itself; `state` is a directory of the
    /// runner's own.
    pub(crate) fn new(resolv_conf: &str, state: &Path) -> Self {
        // Engines on one machine begin at different places, so that their links rarely meet.
        let mut numbers: VecDeque<u32> = (0..COUNT).collect();
        numbers.rotate_left((std::process::id() % 200) as usize * 300);
        let resolvers = resolv_conf
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok())
            .collect();
        Self {
            free: Arc::new(Mutex::new(numbers)),
            resolvers,
            state: state.to_owned(),
            host: Mutex::default(),
            filter: OnceLock::new(),
        }
    }

    /// What a step of this mode gets; none where every container has what it needs.
    pub(crate) async fn of_mode(self: &Arc<Self>, mode: NetworkMode) -> Result<Option<Arc<StepNetwork>>> {
        match mode {
            NetworkMode::None => Ok(None),
            NetworkMode::Bridged | NetworkMode::Filtered => {
                self.with_services(mode, Vec::new()).await.map(Some)
            }
        }
    }

    /// A network of this mode that also reaches, and is reached by, each of these.
    pub(crate) async fn with_services(
        self: &Arc<Self>,
        mode: NetworkMode,
        services: Vec<Arc<StepNetwork>>,
    ) -> Result<Arc<StepNetwork>> {
        let networks = Arc::clone(self);
        let made = tokio::task::spawn_blocking(move || {
            let network = match mode {
                NetworkMode::None => networks.apart(),
                NetworkMode::Bridged => networks.connect(&networks.host()?.socket),
                NetworkMode::Filtered => networks.connect(networks.filter()?.host()),
            }?;
            Self::join(&network, &services)?;
            Ok(Arc::new(network))
        });
        made.await.map_err(|error| Error::Network(error.to_string()))?
    }

    /// Where links end that reach out. Blocking.
    fn host(&self) -> Result<Arc<Host>> {
        let mut held = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        let host = match &*held {
            Some(host) => Arc::clone(host),
            None => Arc::clone(held.insert(Arc::new(self.set_up_host()?))),
        };
        drop(held);
        if let Some(uplink) = &host.uplink {
            uplink.keep_up()?;
        }
        Ok(host)
    }

    fn set_up_host(&self) -> Result<Host> {
        if owns_network() {
            let socket = set_up(&self.resolvers).map_err(|error| Error::Network(error.to_string()))?;
            return Ok(Host {
                socket: Mutex::new(socket),
                uplink: None,
            });
        }
        let (uplink, socket) = Uplink::open(&self.state, &self.resolvers)?;
        Ok(Host {
            socket: Mutex::new(socket),
            uplink: Some(uplink),
        })
    }

    /// Where links of filtered steps end. Blocking.
    fn filter(&self) -> Result<&filter::Filter> {
        let set_up = || filter::Filter::new().map_err(|error| error.to_string());
        let filter = self.filter.get_or_init(set_up).as_ref();
        filter.map_err(|error| Error::Network(error.clone()))
    }

    /// Opens the sockets that take what filtered steps send; once.
    pub(crate) async fn filter_sockets(self: &Arc<Self>) -> Result<FilterSockets> {
        let networks = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || networks.filter()?.open());
        opened.await.map_err(|error| Error::Network(error.to_string()))?
    }

    /// A namespace with a link to the one that the socket is in. Blocking.
    fn connect(&self, host: &Mutex<Socket>) -> Result<StepNetwork> {
        join::in_thread(|| self.link(host))
    }

    fn link(&self, host: &Mutex<Socket>) -> io::Result<StepNetwork> {
        let namespace = link::enter_new_namespace()?;
        for _ in 0..COUNT {
            let number = self
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some(number) = number else { break };
            let address = Ipv4Addr::from(FIRST + number);
            let name = format!("{}{number}", rules::PREFIX);
            let host = host.lock().unwrap_or_else(PoisonError::into_inner);
            match link::connect(&host, &namespace, &name, address, GATEWAY) {
                Ok(()) => {
                    return Ok(StepNetwork {
                        namespace,
                        number,
                        free: Arc::clone(&self.free),
                    });
                }
                Err(error) => {
                    give_back(&self.free, number);
                    // Another engine's step has this link: the next one, then.
                    if error.kind() != io::ErrorKind::AlreadyExists {
                        return Err(error);
                    }
                }
            }
        }
        Err(io::Error::other("too many steps have a network"))
    }
}

/// Is this an address of steps, or of the host's end of their links?
pub fn is_of_steps(address: Ipv4Addr) -> bool {
    address.octets()[..2] == POOL
}

/// What a filtered step's `/etc/resolv.conf` holds: whichever server it asks, it is answered by the engine.
pub(crate) fn filtered_resolv_conf() -> String {
    format!("nameserver {GATEWAY}\n")
}

/// Sets the packet filter's rules in the network namespace that this thread is in.
pub(crate) fn try_rules() -> io::Result<()> {
    rules::install(&POOL, &[], rules::Place::Host)
}

/// What is done once for the machine.
fn set_up(resolvers: &[Ipv4Addr]) -> io::Result<Socket> {
    let said = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| io::Error::other(format!("{what}: {error}"))
    };
    let forwarding = "/proc/sys/net/ipv4/ip_forward";
    if std::fs::read_to_string(forwarding).is_ok_and(|now| now.trim() != "1") {
        std::fs::write(forwarding, "1").map_err(said("allowing the host to forward packets"))?;
    }
    rules::install(&POOL, resolvers, rules::Place::Host)
        .map_err(said("setting the packet filter's rules"))?;
    accept_beside_docker();
    Socket::open(libc::NETLINK_ROUTE)
}

/// Beside a Docker daemon the forward chain drops what is not Docker's; it leaves one chain to others. Where the daemon is,
/// its own program for it is.
fn accept_beside_docker() {
    let iptables = |args: &[&str]| {
        let output = Command::new("iptables")
            .args(["-w", "-t", "filter"])
            .args(args)
            .output();
        output.is_ok_and(|output| output.status.success())
    };
    if !iptables(&["-n", "-L", "DOCKER-USER"]) {
        return;
    }
    let links = format!("{}+", rules::PREFIX);
    for direction in ["-i", "-o"] {
        let rule = ["DOCKER-USER", direction, &links, "-j", "ACCEPT"];
        if !iptables(&[&["-C"], &rule[..]].concat()) && !iptables(&[&["-I"], &rule[..]].concat()) {
            tracing::warn!("steps may have no network: Docker's chain DOCKER-USER takes no rule for them");
        }
    }
}
