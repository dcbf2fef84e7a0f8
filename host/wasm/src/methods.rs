//! Methods of handles, for callers who write them by name: `wharf call build file --path app`. They are what modules call
//! through `wharf:pipeline`, by the same names; one read, `config`, shows what modules ask for piece by piece.

use serde_json::json;
use wharf_graph::{
    Container, Directory, Error, File, Node,
    build::Edit,
    op::{Configure, CopyOptions, ExecOptions, Filter, Network},
    read::{Answer, Question},
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
    Read(fn(Arguments<'_>) -> Option<Question>, fn(Answer) -> Option<Value>),
}

/// The methods of a handle; secrets and cache volumes have none.
pub fn methods(handle: Handle) -> Vec<Method> {
    match handle {
        Handle::Container => container(),
        Handle::Directory => directory(),
        Handle::File => file(),
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
                if let Answer::Bytes(bytes) = &answer
                    && std::str::from_utf8(bytes).is_err()
                {
                    let message = "the file is not UTF-8 text; without `contents`, `-o PATH` writes it";
                    return Err(Error::Invalid(message.to_owned()));
                }
                value(answer)
                    .ok_or_else(|| Error::other("protocol", "the engine gave another kind of answer"))
            }
        }
    }
}

fn node(value: &Value) -> Option<&std::sync::Arc<Node>> {
    match value {
        Value::Container(container) => Some(container.node()),
        Value::Directory(directory) => Some(directory.node()),
        Value::File(file) => Some(file.node()),
        _ => None,
    }
}

/// Arguments by position. What does not fit is none; signatures are checked before.
#[derive(Clone, Copy)]
struct Arguments<'a>(&'a [Value]);

impl<'a> Arguments<'a> {
    fn text(self, at: usize) -> Option<&'a str> {
        match self.0.get(at)? {
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

    fn directory(self, at: usize) -> Option<&'a Directory> {
        match self.0.get(at)? {
            Value::Directory(directory) => Some(directory),
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
    value: fn(Answer) -> Option<Value>,
) -> Method {
    Method {
        signature: signature(name, docs, params, result),
        effect: Effect::Read(question, value),
    }
}

fn text_of(answer: Answer) -> Option<Value> {
    match answer {
        Answer::Text(text) => Some(Value::String(text)),
        _ => None,
    }
}

fn names_of(answer: Answer) -> Option<Value> {
    match answer {
        Answer::Names(names) => Some(Value::List(names.into_iter().map(Value::String).collect())),
        _ => None,
    }
}

fn size_of(answer: Answer) -> Option<Value> {
    match answer {
        Answer::Size(size) => Some(Value::Integer(size.into())),
        _ => None,
    }
}

fn bool_of(answer: Answer) -> Option<Value> {
    match answer {
        Answer::Bool(is) => Some(Value::Bool(is)),
        _ => None,
    }
}

fn done(answer: Answer) -> Option<Value> {
    matches!(answer, Answer::Done).then_some(Value::Unit)
}

fn on_container(own: &Value, then: impl FnOnce(&Container) -> Option<Container>) -> Option<Value> {
    match own {
        Value::Container(container) => then(container).map(Value::Container),
        _ => None,
    }
}

fn on_directory(own: &Value, then: impl FnOnce(&Directory) -> Option<Directory>) -> Option<Value> {
    match own {
        Value::Directory(directory) => then(directory).map(Value::Directory),
        _ => None,
    }
}

/// The edits that containers and directories share.
fn edits(handle: Handle) -> Vec<Method> {
    fn edit(own: &Value, edit: Edit) -> Option<Value> {
        match own {
            Value::Container(container) => Some(Value::Container(container.edit(edit))),
            Value::Directory(directory) => Some(Value::Directory(directory.edit(edit))),
            _ => None,
        }
    }
    let to = || path("Where to; parents are made.");
    vec![
        build(
            "with-directory",
            "The same, with a directory's contents laid over a path.",
            vec![
                to(),
                param("source", Type::Handle(Handle::Directory), "What is laid there."),
            ],
            handle,
            |own, given| {
                edit(
                    own,
                    Edit::copy_directory(given.text(0)?, given.directory(1)?, CopyOptions::default()),
                )
            },
        ),
        build(
            "with-file",
            "The same, with a file put at a path.",
            vec![to(), param("source", Type::Handle(Handle::File), "The file.")],
            handle,
            |own, given| {
                edit(
                    own,
                    Edit::copy_file(given.text(0)?, given.file(1)?, CopyOptions::default()),
                )
            },
        ),
        build(
            "with-new-file",
            "The same, with a file of this text.",
            vec![to(), param("contents", Type::String, "The text.")],
            handle,
            |own, given| {
                edit(
                    own,
                    Edit::new_file(given.text(0)?, given.text(1)?.as_bytes(), None, None),
                )
            },
        ),
        build(
            "with-new-directory",
            "The same, with an empty directory.",
            vec![to()],
            handle,
            |own, given| edit(own, Edit::new_directory(given.text(0)?, None, None)),
        ),
        build(
            "without-directory",
            "The same, without a directory.",
            vec![path("What to remove.")],
            handle,
            |own, given| edit(own, Edit::remove(&[given.text(0)?.to_owned()])),
        ),
        build(
            "without-file",
            "The same, without a file.",
            vec![path("What to remove.")],
            handle,
            |own, given| edit(own, Edit::remove(&[given.text(0)?.to_owned()])),
        ),
    ]
}

fn container() -> Vec<Method> {
    let network = Type::Enum(vec!["none".to_owned(), "all".to_owned()]);
    let code = |answer| match answer {
        Answer::ExitCode(code) => Some(Value::Integer(code.into())),
        _ => None,
    };
    let known = |answer| match answer {
        Answer::Configuration(known) => Some(Value::Record(vec![
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
        _ => None,
    };
    let mut methods = vec![
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
            Some(Type::Record(Vec::new())),
            |_| Some(Question::Configuration),
            known,
        ),
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
                on_container(own, |own| Some(own.with_network(network)))
            },
        ),
    ];
    methods.extend(edits(Handle::Container));
    methods
}

fn directory() -> Vec<Method> {
    let mut within = path("Where to look.");
    within.default = Some(json!("/"));
    let mut methods = vec![
        read(
            "entries",
            "The names in it; a directory's ends with a slash.",
            vec![within],
            Some(Type::List(Box::new(Type::String))),
            |given| Some(Question::Entries(given.text(0)?.to_owned())),
            names_of,
        ),
        read(
            "glob",
            "The paths that match a pattern.",
            vec![param("pattern", Type::String, "The pattern, as in **/*.rs.")],
            Some(Type::List(Box::new(Type::String))),
            |given| Some(Question::Glob(given.text(0)?.to_owned())),
            names_of,
        ),
        read(
            "exists",
            "Is there something at a path?",
            vec![path("The path.")],
            Some(Type::Bool),
            |given| Some(Question::Exists(given.text(0)?.to_owned())),
            bool_of,
        ),
        read(
            "digest",
            "Digest of its content.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Digest),
            text_of,
        ),
        read(
            "size",
            "Bytes of all its files.",
            vec![],
            Some(Type::Integer(false, 64)),
            |_| Some(Question::Size),
            size_of,
        ),
        read(
            "sync",
            "Make it, show nothing.",
            vec![],
            None,
            |_| Some(Question::Sync),
            done,
        ),
        build(
            "directory",
            "A directory in it.",
            vec![path("Where it is.")],
            Handle::Directory,
            |own, given| on_directory(own, |own| Some(own.directory(given.text(0)?))),
        ),
        build(
            "file",
            "A file in it.",
            vec![path("Where it is.")],
            Handle::File,
            |own, given| match own {
                Value::Directory(directory) => Some(Value::File(directory.file(given.text(0)?))),
                _ => None,
            },
        ),
        build(
            "filter",
            "A part of it.",
            vec![
                texts(
                    "include",
                    "Patterns of what is taken; everything when there is none.",
                ),
                texts("exclude", "Patterns of what is left out."),
            ],
            Handle::Directory,
            |own, given| {
                let filter = Filter {
                    include: given.texts(0)?,
                    exclude: given.texts(1)?,
                    gitignore: false,
                };
                on_directory(own, |own| Some(own.filter(filter)))
            },
        ),
        build(
            "diff",
            "What another directory has that it lacks or has otherwise.",
            vec![param("other", Type::Handle(Handle::Directory), "The other.")],
            Handle::Directory,
            |own, given| on_directory(own, |own| Some(own.diff(given.directory(0)?))),
        ),
    ];
    methods.extend(edits(Handle::Directory));
    methods
}

fn file() -> Vec<Method> {
    vec![
        read(
            "contents",
            "Its text.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Contents),
            |answer| match answer {
                Answer::Bytes(bytes) => Some(Value::String(String::from_utf8_lossy(&bytes).into_owned())),
                _ => None,
            },
        ),
        read(
            "digest",
            "Digest of its content.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Digest),
            text_of,
        ),
        read(
            "size",
            "Its bytes.",
            vec![],
            Some(Type::Integer(false, 64)),
            |_| Some(Question::Size),
            size_of,
        ),
        read(
            "sync",
            "Make it, show nothing.",
            vec![],
            None,
            |_| Some(Question::Sync),
            done,
        ),
    ]
}

fn strings(texts: Vec<String>) -> Value {
    Value::List(texts.into_iter().map(Value::String).collect())
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
            include_str!("../../../wit/container.wit"),
            include_str!("../../../wit/filesystem.wit"),
            include_str!("../../../wit/network.wit"),
            include_str!("../../../wit/eval.wit"),
        ];
        let named: BTreeSet<&str> = named.into_iter().flat_map(interface).collect();
        for (handle, prefix) in [
            (Handle::Container, "container-"),
            (Handle::Directory, "directory-"),
            (Handle::File, "file-"),
        ] {
            for Method { signature, .. } in methods(handle) {
                let name = signature.name.as_str();
                // One read that shows what modules ask for piece by piece.
                let is_named =
                    named.contains(name) || named.contains(&*format!("{prefix}{name}")) || name == "config";
                assert!(is_named, "{handle} has a method {name} that modules do not know");
                assert!(
                    !signature.docs.is_empty() && signature.params.iter().all(|param| !param.docs.is_empty())
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_no_panic() {
        for handle in [Handle::Container, Handle::Directory, Handle::File] {
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
