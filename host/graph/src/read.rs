//! Questions to a node, and their answers: what `wharf:pipeline/eval` asks, in one shape for the protocol.

use serde::{Deserialize, Serialize};

use crate::{image::Platform, node::NodeId};

/// The largest text or byte string that one read returns.
pub const READ_LIMIT: u64 = 16 * 1024 * 1024;

/// What is asked. Each names the kind of node that it is asked of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// Container: standard output of the last step. [`Answer::Text`].
    Stdout,
    /// Container: standard error of the last step. [`Answer::Text`].
    Stderr,
    /// Container: both in the order of their arrival. [`Answer::Text`].
    CombinedOutput,
    /// Container: exit code of the last step. [`Answer::ExitCode`].
    ExitCode,
    /// Container: the configuration; runs nothing. [`Answer::Configuration`].
    Configuration,
    /// Directory: names at a path, directories with a `/` behind. [`Answer::Names`].
    Entries(String),
    /// Directory: paths that match a pattern. [`Answer::Names`].
    Glob(String),
    /// Directory, container: does the path exist? [`Answer::Bool`].
    Exists(String),
    /// Directory, container: facts about a path. [`Answer::Stat`].
    Stat(String),
    /// Any kind but a changeset: digest of the content; of a container, of its configuration, too. [`Answer::Text`].
    Digest,
    /// Directory, file: bytes of all files together. [`Answer::Size`].
    Size,
    /// Any kind: do what is needed, read nothing. [`Answer::Done`].
    Sync,
    /// File: at most `length` bytes from `offset` on. [`Answer::Bytes`].
    Range {
        /// Where to start.
        offset: u64,
        /// How much at most, up to [`READ_LIMIT`].
        length: u64,
    },
    /// File: all of it, up to [`READ_LIMIT`]. [`Answer::Bytes`].
    Contents,
    /// File: facts about it. [`Answer::Stat`].
    FileStat,
    /// Service: start it, and answer when it is healthy; it runs until the run ends or it is stopped. [`Answer::Done`].
    Start,
    /// Service: end it, whoever uses it. [`Answer::Done`].
    Stop,
    /// Service: wait until it ends; its end is the error. Starts nothing. [`Answer::Done`] when it does not run.
    Ended,
    /// Service: what it has printed in this run. [`Answer::Text`].
    Logs,
    /// Service: the name that steps to which it is bound know it by, beside the one they gave it. [`Answer::Text`].
    Hostname,
    /// Service: where it answers. [`Answer::Ports`].
    Ports,
    /// Directory of a commit: the commit. [`Answer::Text`].
    GitCommit,
    /// Directory of a commit: tags of its repository that match one of these patterns, all when there is none. [`Answer::Names`].
    GitTags(Vec<String>),
    /// Directory of a commit: branches of its repository. [`Answer::Names`].
    GitBranches,
    /// Directory of a commit: the tag of the highest version. [`Answer::Text`].
    GitLatestVersion,
    /// Directory of a commit: the last so many commits up to it. [`Answer::Commits`].
    GitLog(u32),
    /// Directory: the nearest path of a name in a directory or above it. [`Answer::Found`].
    FindUp {
        /// The name.
        name: String,
        /// The directory.
        start: String,
    },
    /// Directory, file: lines that match. [`Answer::Matches`].
    Search(Search),
    /// Container: run this on the user's terminal, `sh` when it is empty. [`Answer::ExitCode`].
    Terminal(Vec<String>),
    /// Changeset: paths. [`Answer::Changes`].
    Changes,
    /// Changeset: lines by file. [`Answer::DiffStats`].
    DiffStats,
    /// Changeset: as a unified diff. [`Answer::Text`].
    AsPatch,
}

/// How many lines a search returns that sets no limit.
pub const MATCH_LIMIT: u32 = 10_000;

/// What is looked for in files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// A regular expression, or text.
    pub pattern: String,
    /// How.
    pub options: SearchOptions,
}

/// How files are searched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchOptions {
    /// The pattern is text.
    pub literal: bool,
    /// Letter case does not matter.
    pub ignore_case: bool,
    /// Gitignore patterns of which one must match; empty takes every file.
    pub include: Vec<String>,
    /// Stop after so many lines; more than [`MATCH_LIMIT`] are an error otherwise.
    pub limit: Option<u32>,
}

/// A question and the node it is asked of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Read {
    /// The node.
    pub node: NodeId,
    /// The question.
    pub question: Question,
}

/// What a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// Facts about a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Last component.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// The file.
    pub path: String,
    /// The line's number, from 1.
    pub line: u64,
    /// The byte of the line at which the match starts, from 1.
    pub column: u32,
    /// The line.
    pub text: String,
}

/// Paths that differ between two directories, sorted; directories have a `/` behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Only there after.
    pub added: Vec<String>,
    /// Others after.
    pub modified: Vec<String>,
    /// Only there before.
    pub removed: Vec<String>,
}

impl Changes {
    /// Is nothing changed?
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChangeKind {
    /// Only there after.
    Added,
    /// Another after.
    Modified,
    /// Only there before.
    Removed,
}

/// How much of a file changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffStat {
    /// The file.
    pub path: String,
    /// What became of it.
    pub change: ChangeKind,
    /// Lines that are new.
    pub added_lines: u64,
    /// Lines that are gone.
    pub removed_lines: u64,
}

/// What is known of a container without running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// The folded configuration.
    pub config: crate::image::ImageConfig,
    /// Annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Paths that have a mount.
    pub mounts: Vec<String>,
    /// The platform.
    pub platform: Platform,
    /// The image it started from, with digest.
    pub image_ref: Option<String>,
}

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Nothing but that it is done.
    Done,
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An exit code.
    ExitCode(i32),
    /// Names or paths.
    Names(Vec<String>),
    /// Yes or no.
    Bool(bool),
    /// Facts about a path.
    Stat(Stat),
    /// Bytes.
    Size(u64),
    /// A container's configuration.
    Configuration(Box<Configuration>),
    /// A service's ports.
    Ports(Vec<crate::plan::Port>),
    /// Commits, the newest first.
    Commits(Vec<Commit>),
    /// A path, when there is one.
    Found(Option<String>),
    /// Lines that were found.
    Matches(Vec<Match>),
    /// What differs.
    Changes(Changes),
    /// Lines by file.
    DiffStats(Vec<DiffStat>),
}

/// A commit in a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// All its hexadecimal digits.
    pub id: String,
    /// Who wrote it: `Name <address>`.
    pub author: String,
    /// When it was written, in seconds since 1970.
    pub seconds: i64,
    /// The first line of its message.
    pub subject: String,
}
