//! The way out where the engine is no root of the machine.
//!
//! Such an engine may not add links to the machine's own network. The links of its steps end in a namespace of its own, and a
//! program of the user's connects that one to the world: pasta (of passt), or slirp4netns. It takes what arrives on an interface
//! in the namespace and does the same with sockets of its own on the machine. So what a step reaches is what the user reaches,
//! and the machine itself as well; the rules of the packet filter in the namespace close the machine's own addresses
//! ([`rules::install`]), and the programs are told to open none of its loopback.

use std::{
    fs::File,
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    POOL,
    join::in_thread,
    link::{self, LOOPBACK, link_header},
    netlink::{ACKNOWLEDGE, Messages, Socket},
    rules,
};
use crate::error::{Context, Error, Result};

/// What the interface is called; links of steps are called otherwise.
const INTERFACE: &str = "uplink0";
/// The addresses of the namespace and of the program behind it: of the steps' range, and behind the last step.
const NETWORK: [u8; 3] = [POOL[0], POOL[1], 255];
/// What has to be there for either program.
const TUNNEL: &str = "/dev/net/tun";
/// How long a program may take to bring the interface up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The programs, the better one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Pasta,
    Slirp,
}

/// A namespace with a way out.
#[derive(Debug)]
pub(super) struct Uplink {
    namespace: OwnedFd,
    /// Where programs find the namespace.
    place: PathBuf,
    state: PathBuf,
    resolvers: Vec<Ipv4Addr>,
    now: Mutex<Now>,
}

/// What can change.
#[derive(Debug)]
struct Now {
    program: Program,
    /// The machine's own addresses, as they were when the rules were set.
    closed: Vec<Ipv4Addr>,
}

/// The program; ended when this is dropped.
#[derive(Debug)]
struct Program {
    kind: Kind,
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Uplink {
    /// Makes it, with a socket in it by which links are made. `state` is a directory of the runner's own. Blocking.
    pub(super) fn open(state: &Path, resolvers: &[Ipv4Addr]) -> Result<(Self, Socket)> {
        // Before anything is made: it is the usual thing to be missing.
        let kinds = Kind::installed()?;
        let directory = directory(state)?;
        let place = directory.join("wharf-uplink");
        File::create(&place).context(&place.display().to_string())?;
        let closed = own_addresses().context("the machine's addresses")?;
        let (namespace, socket) = in_thread(|| {
            let namespace = link::enter_new_namespace()?;
            let socket = Socket::open(libc::NETLINK_ROUTE)?;
            let mut loopback = Messages::default();
            loopback.add(
                libc::RTM_NEWLINK,
                ACKNOWLEDGE,
                &link_header(LOOPBACK, true),
                |_| {},
            );
            socket.apply(&loopback)?;
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            rules::install(&POOL, resolvers, rules::Place::Own { closed: &closed })?;
            rustix::mount::mount_bind("/proc/thread-self/ns/net", &place)?;
            Ok((namespace, socket))
        })?;
        let program = Program::start_any(&kinds, &namespace, &place, state)?;
        let now = Mutex::new(Now { program, closed });
        let uplink = Self {
            namespace,
            place,
            state: state.to_owned(),
            resolvers: resolvers.to_vec(),
            now,
        };
        Ok((uplink, socket))
    }

    /// Sees that the program still runs, and closes addresses that the machine was given since. Blocking.
    pub(super) fn keep_up(&self) -> Result<()> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = own_addresses().context("the machine's addresses")?;
        if closed != now.closed {
            in_thread(|| {
                enter(&self.namespace)?;
                rules::install(&POOL, &self.resolvers, rules::Place::Own { closed: &closed })
            })?;
            now.closed = closed;
        }
        if let Ok(Some(status)) = now.program.child.try_wait() {
            tracing::warn!(
                "{} has ended ({status}) and is started again",
                now.program.kind.name()
            );
            let kinds = Kind::installed()?;
            now.program = Program::start_any(&kinds, &self.namespace, &self.place, &self.state)?;
        }
        Ok(())
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.place, rustix::mount::UnmountFlags::DETACH).ok();
        std::fs::remove_file(&self.place).ok();
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp => "slirp4netns",
        }
    }

    /// Those that are there.
    fn installed() -> Result<Vec<Self>> {
        let all = [Self::Pasta, Self::Slirp];
        let found: Vec<_> = all.into_iter().filter(|kind| kind.path().is_some()).collect();
        if found.is_empty() {
            return Err(Error::Network(
                "an engine that is not root needs pasta or slirp4netns to connect steps, and neither is installed: `apt-get \
                 install passt`, or your system's package"
                    .to_owned(),
            ));
        }
        let tunnel = rustix::fs::open(
            TUNNEL,
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        );
        tunnel.map(|_| found).map_err(|error| {
            let next = if error == rustix::io::Errno::NOENT {
                "sudo modprobe tun"
            } else {
                "sudo chmod 666 /dev/net/tun"
            };
            let error = io::Error::from(error);
            Error::Network(format!(
                "an engine that is not root connects steps by way of {TUNNEL}, which it cannot open: {error} (next: {next})"
            ))
        })
    }

    fn path(self) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .map(|directory| directory.join(self.name()))
            .find(|program| program.is_file())
    }

    fn args(self) -> Vec<String> {
        let [a, b, c] = NETWORK;
        let text = match self {
            Self::Pasta => format!(
                "--foreground --quiet --config-net --ipv4-only --netns-only --no-map-gw --tcp-ports none --udp-ports none \
                 --tcp-ns none --udp-ns none --address {a}.{b}.{c}.2 --netmask 255.255.255.0 --gateway {a}.{b}.{c}.1 \
                 --ns-ifname {INTERFACE} --netns"
            ),
            Self::Slirp => format!(
                "--configure --mtu=65520 --disable-host-loopback --disable-dns --enable-sandbox --cidr={a}.{b}.{c}.0/24 \
                 --netns-type=path"
            ),
        };
        text.split_whitespace().map(str::to_owned).collect()
    }
}

impl Program {
    /// Starts the first that works.
    fn start_any(kinds: &[Kind], namespace: &OwnedFd, place: &Path, state: &Path) -> Result<Self> {
        let mut said = Vec::new();
        for kind in kinds {
            match Self::start(*kind, namespace, place, state) {
                Ok(program) => return Ok(program),
                Err(error) => said.push(format!("{} does not connect them: {error}", kind.name())),
            }
        }
        Err(Error::Network(format!(
            "an engine that is not root needs a program to connect steps, and {}",
            said.join("; ")
        )))
    }

    /// Starts it and waits until there is a way out.
    fn start(kind: Kind, namespace: &OwnedFd, place: &Path, state: &Path) -> io::Result<Self> {
        let log = state.join(format!("{}.log", kind.name()));
        let output = File::create(&log)?;
        let program = kind.path().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(kind.args()).arg(place);
        if kind == Kind::Slirp {
            command.arg(INTERFACE);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let mut program = Self { kind, child };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if has_way_out(namespace)? {
                return Ok(program);
            }
            if let Some(status) = program.child.try_wait()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let last: Vec<_> = said.lines().rev().take(3).collect();
                let last = last.into_iter().rev().collect::<Vec<_>>().join("; ");
                return Err(io::Error::other(format!("{last} ({status})")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(io::Error::other(format!(
            "no interface came up within {} s",
            PATIENCE.as_secs()
        )))
    }
}

/// Where programs find the namespace, in memory and seen by this engine's processes alone: among the user's own, where the
/// profiles of systems with AppArmor let pasta look, or else in the runner's directory.
fn directory(state: &Path) -> Result<PathBuf> {
    let user = wharf_userns::outer_user().unwrap_or_default();
    let usual = PathBuf::from(format!("/run/user/{user}/netns"));
    if std::fs::create_dir_all(&usual).is_ok() {
        let flags = rustix::mount::MountFlags::NOSUID | rustix::mount::MountFlags::NODEV;
        if rustix::mount::mount("tmpfs", &usual, "tmpfs", flags, c"mode=700,size=64k").is_ok() {
            return Ok(usual);
        }
    }
    let own = state.join("uplink");
    std::fs::create_dir_all(&own).context(&own.display().to_string())?;
    Ok(own)
}

/// Is there a route to elsewhere in the namespace?
fn has_way_out(namespace: &OwnedFd) -> io::Result<bool> {
    let asked = in_thread(|| {
        enter(namespace)?;
        let mut route = Messages::default();
        let mut header = [0; 12];
        header[0] = libc::AF_INET as u8;
        header[1] = 32;
        route.add(libc::RTM_GETROUTE, ACKNOWLEDGE, &header, |attributes| {
            // An address of the world; nothing is sent to it.
            attributes.bytes(libc::RTA_DST, &[192, 0, 2, 1]);
        });
        Ok(Socket::open(libc::NETLINK_ROUTE)?.ask(&route).is_ok())
    });
    asked.map_err(io::Error::other)
}

fn enter(namespace: &OwnedFd) -> io::Result<()> {
    let kind = rustix::thread::LinkNameSpaceType::Network;
    Ok(rustix::thread::move_into_link_name_space(
        namespace.as_fd(),
        Some(kind),
    )?)
}

/// The addresses of the machine's own interfaces, in order.
fn own_addresses() -> io::Result<Vec<Ipv4Addr>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the kernel's answer is put where `list` points; it is freed below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = list;
    // SAFETY: the list is valid until it is freed, and ends with a null pointer; an address is of the kind that its family says.
    unsafe {
        while let Some(interface) = next.as_ref() {
            if let Some(address) = interface.ifa_addr.as_ref()
                && i32::from(address.sa_family) == libc::AF_INET
            {
                let address = interface.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned();
                found.push(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)));
            }
            next = interface.ifa_next;
        }
        libc::freeifaddrs(list);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Makes a way out and takes it away again; says by which program. `beside` is a directory that can be written to.
pub(crate) fn try_uplink(beside: &Path) -> Result<&'static str> {
    let state = beside.join(format!(".probe-uplink-{}", std::process::id()));
    std::fs::create_dir_all(&state).context(&state.display().to_string())?;
    let opened = Uplink::open(&state, &[]);
    let name = opened.map(|(uplink, _)| {
        let now = uplink.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.program.kind.name()
    });
    std::fs::remove_dir_all(&state).ok();
    name
}
