//! What steps with an allow-list of hosts reach: the resolver and the proxy that stand between them and the network.
//!
//! Such a step's link ends where nothing listens but the sockets that are given here ([`Sockets`]), whatever address it calls:
//! questions for names go to the resolver, connections to the proxy, everything else goes nowhere.
//!
//! - The **resolver** ([`dns`]) answers for names of the step's list alone. A name is looked up once; where it leads is
//!   pinned for as long as the step runs.
//! - The **proxy** ([`proxy`]) lets a connection through to an address to which a name of the list led, or which is in the list
//!   itself. A client that speaks TLS or HTTP has to ask there for a name that led to that address ([`hello`], [`http`]).
//! - Who is told what was not let through says [`Gate::admit`].

mod dns;
mod hello;
mod http;
mod policy;
mod proxy;
mod resolver;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
};

use wharf_hosts::Hosts;

use policy::Policy;
use resolver::Resolver;

/// Is this guard taken away, to see that its tests then fail? Only builds that are not released know of it.
pub fn is_off(guard: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os("WHARF_TEST_WITHOUT_GUARD").is_some_and(|off| off == guard)
}

/// Where all that filtered steps send ends.
#[derive(Debug)]
pub struct Sockets {
    /// Takes connections, whatever their destination was.
    pub connections: TcpListener,
    /// Takes questions for names by datagrams.
    pub questions: UdpSocket,
    /// The same by connections.
    pub long_questions: TcpListener,
}

/// Where the steps of one engine go through. It ends with the async runtime in which it was opened.
pub struct Gate {
    resolver: Resolver,
    /// Addresses of steps: no other step may reach them.
    is_of_steps: fn(Ipv4Addr) -> bool,
    policies: Mutex<HashMap<Ipv4Addr, Arc<Policy>>>,
}

/// The admission of one step; over when it is dropped, with every connection that went through.
pub struct Pass {
    gate: Arc<Gate>,
    address: Ipv4Addr,
    policy: Arc<Policy>,
}

impl Gate {
    /// Opens it on these sockets. Names are looked up by these servers, in their order.
    ///
    /// # Errors
    /// When the sockets or the servers are none that can be used.
    pub fn open(
        sockets: Sockets,
        servers: &[IpAddr],
        is_of_steps: fn(Ipv4Addr) -> bool,
    ) -> io::Result<Arc<Self>> {
        sockets.connections.set_nonblocking(true)?;
        sockets.questions.set_nonblocking(true)?;
        sockets.long_questions.set_nonblocking(true)?;
        let gate = Arc::new(Self {
            resolver: Resolver::new(servers)?,
            is_of_steps,
            policies: Mutex::default(),
        });
        let connections = tokio::net::TcpListener::from_std(sockets.connections)?;
        let questions = tokio::net::UdpSocket::from_std(sockets.questions)?;
        let long_questions = tokio::net::TcpListener::from_std(sockets.long_questions)?;
        tokio::spawn(proxy::serve(Arc::clone(&gate), connections));
        tokio::spawn(dns::serve(Arc::clone(&gate), Arc::new(questions)));
        tokio::spawn(dns::serve_long(Arc::clone(&gate), long_questions));
        Ok(gate)
    }

    /// Lets the step with this address reach these hosts. What it tries beside is told to `tell`, each once, in words that
    /// follow on "the step may not reach".
    pub fn admit(
        self: &Arc<Self>,
        address: Ipv4Addr,
        hosts: Hosts,
        tell: impl Fn(&str) + Send + Sync + 'static,
    ) -> Pass {
        let policy = Arc::new(Policy::new(hosts, Box::new(tell)));
        self.policies().insert(address, Arc::clone(&policy));
        Pass {
            gate: Arc::clone(self),
            address,
            policy,
        }
    }

    fn policies(&self) -> std::sync::MutexGuard<'_, HashMap<Ipv4Addr, Arc<Policy>>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the step with this address may reach. Its link lets it use no other address than its own.
    fn policy_of(&self, step: IpAddr) -> Option<Arc<Policy>> {
        match step {
            IpAddr::V4(step) => self.policies().get(&step).cloned(),
            IpAddr::V6(_) => None,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.policies().remove(&self.address);
        self.policy.over.cancel();
    }
}
