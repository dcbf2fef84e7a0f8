//! The proxy of filtered steps: takes their connections, whatever their destination, and makes those that are allowed anew.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use crate::{
    Gate,
    hello::{Hello, Said},
    http::{self, Refusal, Requests},
    is_off,
    policy::{Policy, Way},
};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long what a client says first may be before it is known what it speaks, in bytes.
const LONGEST: usize = 64 << 10;
/// Ports on which clients speak HTTP and TLS, and nothing else is let through.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Takes connections.
pub(crate) async fn serve(gate: Arc<Gate>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((near, from)) => {
                tokio::spawn(pass(Arc::clone(&gate), near, from.ip()));
            }
            Err(error) => {
                tracing::debug!("the proxy of steps: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Lets one connection of a step through, or cuts it.
async fn pass(gate: Arc<Gate>, mut near: TcpStream, from: IpAddr) {
    let connection = async {
        let policy = gate.policy_of(from).ok_or(Refused::Io)?;
        let _turn = policy.turns.try_acquire().map_err(|_| Refused::Io)?;
        tokio::select! {
            outcome = connect(&gate, &policy, &mut near) => {
                if let Err(Refused::Not(what)) = &outcome {
                    policy.deny(what);
                }
                outcome
            }
            () = policy.over.cancelled() => Err(Refused::Io),
        }
    };
    if connection.await.is_err() {
        // Cut, so that the client does not take it for an end.
        near.set_zero_linger().ok();
    }
}

async fn connect(gate: &Gate, policy: &Policy, near: &mut TcpStream) -> Result<(), Refused> {
    let to = rustix::net::sockopt::ip_original_dst(&*near).map_err(io::Error::from)?;
    let names = match policy.way_to(*to.ip(), to.port(), gate.is_of_steps) {
        Way::Open => None,
        Way::Named(names) => Some(names),
        Way::Closed => return Err(Refused::Not(policy.call(*to.ip(), to.port()))),
    };
    let far = tokio::time::timeout(CONNECT, TcpStream::connect(to));
    let mut far = far.await.map_err(io::Error::from)??;
    far.set_nodelay(true)?;
    near.set_nodelay(true)?;
    join(near, &mut far, to, names).await
}

/// Why a connection ended early.
enum Refused {
    /// The step may not reach this.
    Not(String),
    Io,
}

impl From<io::Error> for Refused {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

/// Carries both directions to their ends. Nothing that the client says goes on before it is known for whom it is, when that has to
/// be one of `names`.
async fn join(
    near: &mut TcpStream,
    far: &mut TcpStream,
    to: SocketAddrV4,
    names: Option<BTreeSet<String>>,
) -> Result<(), Refused> {
    let (mut near_reads, mut near_writes) = near.split();
    let (mut far_reads, mut far_writes) = far.split();
    let up = async {
        if let Some(names) = names {
            let client = Client { names, to };
            client.listen(&mut near_reads, &mut far_writes).await?;
        }
        tokio::io::copy(&mut near_reads, &mut far_writes).await?;
        far_writes.shutdown().await?;
        Ok::<_, Refused>(())
    };
    let down = async {
        tokio::io::copy(&mut far_reads, &mut near_writes).await?;
        near_writes.shutdown().await?;
        Ok::<_, Refused>(())
    };
    tokio::try_join!(up, down).map(drop)
}

/// Who is on the step's end of a connection to an address to which these names led.
struct Client {
    names: BTreeSet<String>,
    to: SocketAddrV4,
}

impl Client {
    /// Lets through what the client says as long as it has to be looked at. What comes after that may be anything.
    async fn listen(&self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<(), Refused> {
        let mut first = Vec::new();
        loop {
            if from.read_buf(&mut first).await? == 0 || first.len() > LONGEST {
                // It said too little to ask for anything, or too much.
                return if first.is_empty() {
                    Ok(())
                } else {
                    Err(self.unreadable())
                };
            }
            if is_off("egress-servers") {
                return Ok(to.write_all(&first).await?);
            }
            if Hello::starts(first[0]) {
                return self.listen_to_tls(first, from, to).await;
            }
            if self.to.port() == HTTPS {
                return Err(Refused::Not(format!("{} without TLS", self.place())));
            }
            match http::is_request(&first) {
                None => {}
                Some(true) => return self.listen_to_http(&first, from, to).await,
                Some(false) if self.to.port() == HTTP => return Err(self.unreadable()),
                Some(false) => return Ok(to.write_all(&first).await?),
            }
        }
    }

    async fn listen_to_tls(
        &self,
        first: Vec<u8>,
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), Refused> {
        let (mut hello, mut said, mut read) = (Hello::new(), first, 0);
        loop {
            let known = hello.push(&said[read..]);
            read = said.len();
            match known {
                Said::Host(host) if self.names.contains(&host) => return Ok(to.write_all(&said).await?),
                Said::Host(host) => return Err(self.other(&host)),
                Said::Nobody => {
                    return Err(Refused::Not(format!(
                        "{} by TLS that names no host (SNI)",
                        self.place()
                    )));
                }
                Said::Broken => return Err(self.unreadable()),
                Said::Part if from.read_buf(&mut said).await? == 0 => return Err(Refused::Io),
                Said::Part => {}
            }
        }
    }

    /// To its end: each request is for a host of its own.
    async fn listen_to_http(
        &self,
        first: &[u8],
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Result<(), Refused> {
        let mut requests = Requests::default();
        let mut said = first.to_vec();
        loop {
            let on = requests.push(&said, |host| self.names.contains(host));
            match on {
                Ok(on) => to.write_all(&on).await?,
                Err(Refusal::Host(host)) => return Err(self.other(&host)),
                Err(Refusal::Unreadable) => return Err(self.unreadable()),
            }
            said.clear();
            if from.read_buf(&mut said).await? == 0 {
                return Ok(());
            }
        }
    }

    fn place(&self) -> String {
        let name = self.names.first().map_or("", String::as_str);
        format!("{name}:{}", self.to.port())
    }

    /// It asks for another host than those that led here.
    fn other(&self, host: &str) -> Refused {
        // Only the characters that names have: it comes from the step and goes to a terminal.
        let host: String = host
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(*c))
            .take(253)
            .collect();
        let address: Ipv4Addr = *self.to.ip();
        Refused::Not(format!("{host}:{} at {address}", self.to.port()))
    }

    fn unreadable(&self) -> Refused {
        Refused::Not(format!(
            "{} by what is neither TLS nor a plain request of HTTP/1",
            self.place()
        ))
    }
}
