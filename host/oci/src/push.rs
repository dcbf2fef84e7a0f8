//! Pushing: blobs and manifests on their way to a registry, taken up again where a connection was cut.
//!
//! Everything is named by its digest, so all of it can be done again: what is there already is not sent.

use std::{fs::File, sync::Arc};

use reqwest::{Method, Response, StatusCode, Url, header};
use wharf_http::Patience;

use crate::{
    artifact::RawManifest,
    auth::Access,
    body::Body,
    digest::sha256,
    document::Document,
    error::{Error, Failure, Result, explain},
    manifest::ACCEPTED,
    place::Place,
    reference::Reference,
    registry::Registry,
    transport::{Ask, Transport, Trouble, location},
};

/// How often the rest of an upload may be sent elsewhere.
const REDIRECTS: usize = 10;

/// A push to one repository of one registry.
pub struct Push {
    transport: Arc<Transport>,
    place: Place,
    reference: Reference,
    access: Access,
}

/// How a blob comes to its repository.
pub enum Start {
    /// It is there: taken from another repository of the same registry.
    Mounted,
    /// It has to be sent.
    Upload(Upload),
}

/// An upload that the registry has begun.
pub struct Upload {
    /// Where it goes on.
    location: Url,
    /// How many bytes the registry has.
    done: u64,
}

impl Registry {
    /// A push to a reference's repository. `from` are other repositories of the same registry that have some of the blobs.
    pub fn push(&self, reference: &Reference, from: Vec<String>) -> Push {
        Push {
            transport: Arc::clone(&self.transport),
            place: self.places.itself(reference.registry()),
            reference: reference.clone(),
            access: Access::Push { from },
        }
    }
}

impl Push {
    /// The digest of the manifest that the repository has under a tag or digest.
    pub async fn manifest(&self, name: &str) -> Result<Option<String>> {
        let ask = self
            .ask(Method::HEAD, format!("manifests/{name}"))
            .header(header::ACCEPT, ACCEPTED.join(", "));
        let found = self.there(&ask).await?;
        Ok(found.and_then(|response| content_digest(&response)))
    }

    /// The manifest that the repository has under a tag or digest: asked of the registry itself, not of a mirror.
    pub async fn manifest_text(&self, name: &str) -> Result<Option<RawManifest>> {
        let ask = self
            .ask(Method::GET, format!("manifests/{name}"))
            .header(header::ACCEPT, ACCEPTED.join(", "));
        match self.transport.document(&ask).await {
            Ok((text, _)) => Ok(Some(RawManifest {
                digest: sha256(&text),
                text,
            })),
            Err(Failure::NotFound) => Ok(None),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    /// Does the repository have this blob?
    pub async fn has_blob(&self, digest: &str) -> Result<bool> {
        let ask = self.ask(Method::HEAD, format!("blobs/{digest}"));
        Ok(self.there(&ask).await?.is_some())
    }

    /// Begins to bring a blob: taken from the repository `from` of the same registry when that may be, to be sent otherwise.
    pub async fn start(&self, digest: &str, from: Option<&str>) -> Result<Start> {
        let mount = from.map(|from| format!("?mount={digest}&from={from}"));
        let path = format!("blobs/uploads/{}", mount.unwrap_or_default());
        let response = match self.transport.ask(&self.ask(Method::POST, path)).await {
            Ok(response) => response,
            // A registry that may not say whether the other repository exists refuses the mount, not the push.
            Err(Failure::Refused { .. } | Failure::NotFound | Failure::Rejected { .. }) if from.is_some() => {
                return Ok(Start::Upload(
                    self.begin().await.map_err(|failure| self.failed(failure))?,
                ));
            }
            Err(failure) => return Err(self.failed(failure)),
        };
        if response.status() == StatusCode::CREATED {
            return Ok(Start::Mounted);
        }
        let location = location(&response, &self.place).map_err(|failure| self.failed(failure))?;
        Ok(Start::Upload(Upload { location, done: 0 }))
    }

    /// Sends a blob: all of a file, whose digest this is.
    pub async fn send(&self, upload: Upload, digest: &str, file: File) -> Result<()> {
        let size = file.metadata()?.len();
        let sending = Sending {
            push: self,
            digest,
            file: Arc::new(file),
            size,
        };
        sending.run(upload).await.map_err(|failure| self.failed(failure))
    }

    /// Sees to it that the repository has a blob: all of a file, whose digest this is.
    pub async fn bring(&self, digest: &str, file: File) -> Result<()> {
        if self.has_blob(digest).await? {
            return Ok(());
        }
        match self.start(digest, None).await? {
            Start::Mounted => Ok(()),
            Start::Upload(upload) => self.send(upload, digest, file).await,
        }
    }

    /// Puts a manifest, or a list of manifests, under a tag or its digest. What it names has to be there.
    pub async fn put_manifest(&self, name: &str, document: &Document) -> Result<()> {
        let ask = self
            .ask(Method::PUT, format!("manifests/{name}"))
            .header(header::CONTENT_TYPE, document.media_type.to_owned())
            .body(Body::Document(document.text.clone().into()));
        let put = async {
            let response = self.transport.ask(&ask).await?;
            same_digest(&response, &document.digest, "the manifest")
        };
        put.await.map_err(|failure| self.failed(failure))
    }

    fn ask(&self, method: Method, path: String) -> Ask<'_> {
        Ask::new(
            method,
            &self.place,
            self.reference.repository(),
            &self.access,
            path,
        )
    }

    async fn there(&self, ask: &Ask<'_>) -> Result<Option<Response>> {
        match self.transport.ask(ask).await {
            Ok(response) => Ok(Some(response)),
            Err(Failure::NotFound) => Ok(None),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    async fn begin(&self) -> Result<Upload, Failure> {
        let ask = self.ask(Method::POST, "blobs/uploads/".to_owned());
        let response = self.transport.ask(&ask).await?;
        let location = location(&response, &self.place)?;
        Ok(Upload { location, done: 0 })
    }

    fn failed(&self, failure: Failure) -> Error {
        let failure = match failure {
            Failure::NotFound => Failure::Rejected {
                why: format!("it has no repository {}", self.reference.repository()),
            },
            other => other,
        };
        let place = self.place.clone();
        explain(&self.reference.to_string(), &self.place, vec![(place, failure)])
    }
}

/// One blob on its way.
struct Sending<'a> {
    push: &'a Push,
    digest: &'a str,
    file: Arc<File>,
    size: u64,
}

/// Why an upload cannot go on from where it is.
enum Stop {
    /// Nor from the start.
    Failed(Failure),
    /// The registry has lost it.
    Lost(String),
}

impl Sending<'_> {
    /// Sends the blob, from the start again a few times if need be.
    async fn run(&self, mut upload: Upload) -> Result<(), Failure> {
        let mut restarts = Patience::default();
        loop {
            let why = match self.carry(upload).await {
                Ok(()) => return Ok(()),
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::Lost(why)) => why,
            };
            tracing::debug!("{}: {}: {why}; from the start", self.push.place.base, self.digest);
            restarts.wait(why, None).await.map_err(Failure::unavailable)?;
            upload = self.push.begin().await?;
        }
    }

    /// Sends what is missing of an upload, and ends it.
    async fn carry(&self, mut upload: Upload) -> Result<(), Stop> {
        let mut attempts = Patience::default();
        let mut sent_elsewhere = 0;
        while upload.done < self.size {
            let before = upload.done;
            let (why, after) = match self.patch(&mut upload).await {
                Ok(()) if sent_elsewhere < REDIRECTS => {
                    sent_elsewhere += 1;
                    continue;
                }
                Ok(()) => {
                    let why = "it redirects in circles".to_owned();
                    return Err(Stop::Failed(Failure::unavailable(why)));
                }
                Err(Trouble::Lasting(failure)) => return Err(lost_or_failed(failure)),
                Err(Trouble::Passing { why, after }) => (why, after),
            };
            let waited = attempts.wait(why, after).await;
            waited.map_err(|why| Stop::Failed(Failure::unavailable(why)))?;
            self.look(&mut upload).await?;
            if upload.done > before {
                attempts = Patience::default();
            }
        }
        self.finish(upload).await
    }

    /// Sends all that is missing in one request; nothing is sent where the registry says that it goes elsewhere.
    async fn patch(&self, upload: &mut Upload) -> Result<(), Trouble> {
        let mut ask = self
            .ask(Method::PATCH, upload.location.to_string())
            .header(header::CONTENT_TYPE, "application/octet-stream".to_owned())
            .header(header::CONTENT_LENGTH, (self.size - upload.done).to_string())
            .body(Body::Part {
                file: Arc::clone(&self.file),
                from: upload.done,
                end: self.size,
            });
        if upload.done > 0 {
            let range = format!("{}-{}", upload.done, self.size - 1);
            ask = ask.header(header::CONTENT_RANGE, range);
        }
        let response = self.push.transport.ask_once(&ask).await?;
        upload.location = location(&response, &self.push.place).map_err(Trouble::Lasting)?;
        if response.status().is_success() {
            upload.done = self.size;
        }
        Ok(())
    }

    /// Asks how much of an upload has arrived.
    async fn look(&self, upload: &mut Upload) -> Result<(), Stop> {
        let ask = self.ask(Method::GET, upload.location.to_string());
        let response = self.push.transport.ask(&ask).await.map_err(lost_or_failed)?;
        let range = response.headers().get(header::RANGE);
        let last = range
            .and_then(|range| {
                range
                    .to_str()
                    .ok()?
                    .trim_start_matches("bytes=")
                    .strip_prefix("0-")
            })
            .and_then(|last| last.parse::<u64>().ok());
        // `0-0` is written for nothing, too.
        upload.done = last.filter(|last| *last > 0).map_or(0, |last| last + 1);
        if upload.done > self.size {
            return Err(Stop::Lost("it has more than it was sent".to_owned()));
        }
        if response.headers().contains_key(header::LOCATION) {
            upload.location = location(&response, &self.push.place).map_err(Stop::Failed)?;
        }
        Ok(())
    }

    /// Ends an upload whose bytes are all there.
    async fn finish(&self, upload: Upload) -> Result<(), Stop> {
        let mut whole = upload.location;
        whole.query_pairs_mut().append_pair("digest", self.digest);
        let ask = self.ask(Method::PUT, whole.to_string());
        match self.push.transport.ask(&ask).await {
            Ok(response) => same_digest(&response, self.digest, "the layer").map_err(Stop::Failed),
            // An answer that was lost on its way makes the next request one too many.
            Err(_) if self.is_there().await => Ok(()),
            Err(failure) => Err(lost_or_failed(failure)),
        }
    }

    async fn is_there(&self) -> bool {
        let ask = self.push.ask(Method::HEAD, format!("blobs/{}", self.digest));
        self.push.transport.ask(&ask).await.is_ok()
    }

    fn ask(&self, method: Method, url: String) -> Ask<'_> {
        self.push.ask(method, url)
    }
}

/// An upload that a registry does not know any more, or finds damaged, is begun again.
fn lost_or_failed(failure: Failure) -> Stop {
    match failure {
        Failure::NotFound => Stop::Lost("it has forgotten the upload".to_owned()),
        Failure::Rejected { why } => Stop::Lost(why),
        other => Stop::Failed(other),
    }
}

fn content_digest(response: &Response) -> Option<String> {
    let header = response.headers().get("docker-content-digest")?;
    header.to_str().ok().map(str::to_owned)
}

/// A registry that names another digest has kept something else.
fn same_digest(response: &Response, digest: &str, what: &str) -> Result<(), Failure> {
    match content_digest(response).filter(|kept| kept.starts_with("sha256:") && kept != digest) {
        Some(kept) => Err(Failure::damaged(
            what,
            format!("it was sent as {digest} and is kept as {kept}"),
        )),
        None => Ok(()),
    }
}
