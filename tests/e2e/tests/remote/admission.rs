//! Who is let in, and who is told what when he is not.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wharf_client::{Address, ConnectError, Connection, Remote};
use wharf_testkit::{HttpServer, http::Reply};

use crate::Server;

/// Why there is no connection with these certificates.
async fn refusal(address: &Address, certificates: &Path) -> String {
    let opened = match Remote::new(address, certificates) {
        Ok(remote) => Connection::open_remote(&remote).await,
        Err(error) => Err(error),
    };
    match opened.expect_err("it is refused") {
        ConnectError::Remote { why, next, .. } => format!("{why}\n{next}"),
        other => panic!("{other}"),
    }
}

fn at(host: &str, port: u16) -> Address {
    Address {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn who_speaks_no_tls_is_told_what_is_spoken() {
    let server = Server::start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.address.port)).expect("something listens");
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .expect("it is taken");
    let mut said = String::new();
    stream.read_to_string(&mut said).expect("an answer");
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    assert!(said.contains("TLS connections only"), "{said}");
    server.says("does not speak TLS");
}

#[test]
fn who_shows_no_certificate_is_not_let_in() {
    let server = Server::start();
    let mut authorities = RootCertStore::empty();
    let pem = std::fs::read(server.world.path("certs/ca.pem")).expect("a file");
    let certificate = rustls::pki_types::pem::PemObject::from_pem_slice(&pem).expect("a certificate");
    authorities.add(certificate).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(("127.0.0.1", server.address.port)).expect("something listens");
    let mut stream = StreamOwned::new(client, stream);
    let error = stream.read(&mut [0; 1]).expect_err("nothing is said to it");
    assert!(error.to_string().contains("CertificateRequired"), "{error}");
    server.says("it showed no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_certificate_of_another_authority_is_not_let_in() {
    let server = Server::start();
    let other = server.world.path("other").display().to_string();
    server
        .world
        .wharf(["engine", "certs", &other, "--client", "ann"])
        .ok();
    let strangers = server.world.path("other/clients/ann");
    let said = refusal(&server.address, &strangers).await;
    assert!(
        said.contains("the engine's certificate is of another authority"),
        "{said}"
    );
    // Who trusts the engine and is of another authority is told so by the engine.
    std::fs::copy(server.world.path("certs/ca.pem"), strangers.join("ca.pem")).expect("a copy");
    let said = refusal(&server.address, &strangers).await;
    assert!(
        said.contains("takes certificates of another authority") && said.contains("client.pem"),
        "{said}"
    );
    server.says("its certificate is of another authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_is_said_to_have() {
    let server = Server::start();
    let authority = std::fs::read_to_string(server.world.path("certs/ca.pem")).expect("a file");
    let key = std::fs::read_to_string(server.world.path("certs/ca-key.pem")).expect("a file");
    let key = rcgen::KeyPair::from_pem(&key).expect("a key");
    let authority = rcgen::Issuer::from_ca_cert_pem(&authority, key).expect("an authority");
    let mut params = rcgen::CertificateParams::default();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let now = time::OffsetDateTime::now_utc();
    params.not_before = now - time::Duration::days(2);
    params.not_after = now - time::Duration::days(1);
    let own = rcgen::KeyPair::generate().expect("a key");
    let old = params.signed_by(&own, &authority).expect("a certificate");
    let ann = server.certificates("ann");
    std::fs::write(ann.join("client.pem"), old.pem()).expect("a file");
    std::fs::write(ann.join("client-key.pem"), own.serialize_pem()).expect("a file");
    let said = refusal(&server.address, &ann).await;
    assert!(
        said.contains("has expired") && said.contains("client.pem"),
        "{said}"
    );
    server.says("its certificate has expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_by_another_name_is_not_spoken_to() {
    let server = Server::with(&["localhost"], &[]);
    let said = refusal(&server.address, &server.certificates("ann")).await;
    assert!(said.contains("is for localhost, not for 127.0.0.1"), "{said}");
    assert!(said.contains("wharf engine certs --host"), "{said}");
    let by_name = at("localhost", server.address.port);
    let remote = Remote::new(&by_name, &server.certificates("ann")).expect("a certificate");
    Connection::open_remote(&remote).await.expect("by its name it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_engine_is_told_apart() {
    let server = Server::start();
    let ann = server.certificates("ann");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("its address").port();
    drop(free);
    let said = refusal(&at("127.0.0.1", port), &ann).await;
    assert!(
        said.contains("nothing listens there") && said.contains("wharf engine serve --listen"),
        "{said}"
    );
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let said = refusal(
        &at("127.0.0.1", silent.local_addr().expect("its address").port()),
        &ann,
    )
    .await;
    assert!(said.contains("did not answer within"), "{said}");
    let web = HttpServer::start(|_| Reply::whole("a web page")).expect("a server");
    let port = web
        .url("")
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a number");
    let said = refusal(&at("127.0.0.1", port), &ann).await;
    assert!(
        said.contains("does not speak TLS") || said.contains("broke before the engine had answered"),
        "{said}"
    );
    let said = refusal(&server.address, &server.world.path("nowhere")).await;
    assert!(said.contains("client.pem") || said.contains("ca.pem"), "{said}");
    assert!(said.contains("--engine-certs"), "{said}");
}

#[test]
fn administration_is_for_the_engines_own_machine() {
    let server = Server::start();
    for args in [
        &["engine", "stop"][..],
        &["cache", "usage"],
        &["cache", "prune", "--all"],
        &["cache", "verify"],
    ] {
        let done = server.wharf("ann", args);
        assert_ne!(done.code, 0, "{args:?}");
        done.says("ann is connected from another machine and may not");
    }
    server
        .wharf("ann", &["engine", "logs"])
        .exits(2)
        .says("on its own machine");
    let status = server.wharf("ann", &["engine", "status"]);
    assert!(status.ok().contains("ann"), "{}", status.text());
    let json = server.wharf("bob", &["engine", "status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(json.ok()).expect("JSON");
    assert_eq!(status["client"], "bob");
    assert_eq!(status["store"], "", "nothing of the store");
    // The machine's own still may.
    let socket = format!("unix://{}", server.world.path("wharf/run/engine.sock").display());
    for args in [["cache", "usage"], ["cache", "verify"], ["engine", "stop"]] {
        server
            .world
            .wharf(args.iter().chain(&["--engine", &*socket]))
            .ok();
    }
}

#[test]
fn the_command_line_says_what_to_do() {
    let server = Server::start();
    let mut command = server.world.command(["engine", "status"]);
    command
        .env("WHARF_ENGINE", server.address.to_string())
        .env("WHARF_ENGINE_CERTS", server.world.path("nowhere"));
    wharf_testkit::world::Done::of(command)
        .exits(4)
        .says("no connection to the engine on tcp://127.0.0.1:")
        .says("hint: ")
        .says("wharf engine certs");
    server
        .world
        .wharf(["engine", "status", "--engine", "tcp://nobody"])
        .exits(2)
        .says("tcp://HOST:PORT");
    // Without a word about where they are, they are among the user's settings.
    let usual = server.world.path("wharf/config/certs");
    std::fs::create_dir_all(usual.parent().expect("a parent")).expect("a directory");
    std::os::unix::fs::symlink(server.certificates("ann"), &usual).expect("a link");
    let mut command = server.world.command(["doctor", "--json"]);
    command.env("WHARF_ENGINE", server.address.to_string());
    let done = wharf_testkit::world::Done::of(command);
    assert!(
        done.text().contains("knows this client as ann"),
        "{}",
        done.text()
    );
}
