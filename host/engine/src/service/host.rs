//! Services of the client's own machine: connections are taken here, in a network of the service's own, and the client is
//! asked to make their other halves. So they work for engines that are elsewhere, too.

use std::{io, sync::Arc};

use tokio::net::TcpListener;
use wharf_graph::{Error, op::HostPort};
use wharf_proto::v1::{Notice, event};
use wharf_runner::NetworkMode;

use super::{Running, State};
use crate::{
    engine::Engine,
    forward::join,
    session::Session,
    step::{io_error, runner_error},
};

impl Engine {
    /// Takes connections until nobody needs the service any more.
    pub(super) async fn serve_host(
        self: &Arc<Self>,
        running: &Arc<Running>,
        host: &str,
        ports: &[HostPort],
    ) -> Result<(), Error> {
        let network = self.runner.network(NetworkMode::None, Vec::new()).await;
        let network = network.map_err(|error| runner_error(&error))?;
        let mut listeners = Vec::new();
        for port in ports {
            // It is healthy when the client can connect to it: asked once, so that what is not there is said at once.
            running.session.dial(host, port.host).await?;
            let (network, service) = (Arc::clone(&network), port.service);
            let listener = tokio::task::spawn_blocking(move || network.listen(service))
                .await
                .map_err(io::Error::other)
                .and_then(|listener| listener)
                .and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                })
                .map_err(io_error)?;
            listeners.push((listener, port.host));
        }
        running.state.send_replace(State::Ready(network));
        let accepting = listeners
            .iter()
            .map(|(listener, port)| Box::pin(accept(running, listener, host, *port)));
        tokio::select! {
            () = running.stop.cancelled() => Ok(()),
            (error, ..) = futures::future::select_all(accepting) => Err(io_error(error)),
        }
    }
}

/// Takes connections and has each a task of its own; returns when no more can be taken.
async fn accept(running: &Arc<Running>, listener: &TcpListener, host: &str, port: u16) -> io::Error {
    loop {
        let near = match listener.accept().await {
            Ok((near, _)) => near,
            Err(error) => return error,
        };
        let (running, host) = (Arc::clone(running), host.to_owned());
        tokio::spawn(async move {
            let connection = async {
                match running.session.dial(&host, port).await {
                    Ok(far) => join(near, far).await,
                    Err(error) => say(&running.session, &running, &error),
                }
            };
            tokio::select! {
                () = connection => {}
                () = running.stop.cancelled() => {}
            }
        });
    }
}

fn say(session: &Session, running: &Running, error: &Error) {
    let text = format!("{}: {error}", running.service.title());
    session.tell(running.service.key, event::What::Notice(Notice { text }));
}
