//! Networks of steps: a namespace each, with a routed link to the host and address translation.
//!
//! Each step's link has addresses of its own and no shared segment, so steps do not see each other. What leaves is
//! translated to the host's address; the host's own addresses, link-local and metadata addresses are out of reach.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write,
    net::Ipv4Addr,
    os::fd::{AsRawFd, OwnedFd},
    process::{Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::error::{Context, Error, Result};

/// The host's end of every link.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
/// The first step's address; the next steps follow.
const FIRST: u32 = u32::from_be_bytes([10, 88, 0, 2]);
/// How many steps can have a network at once.
const COUNT: u32 = 60_000;

/// Rules for everything that steps send: once for the machine.
const RULES: &str = "
table inet wharf {}
flush table inet wharf
table inet wharf {
    chain forward {
        type filter hook forward priority filter - 5; policy accept;
        iifname \"wharf*\" ip daddr { 169.254.0.0/16, 127.0.0.0/8, 10.88.0.0/16 } drop
        iifname \"wharf*\" accept
        oifname \"wharf*\" ct state established,related accept
        oifname \"wharf*\" drop
    }
    chain input {
        type filter hook input priority filter - 5; policy accept;
        iifname \"wharf*\" ct state established,related accept
        iifname \"wharf*\" drop
    }
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.88.0.0/16 oifname != \"wharf*\" masquerade
    }
}
";

/// Networks of one engine.
#[derive(Debug)]
pub(crate) struct Networks {
    free: Arc<Mutex<BTreeSet<u32>>>,
    /// Set up when the first step needs it.
    ready: OnceLock<std::result::Result<(), String>>,
    /// Numbers of links differ between engines on one machine.
    offset: u32,
}

/// One step's network; its link goes with the namespace.
#[derive(Debug)]
pub(crate) struct StepNetwork {
    pub(crate) namespace: OwnedFd,
    number: u32,
    free: Arc<Mutex<BTreeSet<u32>>>,
}

impl Drop for StepNetwork {
    fn drop(&mut self) {
        self.free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(self.number);
    }
}

impl Networks {
    pub(crate) fn new() -> Self {
        // Engines on one machine take numbers from different places, so that their links rarely meet.
        let offset = (std::process::id() % 200) * 300;
        Self {
            free: Arc::new(Mutex::new((0..COUNT).collect())),
            ready: OnceLock::new(),
            offset,
        }
    }

    /// A namespace with a link that reaches out. Blocking.
    pub(crate) fn connect(&self) -> Result<StepNetwork> {
        self.ready
            .get_or_init(|| set_up().map_err(|error| error.to_string()))
            .clone()
            .map_err(Error::Network)?;
        let taken = || {
            self.free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_first()
        };
        loop {
            let number = taken().ok_or_else(|| Error::Network("too many steps have a network".to_owned()))?;
            let namespace = new_namespace()?;
            let network = StepNetwork {
                namespace,
                number,
                free: Arc::clone(&self.free),
            };
            match link((number + self.offset) % COUNT, &network.namespace) {
                // Another engine's step has the link: its number is left to it for now.
                Err(Error::Network(message)) if message.contains("File exists") => {
                    std::mem::forget(network);
                }
                outcome => return outcome.map(|()| network),
            }
        }
    }
}

/// Runs work on a thread of its own that may change its network namespace.
fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    std::thread::spawn(work)
        .join()
        .unwrap_or_else(|_| Err(Error::Network("a thread ended badly".to_owned())))
}

fn new_namespace() -> Result<OwnedFd> {
    apart(|| {
        // SAFETY: unshare changes only the namespace of this thread, which does nothing else and ends.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error()).context("making a network namespace");
        }
        File::open("/proc/thread-self/ns/net")
            .map(OwnedFd::from)
            .context("making a network namespace")
    })
}

fn link(number: u32, namespace: &OwnedFd) -> Result<()> {
    let address = Ipv4Addr::from(FIRST + number);
    let host_end = format!("wharf{number}");
    let namespace_path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    ip(&format!(
        "link add {host_end} type veth peer name eth0 netns {namespace_path}\n\
         addr add {GATEWAY}/32 dev {host_end}\n\
         link set {host_end} up\n\
         route add {address}/32 dev {host_end}\n"
    ))?;
    let inside = rustix::io::fcntl_dupfd_cloexec(namespace, 0).context("entering a network namespace")?;
    apart(move || {
        // SAFETY: setns changes only the namespace of this thread, which ends afterwards.
        if unsafe { libc::setns(inside.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(std::io::Error::last_os_error()).context("entering a network namespace");
        }
        ip(&format!(
            "link set lo up\n\
             addr add {address}/32 dev eth0\n\
             link set eth0 up\n\
             route add {GATEWAY}/32 dev eth0\n\
             route add default via {GATEWAY}\n"
        ))
    })
}

fn ip(batch: &str) -> Result<()> {
    run(Command::new("ip").args(["-batch", "-"]), batch)
}

fn set_up() -> Result<()> {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("allowing the host to forward packets")?;
    run(Command::new("nft").args(["-f", "-"]), RULES)?;
    // Beside a Docker daemon the forward chain drops what is not Docker's; it leaves this chain to others.
    let docker_user = [
        "-t",
        "filter",
        "-C",
        "DOCKER-USER",
        "-i",
        "wharf+",
        "-j",
        "ACCEPT",
    ];
    let is_there = |args: &[&str]| run(Command::new("iptables").args(args), "").is_ok();
    if is_there(&["-t", "filter", "-L", "DOCKER-USER", "-n"]) && !is_there(&docker_user) {
        for direction in ["-i", "-o"] {
            run(
                Command::new("iptables").args(["-I", "DOCKER-USER", direction, "wharf+", "-j", "ACCEPT"]),
                "",
            )?;
        }
    }
    Ok(())
}

fn run(command: &mut Command, input: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: String| Error::Network(format!("`{program}` {why}"));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("cannot be run ({error}): install iproute2, nftables")))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.as_bytes())
            .map_err(|error| failed(format!("took no input: {error}")))?;
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!(
        "failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}
