//! A network of a test's own, one hop from the host, as the internet is for an engine: a server of names, and servers that answer
//! by HTTP, with TLS and without, on addresses of their own. They note what reaches them.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType, rdata::A},
};
use rustix::net::{AddressFamily, RecvFlags, SocketType, ipproto, recv, socket};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The last byte of the address of the server of names.
const NAMES: u8 = 2;
/// The first of those of other servers.
const SERVERS: std::ops::RangeInclusive<u8> = 10..=14;
/// A port on which the server speaks first, and says this.
pub const GREETING: (u16, &str) = (2222, "SSH-2.0-here\r\n");

/// What reached the servers.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Names that the server of names was asked for, in lower case and without a dot at the end.
    pub names: Vec<String>,
    /// Requests: the address and port of the server, the host that was asked for, and the path.
    pub requests: Vec<(SocketAddr, String, String)>,
    /// Places to which a connection was made.
    pub connections: Vec<SocketAddr>,
    /// Places at which a datagram arrived, other than the server of names.
    pub datagrams: Vec<SocketAddr>,
    /// Addresses that were asked for an echo.
    pub pings: Vec<Ipv4Addr>,
}

/// The network; gone when it is dropped.
pub struct Internet {
    namespace: String,
    third: u8,
    second: u8,
    seen: Arc<Mutex<Seen>>,
    zone: Arc<Mutex<HashMap<String, Vec<Ipv4Addr>>>>,
    /// Of all its servers, as PEM.
    pub certificate: String,
    directory: tempfile::TempDir,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let status = Command::new(words.next().unwrap_or_default())
        .args(words)
        .status();
    assert!(status.is_ok_and(|status| status.success()), "{line}");
}

impl Internet {
    /// A network whose TLS servers have a certificate for these names.
    pub fn start(certified: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = std::process::id().wrapping_mul(3) + NEXT.fetch_add(1, Ordering::Relaxed);
        let names: Vec<String> = certified.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let internet = Self {
            namespace: format!("far{number}"),
            third: (number % 250) as u8,
            second: 18 + (number / 250 % 2) as u8,
            seen: Arc::default(),
            zone: Arc::default(),
            certificate: made.cert.pem(),
            directory: tempfile::tempdir().expect("a directory"),
        };
        internet.lay();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a server's settings");
        internet.serve(Arc::new(config));
        std::fs::write(
            internet.resolv_conf(),
            format!("nameserver {}\n", internet.address(NAMES)),
        )
        .expect("a resolv.conf");
        internet
    }

    /// The link between the host and the network, and the network's addresses.
    fn lay(&self) {
        let (name, link) = (&self.namespace, format!("f{}", self.namespace));
        run(&format!("ip netns add {name}"));
        run(&format!(
            "ip link add {link} type veth peer name eth0 netns {name}"
        ));
        run(&format!("ip addr add {}/24 dev {link}", self.address(1)));
        run(&format!("ip addr add {}/24 dev {link}", self.private(1)));
        run(&format!("ip link set {link} up"));
        for last in std::iter::once(NAMES).chain(SERVERS) {
            run(&format!(
                "ip -n {name} addr add {}/24 dev eth0",
                self.address(last)
            ));
        }
        run(&format!("ip -n {name} addr add {}/24 dev eth0", self.private(10)));
        run(&format!("ip -n {name} link set eth0 up"));
        run(&format!("ip -n {name} link set lo up"));
    }

    /// One of its public addresses: 1 is the host's, 10 to 14 are servers'.
    pub fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(198, self.second, self.third, last)
    }

    /// One of its private addresses: 1 is the host's, 10 a server's.
    pub fn private(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 100 + self.second, self.third, last)
    }

    /// From now on this name leads to these addresses: to one after the other, a question each.
    pub fn name(&self, name: &str, addresses: &[Ipv4Addr]) {
        lock(&self.zone).insert(name.to_owned(), addresses.to_vec());
    }

    /// A file that names its server of names.
    pub fn resolv_conf(&self) -> PathBuf {
        self.directory.path().join("resolv.conf")
    }

    /// What has reached its servers.
    pub fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }

    /// Runs `work` in the network, in a thread of its own; returns when it says that it is ready.
    fn inside(&self, work: impl FnOnce(mpsc::Sender<()>) + Send + 'static) {
        let namespace = File::open(format!("/run/netns/{}", self.namespace)).expect("the namespace");
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            let kind = rustix::thread::LinkNameSpaceType::Network;
            rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind)).expect("a namespace");
            work(ready);
        });
        is_ready.recv().expect("a server");
    }

    fn serve(&self, tls: Arc<ServerConfig>) {
        for port in [80, 443, 8080, GREETING.0] {
            let (seen, tls) = (Arc::clone(&self.seen), Arc::clone(&tls));
            self.inside(move |ready| {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a port");
                ready.send(()).expect("a test");
                for stream in listener.incoming().map_while(Result::ok) {
                    let (seen, tls) = (Arc::clone(&seen), Arc::clone(&tls));
                    thread::spawn(move || talk(stream, &seen, (port == 443).then_some(tls)).ok());
                }
            });
        }
        for (last, port) in SERVERS.flat_map(|last| [(last, 53), (last, 443)]) {
            let (seen, place) = (
                Arc::clone(&self.seen),
                SocketAddr::from((self.address(last), port)),
            );
            self.inside(move |ready| {
                let socket = UdpSocket::bind(place).expect("a port");
                ready.send(()).expect("a test");
                while socket.recv(&mut [0; 2048]).is_ok() {
                    lock(&seen).datagrams.push(place);
                }
            });
        }
        let seen = Arc::clone(&self.seen);
        self.inside(move |ready| {
            let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).expect("a raw socket");
            ready.send(()).expect("a test");
            let mut packet = [0; 2048];
            while let Ok((length, _)) = recv(&socket, &mut packet[..], RecvFlags::empty()) {
                lock(&seen).pings.extend(asked_for_echo(&packet[..length]));
            }
        });
        let place = (self.address(NAMES), 53);
        let (seen, zone) = (Arc::clone(&self.seen), Arc::clone(&self.zone));
        self.inside(move |ready| {
            let socket = UdpSocket::bind(place).expect("a port");
            ready.send(()).expect("a test");
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Some(answer) = answer(&buffer[..length], &seen, &zone) {
                    socket.send_to(&answer, from).ok();
                }
            }
        });
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        Command::new("ip")
            .args(["netns", "del", &self.namespace])
            .status()
            .ok();
        // Threads still hold the namespace; its link is what others see of it.
        let link = format!("f{}", self.namespace);
        Command::new("ip")
            .args(["link", "del", &link])
            .stderr(std::process::Stdio::null())
            .status()
            .ok();
    }
}

/// Where a packet of ICMP asks for an echo.
fn asked_for_echo(packet: &[u8]) -> Option<Ipv4Addr> {
    let header = usize::from(packet.first()? & 15) * 4;
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    (*packet.get(header)? == 8).then(|| Ipv4Addr::from(to))
}

/// What the server of names says.
fn answer(
    question: &[u8],
    seen: &Mutex<Seen>,
    zone: &Mutex<HashMap<String, Vec<Ipv4Addr>>>,
) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    let query = question.queries.first()?.clone();
    let name = query.name().to_lowercase().to_ascii();
    let name = name.trim_end_matches('.').to_owned();
    lock(seen).names.push(name.clone());
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    match lock(zone).get_mut(&name) {
        None => answer.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) if query.query_type() == RecordType::A => {
            let address = addresses[0];
            addresses.rotate_left(1);
            answer.add_answer(Record::from_rdata(query.name().clone(), 0, RData::A(A(address))));
        }
        Some(_) => {}
    }
    answer.to_vec().ok()
}

/// Answers one connection.
fn talk(stream: TcpStream, seen: &Mutex<Seen>, tls: Option<Arc<ServerConfig>>) -> std::io::Result<()> {
    let place = stream.local_addr()?;
    lock(seen).connections.push(place);
    if place.port() == GREETING.0 {
        let mut stream = stream;
        stream.write_all(GREETING.1.as_bytes())?;
        return std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ());
    }
    match tls {
        None => answer_requests(BufReader::new(stream), place, seen),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
            answer_requests(BufReader::new(StreamOwned::new(connection, stream)), place, seen)
        }
    }
}

/// Says to each request which host it was for, or leads it to where its path says.
fn answer_requests<S: Read + Write>(
    mut stream: BufReader<S>,
    place: SocketAddr,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    loop {
        let (mut path, mut host) = (None, String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end();
            match (&path, line.split_once(": ")) {
                (None, _) => path = line.split(' ').nth(1).map(str::to_owned),
                (Some(_), Some((name, value))) if name.eq_ignore_ascii_case("host") => {
                    host = value.to_owned()
                }
                (Some(_), None) if line.is_empty() => break,
                _ => {}
            }
        }
        let path = path.unwrap_or_default();
        lock(seen).requests.push((place, host.clone(), path.clone()));
        let head = match path.strip_prefix("/to/") {
            Some(to) => format!("302 Found\r\nLocation: {to}"),
            None => "200 OK".to_owned(),
        };
        let body = format!("this is {host}");
        let length = body.len();
        write!(
            stream.get_mut(),
            "HTTP/1.1 {head}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        stream.get_mut().flush()?;
    }
}
