//! `cargo xtask setup`: installs what is missing, and says what it does. Where it may not, it says what is missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use wharf_testkit::paths;

use crate::shell::{self, Done};

const WASM_TARGET: &str = "wasm32-wasip2";

/// What the tests and the demo run, and the Debian package that has it.
const PROGRAMS: [(&str, &str); 29] = [
    ("curl", "curl"),
    ("kill", "procps"),
    ("setpriv", "util-linux"),
    ("time", "time"),
    ("ip", "iproute2"),
    ("newuidmap", "uidmap"),
    ("pasta", "passt"),
    ("iptables-save", "iptables"),
    ("nft", "nftables"),
    ("debootstrap", "debootstrap"),
    ("dpkg-deb", "dpkg"),
    ("docker-registry", "docker-registry"),
    ("htpasswd", "apache2-utils"),
    ("skopeo", "skopeo"),
    ("podman", "podman"),
    ("umoci", "umoci"),
    ("docker", "docker-cli"),
    ("dockerd", "docker.io"),
    ("runc", "runc"),
    ("crun", "crun"),
    ("pip3", "python3-pip"),
    ("git", "git"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("openssl", "openssl"),
    ("python3", "python3"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("bzip2", "bzip2"),
];

/// Installs what is missing.
pub(crate) fn run() -> Done {
    rust_target(WASM_TARGET)?;
    let mut missing: Vec<_> = PROGRAMS
        .iter()
        .filter(|(program, _)| paths::program(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        eprintln!("setup: everything is installed");
        return Ok(());
    }
    if !Path::new("/etc/debian_version").exists() || !paths::is_root() {
        let list = missing.join(" ");
        return Err(format!(
            "these Debian packages (or your system's) are missing: {list}; install them as root"
        )
        .into());
    }
    eprintln!("setup: installing {}", missing.join(", "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive");
        if !Path::new("/run/systemd/system").exists() {
            // Keeps packages from starting their servers: this is no machine that runs services.
            command.env("RUNLEVEL", "1");
        }
        command
    };
    shell::run(apt().arg("update"))?;
    shell::run(
        apt()
            .args(["install", "-y", "--no-install-recommends"])
            .args(&missing),
    )
}

/// Makes Rust able to compile for a target.
pub(crate) fn rust_target(target: &str) -> Done {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(paths::workspace())
        .output()?;
    let dir = String::from_utf8_lossy(&libraries.stdout).trim().to_owned();
    if fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Ok(());
    }
    if paths::program("rustup").is_none() {
        return Err(format!("Rust's target {target} is missing; install it with your toolchain").into());
    }
    shell::run(
        Command::new("rustup")
            .args(["target", "add", target])
            .current_dir(paths::workspace()),
    )
}
