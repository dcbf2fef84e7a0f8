//! An engine in a Docker to which no directory of this host can be mounted: behind a port with TLS, behind ssh, by a context.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use wharf_e2e::guests;
use wharf_testkit::{
    World,
    git::SshServer,
    world::{Done, Engine},
};

/// A world on the run's Docker daemon, which it reaches by another way; what it leaves there is removed at the end.
struct Elsewhere {
    world: World,
    name: String,
}

impl Elsewhere {
    fn new() -> Self {
        let world = World::on(Engine::Docker).expect("a Docker daemon");
        let directory = world.path("wharf/run/docker");
        let name =
            wharf_digest::Digest::of(directory.as_os_str().as_encoded_bytes()).to_hex()[..12].to_owned();
        Self { world, name }
    }

    fn docker(&self, args: &[&str]) -> String {
        let output = self.world.daemon().expect("a daemon").run(args).expect("docker");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn container(&self) -> String {
        format!("wharf-engine-{}", self.name)
    }

    /// The path of the socket at which the daemon really listens.
    fn socket(&self) -> String {
        let host = self.world.daemon().expect("a daemon").host();
        host.strip_prefix("unix://")
            .expect("a daemon of this host")
            .to_owned()
    }

    fn greet(&self, how: &str) -> Done {
        let module = guests::by_hand(&self.world.path("work"));
        let mut command = self.world.command(["call", "--progress", how, "-m"]);
        command
            .arg(module)
            .args(["greeting", "--image", "busybox:latest"]);
        Done::of(command)
    }

    /// A pipeline runs there, files go and come, and nothing of this host is mounted.
    fn holds(&self) {
        assert_eq!(self.greet("plain").ok(), "hello from wat");
        let binds = "{{range .HostConfig.Binds}}{{println .}}{{end}}";
        let binds = self.docker(&["inspect", "--format", binds, &self.container()]);
        assert_eq!(binds, format!("wharf-store-{}:/var/lib/wharf", self.name));
        // Found again, and it remembers.
        self.greet("plain").exits(0).says("1 remembered, 0 run");
        let content: String = (0..300_000).map(|at| format!("{at}\n")).collect();
        self.world.write("files/large.txt", &content);
        let module = guests::sdk(&self.world);
        let mut read = self.world.command(["call", "-q", "-m"]);
        read.arg(module)
            .args(["read", "--source", "files", "--path", "large.txt"]);
        assert_eq!(Done::of(read).ok(), content.trim_end());
        assert!(
            self.world
                .wharf(["engine", "status"])
                .ok()
                .contains("/var/lib/wharf")
        );
        assert!(self.world.wharf(["engine", "logs"]).ok().contains("listens on"));
        self.world.wharf(["doctor", "--engine", "docker"]).exits(0);
        // What carried the connections has ended with them.
        let processes = self.docker(&["top", &self.container(), "-eo", "pid,args"]);
        assert!(!processes.contains("engine connect"), "{processes}");
        assert_eq!(self.world.wharf(["engine", "stop"]).ok(), "the engine has ended");
        assert_eq!(
            self.docker(&["ps", "-q", "--filter", &format!("name={}", self.container())]),
            ""
        );
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let Ok(daemon) = self.world.daemon().ok_or(()) else {
            return;
        };
        let volume = format!("wharf-store-{}", self.name);
        let _ = daemon.run(["rm", "--force", &self.container()]);
        let _ = daemon.run(["volume", "rm", "--force", &volume]);
    }
}

/// Passes TLS connections on to the daemon's socket, as the daemon itself does when it listens on a port.
struct Port {
    process: Child,
    port: u16,
}

/// Asks for a certificate of the authority, too.
const PASS_ON: &str = r#"
import asyncio, ssl, sys
directory, socket = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_verify_locations(directory + "/ca.pem")
context.load_cert_chain(directory + "/server.pem", directory + "/server-key.pem")
context.verify_mode = ssl.CERT_REQUIRED

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except (OSError, ssl.SSLError):
        pass
    finally:
        try:
            writer.write_eof() if writer.can_write_eof() else writer.close()
        except OSError:
            pass

async def serve(reader, writer):
    inner_reader, inner_writer = await asyncio.open_unix_connection(socket)
    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
    inner_writer.close()
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"#;

impl Port {
    fn open(directory: &Path, socket: &str) -> Self {
        let mut process = Command::new("python3")
            .args(["-c", PASS_ON])
            .arg(directory)
            .arg(socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("its output"))
            .read_line(&mut line)
            .expect("a port");
        Self {
            port: line.trim().parse().expect("a port"),
            process,
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Certificates as Docker names them: an authority, the daemon's and the client's, in a directory.
fn certificates(directory: &Path) {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };
    fs::create_dir_all(directory).expect("a directory");
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::new()).expect("an authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority");
    write(
        "ca.pem",
        &authority.self_signed(&key).expect("a certificate").pem(),
    );
    let issuer = Issuer::new(authority, key);
    for (name, key_name, purpose) in [
        (
            "server.pem",
            "server-key.pem",
            ExtendedKeyUsagePurpose::ServerAuth,
        ),
        ("cert.pem", "key.pem", ExtendedKeyUsagePurpose::ClientAuth),
    ] {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("names");
        params.extended_key_usages = vec![purpose];
        params.distinguished_name.push(DnType::CommonName, name);
        write(
            name,
            &params.signed_by(&key, &issuer).expect("a certificate").pem(),
        );
        write(key_name, &key.serialize_pem());
    }
}

#[test]
fn an_engine_behind_a_port_with_tls_by_a_context() {
    let mut elsewhere = Elsewhere::new();
    let directory = elsewhere.world.path("home/.docker");
    certificates(&elsewhere.world.path("certificates"));
    let port = Port::open(&elsewhere.world.path("certificates"), &elsewhere.socket());
    // As `docker context create box --docker host=tcp://…,ca=…,cert=…,key=…` writes it.
    let address = format!("tcp://127.0.0.1:{}", port.port);
    let at = |name: &str| {
        elsewhere
            .world
            .path("certificates")
            .join(name)
            .display()
            .to_string()
    };
    let docker = format!(
        "host={address},ca={},cert={},key={}",
        at("ca.pem"),
        at("cert.pem"),
        at("key.pem")
    );
    let made = Command::new("docker")
        .args(["context", "create", "box", "--docker", &docker])
        .env("DOCKER_CONFIG", &directory)
        .env_remove("DOCKER_HOST")
        .env_remove("DOCKER_CONTEXT")
        .output()
        .expect("docker");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    elsewhere.world.set("DOCKER_HOST", "");
    elsewhere.world.set("DOCKER_CONTEXT", "box");
    elsewhere.holds();

    // The certificate of another authority is refused by name.
    certificates(&elsewhere.world.path("others"));
    elsewhere.world.set("DOCKER_HOST", &address);
    elsewhere.world.set("DOCKER_TLS_VERIFY", "1");
    elsewhere
        .world
        .set("DOCKER_CERT_PATH", elsewhere.world.path("others"));
    elsewhere
        .greet("plain")
        .exits(4)
        .says(&format!("the Docker at {address} (DOCKER_HOST) does not answer"))
        .says("certificate");
    elsewhere
        .world
        .set("DOCKER_CERT_PATH", elsewhere.world.path("nowhere"));
    elsewhere
        .greet("plain")
        .exits(4)
        .says("there is no")
        .says("ca.pem");
    elsewhere.world.set("DOCKER_HOST", "");
    elsewhere.world.set("DOCKER_CONTEXT", "gone");
    elsewhere
        .greet("plain")
        .exits(4)
        .says("the Docker context gone")
        .says("docker context ls");
}

#[test]
fn an_engine_behind_ssh() {
    let mut elsewhere = Elsewhere::new();
    // At the other end it is the command `docker` that finds the daemon.
    let host = format!("SetEnv DOCKER_HOST=unix://{}\n", elsewhere.socket());
    let server = SshServer::start_with(&host).expect("an ssh server");
    let key = elsewhere.world.write("key", server.key().expect("a key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("a key");
    let known = elsewhere
        .world
        .write("known", server.known_hosts().expect("its key"));
    // This user's own ssh settings are in the home of the system's user, which a test leaves alone.
    let ssh = format!(
        "#!/bin/sh\nexec /usr/bin/ssh -F /dev/null -i {} -o UserKnownHostsFile={} \"$@\"\n",
        key.display(),
        known.display()
    );
    let program = elsewhere.world.write("bin/ssh", ssh);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    let path = format!(
        "{}:{}",
        elsewhere.world.path("work/bin").display(),
        std::env::var("PATH").unwrap_or_default()
    );
    elsewhere.world.set("PATH", path);
    elsewhere.world.set("DOCKER_HOST", server.host());
    elsewhere.holds();

    // Whom the server does not know, ssh refuses, and is heard.
    elsewhere.world.write("key", server.other_key().expect("a key"));
    elsewhere
        .greet("plain")
        .exits(4)
        .says(&format!(
            "the Docker at {} (DOCKER_HOST) does not answer",
            server.host()
        ))
        .says("Permission denied");
}
