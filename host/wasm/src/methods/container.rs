//! Methods of containers.

use wharf_graph::{
    Container, Error,
    op::{Configure, ExecOptions, Network, ServiceOptions, Stream},
    read::{Answer, Question},
};

use wharf_hosts::Hosts;

use super::{
    Method, build, done,
    edits::edits,
    mismatch, param, path,
    publish::{load, publish},
    read,
    terminal::terminal,
    text_of, texts,
};
use crate::{Case, DefaultValue, Field, Handle, Param, Type, Value};

pub(super) fn methods() -> Vec<Method> {
    let mut methods = reads();
    methods.extend(builders());
    methods.extend(outputs());
    methods.extend(connections());
    methods.extend(edits(Handle::Container));
    methods.extend([publish(), load(), terminal()]);
    methods
}

fn on_container(own: &Value, then: impl FnOnce(&Container) -> Option<Container>) -> Option<Value> {
    match own {
        Value::Container(container) => then(container).map(Value::Container),
        _ => None,
    }
}

/// What is known of it, and what its last step printed.
fn reads() -> Vec<Method> {
    let code = |answer| match answer {
        Answer::ExitCode(code) => Ok(Value::Integer(code.into())),
        _ => mismatch(),
    };
    let known = |answer| match answer {
        Answer::Configuration(known) => Ok(Value::Record(vec![
            (
                "image".to_owned(),
                Value::Option(known.image_ref.map(|image| Box::new(Value::String(image)))),
            ),
            ("user".to_owned(), Value::String(known.config.user)),
            ("workdir".to_owned(), Value::String(known.config.workdir)),
            ("entrypoint".to_owned(), strings(known.config.entrypoint)),
            ("default-args".to_owned(), strings(known.config.default_args)),
            (
                "env".to_owned(),
                strings(
                    known
                        .config
                        .env
                        .into_iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect(),
                ),
            ),
            ("mounts".to_owned(), strings(known.mounts)),
        ])),
        _ => mismatch(),
    };
    vec![
        read(
            "stdout",
            "Standard output of the last step.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Stdout),
            text_of,
        ),
        read(
            "stderr",
            "Standard error of the last step.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Stderr),
            text_of,
        ),
        read(
            "combined-output",
            "All output of the last step, in the order of its arrival.",
            vec![],
            Some(Type::String),
            |_| Some(Question::CombinedOutput),
            text_of,
        ),
        read(
            "exit-code",
            "Exit code of the last step.",
            vec![],
            Some(Type::Integer(true, 32)),
            |_| Some(Question::ExitCode),
            code,
        ),
        read(
            "digest",
            "Digest of its root file system and configuration.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Digest),
            text_of,
        ),
        read(
            "sync",
            "Run what is needed, show nothing.",
            vec![],
            None,
            |_| Some(Question::Sync),
            done,
        ),
        read(
            "config",
            "How its commands run: image, user, variables. Runs nothing.",
            vec![],
            Some(configuration()),
            |_| Some(Question::Configuration),
            known,
        ),
    ]
}

/// The type of what `config` returns.
fn configuration() -> Type {
    let texts = || Type::List(Box::new(Type::String));
    let fields = [
        ("image", Type::Option(Box::new(Type::String))),
        ("user", Type::String),
        ("workdir", Type::String),
        ("entrypoint", texts()),
        ("default-args", texts()),
        ("env", texts()),
        ("mounts", texts()),
    ];
    let field = |(name, ty): (&str, Type)| Field {
        name: name.to_owned(),
        ty,
        docs: String::new(),
    };
    Type::Record(fields.into_iter().map(field).collect::<Vec<_>>().into())
}

/// What is in it, and how its later commands run.
fn builders() -> Vec<Method> {
    vec![
        build(
            "rootfs",
            "The root file system.",
            vec![],
            Handle::Directory,
            |own, _| match own {
                Value::Container(container) => Some(Value::Directory(container.rootfs())),
                _ => None,
            },
        ),
        build(
            "directory",
            "A directory in it.",
            vec![path("Where it is.")],
            Handle::Directory,
            |own, given| match own {
                Value::Container(container) => Some(Value::Directory(container.directory(given.text(0)?))),
                _ => None,
            },
        ),
        build(
            "file",
            "A file in it.",
            vec![path("Where it is.")],
            Handle::File,
            |own, given| match own {
                Value::Container(container) => Some(Value::File(container.file(given.text(0)?))),
                _ => None,
            },
        ),
        build(
            "with-exec",
            "The same, with a command run in it.",
            vec![texts(
                "args",
                "The program and its arguments, one each, or a JSON list.",
            )],
            Handle::Container,
            |own, given| {
                on_container(own, |own| {
                    Some(own.with_exec(&given.texts(0)?, ExecOptions::default()))
                })
            },
        ),
        build(
            "with-env-variable",
            "The same, with a variable for later commands.",
            vec![
                param("name", Type::String, "The name."),
                param("value", Type::String, "The value."),
            ],
            Handle::Container,
            |own, given| {
                let env = Configure::Env {
                    name: given.text(0)?.to_owned(),
                    value: given.text(1)?.to_owned(),
                    expand: false,
                };
                on_container(own, |own| Some(own.configure(env)))
            },
        ),
        build(
            "with-workdir",
            "The same, with another working directory for later commands.",
            vec![path("The directory.")],
            Handle::Container,
            |own, given| {
                on_container(own, |own| {
                    Some(own.configure(Configure::Workdir(given.text(0)?.to_owned())))
                })
            },
        ),
        build(
            "with-user",
            "The same, with another user for later commands.",
            vec![param("name", Type::String, "user[:group], names or numbers.")],
            Handle::Container,
            |own, given| {
                on_container(own, |own| {
                    Some(own.configure(Configure::User(given.text(0)?.to_owned())))
                })
            },
        ),
    ]
}

/// What its last step printed, as files.
fn outputs() -> Vec<Method> {
    vec![
        build(
            "stdout-file",
            "Standard output of the last step as a file, however large.",
            vec![],
            Handle::File,
            |own, _| match own {
                Value::Container(container) => Some(Value::File(container.output_file(Stream::Stdout))),
                _ => None,
            },
        ),
        build(
            "stderr-file",
            "Standard error of the last step as a file, however large.",
            vec![],
            Handle::File,
            |own, _| match own {
                Value::Container(container) => Some(Value::File(container.output_file(Stream::Stderr))),
                _ => None,
            },
        ),
    ]
}

/// What its later commands reach, and how it is reached.
fn connections() -> Vec<Method> {
    let network = Type::Enum(vec![Case::plain("none"), Case::plain("all")].into());
    vec![
        build(
            "with-service",
            "The same, whose later commands reach a service by a name.",
            vec![
                param("alias", Type::String, "The name."),
                param("service", Type::Handle(Handle::Service), "The service."),
            ],
            Handle::Container,
            |own, given| {
                on_container(own, |own| {
                    Some(own.with_service(given.text(0)?, given.service(1)?))
                })
            },
        ),
        build(
            "as-service",
            "The service that its process is, on the ports that it exposes.",
            vec![texts(
                "args",
                "The command; its entrypoint and default arguments when there is none.",
            )],
            Handle::Service,
            |own, given| match own {
                Value::Container(container) => Some(Value::Service(container.as_service(ServiceOptions {
                    args: given.texts(0)?,
                    ..ServiceOptions::default()
                }))),
                _ => None,
            },
        ),
        build(
            "with-exposed-port",
            "The same, with a port noted on which it listens.",
            vec![
                param("port", Type::Integer(false, 16), "The port."),
                Param {
                    default: Some(DefaultValue::Value("tcp".into())),
                    ..param("protocol", Type::String, "tcp or udp.")
                },
            ],
            Handle::Container,
            |own, given| {
                let port = format!("{}/{}", given.port(0)?, given.text(1)?);
                on_container(own, |own| Some(own.configure(Configure::Expose(port))))
            },
        ),
        build(
            "with-network",
            "The same, with or without a network for later commands.",
            vec![param("mode", network, "What they can reach.")],
            Handle::Container,
            |own, given| {
                let network = match given.text(0)? {
                    "all" => Network::All,
                    _ => Network::None,
                };
                on_container(own, |own| Some(own.with_network(network.clone())))
            },
        ),
        build(
            "with-network-hosts",
            "The same, whose later commands reach these hosts and nothing else of the network.",
            vec![texts(
                "hosts",
                "Hosts, as in example.com, *.example.com or example.com:443.",
            )],
            Handle::Container,
            |own, given| {
                let network = match Hosts::parse(given.texts(0)?) {
                    Ok(hosts) if hosts.is_empty() => Network::None,
                    Ok(hosts) => Network::Hosts(hosts),
                    Err(error) => {
                        return Some(Value::Container(Container::failed(Error::Invalid(
                            error.to_string(),
                        ))));
                    }
                };
                on_container(own, |own| Some(own.with_network(network.clone())))
            },
        ),
    ]
}

fn strings(texts: Vec<String>) -> Value {
    Value::List(texts.into_iter().map(Value::String).collect())
}
