//! What clients send: nobody is given it who has not sent it.

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};
use wharf_client::{
    Connection,
    proto::{
        MissingReply, MissingRequest, Pin, ReadRequest, SessionOpen, SessionUp, UploadRequest, WholeFile,
        WholeFiles, read_reply, session_down, session_up, upload_request::Message,
    },
};
use wharf_digest::Digest;
use wharf_graph::{
    Directory, Error,
    op::Filter,
    read::{Answer, Question, Read},
};
use wharf_proto::{
    Manifest, decode, encode,
    manifest::{Entry, EntryKind},
};

use crate::{Server, random};

/// A tree of one file.
struct Tree {
    content: Vec<u8>,
    manifest: Manifest,
}

impl Tree {
    fn new(text: &str) -> Self {
        let content = text.as_bytes().to_vec();
        let kind = EntryKind::File {
            digest: Digest::of(&content),
            size: content.len() as u64,
        };
        let entry = Entry {
            path: b"private".to_vec(),
            mode: 0o644,
            modified: 1_700_000_000_000_000_000,
            kind,
        };
        let manifest = Manifest { entries: vec![entry] };
        Self { content, manifest }
    }

    fn file(&self) -> Digest {
        Digest::of(&self.content)
    }

    async fn missing(&self, connection: &Connection) -> MissingReply {
        let request = MissingRequest {
            files: vec![self.file().as_bytes().to_vec()],
            content: self.manifest.content().as_bytes().to_vec(),
            stamp: self.manifest.stamp().as_bytes().to_vec(),
        };
        let reply = connection.client().missing(request).await;
        reply.expect("an answer").into_inner()
    }

    /// Sends the manifest, after the file when it is to be sent.
    async fn send(&self, connection: &Connection, with_file: bool) -> Result<(), Status> {
        let file = WholeFile {
            digest: self.file().as_bytes().to_vec(),
            content: self.content.clone().into(),
        };
        let whole = Message::Whole(WholeFiles { files: vec![file] });
        let messages = with_file
            .then_some(whole)
            .into_iter()
            .chain([Message::Manifest(encode(&self.manifest))])
            .map(|message| UploadRequest {
                message: Some(message),
            });
        let messages: Vec<_> = messages.collect();
        connection
            .client()
            .upload(tokio_stream::iter(messages))
            .await
            .map(|_| ())
    }

    /// Reads the file in a session whose client says that a directory of its host holds this tree.
    async fn read(&self, connection: &Connection) -> Result<Vec<u8>, Error> {
        let directory = Directory::host("/anywhere", Filter::default());
        let file = directory.file("private");
        let (up, messages) = mpsc::unbounded_channel();
        let say = |message| {
            up.send(SessionUp {
                message: Some(message),
            })
            .expect("somebody listens")
        };
        say(session_up::Message::Open(SessionOpen::default()));
        let down = connection
            .client()
            .session(UnboundedReceiverStream::new(messages))
            .await;
        let mut down = down.expect("a session").into_inner();
        let pin = Pin {
            node: directory.node().id().0.as_bytes().to_vec(),
            content: self.manifest.content().as_bytes().to_vec(),
        };
        say(session_up::Message::Read(ReadRequest {
            request: 1,
            nodes: [directory.node(), file.node()]
                .map(|node| node.encoding().to_vec())
                .to_vec(),
            pins: vec![pin],
            read: encode(&Read {
                node: file.node().id(),
                question: Question::Contents,
            }),
        }));
        loop {
            let message = down
                .message()
                .await
                .expect("a message")
                .expect("the session goes on");
            let Some(session_down::Message::Answer(answer)) = message.message else {
                continue;
            };
            return match answer.outcome.expect("an outcome") {
                read_reply::Outcome::Answer(bytes) => match decode(&bytes).expect("an answer") {
                    Answer::Bytes(bytes) => Ok(bytes),
                    other => panic!("{other:?}"),
                },
                read_reply::Outcome::Error(bytes) => Err(decode(&bytes).expect("an error")),
            };
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_alone_gives_no_file() {
    let server = Server::start();
    let (ann, bob) = (server.connection("ann").await, server.connection("bob").await);
    let tree = Tree::new(&random());
    assert_eq!(tree.missing(&ann).await.files.len(), 1);
    tree.send(&ann, true).await.expect("it is taken");
    assert!(
        tree.missing(&ann).await.complete,
        "what was sent need not be sent again"
    );
    assert_eq!(tree.read(&ann).await.expect("its own file"), tree.content);
    // Bob knows all that can be known without the file.
    let told = tree.missing(&bob).await;
    assert!(!told.complete);
    assert_eq!(
        told.files,
        [tree.file().as_bytes().to_vec()],
        "as if nobody had it"
    );
    let error = tree.read(&bob).await.expect_err("bob has never sent it");
    assert!(error.to_string().contains("has not sent"), "{error}");
    let refused = tree
        .send(&bob, false)
        .await
        .expect_err("bob has never sent the file");
    assert!(refused.message().contains("bob has not sent"), "{refused}");
    assert!(
        tree.read(&bob).await.is_err(),
        "a refused manifest proves nothing"
    );
    // Who has it may have it.
    tree.send(&bob, true).await.expect("it is taken");
    assert_eq!(tree.read(&bob).await.expect("the file"), tree.content);
    // The machine's own need no proofs.
    let local = Connection::open(&server.world.path("wharf/run/engine.sock")).await;
    assert!(tree.missing(&local.expect("a connection")).await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_proved_outlives_the_engine() {
    let mut server = Server::start();
    let tree = Tree::new(&random());
    tree.send(&server.connection("ann").await, true)
        .await
        .expect("it is taken");
    server.restart();
    let (ann, bob) = (server.connection("ann").await, server.connection("bob").await);
    assert!(tree.missing(&ann).await.complete);
    assert!(!tree.missing(&bob).await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_no_more_than_it_may() {
    let server = Server::with(&["127.0.0.1"], &["--peer-upload", "1000"]);
    let (ann, bob) = (server.connection("ann").await, server.connection("bob").await);
    let refused = Tree::new(&"x".repeat(2000))
        .send(&ann, true)
        .await
        .expect_err("too much");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("ann has sent") && refused.message().contains("--peer-upload"));
    let small = Tree::new(&random());
    small.send(&bob, true).await.expect("bob has sent nothing yet");
}
