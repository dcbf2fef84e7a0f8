//! What stands before a hardened Docker daemon: it passes everything on but containers that ask for rights, which it refuses in the
//! words of an authorization plugin.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Error, Result};

/// The most bytes of a request's head.
const HEAD: usize = 64 * 1024;

/// A socket before a daemon's; nobody is let in any more when it is dropped.
#[derive(Debug)]
pub struct Hardened {
    socket: PathBuf,
    refusals: Arc<AtomicUsize>,
}

impl Hardened {
    /// Listens on `socket` and passes on to the daemon at `unix://…`.
    pub fn before(host: &str, socket: &Path) -> Result<Self> {
        let daemon = PathBuf::from(host.strip_prefix("unix://").unwrap_or(host));
        let listener = UnixListener::bind(socket).map_err(Error::io("listening on", socket))?;
        let refusals = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&refusals);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (daemon, counted) = (daemon.clone(), Arc::clone(&counted));
                // A connection that breaks is one for whoever made it to notice.
                thread::spawn(move || serve(client, &daemon, &counted).ok());
            }
        });
        Ok(Self {
            socket: socket.to_owned(),
            refusals,
        })
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// How many containers it has refused.
    pub fn refusals(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }
}

impl Drop for Hardened {
    fn drop(&mut self) {
        std::fs::remove_file(&self.socket).ok();
    }
}

/// One request; the daemon is asked to close after it, so that each is looked at.
fn serve(mut client: UnixStream, daemon: &Path, refusals: &AtomicUsize) -> std::io::Result<()> {
    let Some((head, mut body)) = read_head(&mut client)? else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines: Vec<&str> = text.trim_end().split("\r\n").collect();
    let is_create = lines[0].starts_with("POST ") && lines[0].contains("/containers/create");
    if is_create {
        let length = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
        });
        let missing = length.unwrap_or_default().saturating_sub(body.len());
        let mut rest = vec![0; missing];
        client.read_exact(&mut rest)?;
        body.extend(rest);
        if asks_for_rights(&body) {
            refusals.fetch_add(1, Ordering::SeqCst);
            let said =
                r#"{"message":"authorization denied by plugin hardened: capabilities are not allowed"}"#;
            let length = said.len();
            return write!(
                client,
                "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{said}"
            );
        }
    }
    let has = |name: &str| {
        let name = name.to_owned() + ":";
        lines
            .iter()
            .any(|line| line.to_ascii_lowercase().starts_with(&name))
    };
    if !has("upgrade") {
        lines.retain(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        lines.push("Connection: close");
    }
    let mut server = UnixStream::connect(daemon)?;
    server.write_all(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes())?;
    server.write_all(&body)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        std::io::copy(&mut from_client, &mut to_server).ok();
        to_server.shutdown(std::net::Shutdown::Write).ok();
    });
    std::io::copy(&mut server, &mut client).ok();
    client.shutdown(std::net::Shutdown::Both).ok();
    server.shutdown(std::net::Shutdown::Both)
}

/// A request's head, and what has come of its body; none when nobody asks.
fn read_head(client: &mut UnixStream) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    while read.len() < HEAD {
        let count = client.read(&mut piece)?;
        if count == 0 {
            return Ok(None);
        }
        read.extend_from_slice(&piece[..count]);
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = read.split_off(at + 4);
            return Ok(Some((read, body)));
        }
    }
    Ok(None)
}

/// Does a container ask for what Docker gives none by itself?
fn asks_for_rights(body: &[u8]) -> bool {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let host = &body["HostConfig"];
    let some = |name: &str| host[name].as_array().is_some_and(|list| !list.is_empty());
    host["Privileged"] == true || some("CapAdd") || some("SecurityOpt") || some("DeviceCgroupRules")
}
