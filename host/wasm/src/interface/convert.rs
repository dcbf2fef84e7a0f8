//! Between the interface's types and the graph's.

use wharf_graph::{
    Denial, Error, ExecFailure,
    image::Platform,
    read::{ChangeKind, Commit, DiffStat, FileKind, Match, Stat},
};

use crate::{
    bindings::wharf::pipeline::{git, types as wit},
    value::Value,
};

pub(super) fn error(error: Error) -> wit::Error {
    match error {
        Error::Exec(failure) => wit::Error::Exec(wit::ExecFailure {
            args: failure.args,
            exit_code: failure.exit_code,
            reason: failure.reason,
            stdout_tail: failure.stdout_tail,
            stderr_tail: failure.stderr_tail,
            log: failure.log,
        }),
        Error::Denied(Denial {
            capability,
            module,
            grant,
        }) => wit::Error::Denied(wit::Denial {
            capability,
            module,
            grant,
        }),
        Error::NotFound(message) => wit::Error::NotFound(message),
        Error::Invalid(message) => wit::Error::Invalid(message),
        Error::Unavailable(message) => wit::Error::Unavailable(message),
        Error::Cancelled => wit::Error::Cancelled,
        Error::TimedOut(message) => wit::Error::TimedOut(message),
        Error::Other { code, message } => wit::Error::Other(wit::OtherError { code, message }),
    }
}

/// An error that a function returned, from its dynamic form: none when the value is no error of ours.
pub(crate) fn from_value(value: &Value) -> Option<Error> {
    let Value::Variant(case, payload) = value else {
        return None;
    };
    let text = || match payload.as_deref() {
        Some(Value::String(text)) => Some(text.clone()),
        _ => None,
    };
    let field = |name: &str| match payload.as_deref() {
        Some(Value::Record(fields)) => fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value),
        _ => None,
    };
    let field_text = |name: &str| match field(name) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    Some(match case.as_str() {
        "exec" => Error::Exec(Box::new(ExecFailure {
            args: match field("args") {
                Some(Value::List(args)) => args.iter().map(Value::to_text).collect(),
                _ => Vec::new(),
            },
            exit_code: match field("exit-code") {
                Some(Value::Integer(code)) => i32::try_from(*code).unwrap_or(1),
                _ => 1,
            },
            reason: field_text("reason"),
            stdout_tail: field_text("stdout-tail"),
            stderr_tail: field_text("stderr-tail"),
            log: field_text("log"),
        })),
        "denied" => Error::Denied(Denial {
            capability: field_text("capability"),
            module: field_text("module"),
            grant: field_text("grant"),
        }),
        "not-found" => Error::NotFound(text()?),
        "invalid" => Error::Invalid(text()?),
        "unavailable" => Error::Unavailable(text()?),
        "cancelled" => Error::Cancelled,
        "timed-out" => Error::TimedOut(text()?),
        "other" => Error::Other {
            code: field_text("code"),
            message: field_text("message"),
        },
        _ => return None,
    })
}

/// The names of an error's cases, in order: by them its type is known.
pub(crate) const ERROR_CASES: [&str; 8] = [
    "exec",
    "denied",
    "not-found",
    "invalid",
    "unavailable",
    "cancelled",
    "timed-out",
    "other",
];

/// An error in its dynamic form.
pub(crate) fn to_value(error: Error) -> Value {
    let text = |case: &str, text: String| (case.to_owned(), Some(Value::String(text)));
    let record = |case: &str, fields: Vec<(&str, Value)>| {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
        (case.to_owned(), Some(Value::Record(fields.collect())))
    };
    let (case, payload) = match error {
        Error::Exec(failure) => {
            let args = failure.args.into_iter().map(Value::String).collect();
            record(
                "exec",
                vec![
                    ("args", Value::List(args)),
                    ("exit-code", Value::Integer(failure.exit_code.into())),
                    ("reason", Value::String(failure.reason)),
                    ("stdout-tail", Value::String(failure.stdout_tail)),
                    ("stderr-tail", Value::String(failure.stderr_tail)),
                    ("log", Value::String(failure.log)),
                ],
            )
        }
        Error::Denied(denial) => record(
            "denied",
            vec![
                ("capability", Value::String(denial.capability)),
                ("module", Value::String(denial.module)),
                ("grant", Value::String(denial.grant)),
            ],
        ),
        Error::NotFound(message) => text("not-found", message),
        Error::Invalid(message) => text("invalid", message),
        Error::Unavailable(message) => text("unavailable", message),
        Error::Cancelled => ("cancelled".to_owned(), None),
        Error::TimedOut(message) => text("timed-out", message),
        Error::Other { code, message } => record(
            "other",
            vec![("code", Value::String(code)), ("message", Value::String(message))],
        ),
    };
    Value::Variant(case, payload.map(Box::new))
}

pub(super) fn log_entry(commit: Commit) -> git::LogEntry {
    git::LogEntry {
        id: commit.id,
        author: commit.author,
        seconds: commit.seconds,
        subject: commit.subject,
    }
}

pub(super) fn stat(stat: Stat) -> wit::Stat {
    let kind = match stat.kind {
        FileKind::Regular => wit::FileKind::Regular,
        FileKind::Directory => wit::FileKind::Directory,
        FileKind::Symlink => wit::FileKind::Symlink,
        FileKind::Fifo => wit::FileKind::Fifo,
        FileKind::Socket => wit::FileKind::Socket,
        FileKind::CharacterDevice => wit::FileKind::CharacterDevice,
        FileKind::BlockDevice => wit::FileKind::BlockDevice,
    };
    wit::Stat {
        name: stat.name,
        kind,
        size: stat.size,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
    }
}

pub(super) fn matches(found: Vec<Match>) -> Vec<wit::SearchMatch> {
    let one = |found: Match| wit::SearchMatch {
        path: found.path,
        line: found.line,
        column: found.column,
        text: found.text,
    };
    found.into_iter().map(one).collect()
}

pub(super) fn diff_stats(stats: Vec<DiffStat>) -> Vec<wit::DiffStat> {
    let one = |stat: DiffStat| wit::DiffStat {
        path: stat.path,
        change: match stat.change {
            ChangeKind::Added => wit::ChangeKind::Added,
            ChangeKind::Modified => wit::ChangeKind::Modified,
            ChangeKind::Removed => wit::ChangeKind::Removed,
        },
        added_lines: stat.added_lines,
        removed_lines: stat.removed_lines,
    };
    stats.into_iter().map(one).collect()
}

pub(super) fn platform(platform: Platform) -> wit::Platform {
    wit::Platform {
        os: platform.os,
        architecture: platform.architecture,
        cpu: platform.variant,
    }
}

pub(super) fn to_platform(platform: wit::Platform) -> Platform {
    Platform {
        os: platform.os,
        architecture: platform.architecture,
        variant: platform.cpu,
    }
}

pub(super) fn variables(pairs: impl IntoIterator<Item = (String, String)>) -> Vec<wit::Variable> {
    pairs
        .into_iter()
        .map(|(name, value)| wit::Variable { name, value })
        .collect()
}
