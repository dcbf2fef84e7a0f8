//! Methods of handles, for callers who write them by name: `wharf call build file --path app`. They are what modules call
//! through `wharf:pipeline`, by the same names; one read, `config`, shows what modules ask for piece by piece.

mod changeset;
mod container;
mod edits;
mod files;
mod gpu;
mod publish;
mod service;
mod terminal;

use futures::future::BoxFuture;
use wharf_graph::{
    Directory, Error, File, Node, Secret, Service,
    read::{Answer, Match, Question, Search, SearchOptions},
};

use crate::{Function, Handle, Param, Pipeline, Type, Value};

/// A method: its signature, without the handle that it is called on, and what it does.
#[derive(Clone, Debug)]
pub struct Method {
    /// Name, parameters, result and documentation.
    pub signature: Function,
    effect: Effect,
}

#[derive(Clone, Debug)]
enum Effect {
    /// Appends to the graph.
    Build(fn(&Value, Arguments<'_>) -> Option<Value>),
    /// Asks a question and reads its answer.
    Read(
        fn(Arguments<'_>) -> Option<Question>,
        fn(Answer) -> Result<Value, Error>,
    ),
    /// Does something else.
    Act(Act),
}

/// What a method does that asks more than one question; none where what it is given does not fit.
type Act = for<'a> fn(&'a Value, Arguments<'a>, &'a dyn Pipeline) -> Option<Acting<'a>>;
type Acting<'a> = BoxFuture<'a, Result<Value, Error>>;

/// The methods of a handle; secrets and cache volumes have none.
pub fn methods(handle: Handle) -> Vec<Method> {
    match handle {
        Handle::Container => container::methods(),
        Handle::Directory => files::directory(),
        Handle::File => files::file(),
        Handle::Service => service::methods(),
        Handle::Changeset => changeset::methods(),
        Handle::Secret | Handle::Volume => Vec::new(),
    }
}

impl Method {
    /// Calls it on a handle, with arguments in the order of its parameters.
    ///
    /// # Errors
    /// When a read fails, or what is given does not fit the signature.
    pub async fn call(
        &self,
        own: &Value,
        arguments: &[Value],
        pipeline: &dyn Pipeline,
    ) -> Result<Value, Error> {
        let misfit = || {
            Error::Invalid(format!(
                "{} was called on or with something else",
                self.signature.name
            ))
        };
        match self.effect {
            Effect::Build(build) => build(own, Arguments(arguments)).ok_or_else(misfit),
            Effect::Read(question, value) => {
                let question = question(Arguments(arguments)).ok_or_else(misfit)?;
                let answer = pipeline.read(node(own).ok_or_else(misfit)?, question).await?;
                value(answer)
            }
            Effect::Act(act) => act(own, Arguments(arguments), pipeline).ok_or_else(misfit)?.await,
        }
    }
}

fn node(value: &Value) -> Option<&std::sync::Arc<Node>> {
    match value {
        Value::Container(container) => Some(container.node()),
        Value::Directory(directory) => Some(directory.node()),
        Value::File(file) => Some(file.node()),
        Value::Service(service) => Some(service.node()),
        Value::Changeset(changes) => Some(changes.node()),
        _ => None,
    }
}

/// Arguments by position. What does not fit is none; signatures are checked before.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [Value]);

impl<'a> Arguments<'a> {
    fn text(self, at: usize) -> Option<&'a str> {
        match self.given(at)? {
            Value::String(text) | Value::Enum(text) => Some(text),
            _ => None,
        }
    }

    fn texts(self, at: usize) -> Option<Vec<String>> {
        let Value::List(items) = self.0.get(at)? else {
            return None;
        };
        let texts = items.iter().map(|item| match item {
            Value::String(text) => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }

    fn switch(self, at: usize) -> Option<bool> {
        match self.0.get(at)? {
            Value::Bool(is) => Some(*is),
            _ => None,
        }
    }

    fn directory(self, at: usize) -> Option<&'a Directory> {
        match self.0.get(at)? {
            Value::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn service(self, at: usize) -> Option<&'a Service> {
        match self.0.get(at)? {
            Value::Service(service) => Some(service),
            _ => None,
        }
    }

    fn port(self, at: usize) -> Option<u16> {
        match self.given(at)? {
            Value::Integer(port) => u16::try_from(*port).ok(),
            _ => None,
        }
    }

    fn number(self, at: usize) -> Option<u64> {
        match self.given(at)? {
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// An argument, unless it was left out.
    fn given(self, at: usize) -> Option<&'a Value> {
        match self.0.get(at)? {
            Value::Option(given) => given.as_deref(),
            value => Some(value),
        }
    }

    fn secret(self, at: usize) -> Option<&'a Secret> {
        match self.given(at)? {
            Value::Secret(secret) => Some(secret),
            _ => None,
        }
    }

    fn file(self, at: usize) -> Option<&'a File> {
        match self.0.get(at)? {
            Value::File(file) => Some(file),
            _ => None,
        }
    }
}

/// A parameter that has to be given.
fn param(name: &str, ty: Type, docs: &str) -> Param {
    Param {
        name: name.to_owned(),
        ty,
        docs: docs.to_owned(),
        default: None,
    }
}

fn path(docs: &str) -> Param {
    param("path", Type::String, docs)
}

fn texts(name: &str, docs: &str) -> Param {
    param(name, Type::List(Box::new(Type::String)), docs)
}

fn signature(name: &str, docs: &str, params: Vec<Param>, result: Option<Type>) -> Function {
    Function {
        name: name.to_owned(),
        interface: None,
        params,
        result,
        docs: docs.to_owned(),
        is_check: false,
    }
}

fn build(
    name: &str,
    docs: &str,
    params: Vec<Param>,
    result: Handle,
    build: fn(&Value, Arguments<'_>) -> Option<Value>,
) -> Method {
    Method {
        signature: signature(name, docs, params, Some(Type::Handle(result))),
        effect: Effect::Build(build),
    }
}

fn read(
    name: &str,
    docs: &str,
    params: Vec<Param>,
    result: Option<Type>,
    question: fn(Arguments<'_>) -> Option<Question>,
    value: fn(Answer) -> Result<Value, Error>,
) -> Method {
    Method {
        signature: signature(name, docs, params, result),
        effect: Effect::Read(question, value),
    }
}

fn act(name: &str, docs: &str, params: Vec<Param>, result: Option<Type>, act: Act) -> Method {
    Method {
        signature: signature(name, docs, params, result),
        effect: Effect::Act(act),
    }
}

fn mismatch() -> Result<Value, Error> {
    Err(Error::other("protocol", "the engine gave another kind of answer"))
}

fn text_of(answer: Answer) -> Result<Value, Error> {
    match answer {
        Answer::Text(text) => Ok(Value::String(text)),
        _ => mismatch(),
    }
}

fn names_of(answer: Answer) -> Result<Value, Error> {
    match answer {
        Answer::Names(names) => Ok(Value::List(names.into_iter().map(Value::String).collect())),
        _ => mismatch(),
    }
}

fn size_of(answer: Answer) -> Result<Value, Error> {
    match answer {
        Answer::Size(size) => Ok(Value::Integer(size.into())),
        _ => mismatch(),
    }
}

fn found_of(answer: Answer) -> Result<Value, Error> {
    match answer {
        Answer::Found(path) => Ok(Value::Option(path.map(|path| Box::new(Value::String(path))))),
        _ => mismatch(),
    }
}

/// What was found, as grep shows it.
fn matches_of(answer: Answer) -> Result<Value, Error> {
    let line = |found: Match| {
        let Match {
            path,
            line,
            column,
            text,
            ..
        } = found;
        Value::String(format!("{path}:{line}:{column}: {text}"))
    };
    match answer {
        Answer::Matches(found) => Ok(Value::List(found.into_iter().map(line).collect())),
        _ => mismatch(),
    }
}

/// A search with this pattern and the options that modules do not set.
fn search(pattern: Option<&str>) -> Option<Question> {
    Some(Question::Search(Search {
        pattern: pattern?.to_owned(),
        options: SearchOptions::default(),
    }))
}

fn bool_of(answer: Answer) -> Result<Value, Error> {
    match answer {
        Answer::Bool(is) => Ok(Value::Bool(is)),
        _ => mismatch(),
    }
}

fn done(answer: Answer) -> Result<Value, Error> {
    match answer {
        Answer::Done => Ok(Value::Unit),
        _ => mismatch(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names in the package that modules see, of a file's functions.
    fn interface(text: &str) -> BTreeSet<&str> {
        let lines = text.lines().filter_map(|line| line.trim().split_once(": "));
        let functions =
            lines.filter(|(_, rest)| rest.starts_with("func(") || rest.starts_with("async func("));
        functions.map(|(name, _)| name).collect()
    }

    #[test]
    fn a_method_is_called_what_modules_call_it() {
        let named = [
            include_str!("../../../../wit/container.wit"),
            include_str!("../../../../wit/filesystem.wit"),
            include_str!("../../../../wit/network.wit"),
            include_str!("../../../../wit/eval.wit"),
            include_str!("../../../../wit/service.wit"),
            include_str!("../../../../wit/serve.wit"),
            include_str!("../../../../wit/host.wit"),
            include_str!("../../../../wit/registry.wit"),
            include_str!("../../../../wit/exports.wit"),
            include_str!("../../../../wit/image.wit"),
            include_str!("../../../../wit/debug.wit"),
            include_str!("../../../../wit/gpu.wit"),
        ];
        let named: BTreeSet<&str> = named.into_iter().flat_map(interface).collect();
        for (handle, prefix) in [
            (Handle::Container, "container-"),
            (Handle::Directory, "directory-"),
            (Handle::File, "file-"),
            (Handle::Service, "service-"),
            (Handle::Changeset, ""),
        ] {
            for Method { signature, .. } in methods(handle) {
                let name = signature.name.as_str();
                // One read that shows what modules ask for piece by piece, and the SDKs' name for a constructor.
                let is_named = named.contains(name)
                    || named.contains(&*format!("{prefix}{name}"))
                    || name == "config"
                    || name == "as-service";
                assert!(is_named, "{handle} has a method {name} that modules do not know");
                assert!(
                    !signature.docs.is_empty() && signature.params.iter().all(|param| !param.docs.is_empty())
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_no_panic() {
        for handle in [
            Handle::Container,
            Handle::Directory,
            Handle::File,
            Handle::Service,
            Handle::Changeset,
        ] {
            for method in methods(handle) {
                if let Effect::Build(build) = method.effect {
                    assert!(
                        build(&Value::Unit, Arguments(&[])).is_none(),
                        "{}",
                        method.signature.name
                    );
                }
            }
        }
    }
}
