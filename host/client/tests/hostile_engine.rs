//! An engine that asks for more than it was sent work for. It is made up: Wharf's own does not ask so.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};

use futures::{Stream, StreamExt};
use tokio::{net::UnixListener, sync::mpsc};
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, Streaming};
use wharf_client::{Connection, Connector, Session, SessionOptions};
use wharf_graph::{
    Container, Directory, Error, Secret, Service,
    op::{HostPort, SecretId},
    read::Question,
};
use wharf_proto::{
    VERSION, encode,
    v1::{self, credential_reply, engine_server, read_reply, secret_reply, session_down, session_up},
};

type Down<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What is asked for.
#[derive(Clone)]
enum Wish {
    Secret(SecretId),
    Login(String),
    Place(u16),
}

/// An engine that answers no question before it was answered its own.
#[derive(Clone)]
struct Hostile {
    wishes: Arc<Vec<Wish>>,
    /// What came of each, in order.
    got: Arc<Mutex<Vec<String>>>,
}

impl Hostile {
    /// One that listens on a socket in this directory.
    fn start(directory: &Path, name: &str, wishes: &[Wish]) -> (Self, Connector) {
        let socket = directory.join(name);
        let listener = UnixListener::bind(&socket).unwrap();
        let engine = Self {
            wishes: Arc::new(wishes.to_vec()),
            got: Arc::default(),
        };
        let server = tonic::transport::Server::builder()
            .add_service(engine_server::EngineServer::new(engine.clone()))
            .serve_with_incoming(UnixListenerStream::new(listener));
        tokio::spawn(server);
        let connector: Connector = Box::new(move || {
            let socket = socket.clone();
            Box::pin(async move { Connection::open(&socket).await })
        });
        (engine, connector)
    }

    fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }

    fn message(request: u64, wish: &Wish) -> session_down::Message {
        match wish {
            Wish::Secret(secret) => session_down::Message::Secret(v1::SecretRequest {
                request,
                owner: secret.owner.clone(),
                uri: secret.uri.clone(),
            }),
            Wish::Login(server) => session_down::Message::Credential(v1::CredentialRequest {
                request,
                server: server.clone(),
            }),
            Wish::Place(port) => session_down::Message::Dial(v1::Dial {
                request,
                host: "127.0.0.1".to_owned(),
                port: u32::from(*port),
            }),
        }
    }
}

/// What an answer gives away; none when it is none to a wish.
fn given(answer: session_up::Message) -> Option<String> {
    match answer {
        session_up::Message::Secret(reply) => Some(match reply.outcome? {
            secret_reply::Outcome::Value(value) => String::from_utf8(value).unwrap(),
            secret_reply::Outcome::Error(error) => error,
        }),
        session_up::Message::Credential(reply) => Some(match reply.credential {
            Some(credential_reply::Credential::Password(password)) => password.user,
            Some(credential_reply::Credential::IdentityToken(_)) => "a token".to_owned(),
            None => "no login".to_owned(),
        }),
        session_up::Message::DialFailed(failed) => Some(failed.error),
        _ => None,
    }
}

macro_rules! never_asked {
    ($($name:ident: $request:ty => $reply:ty),* $(,)?) => {
        #[tonic::async_trait]
        impl engine_server::Engine for Hostile {
            type SessionStream = Down<v1::SessionDown>;
            type ExportStream = Down<v1::ExportReply>;
            type StepLogStream = Down<v1::StepLogReply>;
            type ForwardStream = Down<v1::Piece>;
            type TerminalStream = Down<v1::TerminalDown>;

            async fn hello(&self, _: Request<v1::HelloRequest>) -> Result<Response<v1::HelloReply>, Status> {
                Ok(Response::new(v1::HelloReply {
                    version: VERSION.to_owned(),
                    pid: std::process::id(),
                }))
            }

            async fn session(
                &self,
                request: Request<Streaming<v1::SessionUp>>,
            ) -> Result<Response<Self::SessionStream>, Status> {
                let (down, messages) = mpsc::unbounded_channel();
                tokio::spawn(self.clone().interrogate(request.into_inner(), down));
                let messages = UnboundedReceiverStream::new(messages);
                Ok(Response::new(Box::pin(messages.map(|message| {
                    Ok(v1::SessionDown { message: Some(message) })
                }))))
            }

            $(async fn $name(&self, _: Request<$request>) -> Result<Response<$reply>, Status> {
                Err(Status::unimplemented(stringify!($name)))
            })*
        }
    };
}

never_asked! {
    missing: v1::MissingRequest => v1::MissingReply,
    upload: Streaming<v1::UploadRequest> => v1::UploadReply,
    export: v1::ExportRequest => Down<v1::ExportReply>,
    forward: Streaming<v1::Piece> => Down<v1::Piece>,
    terminal: Streaming<v1::TerminalUp> => Down<v1::TerminalDown>,
    publish: v1::PublishRequest => v1::PublishReply,
    step_log: v1::StepLogRequest => Down<v1::StepLogReply>,
    status: v1::StatusRequest => v1::StatusReply,
    gpus: v1::GpusRequest => v1::GpusReply,
    usage: v1::UsageRequest => v1::UsageReply,
    prune: v1::PruneRequest => v1::PruneReply,
    verify: v1::VerifyRequest => v1::VerifyReply,
    stop: v1::StopRequest => v1::StopReply,
}

impl Hostile {
    async fn interrogate(
        self,
        mut up: Streaming<v1::SessionUp>,
        down: mpsc::UnboundedSender<session_down::Message>,
    ) {
        down.send(session_down::Message::Opened(v1::SessionOpened { session: 1 }))
            .ok();
        let mut question = None;
        while let Some(Ok(message)) = up.next().await {
            match message.message {
                Some(session_up::Message::Read(read)) => question = Some(read.request),
                Some(message) => self.got.lock().unwrap().extend(given(message)),
                None => {}
            }
            let answered = self.got().len();
            let next = match (question, self.wishes.get(answered)) {
                (None, _) => continue,
                (Some(_), Some(wish)) => Self::message(answered as u64, wish),
                (Some(request), None) => {
                    let refused = Error::Invalid("that was all".to_owned());
                    let outcome = Some(read_reply::Outcome::Error(encode(&refused)));
                    session_down::Message::Answer(v1::ReadReply { request, outcome })
                }
            };
            down.send(next).ok();
        }
    }
}

/// A run that has two of everything, and a directory whose making takes the first of each.
struct Setting {
    place: tempfile::TempDir,
    directory: Directory,
    wishes: Vec<Wish>,
    /// Keep the run's places open.
    _listeners: [TcpListener; 2],
}

impl Setting {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let secret = |value: &str| {
            let file = place.path().join(value);
            fs::write(&file, value).unwrap();
            SecretId {
                owner: "project".to_owned(),
                uri: format!("file:{}", file.display()),
            }
        };
        let secrets = ["first", "second"].map(secret);
        // `ann:word` and `bob:word`.
        let logins = r#"{"auths": {"one.example": {"auth": "YW5uOndvcmQ="}, "two.example": {"auth": "Ym9iOndvcmQ="}}}"#;
        fs::write(place.path().join("config.json"), logins).unwrap();
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = [0, 1].map(|place: usize| listeners[place].local_addr().unwrap().port());
        let service = Service::host(
            "127.0.0.1",
            &[HostPort {
                host: ports[0],
                service: 80,
            }],
        );
        let secret = Secret {
            name: "token".to_owned(),
            id: secrets[0].clone(),
        };
        let directory = Container::image("one.example/image:1", None)
            .with_service("host", &service)
            .with_mounted_secret("/token", &secret, None, None)
            .directory("/made");
        let wishes = secrets.into_iter().map(Wish::Secret);
        let wishes =
            wishes.chain(["one.example", "two.example"].map(|server| Wish::Login(server.to_owned())));
        Self {
            wishes: wishes.chain(ports.map(Wish::Place)).collect(),
            place,
            directory,
            _listeners: listeners,
        }
    }

    /// An engine that asks for all that the run has.
    fn engine(&self, name: &str) -> (Hostile, Connector) {
        Hostile::start(self.place.path(), name, &self.wishes)
    }

    /// A run with this engine.
    fn run(&self, engine: Connector) -> Session {
        let options = SessionOptions {
            stat_cache: self.place.path().join("cache"),
            logins: Some(self.place.path().join("config.json")),
            ..SessionOptions::default()
        };
        let (events, _) = mpsc::unbounded_channel();
        let session = Session::new(engine, options, events);
        for wish in &self.wishes {
            match wish {
                Wish::Secret(secret) => session.register_secret(secret.clone()),
                Wish::Place(port) => session.allow_dial("127.0.0.1", *port),
                Wish::Login(_) => {}
            }
        }
        session
    }

    /// What the second secret and the second place are refused with.
    fn refusals(&self) -> [String; 2] {
        let name = |wish: &Wish| match wish {
            Wish::Secret(secret) => format!("the secret {}", secret.uri),
            Wish::Login(server) => server.clone(),
            Wish::Place(port) => format!("127.0.0.1:{port} of this machine"),
        };
        [1, 5].map(|wish: usize| {
            let name = name(&self.wishes[wish]);
            format!("{name}: nothing that the engine was asked for names it")
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runs_own_engine_is_told_what_its_work_names_and_any_login() {
    let setting = Setting::new();
    let (engine, connector) = setting.engine("own");
    let run = setting.run(connector);
    let answer = run.read(setting.directory.node(), Question::Digest).await;
    assert_eq!(answer.unwrap_err(), Error::Invalid("that was all".to_owned()));
    let [secret, place] = setting.refusals();
    assert_eq!(engine.got(), ["first", &secret, "ann", "bob", "forward", &place]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_told_what_its_work_names_alone() {
    let setting = Setting::new();
    let (own, connector) = setting.engine("own");
    let (target, of_target) = setting.engine("target");
    let of_target = Mutex::new(Some(of_target));
    let run = setting.run(connector);
    run.offer_targets(Box::new(move |_| Ok(of_target.lock().unwrap().take().unwrap())));
    let directory = setting.directory.on_target("box");
    let answer = run.read(directory.node(), Question::Digest).await;
    assert_eq!(answer.unwrap_err(), Error::Invalid("that was all".to_owned()));
    let [secret, place] = setting.refusals();
    assert_eq!(
        target.got(),
        ["first", &secret, "ann", "no login", "forward", &place]
    );
    assert_eq!(own.got(), Vec::<String>::new(), "it was sent nothing");
}
