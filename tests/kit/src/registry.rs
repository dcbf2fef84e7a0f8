//! A real registry: Debian's `docker-registry`, one process per value, on a port of its own.

use std::fs;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::image::{Blob, Image};
use crate::process::{self, Server};
use crate::{Error, Result};

/// A running registry. It stops when this is dropped; what it stores stays in its directory.
#[derive(Debug)]
pub struct Registry {
    address: String,
    /// It speaks TLS, with this certificate.
    certificate: Option<PathBuf>,
    logs: TempDir,
    server: Server,
}

/// One request that a registry answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The path with its query, such as `/v2/library/busybox/manifests/latest`.
    pub path: String,
    /// The status that was answered.
    pub status: u16,
}

impl Registry {
    /// Starts a registry on loopback that keeps its content in `dir`.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::start_on(dir, IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// Starts a registry on loopback that lets nobody in but this user.
    pub fn start_for(dir: &Path, user: &str, password: &str) -> Result<Self> {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self::start_with(dir, loopback, vec![("auth", only(dir, user, password)?)], None)
    }

    /// The same on another address of this host, by TLS: see [`certificate`](Self::certificate).
    pub fn start_secured_for(dir: &Path, address: IpAddr, user: &str, password: &str) -> Result<Self> {
        let auth = only(dir, user, password)?;
        let made =
            rcgen::generate_simple_self_signed([address.to_string()]).map_err(|error| Error::NotReady {
                what: "docker-registry",
                why: error.to_string(),
            })?;
        let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        fs::write(&certificate, made.cert.pem()).map_err(Error::io("writing", &certificate))?;
        fs::write(&key, made.signing_key.serialize_pem()).map_err(Error::io("writing", &key))?;
        let settings = vec![
            ("auth", auth),
            (
                "tls",
                serde_json::json!({ "certificate": certificate, "key": key }),
            ),
        ];
        Self::start_with(dir, address, settings, Some(certificate))
    }

    /// Starts a registry on one address of this host. Several may serve one directory that no one writes to.
    pub fn start_on(dir: &Path, address: IpAddr) -> Result<Self> {
        Self::start_with(dir, address, Vec::new(), None)
    }

    fn start_with(
        dir: &Path,
        address: IpAddr,
        more: Vec<(&str, serde_json::Value)>,
        certificate: Option<PathBuf>,
    ) -> Result<Self> {
        let program = process::require("docker-registry", "docker-registry")?;
        fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
        let logs = tempfile::tempdir().map_err(Error::io("making a directory in", std::env::temp_dir()))?;
        let config = logs.path().join("config.yml");
        // JSON is YAML too, and quotes the path. Port 0: the system picks one, and the log says which.
        let mut settings = serde_json::json!({
            "version": "0.1",
            "log": { "level": "info", "accesslog": { "disabled": false } },
            "storage": { "filesystem": { "rootdirectory": dir }, "delete": { "enabled": true } },
            "http": { "addr": std::net::SocketAddr::new(address, 0).to_string() },
        });
        for (name, setting) in more {
            let place = if name == "tls" {
                &mut settings["http"]
            } else {
                &mut settings
            };
            place[name] = setting;
        }
        fs::write(&config, settings.to_string()).map_err(Error::io("writing", &config))?;
        let (access, log) = (logs.path().join("access"), logs.path().join("log"));
        let args = ["serve".to_owned(), config.display().to_string()];
        let server = Server::start(&program, &args, None, (&access, &log), Duration::from_secs(5))?;
        let read = || fs::read_to_string(&log).unwrap_or_default();
        let found = process::wait_for(Duration::from_secs(30), || {
            listening(&read()).map(Ok).or_else(|| server.ended().map(Err))
        });
        match found {
            Some(Ok(address)) => Ok(Self {
                address,
                certificate,
                logs,
                server,
            }),
            _ => Err(Error::NotReady {
                what: "docker-registry",
                why: process::tail(read().as_bytes()),
            }),
        }
    }

    /// `HOST:PORT`, as it stands in an image reference.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The certificate that its clients have to trust, when it speaks TLS.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process id of the registry, for tests that stop it on purpose.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Stops it before it is dropped.
    pub fn stop(&self) {
        self.server.stop();
    }

    /// Pushes an image under `repository:tag`, index and all. What is there already is not sent again.
    pub fn push(&self, image: &Image, repository: &str, tag: &str) -> Result<()> {
        let (manifest, _) = image.manifest()?;
        let index = image.index()?;
        for blob in image.layers()?.iter().chain([&image.config()?]) {
            self.push_blob(image, repository, blob)?;
        }
        self.put_manifest(image, repository, &manifest, &manifest.digest)?;
        self.put_manifest(image, repository, &index, tag)
    }

    /// Pushes an OCI image layout under `repository:tag`.
    pub fn push_oci_layout(&self, layout: &Path, repository: &str, tag: &str) -> Result<()> {
        self.push(&Image::open(repository, layout), repository, tag)
    }

    /// What was asked of it so far, in order.
    ///
    /// A line is written after its answer was sent, so this waits until no more come.
    pub fn requests(&self) -> Vec<Request> {
        let path = self.logs.path().join("access");
        let mut lines = String::new();
        loop {
            thread::sleep(Duration::from_millis(30));
            let now = fs::read_to_string(&path).unwrap_or_default();
            if now == lines {
                return lines.lines().filter_map(parse_access_line).collect();
            }
            lines = now;
        }
    }

    fn push_blob(&self, image: &Image, repository: &str, blob: &Blob) -> Result<()> {
        let url = format!("{}/v2/{repository}/blobs", self.url());
        if ureq::head(format!("{url}/{}", blob.digest)).call().is_ok() {
            return Ok(());
        }
        let failed = |error: ureq::Error| self.refused(&blob.digest, &error);
        let answer = ureq::post(format!("{url}/uploads/"))
            .send_empty()
            .map_err(failed)?;
        let location = answer
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| Error::Registry {
            address: self.address.clone(),
            why: "an upload was given no location".into(),
        })?;
        let mark = if location.contains('?') { '&' } else { '?' };
        let absolute = if location.starts_with('/') {
            format!("{}{location}", self.url())
        } else {
            location.to_owned()
        };
        let path = image.blob_path(&blob.digest);
        let file = fs::File::open(&path).map_err(Error::io("opening", &path))?;
        ureq::put(format!("{absolute}{mark}digest={}", blob.digest))
            .content_type("application/octet-stream")
            .send(file)
            .map_err(failed)?;
        Ok(())
    }

    fn put_manifest(&self, image: &Image, repository: &str, blob: &Blob, reference: &str) -> Result<()> {
        let path = image.blob_path(&blob.digest);
        let mut bytes = Vec::new();
        fs::File::open(&path)
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .map_err(Error::io("reading", &path))?;
        ureq::put(format!("{}/v2/{repository}/manifests/{reference}", self.url()))
            .content_type(&blob.media_type)
            .send(&bytes[..])
            .map_err(|error| self.refused(reference, &error))?;
        Ok(())
    }

    fn refused(&self, what: &str, error: &ureq::Error) -> Error {
        Error::Registry {
            address: self.address.clone(),
            why: format!("{what}: {error}"),
        }
    }
}

/// The setting that lets this user in, and nobody else.
fn only(dir: &Path, user: &str, password: &str) -> Result<serde_json::Value> {
    fs::create_dir_all(dir).map_err(Error::io("creating", dir))?;
    let file = dir.join("htpasswd");
    let mut htpasswd = Command::new(process::require("htpasswd", "apache2-utils")?);
    let hashed = process::run(htpasswd.args(["-nbB", user, password]))?;
    fs::write(&file, hashed.stdout).map_err(Error::io("writing", &file))?;
    Ok(serde_json::json!({ "htpasswd": { "realm": "tests", "path": file } }))
}

/// Finds `listening on ADDRESS` in the registry's log.
fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on ")?;
    let end = rest.find(['"', ' ', '\n'])?;
    Some(rest[..end].trim_end_matches(',').to_owned())
}

/// Reads one line of the combined log format.
fn parse_access_line(line: &str) -> Option<Request> {
    let mut quoted = line.split('"');
    quoted.next()?;
    let mut request = quoted.next()?.split(' ');
    let status = quoted.next()?.split_whitespace().next()?.parse().ok()?;
    Some(Request {
        method: request.next()?.into(),
        path: request.next()?.into(),
        status,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_address_and_the_requests_from_the_logs() {
        let log = "time=\"2026\" level=info msg=\"listening on 127.0.0.1:41234\" go.version=go1.19\n";
        assert_eq!(listening(log).as_deref(), Some("127.0.0.1:41234"));
        assert_eq!(listening("level=info msg=\"starting\""), None);
        let line = "127.0.0.1 - - [23/Nov/2026:22:13:16 +0000] \"GET /v2/a/manifests/1?x=y HTTP/1.1\" 404 12 \"\" \"ua\"";
        let request = Request {
            method: "GET".into(),
            path: "/v2/a/manifests/1?x=y".into(),
            status: 404,
        };
        assert_eq!(parse_access_line(line), Some(request));
    }
}
