//! The rules of a network that is there for steps alone, in networks of the test's own: a step's, the engine's and the world.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream},
    os::fd::AsFd,
    process::Command,
    thread::{self, JoinHandle},
};

use rustix::{
    net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 2);
/// The engine's address there, behind which the step's is.
const ENGINE: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const PORT: u16 = 80;
/// Bits of the flags of TCP.
const RESET: u8 = 0x04;

/// A namespace with a name.
struct Network(String);

impl Network {
    fn new(name: &str) -> Self {
        let network = Self(format!("{name}{}", std::process::id()));
        ip(&format!("netns add {network}"));
        network
    }

    /// Works in it, on a thread of its own.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{self}")).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        Command::new("ip").args(["netns", "del", &self.0]).status().ok();
    }
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().unwrap();
    assert!(status.success(), "ip {line}");
}

/// A packet of TCP without any flag, as pasta tells of its window.
fn without_flags(from: SocketAddrV4, to: SocketAddrV4) -> Vec<u8> {
    let mut packet = [from.port(), to.port()].map(u16::to_be_bytes).concat();
    packet.extend([0; 8]);
    // Five words of four bytes, no flags, a window.
    packet.extend([5 << 4, 0, 0x20, 0, 0, 0, 0, 0]);
    let mut summed = [from.ip().octets(), to.ip().octets()].concat();
    summed.extend([0, libc::IPPROTO_TCP as u8, 0, packet.len() as u8]);
    summed.extend(&packet);
    let words = summed
        .chunks(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[16..18].copy_from_slice(&checksum.to_be_bytes());
    packet
}

/// Answers one client, tells of a window in between, and says whether anything refused that.
fn serve(listener: &TcpListener) -> bool {
    let wire = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::TCP)).unwrap();
    let (mut connection, from) = listener.accept().unwrap();
    let SocketAddr::V4(from) = from else {
        panic!("{from} is of no step")
    };
    assert_eq!(*from.ip(), ENGINE);
    let mut asked = [0; 3];
    connection.read_exact(&mut asked).unwrap();
    let packet = without_flags(SocketAddrV4::new(SERVER, PORT), from);
    sendto(&wire, &packet, SendFlags::empty(), &from).unwrap();
    connection.write_all(b"answer").unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    // What the step's end was sent and sent before it closed has come through by then.
    connection.read_to_end(&mut Vec::new()).unwrap();
    let mut packet = [0; 2048];
    let mut was_refused = false;
    while let Ok((_, length)) = recv(&wire, &mut packet[..], RecvFlags::DONTWAIT) {
        let header = usize::from(packet[0] & 15) * 4;
        was_refused |= length > header + 13 && packet[header + 13] & RESET != 0;
    }
    was_refused
}

#[test]
fn a_packet_of_no_connection_ends_none() {
    let (step, engine, world) = (
        Network::new("step"),
        Network::new("engine"),
        Network::new("world"),
    );
    for line in [
        format!("-n {engine} link add {PREFIX}0 type veth peer name eth0 netns {step}"),
        format!("-n {engine} link add up0 type veth peer name eth0 netns {world}"),
        format!("-n {engine} addr add 10.88.0.1/16 dev {PREFIX}0"),
        format!("-n {engine} addr add {ENGINE}/24 dev up0"),
        format!("-n {step} addr add 10.88.0.2/16 dev eth0"),
        format!("-n {world} addr add {SERVER}/24 dev eth0"),
        format!("-n {engine} link set {PREFIX}0 up"),
        format!("-n {engine} link set up0 up"),
        format!("-n {step} link set eth0 up"),
        format!("-n {world} link set eth0 up"),
        format!("-n {step} route add default via 10.88.0.1"),
    ] {
        ip(&line);
    }
    let ruled = engine.run(|| {
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        install(&[10, 88], &[], Place::Own { closed: &[] }).unwrap();
    });
    ruled.join().unwrap();
    let listening = world.run(|| TcpListener::bind((SERVER, PORT)).unwrap());
    let listener = listening.join().unwrap();
    let serving = world.run(move || serve(&listener));
    let asking = step.run(|| {
        let mut connection = TcpStream::connect((SERVER, PORT)).unwrap();
        connection.write_all(b"ask").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    });
    assert_eq!(asking.join().unwrap(), "answer");
    assert!(!serving.join().unwrap(), "the engine's kernel refused it");
}
