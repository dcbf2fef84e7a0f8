//! What one step may reach, where the names that it asked for lead, and what it was told about.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, UdpSocket},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use wharf_hosts::{Hosts, Reach};

use crate::{
    is_off,
    resolver::{Failure, Resolver},
};

/// How many names one step may ask for: each is held as long as it runs.
const NAMES: usize = 10_000;
/// How many connections and questions one step may have under way.
const AT_ONCE: usize = 1024;
/// How many things the step may not reach are told: a step may try many.
const TOLD: usize = 50;

type Leads = Arc<OnceCell<Vec<Ipv4Addr>>>;

/// What one step may reach.
pub(crate) struct Policy {
    hosts: Hosts,
    /// The names that were asked for, and where each leads for good.
    names: Mutex<HashMap<String, Leads>>,
    told: Mutex<HashSet<String>>,
    tell: Box<dyn Fn(&str) + Send + Sync>,
    /// The step is gone.
    pub(crate) over: CancellationToken,
    pub(crate) turns: Arc<Semaphore>,
}

/// How a connection to an address may go on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The address itself is allowed.
    Open,
    /// One of these names led there: a client that names a host has to name one of them.
    Named(BTreeSet<String>),
    /// Not at all.
    Closed,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Is this an address of the machine's own? The kernel would send from it what is sent to it. Nothing is sent.
fn is_of_machine(address: Ipv4Addr) -> bool {
    let from = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

impl Policy {
    pub(crate) fn new(hosts: Hosts, tell: Box<dyn Fn(&str) + Send + Sync>) -> Self {
        Self {
            hosts,
            names: Mutex::default(),
            told: Mutex::default(),
            tell,
            over: CancellationToken::new(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Tells that the step may not reach something, once.
    pub(crate) fn deny(&self, what: &str) {
        let mut told = lock(&self.told);
        if told.len() < TOLD && told.insert(what.to_owned()) {
            drop(told);
            (self.tell)(&format!("{what} (its network is {})", self.hosts));
        }
    }

    /// Where a name leads, which is in lower case and without a dot at its end. Looked up once, and only when it is in the list.
    pub(crate) async fn resolve(&self, name: &str, resolver: &Resolver) -> Result<Vec<Ipv4Addr>, Failure> {
        if !self.hosts.has_name(name) && !is_off("egress-names") {
            self.deny(name);
            return Err(Failure::NoSuchName);
        }
        let cell = {
            let mut names = lock(&self.names);
            if names.len() >= NAMES && !names.contains_key(name) {
                return Err(Failure::NoAnswer);
            }
            Arc::clone(names.entry(name.to_owned()).or_default())
        };
        let leads = cell.get_or_try_init(|| resolver.look_up(name)).await?;
        let (allowed, refused): (Vec<_>, Vec<_>) = leads
            .iter()
            .copied()
            .partition(|address| self.may_lead_to(*address));
        if let (true, Some(address)) = (allowed.is_empty(), refused.first()) {
            let whose = match Reach::of(IpAddr::V4(*address)) {
                Reach::Private => "a private address that has to be in the list, too",
                _ => "where no name may lead",
            };
            self.deny(&format!("{name}, which is at {address}, {whose}"));
        }
        Ok(allowed)
    }

    fn may_lead_to(&self, address: Ipv4Addr) -> bool {
        self.hosts.may_lead_to(address.into()) || is_off("egress-addresses")
    }

    /// Which way a connection to that port of an address may go.
    pub(crate) fn way_to(&self, address: Ipv4Addr, port: u16, is_of_steps: fn(Ipv4Addr) -> bool) -> Way {
        let is_closed =
            Reach::of(address.into()) == Reach::Never || is_of_steps(address) || is_of_machine(address);
        if is_off("egress-connections") {
            return Way::Open;
        }
        if is_closed {
            return Way::Closed;
        }
        if self.hosts.allows_address(address.into(), port) {
            return Way::Open;
        }
        let names: BTreeSet<_> = self
            .names_at(address)
            .into_iter()
            .filter(|name| self.hosts.allows_name(name, port))
            .collect();
        if names.is_empty() || !self.may_lead_to(address) {
            Way::Closed
        } else {
            Way::Named(names)
        }
    }

    /// The names that led to an address.
    pub(crate) fn names_at(&self, address: Ipv4Addr) -> BTreeSet<String> {
        let leads_there = |leads: &Leads| leads.get().is_some_and(|leads| leads.contains(&address));
        lock(&self.names)
            .iter()
            .filter(|(_, leads)| leads_there(leads))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// How people call a port of an address: by the name that led there, where one did.
    pub(crate) fn call(&self, address: Ipv4Addr, port: u16) -> String {
        match self.names_at(address).first() {
            Some(name) => format!("{name}:{port}"),
            None => format!("{address}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use wharf_hosts::Hosts;

    use super::{Policy, Way, is_of_machine, lock};

    fn policy(hosts: &[&str], names: &[(&str, [u8; 4])]) -> Policy {
        let policy = Policy::new(Hosts::parse(hosts).unwrap(), Box::new(|_| {}));
        for (name, address) in names {
            let cell = tokio::sync::OnceCell::new_with(Some(vec![Ipv4Addr::from(*address)]));
            lock(&policy.names).insert((*name).to_owned(), cell.into());
        }
        policy
    }

    #[test]
    fn a_connection_goes_where_a_name_of_the_list_led() {
        let policy = policy(
            &["a.example:443", "198.51.100.7", "*.b.example", "10.1.2.3"],
            &[
                ("a.example", [192, 0, 2, 1]),
                ("x.b.example", [192, 0, 2, 1]),
                ("y.b.example", [10, 1, 2, 4]),
                ("z.b.example", [10, 1, 2, 3]),
            ],
        );
        let way =
            |address: [u8; 4], port| policy.way_to(address.into(), port, |address| address.octets()[1] == 88);
        let named = |names: &[&str]| Way::Named(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(way([192, 0, 2, 1], 443), named(&["a.example", "x.b.example"]));
        assert_eq!(way([192, 0, 2, 1], 80), named(&["x.b.example"]));
        assert_eq!(way([192, 0, 2, 2], 443), Way::Closed);
        assert_eq!(way([198, 51, 100, 7], 1), Way::Open);
        assert_eq!(way([10, 1, 2, 4], 443), Way::Closed);
        assert_eq!(way([10, 1, 2, 3], 443), Way::Open);
        assert_eq!(way([127, 0, 0, 1], 443), Way::Closed);
        assert_eq!(way([10, 88, 0, 1], 443), Way::Closed);
    }

    #[test]
    fn the_machines_own_addresses_are_known() {
        assert!(is_of_machine(Ipv4Addr::LOCALHOST));
        assert!(!is_of_machine(Ipv4Addr::new(192, 0, 2, 77)));
    }
}
