//! What steps can reach.

use std::{
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
};

use wharf_runner::{Exit, NetworkMode};

use crate::{
    with_both,
    world::{Wanted, World, sh},
};

with_both!(
    b11_no_network_is_loopback_only,
    b11_names_resolve_and_outbound_works,
    b11_two_steps_listen_on_one_port,
    the_hosts_own_addresses_are_out_of_reach,
    links_are_gone_with_their_steps,
    a_filtered_network_ends_at_the_sockets_of_the_filter,
);

fn bridged(script: &str) -> Wanted {
    Wanted {
        network: NetworkMode::Bridged,
        ..sh(script)
    }
}

async fn b11_no_network_is_loopback_only(world: World) {
    // The listener's own input stays open: at its end it would stop talking, and the other one might go before it has spoken.
    let script = "ls /sys/class/net; mkfifo /tmp/open; nc -l -p 80 < /tmp/open > /tmp/heard & exec 3> /tmp/open; until echo hi | nc 127.0.0.1 80 2> /dev/null; do sleep 0.05; done; wait; cat /tmp/heard";
    assert_eq!(world.output(sh(script)).await, "lo\nhi");
    assert_ne!(
        world.run(sh("nc -w 1 192.0.2.1 80 < /dev/null")).await.step.exit,
        Exit::Code(0)
    );
}

/// A peer on the far side of address translation: a namespace of its own, one hop from the host's.
struct Peer {
    name: String,
    address: String,
}

impl Peer {
    fn new() -> Self {
        let number = std::process::id() % 200 + 20;
        let peer = Self {
            name: format!("peer{}", std::process::id()),
            address: format!("10.99.{number}.2"),
        };
        let link = format!("far{}", std::process::id());
        for command in [
            format!("ip netns add {}", peer.name),
            format!("ip link add {link} type veth peer name eth0 netns {}", peer.name),
            format!("ip addr add 10.99.{number}.1/24 dev {link}"),
            format!("ip link set {link} up"),
            format!("ip -n {} addr add {}/24 dev eth0", peer.name, peer.address),
            format!("ip -n {} link set eth0 up", peer.name),
            format!("ip -n {} link set lo up", peer.name),
        ] {
            let mut words = command.split(' ');
            let status = std::process::Command::new(words.next().unwrap())
                .args(words)
                .status()
                .unwrap();
            assert!(status.success(), "{command}");
        }
        peer
    }

    /// Answers two connections; where the last came from, as the peer sees it.
    fn listen(&self) -> std::thread::JoinHandle<String> {
        let namespace = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            rustix::thread::move_into_link_name_space(
                std::os::fd::AsFd::as_fd(&namespace),
                Some(rustix::thread::LinkNameSpaceType::Network),
            )
            .unwrap();
            let listener = TcpListener::bind("0.0.0.0:7777").unwrap();
            ready.send(()).unwrap();
            let mut seen = String::new();
            for _ in 0..2 {
                let (mut connection, from) = listener.accept().unwrap();
                seen = from.ip().to_string();
                connection.write_all(b"answer\n").unwrap();
                connection.shutdown(std::net::Shutdown::Write).unwrap();
                connection.read_to_end(&mut Vec::new()).unwrap();
            }
            seen
        });
        is_ready.recv().unwrap();
        thread
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        std::process::Command::new("ip")
            .args(["netns", "del", &self.name])
            .status()
            .ok();
    }
}

async fn b11_names_resolve_and_outbound_works(world: World) {
    let peer = Peer::new();
    let listening = peer.listen();
    let script = format!(
        "nc {} 7777 < /dev/null; nc far 7777 < /dev/null; cat /etc/resolv.conf",
        peer.address
    );
    let mut wanted = bridged(&script);
    wanted.hosts = vec![("far".to_owned(), peer.address.parse().unwrap())];
    let outcome = world.run(wanted).await;
    let seen = listening.join().unwrap();
    assert!(outcome.stdout.starts_with("answer\nanswer\n"), "{outcome:?}");
    assert!(
        !seen.starts_with("10.88."),
        "the step's own address is seen outside: {seen}"
    );
    let resolvers = std::fs::read_to_string("/etc/resolv.conf").unwrap();
    assert!(outcome.stdout.ends_with(&resolvers), "{outcome:?}");
}

async fn b11_two_steps_listen_on_one_port(world: World) {
    // The listener answers whoever connects and neither side has input, so no end of input cuts the answer short.
    let script = "nc -l -p 8080 -e echo mine & until nc 127.0.0.1 8080 < /dev/null 2> /dev/null; do sleep 0.05; done; wait";
    let (one, two) = tokio::join!(world.run(bridged(script)), world.run(bridged(script)));
    assert_eq!((one.step.exit, two.step.exit), (Exit::Code(0), Exit::Code(0)));
    assert_eq!((one.stdout.as_str(), two.stdout.as_str()), ("mine\n", "mine\n"));
}

/// The address by which this machine reaches others.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").unwrap();
    socket.local_addr().unwrap().ip().to_string()
}

async fn the_hosts_own_addresses_are_out_of_reach(world: World) {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for address in [own_address().as_str(), "10.88.0.1", "169.254.169.254"] {
        let outcome = world
            .run(bridged(&format!(
                "nc -w 1 {address} {port} < /dev/null && echo reached"
            )))
            .await;
        assert!(!outcome.stdout.contains("reached"), "{address}: {outcome:?}");
    }
    listener.set_nonblocking(true).unwrap();
    assert_eq!(
        listener.accept().unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
}

async fn a_filtered_network_ends_at_the_sockets_of_the_filter(world: World) {
    let sockets = world.runner.filter_sockets().await.unwrap();
    let taking = std::thread::spawn(move || {
        let (mut connection, from) = sockets.connections.accept().unwrap();
        let to = rustix::net::sockopt::ip_original_dst(&connection).unwrap();
        connection.write_all(b"taken\n").unwrap();
        // Its other end waits for the end of this one.
        drop(connection);
        let (_, asks) = sockets.questions.recv_from(&mut [0; 512]).unwrap();
        (from.ip(), to.to_string(), asks.ip())
    });
    let script = "nc 192.0.2.1 4444 < /dev/null; timeout 1 nslookup name.example 192.0.2.53 > /dev/null 2>&1; \
                  ip -4 addr show eth0 | grep -o '10.88.[0-9.]*' | head -1; cat /etc/resolv.conf; ls /sys/class/net";
    let outcome = world
        .run(Wanted {
            network: NetworkMode::Filtered,
            ..sh(script)
        })
        .await;
    let (from, to, asks) = taking.join().unwrap();
    assert_eq!(
        outcome.stdout,
        format!("taken\n{from}\nnameserver 10.88.0.1\neth0\nlo\n"),
        "{outcome:?}"
    );
    assert_eq!((to.as_str(), asks), ("192.0.2.1:4444", from));
}

async fn links_are_gone_with_their_steps(world: World) {
    let address = world
        .output(bridged(
            "ip -4 addr show eth0 | grep -o '10.88.[0-9.]*' | head -1",
        ))
        .await;
    assert!(address.starts_with("10.88."), "{address}");
    for _ in 0..500 {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap();
        let octets: Vec<u8> = address.split('.').map(|octet| octet.parse().unwrap()).collect();
        let hex = octets
            .iter()
            .rev()
            .fold(String::new(), |hex, octet| hex + &format!("{octet:02X}"));
        if !routes.contains(&hex) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("there is still a route to {address}");
}
