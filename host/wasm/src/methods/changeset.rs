//! Methods of changesets.

use wharf_graph::{
    Changeset, Directory, Error,
    read::{Answer, ChangeKind, Changes, Question},
};

use super::{Method, build, mismatch, read, text_of};
use crate::{Case, Field, Handle, Type, Value};

pub(super) fn methods() -> Vec<Method> {
    let texts = || Some(Type::List(Box::new(Type::String)));
    let mut methods = vec![
        read(
            "as-patch",
            "The changes as a unified diff.",
            vec![],
            Some(Type::String),
            |_| Some(Question::AsPatch),
            text_of,
        ),
        read(
            "added-paths",
            "Paths that are there only after.",
            vec![],
            texts(),
            |_| Some(Question::Changes),
            |answer| paths(answer, |changes| changes.added),
        ),
        read(
            "modified-paths",
            "Paths that are others after.",
            vec![],
            texts(),
            |_| Some(Question::Changes),
            |answer| paths(answer, |changes| changes.modified),
        ),
        read(
            "removed-paths",
            "Paths that were there only before.",
            vec![],
            texts(),
            |_| Some(Question::Changes),
            |answer| paths(answer, |changes| changes.removed),
        ),
        read(
            "is-empty",
            "Is there no change?",
            vec![],
            Some(Type::Bool),
            |_| Some(Question::Changes),
            |answer| match answer {
                Answer::Changes(changes) => Ok(Value::Bool(changes.is_empty())),
                _ => mismatch(),
            },
        ),
        read(
            "diff-stats",
            "Lines that came and went, by file.",
            vec![],
            Some(Type::List(Box::new(stat()))),
            |_| Some(Question::DiffStats),
            stats,
        ),
    ];
    methods.push(side("before", "What there was.", |own, _| {
        directory(own, Changeset::before)
    }));
    methods.push(side("after", "What there is.", |own, _| {
        directory(own, Changeset::after)
    }));
    methods
}

fn side(name: &str, docs: &str, of: fn(&Value, super::Arguments<'_>) -> Option<Value>) -> Method {
    build(name, docs, vec![], Handle::Directory, of)
}

fn directory(own: &Value, side: fn(&Changeset) -> &Directory) -> Option<Value> {
    match own {
        Value::Changeset(changes) => Some(Value::Directory(side(changes).clone())),
        _ => None,
    }
}

fn paths(answer: Answer, which: fn(Changes) -> Vec<String>) -> Result<Value, Error> {
    match answer {
        Answer::Changes(changes) => Ok(Value::List(
            which(changes).into_iter().map(Value::String).collect(),
        )),
        _ => mismatch(),
    }
}

/// The type of a file's line counts.
fn stat() -> Type {
    let change = ["added", "modified", "removed"].map(Case::plain).to_vec();
    let fields = [
        ("path", Type::String),
        ("change", Type::Enum(change.into())),
        ("added-lines", Type::Integer(false, 64)),
        ("removed-lines", Type::Integer(false, 64)),
    ];
    let field = |(name, ty): (&str, Type)| Field {
        name: name.to_owned(),
        ty,
        docs: String::new(),
    };
    Type::Record(fields.into_iter().map(field).collect::<Vec<_>>().into())
}

fn stats(answer: Answer) -> Result<Value, Error> {
    let Answer::DiffStats(stats) = answer else {
        return mismatch();
    };
    let one = |stat: wharf_graph::read::DiffStat| {
        let change = match stat.change {
            ChangeKind::Added => "added",
            ChangeKind::Modified => "modified",
            ChangeKind::Removed => "removed",
        };
        Value::Record(vec![
            ("path".to_owned(), Value::String(stat.path)),
            ("change".to_owned(), Value::Enum(change.to_owned())),
            ("added-lines".to_owned(), Value::Integer(stat.added_lines.into())),
            (
                "removed-lines".to_owned(),
                Value::Integer(stat.removed_lines.into()),
            ),
        ])
    };
    Ok(Value::List(stats.into_iter().map(one).collect()))
}
