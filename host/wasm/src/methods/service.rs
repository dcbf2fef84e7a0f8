//! Methods of services.

use futures::FutureExt;
use wharf_graph::{
    Error,
    op::HostPort,
    read::{Answer, Question},
};

use super::{Acting, Arguments, Method, act, mismatch, param, read, text_of, texts};
use crate::{Pipeline, Type, Value, interface::endpoint};

pub(super) fn methods() -> Vec<Method> {
    let maybe = |ty| Type::Option(Box::new(ty));
    vec![
        act(
            "endpoint",
            "Where a step that is bound to it reaches it. Starts nothing.",
            vec![
                param("port", maybe(Type::Integer(false, 16)), "Its first unless given."),
                param(
                    "scheme",
                    maybe(Type::String),
                    "What stands before it, such as http.",
                ),
            ],
            Some(Type::String),
            find_endpoint,
        ),
        read(
            "hostname",
            "The name that every step that is bound to it knows it by. Starts nothing.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Hostname),
            text_of,
        ),
        read(
            "ports",
            "The ports on which it listens. Starts nothing.",
            vec![],
            Some(Type::List(Box::new(Type::String))),
            |_| Some(Question::Ports),
            |answer| match answer {
                Answer::Ports(ports) => Ok(Value::List(
                    ports.iter().map(|port| Value::String(port.to_string())).collect(),
                )),
                _ => mismatch(),
            },
        ),
        read(
            "logs",
            "What it printed until it was healthy.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Logs),
            text_of,
        ),
        act(
            "up",
            "Let programs of this machine reach it, until it ends or Ctrl-C.",
            vec![texts(
                "ports",
                "HOST:SERVICE, each a port of this machine (0 for any) that leads to one of it; its own when there is none.",
            )],
            None,
            up,
        ),
    ]
}

fn up<'a>(own: &'a Value, given: Arguments<'a>, pipeline: &'a dyn Pipeline) -> Option<Acting<'a>> {
    let (Value::Service(service), texts) = (own, given.texts(0)?) else {
        return None;
    };
    let up = async move {
        let ports = texts.iter().map(|text| forward(text));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        pipeline.up(service.node(), &ports).await?;
        Ok(Value::Unit)
    };
    Some(up.boxed())
}

/// `8080:80`, or one number for both.
fn forward(text: &str) -> Result<HostPort, Error> {
    let (host, service) = text.split_once(':').unwrap_or((text, text));
    match (host.parse(), service.parse()) {
        (Ok(host), Ok(service)) if service > 0 => Ok(HostPort { host, service }),
        _ => Err(Error::Invalid(format!(
            "--ports: {text:?} is no pair of ports: write HOST:SERVICE, such as 8080:80"
        ))),
    }
}

fn find_endpoint<'a>(own: &'a Value, given: Arguments<'a>, pipeline: &'a dyn Pipeline) -> Option<Acting<'a>> {
    let Value::Service(service) = own else {
        return None;
    };
    let finding = async move {
        let ports = pipeline.read(service.node(), Question::Ports).await?;
        let hostname = pipeline.read(service.node(), Question::Hostname).await?;
        match (hostname, ports) {
            (Answer::Text(hostname), Answer::Ports(ports)) => {
                endpoint(&hostname, &ports, given.port(0), given.text(1)).map(Value::String)
            }
            _ => mismatch(),
        }
    };
    Some(finding.boxed())
}
