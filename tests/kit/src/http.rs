//! A small HTTP server on loopback that does what a test tells it: it notes what it is asked, serves parts, cuts answers
//! short, redirects, and runs CGI programs such as git's own server.
//!
//! Each connection carries one request. The server ends with the process.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::{Error, Result};

/// Bytes that are sent at once.
const PIECE: usize = 64 * 1024;

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, `POST` …
    pub method: String,
    /// Path and query, as they came.
    pub path: String,
    /// Headers by name in lower case.
    pub headers: HashMap<String, String>,
    /// What was sent.
    pub body: Vec<u8>,
    /// How often this path was asked for before.
    pub before: usize,
}

impl Asked {
    /// A header, empty when it was not sent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
    cut: Option<Cut>,
}

/// Where an answer ends before its body does.
#[derive(Clone, Copy, Debug)]
struct Cut {
    after: u64,
    /// Nothing more comes, and the connection stays open.
    holds: bool,
}

/// What an answer brings.
#[derive(Clone, Debug)]
enum Body {
    Bytes(Vec<u8>),
    /// A part of a file.
    Part {
        file: PathBuf,
        from: u64,
        length: u64,
    },
}

impl Body {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Part { length, .. } => *length,
        }
    }

    /// Sends its first bytes, so many, and counts them. Each piece is counted before it goes: whoever has it may ask at once.
    fn send(&self, stream: &mut TcpStream, length: u64, count: &dyn Fn(i64)) -> std::io::Result<()> {
        let mut source: Box<dyn Read + '_> = match self {
            Self::Bytes(bytes) => Box::new(&bytes[..length as usize]),
            Self::Part { file, from, .. } => {
                let mut file = File::open(file)?;
                file.seek(SeekFrom::Start(*from))?;
                Box::new(file.take(length))
            }
        };
        let mut piece = vec![0; PIECE];
        loop {
            let read = source.read(&mut piece)?;
            if read == 0 {
                return Ok(());
            }
            count(read as i64);
            if let Err(error) = stream.write_all(&piece[..read]) {
                count(-(read as i64));
                return Err(error);
            }
        }
    }
}

impl Reply {
    /// A status and nothing else.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Body::Bytes(Vec::new()),
            cut: None,
        }
    }

    /// All of a body, whatever part was asked for.
    pub fn whole(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Body::Bytes(body.into()),
            ..Self::status(200)
        }
    }

    /// Somewhere else.
    pub fn redirect(location: &str) -> Self {
        Self::status(302).with("Location", location)
    }

    /// A file as servers of files serve it: parts, on condition that it is still the one with this tag; nothing when the tag is
    /// the one that is known.
    pub fn file(asked: &Asked, body: &[u8], etag: &str) -> Self {
        let part = |range: Range<u64>| Body::Bytes(body[range.start as usize..range.end as usize].to_vec());
        Self::parts(asked, body.len() as u64, etag, part)
    }

    /// The same of one that is too large to be held in memory.
    pub fn on_disk(asked: &Asked, file: &Path, etag: &str) -> std::io::Result<Self> {
        let part = |range: Range<u64>| Body::Part {
            file: file.to_owned(),
            from: range.start,
            length: range.end - range.start,
        };
        Ok(Self::parts(asked, file.metadata()?.len(), etag, part))
    }

    fn parts(asked: &Asked, length: u64, etag: &str, part: impl Fn(Range<u64>) -> Body) -> Self {
        let tag = format!("\"{etag}\"");
        if asked.header("if-none-match") == tag {
            return Self::status(304).with("ETag", &tag);
        }
        let is_same = asked
            .headers
            .get("if-range")
            .is_none_or(|condition| *condition == tag);
        let range = asked.header("range").strip_prefix("bytes=").filter(|_| is_same);
        let reply = match range.and_then(|range| range.split_once('-')) {
            None => Self {
                body: part(0..length),
                ..Self::status(200)
            },
            Some((first, last)) => {
                let first: u64 = first.parse().unwrap_or_default();
                let end = last.parse().map_or(length, |last: u64| length.min(last + 1));
                if first >= end {
                    return Self::status(416);
                }
                let range = format!("bytes {first}-{}/{length}", end - 1);
                Self {
                    body: part(first..end),
                    ..Self::status(206).with("Content-Range", &range)
                }
            }
        };
        reply.with("ETag", &tag).with("Accept-Ranges", "bytes")
    }

    /// What a CGI program answers.
    pub fn cgi(asked: &Asked, program: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let (path, query) = asked.path.split_once('?').unwrap_or((&asked.path, ""));
        let failed = |why: String| Error::Command {
            command: program.display().to_string(),
            why,
        };
        let mut child = Command::new(program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("REQUEST_METHOD", &asked.method)
            .env("PATH_INFO", path)
            .env("QUERY_STRING", query)
            .env("CONTENT_TYPE", asked.header("content-type"))
            .env("CONTENT_LENGTH", asked.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", asked.header("content-encoding"))
            .env("GIT_PROTOCOL", asked.header("git-protocol"))
            .env("REMOTE_ADDR", "127.0.0.1")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let mut input = child.stdin.take();
        let body = asked.body.clone();
        let writer = thread::spawn(move || input.as_mut().map(|input| input.write_all(&body)));
        let output = child
            .wait_with_output()
            .map_err(|error| failed(error.to_string()))?;
        // A program that reads nothing closes its input.
        let _ = writer.join();
        let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.ok_or_else(|| failed("it answered without headers".to_owned()))?;
        let mut reply = Self::whole(&output.stdout[end + 4..]);
        for line in String::from_utf8_lossy(&output.stdout[..end]).lines() {
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            if name == "Status" {
                reply.status = value
                    .split(' ')
                    .next()
                    .and_then(|code| code.parse().ok())
                    .unwrap_or(500);
            } else {
                reply = reply.with(name, value);
            }
        }
        Ok(reply)
    }

    /// With a header more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| own != name);
        self
    }

    /// Ends the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(mut self, bytes: u64) -> Self {
        self.cut = Some(Cut {
            after: bytes,
            holds: false,
        });
        self
    }

    /// Sends nothing after so many bytes of the body, until the client hangs up.
    #[must_use]
    pub fn held_after(mut self, bytes: u64) -> Self {
        self.cut = Some(Cut {
            after: bytes,
            holds: true,
        });
        self
    }

    /// How many bytes of a body it sends.
    pub fn length(&self) -> u64 {
        let length = self.body.length();
        self.cut.map_or(length, |cut| cut.after.min(length))
    }

    /// How many bytes this brings of a file on disk before the one at this place; nothing when it does not bring that one.
    pub fn bytes_before(&self, place: u64) -> Option<u64> {
        match &self.body {
            Body::Part { from, length, .. } => place.checked_sub(*from).filter(|before| before < length),
            Body::Bytes(_) => None,
        }
    }

    fn send(&self, stream: &mut TcpStream, asked: &Asked, count: &dyn Fn(i64)) -> std::io::Result<()> {
        let mut head = format!("HTTP/1.1 {} as told\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if self.status != 304 {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.length());
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if asked.method != "HEAD" {
            self.body.send(stream, self.length(), count)?;
        }
        if self
            .cut
            .is_some_and(|cut| cut.holds && cut.after < self.body.length())
        {
            return Ok(());
        }
        stream.shutdown(Shutdown::Write)
    }
}

/// A running server.
#[derive(Clone, Debug)]
pub struct HttpServer {
    address: SocketAddr,
    log: Arc<Mutex<Log>>,
}

/// What a server did.
#[derive(Debug, Default)]
struct Log {
    asked: Vec<Asked>,
    /// Bytes of bodies by the path that was asked for.
    sent: HashMap<String, u64>,
}

impl HttpServer {
    /// A server on a free port of loopback that answers as `rule` says.
    pub fn start(rule: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::start_on(IpAddr::V4(Ipv4Addr::LOCALHOST), rule)
    }

    /// The same on another address of this machine.
    pub fn start_on(address: IpAddr, rule: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let place = PathBuf::from(address.to_string());
        let listener = TcpListener::bind((address, 0)).map_err(Error::io("listening on", &place))?;
        let address = listener.local_addr().map_err(Error::io("listening on", &place))?;
        let log: Arc<Mutex<Log>> = Arc::default();
        let (seen, rule) = (Arc::clone(&log), Arc::new(rule));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, rule) = (Arc::clone(&seen), Arc::clone(&rule));
                // A client that hangs up early is one of the things that tests do.
                thread::spawn(move || serve(stream, &seen, &*rule).ok());
            }
        });
        Ok(Self { address, log })
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.log).asked.clone()
    }

    /// How many bytes of bodies it sent so far in answers for paths that begin so.
    pub fn sent(&self, path: &str) -> u64 {
        let log = lock(&self.log);
        let of_path = log.sent.iter().filter(|(asked, _)| asked.starts_with(path));
        of_path.map(|(_, bytes)| bytes).sum()
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Log>,
    rule: &(dyn Fn(&Asked) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Ok(());
    };
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length = headers
        .get("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let asked = {
        let mut log = lock(log);
        let seen = &mut log.asked;
        let before = seen.iter().filter(|other| other.path == path).count();
        let asked = Asked {
            method,
            path,
            headers,
            body,
            before,
        };
        seen.push(asked.clone());
        asked
    };
    let mut stream = stream;
    let count = |bytes| {
        let mut log = lock(log);
        let sent = log.sent.entry(asked.path.clone()).or_default();
        *sent = sent.saturating_add_signed(bytes);
    };
    rule(&asked).send(&mut stream, &asked, &count)?;
    // What the client still sends is read, so that what was written reaches it.
    std::io::copy(&mut reader, &mut std::io::sink()).map(|_| ())
}
