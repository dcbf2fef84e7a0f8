//! Services: started when something needs them, shared by all of a run that need them, ended when nobody does.
//!
//! A service is known by its session and its key, so that however many steps of a run are bound to it there is one. Whoever
//! needs it holds a [`Lease`]; when the last is given back it goes on for a moment, as the next step of a run often wants it
//! again, and is then ended. A session's end ends it at once.

mod health;
mod host;
mod run;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use wharf_digest::Digest;
use wharf_graph::{
    Error, Node,
    op::Network,
    plan::{self, Planned, Service},
    read::{Answer, Question},
};
use wharf_runner::StepNetwork;

use crate::{
    answer::wrong_question,
    audience::Audience,
    egress::Connected,
    engine::Engine,
    log::Combined,
    session::{Session, SessionId, lock},
    step::io_error,
};

/// How long a service that nobody needs goes on, so that the next step of the run finds it.
const GRACE: Duration = Duration::from_secs(10);
/// How long a failed step's services may take to show that it was they who failed.
const AFTERMATH: Duration = Duration::from_millis(200);

type ServiceId = (SessionId, Digest);

/// The services of an engine.
#[derive(Default)]
pub(crate) struct Services {
    running: Mutex<HashMap<ServiceId, Arc<Running>>>,
    /// What those printed that have ended.
    logs: Mutex<HashMap<ServiceId, Digest>>,
}

/// How far a service is.
#[derive(Clone)]
enum State {
    Starting,
    /// It is healthy, and reached in this network.
    Ready(Arc<StepNetwork>),
    /// It has ended, and this is what became of it.
    Ended(Error),
}

/// A service that was started.
struct Running {
    id: ServiceId,
    service: Arc<Service>,
    session: Arc<Session>,
    state: watch::Sender<State>,
    /// Ends it.
    stop: CancellationToken,
    users: Mutex<Users>,
    /// What it has printed so far, once it prints.
    log: Mutex<Option<Weak<Mutex<Combined>>>>,
}

#[derive(Default)]
struct Users {
    leases: usize,
    /// It was started by name, and runs until the run ends.
    kept: bool,
    /// How often a lease was given back: tells whether anything happened since.
    returns: u64,
}

/// The need of a service: it runs as long as this is held.
pub(crate) struct Lease(Arc<Running>);

impl Services {
    /// A lease on the service, which is started when it does not run.
    fn lease(&self, engine: &Arc<Engine>, session: &Arc<Session>, service: &Arc<Service>) -> Lease {
        let id = (session.id, service.key);
        let mut all = lock(&self.running);
        if let Some(lease) = all.get(&id).and_then(Lease::on) {
            return lease;
        }
        let running = Arc::new(Running {
            id,
            service: Arc::clone(service),
            session: Arc::clone(session),
            state: watch::Sender::new(State::Starting),
            stop: CancellationToken::new(),
            users: Mutex::new(Users {
                leases: 1,
                ..Users::default()
            }),
            log: Mutex::default(),
        });
        all.insert(id, Arc::clone(&running));
        tokio::spawn(Arc::clone(engine).serve(Arc::clone(&running)));
        Lease(running)
    }

    fn find(&self, session: &Session, service: &Service) -> Option<Arc<Running>> {
        lock(&self.running).get(&(session.id, service.key)).cloned()
    }

    fn forget(&self, running: &Arc<Running>) {
        let mut all = lock(&self.running);
        if all
            .get(&running.id)
            .is_some_and(|other| Arc::ptr_eq(other, running))
        {
            all.remove(&running.id);
        }
    }

    /// Ends what only this session kept.
    pub(crate) fn session_closed(&self, session: SessionId) {
        lock(&self.logs).retain(|(of, _), _| *of != session);
        for running in lock(&self.running)
            .values()
            .filter(|running| running.id.0 == session)
        {
            let mut users = lock(&running.users);
            users.kept = false;
            if users.leases == 0 {
                running.stop.cancel();
            }
        }
    }
}

impl Lease {
    /// One more lease on a service, unless it is ending.
    fn on(running: &Arc<Running>) -> Option<Self> {
        let mut users = lock(&running.users);
        let has_ended = matches!(*running.state.borrow(), State::Ended(_));
        if running.stop.is_cancelled() || has_ended {
            return None;
        }
        users.leases += 1;
        Some(Self(Arc::clone(running)))
    }

    /// Waits until the service is healthy.
    pub(crate) async fn ready(&self) -> Result<Arc<StepNetwork>, Error> {
        let mut states = self.0.state.subscribe();
        let state = states.wait_for(|state| !matches!(state, State::Starting)).await;
        match state.as_deref() {
            Ok(State::Ready(network)) => Ok(Arc::clone(network)),
            Ok(State::Ended(error)) => Err(error.clone()),
            Ok(State::Starting) | Err(_) => Err(Error::Cancelled),
        }
    }

    /// Waits until the service ends; what became of it.
    pub(crate) async fn ended(&self) -> Error {
        let mut states = self.0.state.subscribe();
        match states
            .wait_for(|state| matches!(state, State::Ended(_)))
            .await
            .as_deref()
        {
            Ok(State::Ended(error)) => error.clone(),
            Ok(_) | Err(_) => Error::Cancelled,
        }
    }

    fn keep(&self) {
        lock(&self.0.users).kept = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let running = &self.0;
        let returns = {
            let mut users = lock(&running.users);
            users.leases -= 1;
            users.returns += 1;
            if users.leases > 0 || users.kept {
                return;
            }
            users.returns
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return running.stop.cancel();
        };
        let running = Arc::clone(running);
        runtime.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(GRACE) => {}
                () = running.session.cancelled.cancelled() => {}
                () = running.stop.cancelled() => return,
            }
            let users = lock(&running.users);
            if users.leases == 0 && !users.kept && users.returns == returns {
                running.stop.cancel();
            }
        });
    }
}

/// The services that a process is bound to, healthy, for as long as this is held.
#[derive(Default)]
pub(crate) struct Bound(Vec<BoundService>);

struct BoundService {
    names: [String; 2],
    lease: Lease,
    network: Arc<StepNetwork>,
}

impl Engine {
    /// Starts what does not run of these services, and waits until all are healthy.
    pub(crate) async fn bind(
        self: &Arc<Self>,
        session: &Arc<Session>,
        services: &plan::Bound,
    ) -> Result<Bound, Error> {
        // All of them first, so that they start beside each other.
        let leases: Vec<_> = services
            .iter()
            .map(|(alias, service)| (alias, service, self.services.lease(self, session, service)))
            .collect();
        let ready = leases.into_iter().map(async |(alias, service, lease)| {
            let network = lease.ready().await?;
            Ok(BoundService {
                names: [alias.clone(), service.hostname()],
                lease,
                network,
            })
        });
        futures::future::try_join_all(ready).await.map(Bound)
    }

    /// A lease on the service that a node is, which is started when it does not run.
    pub(crate) async fn lease_of(
        self: &Arc<Self>,
        session: &Arc<Session>,
        node: &Arc<Node>,
    ) -> Result<Lease, Error> {
        match self.plan(session, node).await? {
            Planned::Service(service) => Ok(self.services.lease(self, session, &service)),
            Planned::Failed(error) => Err(error),
            _ => Err(Error::Invalid("only a service can be connected to".to_owned())),
        }
    }

    /// Answers a question about a service.
    pub(crate) async fn answer_service(
        self: &Arc<Self>,
        session: &Arc<Session>,
        service: &Arc<Service>,
        question: &Question,
    ) -> Result<Answer, Error> {
        match question {
            Question::Hostname => Ok(Answer::Text(service.hostname())),
            Question::Ports => Ok(Answer::Ports(service.ports.clone())),
            Question::Start | Question::Sync => {
                let lease = self.services.lease(self, session, service);
                lease.ready().await?;
                if *question == Question::Start {
                    lease.keep();
                }
                Ok(Answer::Done)
            }
            Question::Ended => match self.services.find(session, service) {
                Some(running) => match Lease::on(&running) {
                    Some(lease) => Err(lease.ended().await),
                    None => Ok(Answer::Done),
                },
                None => Ok(Answer::Done),
            },
            Question::Stop => {
                if let Some(running) = self.services.find(session, service) {
                    lock(&running.users).kept = false;
                    running.stop.cancel();
                    let mut states = running.state.subscribe();
                    states
                        .wait_for(|state| matches!(state, State::Ended(_)))
                        .await
                        .ok();
                }
                Ok(Answer::Done)
            }
            Question::Logs => self.service_log(session, service).await.map(Answer::Text),
            other => Err(wrong_question("service", other)),
        }
    }

    /// What a service has printed in this run. One that has not run is started for it.
    async fn service_log(
        self: &Arc<Self>,
        session: &Arc<Session>,
        service: &Arc<Service>,
    ) -> Result<String, Error> {
        let ended = lock(&self.services.logs).get(&(session.id, service.key)).copied();
        let running = match (self.services.find(session, service), ended) {
            (None, Some(log)) => return self.blob_text(log).await,
            (Some(running), _) => Lease::on(&running),
            (None, None) => None,
        };
        let lease = running.unwrap_or_else(|| self.services.lease(self, session, service));
        lease.ready().await?;
        let log = lock(&lease.0.log).as_ref().and_then(Weak::upgrade);
        let bytes = log.map(|log| lock(&log).so_far()).transpose().map_err(io_error)?;
        Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
    }
}

impl Bound {
    /// Names for the hosts file of whoever is bound.
    pub(crate) fn hosts(&self) -> Vec<(String, IpAddr)> {
        let hosts = self.0.iter().flat_map(|service| {
            let address = IpAddr::from(service.network.address());
            service.names.iter().map(move |name| (name.clone(), address))
        });
        hosts.collect()
    }

    /// The network of a process that is bound, or may reach some hosts alone; none where any network of its mode will do. What
    /// it may not reach is told to `audience`, as of the process that is known by `key`.
    pub(crate) async fn network(
        &self,
        engine: &Engine,
        network: &Network,
        key: Digest,
        audience: &Audience,
    ) -> Result<Option<Connected>, Error> {
        if self.0.is_empty() && !matches!(network, Network::Hosts(_)) {
            return Ok(None);
        }
        let network = self.network_of_service(engine, network, key, audience).await?;
        Ok(Some(network))
    }

    /// The network of a process that others will be bound to.
    async fn network_of_service(
        &self,
        engine: &Engine,
        network: &Network,
        key: Digest,
        audience: &Audience,
    ) -> Result<Connected, Error> {
        let mut services: Vec<Arc<StepNetwork>> = Vec::new();
        for BoundService { network, .. } in &self.0 {
            // One that goes by two names has one link.
            if !services.iter().any(|linked| Arc::ptr_eq(linked, network)) {
                services.push(Arc::clone(network));
            }
        }
        engine.connect(network, services, key, audience).await
    }

    /// Waits until one of the services ends; what became of it.
    async fn ended(&self) -> Error {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let ends = self.0.iter().map(|service| Box::pin(service.lease.ended()));
        futures::future::select_all(ends).await.0
    }

    /// Does work that needs the services. It is cancelled, and fails as the service did, when one of them ends.
    pub(crate) async fn while_up<T>(
        &self,
        cancel: &CancellationToken,
        work: impl AsyncFnOnce(&CancellationToken) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.0.is_empty() {
            return work(cancel).await;
        }
        let own = cancel.child_token();
        let mut work = std::pin::pin!(work(&own));
        let mut ended = std::pin::pin!(self.ended());
        tokio::select! {
            biased;
            outcome = &mut work => match outcome {
                // What a service's death does to its client can be seen before the death is.
                Err(Error::Exec(failure)) => match tokio::time::timeout(AFTERMATH, ended).await {
                    Ok(error) => Err(error),
                    Err(_) => Err(Error::Exec(failure)),
                },
                outcome => outcome,
            },
            error = &mut ended => {
                own.cancel();
                work.await.ok();
                Err(error)
            }
        }
    }
}
