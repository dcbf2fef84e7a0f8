//! The edits that containers and directories share.

use wharf_graph::{build::Edit, op::CopyOptions};

use super::{Method, build, param, path};
use crate::{Handle, Type, Value};

/// The same methods of either.
pub(super) fn edits(handle: Handle) -> Vec<Method> {
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
