//! Between the interface's types and the graph's.

use wharf_graph::{
    Denial, Error, ExecFailure,
    image::Platform,
    read::{ChangeKind, Commit, DiffStat, FileKind, Match, Stat},
};

use crate::bindings::wharf::pipeline::{git, types as wit};

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
pub(crate) fn from_wit(value: &wasmtime::component::Val) -> Option<Error> {
    use wasmtime::component::Val;
    let Val::Variant(case, payload) = value else {
        return None;
    };
    let text = || match payload.as_deref() {
        Some(Val::String(text)) => Some(text.clone()),
        _ => None,
    };
    let field = |name: &str| match payload.as_deref() {
        Some(Val::Record(fields)) => fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| value.clone()),
        _ => None,
    };
    let field_text = |name: &str| match field(name) {
        Some(Val::String(text)) => text,
        _ => String::new(),
    };
    Some(match case.as_str() {
        "exec" => Error::Exec(Box::new(ExecFailure {
            args: match field("args") {
                Some(Val::List(args)) => args
                    .into_iter()
                    .filter_map(|arg| {
                        if let Val::String(arg) = arg {
                            Some(arg)
                        } else {
                            None
                        }
                    })
                    .collect(),
                _ => Vec::new(),
            },
            exit_code: match field("exit-code") {
                Some(Val::S32(code)) => code,
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
