//! Files fetched by URL: what is at a URL for the length of a run, and how it comes into the store.
//!
//! A file whose digest was given and that has nothing secret about it is looked up like any tree, and no request is made when
//! it is there. Any other is pinned first: the server is asked whether it still has what is remembered, and what it has then
//! holds for the run. Who sends a secret along is given what was fetched with it before only when the value is the one that
//! the server accepted then.

use std::{collections::HashMap, io, sync::Arc, sync::Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use wharf_digest::{Digest, Hasher};
use wharf_graph::{
    Denial, Error, Node, Op,
    op::SecretId,
    plan::{self, Tree},
    source::{FetchRequest, FetchSecret},
};
use wharf_http::{Fetched, Kept, Partial, Request, Secret, Sink, Validators};
use wharf_proto::v1::Kind;
use wharf_store::{LogDraft, ResultRecord, Snapshot, Spent, Store};
use zeroize::Zeroizing;

use crate::{
    audience::Audience,
    engine::{Engine, store_error},
    session::{Session, lock},
};

/// Permission bits of fetched files.
const MODE: u32 = 0o644;

/// What was fetched in one session: each request is made once a run.
#[derive(Default)]
pub(crate) struct Pinned(Mutex<HashMap<Digest, Arc<OnceCell<String>>>>);

/// What is remembered of a URL.
#[derive(Serialize, Deserialize)]
struct Remembered {
    /// The content's digest, as a pin has it.
    digest: String,
    validators: Validators,
}

/// The value of a secret.
type Value = Zeroizing<Vec<u8>>;

/// Writes what arrives into the store.
struct IntoStore {
    store: Arc<Store>,
    draft: LogDraft,
}

impl Sink for IntoStore {
    fn restart(&mut self) -> io::Result<()> {
        self.draft = self.store.new_log();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.draft, bytes)
    }
}

impl Engine {
    /// Finds out what the URLs among these nodes hold, all at once.
    pub(crate) async fn pin_fetches(
        self: &Arc<Self>,
        session: &Arc<Session>,
        nodes: &[Arc<Node>],
    ) -> Result<(), Error> {
        let pinning = nodes.iter().filter_map(|node| match node.op() {
            Op::Fetch(request) => Some(async move {
                let name = Digest::of(&wharf_proto::encode(request));
                let cell = Arc::clone(lock(&session.fetched.0).entry(name).or_default());
                let digest = cell
                    .get_or_try_init(|| self.pin_fetch(session, name, request))
                    .await?;
                session.pin_fetched(node.id(), digest.clone());
                Ok::<_, Error>(())
            }),
            _ => None,
        });
        futures::future::try_join_all(pinning).await.map(|_| ())
    }

    /// The digest of what a URL holds now; what it holds is in the store then.
    async fn pin_fetch(
        self: &Arc<Self>,
        session: &Arc<Session>,
        event: Digest,
        request: &FetchRequest,
    ) -> Result<String, Error> {
        let audience = Audience::of(session);
        let values = secret_values(request, &audience).await?;
        let name = self.name_of(request, &values).await?;
        // What the server has given to one client of another machine it has not given to the next.
        let name = session.peer.proof("URL", name.as_bytes()).unwrap_or(name);
        let remembered = self.remembered(name, request).await?;
        if let (Some(digest), Some(remembered)) = (&request.digest, &remembered)
            && *digest == remembered.digest
        {
            return Ok(remembered.digest.clone());
        }
        let mut to_send = to_send(request, &values)?;
        if let Some(remembered) = &remembered {
            to_send.unless(remembered.validators.clone());
        }
        let title = format!("fetch {}", request.shown());
        let fetched = self.download(name, request, &to_send);
        let fetched = audience.during(event, &title, Kind::Pull, fetched).await?;
        let Some((digest, snapshot, validators)) = fetched else {
            let lost = || Error::Unavailable(format!("{} did not change, and is not known", request.shown()));
            return remembered.map(|remembered| remembered.digest).ok_or_else(lost);
        };
        let tree = plan::fetched(request, &digest).tree;
        let remembered = Remembered {
            digest: digest.clone(),
            validators,
        };
        self.with_store(move |store| {
            store.put_result(&record(&tree, snapshot))?;
            store.put_note(&name, &wharf_proto::encode(&remembered))
        })
        .await?;
        Ok(digest)
    }

    /// A fetched file that is not in the store (any more), checked against the digest that it is known by.
    pub(crate) async fn fetch(
        self: &Arc<Self>,
        key: Digest,
        request: &FetchRequest,
        digest: &str,
        audience: &Audience,
    ) -> Result<Snapshot, Error> {
        let work = async {
            let values = secret_values(request, audience).await?;
            let mut to_send = to_send(request, &values)?;
            to_send.expect(
                digest
                    .parse()
                    .map_err(|error: wharf_http::ExpectedError| Error::Invalid(error.to_string()))?,
            );
            let name = self.name_of(request, &values).await?;
            let fetched = self.download(name, request, &to_send).await?;
            let (_, snapshot, _) =
                fetched.ok_or_else(|| Error::other("defect", "a fetch without a condition was refused"))?;
            Ok::<_, Error>(snapshot)
        };
        audience
            .during(key, &format!("fetch {}", request.shown()), Kind::Pull, work)
            .await
    }

    /// Makes a request: the digest of the content and the tree of it; none when it is the one that is known. What comes of a
    /// file whose digest is known is kept under this name until all of it is there.
    async fn download(
        self: &Arc<Self>,
        name: Digest,
        request: &FetchRequest,
        to_send: &Request,
    ) -> Result<Option<(String, Snapshot, Validators)>, Error> {
        if let Some(digest) = to_send.expected()
            && let Some((snapshot, validators)) = self.download_kept(name, request, to_send).await?
        {
            return Ok(Some((digest.to_string(), snapshot, validators)));
        }
        let sink = IntoStore {
            store: Arc::clone(&self.store),
            draft: self.store.new_log(),
        };
        let (fetched, sink) = self
            .fetcher
            .fetch(to_send, sink)
            .await
            .map_err(|error| http_error(&error))?;
        let Fetched::Whole(validators) = fetched else {
            return Ok(None);
        };
        let name = request.name();
        let (content, snapshot) = self
            .with_store(move |store| store.publish_as_file(sink.draft, &name, MODE))
            .await?;
        let digest = match &request.digest {
            Some(digest) => digest.clone(),
            None => format!("blake3:{}", content.to_hex()),
        };
        Ok(Some((digest, snapshot, validators)))
    }

    /// Goes on with what came of a file before; none when it has to be fetched as any other.
    async fn download_kept(
        self: &Arc<Self>,
        name: Digest,
        request: &FetchRequest,
        to_send: &Request,
    ) -> Result<Option<(Snapshot, Validators)>, Error> {
        let directory = self.store.partial_directory(&name);
        let partial = match Partial::open(&directory) {
            Ok(Some(partial)) => partial,
            // Somebody else fetches it, or removed it just now.
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(http_error(&wharf_http::Error::Io(error))),
        };
        let kept = self.fetcher.fetch_kept(to_send, &partial).await;
        let Kept::Whole(validators) = kept.map_err(|error| http_error(&error))? else {
            return Ok(None);
        };
        let file = request.name();
        let publish = move |store: &Store| {
            // Held until the file is out of the directory.
            let _alone = partial;
            store.publish_partial(&directory, &file, MODE)
        };
        Ok(Some((self.with_store(publish).await?, validators)))
    }

    /// What is remembered of a URL and is still in the store.
    async fn remembered(&self, name: Digest, request: &FetchRequest) -> Result<Option<Remembered>, Error> {
        let request = request.clone();
        self.with_store(move |store| {
            let note = store.note(&name)?;
            let remembered: Option<Remembered> = note.and_then(|note| wharf_proto::decode(&note).ok());
            let Some(remembered) = remembered else {
                return Ok(None);
            };
            let tree = plan::fetched(&request, &remembered.digest).tree;
            let can_ask = request.digest.is_some() || remembered.validators != Validators::default();
            Ok(store.result(&tree.key)?.filter(|_| can_ask).map(|_| remembered))
        })
        .await
    }

    /// Under which name a URL's content is remembered: for those who ask the same with the same secrets' values. A content that
    /// was given is the same wherever that server has it.
    async fn name_of(&self, request: &FetchRequest, values: &[Value]) -> Result<Digest, Error> {
        let private = self.private_key().await?;
        let mut hasher = Hasher::in_domain("what a URL holds");
        hasher.field(&private);
        match &request.digest {
            None => hasher.field(&wharf_proto::encode(request)),
            Some(digest) => {
                let server: Vec<_> = request.url.splitn(4, '/').take(3).collect();
                let asked = (digest, request.name(), server, &request.secrets);
                hasher.field(&wharf_proto::encode(&asked))
            }
        };
        for value in values {
            hasher.field(value);
        }
        Ok(hasher.finish())
    }
}

/// Values of a request's secrets, in its order.
async fn secret_values(request: &FetchRequest, audience: &Audience) -> Result<Vec<Value>, Error> {
    let ask = |secret: SecretId| async move { audience.secret(&secret).await };
    futures::future::try_join_all(request.secrets.iter().map(|secret| ask(secret.id().clone()))).await
}

/// The request as it is sent, secrets and all.
fn to_send(request: &FetchRequest, values: &[Value]) -> Result<Request, Error> {
    let build = || {
        let mut to_send = Request::new(&request.url, &request.shown())?;
        if let Some(hosts) = &request.hosts {
            to_send.only_from(hosts.clone());
        }
        for (name, value) in &request.headers {
            to_send.header(name, value)?;
        }
        for (secret, value) in request.secrets.iter().zip(values) {
            to_send.secret(&match secret {
                FetchSecret::Header(name, _) => Secret::Header(name, value),
                FetchSecret::Bearer(_) => Secret::Bearer(value),
                FetchSecret::Basic(user, _) => Secret::Basic(user, value),
            })?;
        }
        Ok::<_, wharf_http::Error>(to_send)
    };
    let mut to_send = build().map_err(|error| http_error(&error))?;
    if let Some(digest) = &request.digest {
        to_send.expect(
            digest
                .parse()
                .map_err(|error: wharf_http::ExpectedError| Error::Invalid(error.to_string()))?,
        );
    }
    Ok(to_send)
}

fn record(tree: &Tree, output: Snapshot) -> ResultRecord {
    ResultRecord {
        key: tree.key,
        op_key: tree.op_key,
        inputs: Vec::new(),
        output,
        exit_code: None,
        stdout: None,
        stderr: None,
        log: None,
        spent: Spent::default(),
    }
}

/// A server that a source leads to, and that is not in the list which whoever asked for it was granted.
pub(crate) fn not_allowed(capability: &str, url: &str, host: &str) -> Error {
    Error::Denied(Denial {
        capability: capability.to_owned(),
        module: format!("whoever asked for {url}, which leads to {host},"),
        grant: format!("{host:?} in its list for {capability}"),
    })
}

/// What a failed request is for a module.
fn http_error(error: &wharf_http::Error) -> Error {
    let message = error.to_string();
    match error {
        wharf_http::Error::Invalid(_) => Error::Invalid(message),
        wharf_http::Error::NotFound { .. } => Error::NotFound(message),
        wharf_http::Error::NotAllowed { url, host, .. } => not_allowed("http", url, host),
        wharf_http::Error::Refused { .. } | wharf_http::Error::Unavailable { .. } => {
            Error::Unavailable(message)
        }
        wharf_http::Error::Digest { .. } => Error::other("digest-mismatch", message),
        wharf_http::Error::Io(error) => {
            // A full disk is named as such.
            let error = io::Error::new(error.kind(), error.to_string());
            store_error(&wharf_store::Error::io("a fetched file", error))
        }
    }
}
