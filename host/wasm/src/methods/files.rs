//! Methods of directories and files.

use serde_json::json;
use wharf_graph::{
    Directory, Error,
    build::Edit,
    op::{FileEdit, Filter},
    read::{Answer, Question},
};

use super::{
    Method, bool_of, build, done, edits::edits, found_of, gpu::on_target, matches_of, mismatch, names_of,
    param, path, read, search, size_of, text_of, texts,
};
use crate::{DefaultValue, Handle, Type, Value};

fn on_directory(own: &Value, then: impl FnOnce(&Directory) -> Option<Directory>) -> Option<Value> {
    match own {
        Value::Directory(directory) => then(directory).map(Value::Directory),
        _ => None,
    }
}

/// Of a directory.
pub(super) fn directory() -> Vec<Method> {
    let mut within = path("Where to look.");
    within.default = Some(DefaultValue::Value(json!("/")));
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
            "search",
            "The lines of its files that match a regular expression.",
            vec![param("pattern", Type::String, "The regular expression.")],
            Some(Type::List(Box::new(Type::String))),
            |given| search(given.text(0)),
            matches_of,
        ),
        read(
            "find-up",
            "The nearest path of a name in a directory or above it.",
            vec![
                param("name", Type::String, "The name."),
                param("start", Type::String, "The directory."),
            ],
            Some(Type::Option(Box::new(Type::String))),
            |given| {
                Some(Question::FindUp {
                    name: given.text(0)?.to_owned(),
                    start: given.text(1)?.to_owned(),
                })
            },
            found_of,
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
    methods.push(build(
        "with-patch",
        "The same, with a unified diff applied.",
        vec![param("patch", Type::String, "The diff.")],
        Handle::Directory,
        |own, given| on_directory(own, |own| Some(own.edit(Edit::patch(given.text(0)?)))),
    ));
    methods.push(on_target());
    methods
}

/// Of a file.
pub(super) fn file() -> Vec<Method> {
    vec![
        build(
            "with-name",
            "The same under another name.",
            vec![param("name", Type::String, "The name.")],
            Handle::File,
            |own, given| match own {
                Value::File(file) => Some(Value::File(
                    file.edit(FileEdit::Rename(given.text(0)?.to_owned())),
                )),
                _ => None,
            },
        ),
        build(
            "with-replaced",
            "The same, with other text in the place of some.",
            vec![
                param("text", Type::String, "What is looked for."),
                param("replacement", Type::String, "What stands there afterwards."),
                param("all", Type::Bool, "In every place; otherwise there must be one."),
            ],
            Handle::File,
            |own, given| match own {
                Value::File(file) => Some(Value::File(file.edit(FileEdit::Replace {
                    text: given.text(0)?.to_owned(),
                    replacement: given.text(1)?.to_owned(),
                    all: given.switch(2)?,
                }))),
                _ => None,
            },
        ),
        read(
            "search",
            "The lines that match a regular expression.",
            vec![param("pattern", Type::String, "The regular expression.")],
            Some(Type::List(Box::new(Type::String))),
            |given| search(given.text(0)),
            matches_of,
        ),
        read(
            "contents",
            "Its text.",
            vec![],
            Some(Type::String),
            |_| Some(Question::Contents),
            |answer| match answer {
                Answer::Bytes(bytes) => String::from_utf8(bytes).map(Value::String).map_err(|_| {
                    let message = "the file is not UTF-8 text; without `contents`, `-o PATH` writes it";
                    Error::Invalid(message.to_owned())
                }),
                _ => mismatch(),
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
        build(
            "unpack",
            "What it holds as an archive or a compressed file.",
            vec![],
            Handle::Directory,
            |own, _| match own {
                Value::File(file) => Some(Value::Directory(file.unpack())),
                _ => None,
            },
        ),
    ]
}
