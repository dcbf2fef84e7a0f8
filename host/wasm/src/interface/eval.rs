//! Reads: one question each, for guests with asynchronous functions and for those without.

use std::sync::Arc;

use wasmtime::component::{Accessor, Resource};
use wharf_graph::{
    Changeset, Container, Directory, Error, File, Node,
    build::{GitReference, GitRepository},
    op::Stream,
    read::{Answer, Changes, Configuration, Question, Search, SearchOptions},
    source::{Checkout, Reference},
};

use super::convert;
use crate::{
    bindings::wharf::pipeline::{
        eval, eval_sync, git, git_eval, git_eval_sync,
        types::{self as wit, DiffStat, Platform, SearchMatch, Variable},
    },
    state::{HasState, Pipeline, State},
};

/// What questions are asked of.
trait Askable {
    /// The node that is asked.
    fn asked(&self) -> Arc<Node>;
}

macro_rules! askable {
    ($($kind:ty),*) => {$(
        impl Askable for $kind {
            fn asked(&self) -> Arc<Node> {
                Arc::clone(self.node())
            }
        }
    )*};
}

askable!(Changeset, Container, Directory, File);

impl Askable for GitReference {
    fn asked(&self) -> Arc<Node> {
        Arc::clone(self.tree(Checkout::default()).node())
    }
}

impl Askable for GitRepository {
    fn asked(&self) -> Arc<Node> {
        self.reference(Reference::Head).asked()
    }
}

/// A node and the pipeline that answers questions about it.
struct Asked {
    pipeline: Arc<dyn Pipeline>,
    node: Arc<Node>,
}

fn mismatch<T>(answer: &Answer) -> Result<T, Error> {
    Err(Error::other(
        "protocol",
        format!("the engine gave another kind of answer: {answer:?}"),
    ))
}

macro_rules! expect {
    ($asked:expr, $question:expr, $pattern:pat => $value:expr) => {
        match $asked.pipeline.read(&$asked.node, $question).await? {
            $pattern => Ok($value),
            other => mismatch(&other),
        }
    };
}

impl Asked {
    async fn text(self, question: Question) -> Result<String, Error> {
        expect!(self, question, Answer::Text(text) => text)
    }

    async fn done(self) -> Result<(), Error> {
        expect!(self, Question::Sync, Answer::Done => ())
    }

    async fn names(self, question: Question) -> Result<Vec<String>, Error> {
        expect!(self, question, Answer::Names(names) => names)
    }

    async fn exists(self, path: String) -> Result<bool, Error> {
        expect!(self, Question::Exists(path), Answer::Bool(exists) => exists)
    }

    async fn stat(self, question: Question) -> Result<wit::Stat, Error> {
        expect!(self, question, Answer::Stat(stat) => convert::stat(stat))
    }

    async fn size(self) -> Result<u64, Error> {
        expect!(self, Question::Size, Answer::Size(size) => size)
    }

    async fn bytes(self, question: Question) -> Result<Vec<u8>, Error> {
        expect!(self, question, Answer::Bytes(bytes) => bytes)
    }

    async fn exit_code(self) -> Result<i32, Error> {
        expect!(self, Question::ExitCode, Answer::ExitCode(code) => code)
    }

    async fn configuration(self) -> Result<Configuration, Error> {
        expect!(self, Question::Configuration, Answer::Configuration(configuration) => *configuration)
    }

    async fn commits(self, count: u32) -> Result<Vec<wharf_graph::read::Commit>, Error> {
        expect!(self, Question::GitLog(count), Answer::Commits(commits) => commits)
    }

    async fn search(self, pattern: String, options: SearchOptions) -> Result<Vec<SearchMatch>, Error> {
        let question = Question::Search(Search { pattern, options });
        expect!(self, question, Answer::Matches(found) => convert::matches(found))
    }

    async fn find_up(self, name: String, start: String) -> Result<Option<String>, Error> {
        expect!(self, Question::FindUp { name, start }, Answer::Found(path) => path)
    }

    async fn changes(self) -> Result<Changes, Error> {
        expect!(self, Question::Changes, Answer::Changes(changes) => changes)
    }

    async fn diff_stats(self) -> Result<Vec<DiffStat>, Error> {
        expect!(self, Question::DiffStats, Answer::DiffStats(stats) => convert::diff_stats(stats))
    }

    async fn json(self) -> Result<String, Error> {
        let text = self.contents().await?;
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Error::Invalid(format!("the file is not JSON: {error}"))),
        }
    }

    async fn contents(self) -> Result<String, Error> {
        let bytes = self.bytes(Question::Contents).await?;
        String::from_utf8(bytes)
            .map_err(|_| Error::Invalid("the file is not UTF-8 text: read it with contents-bytes".to_owned()))
    }
}

impl State {
    fn output_file(
        &mut self,
        container: &Resource<Container>,
        stream: Stream,
    ) -> wasmtime::Result<Resource<File>> {
        let file = self.table.get(container)?.output_file(stream);
        self.meter.describe(file.node().encoding().len())?;
        Ok(self.table.push(file)?)
    }
}

/// An argument as a read uses it: options are looked up in the table.
trait Given {
    type As;
    fn given(self, state: &State) -> wasmtime::Result<Self::As>;
}

macro_rules! plain {
    ($($name:ty),*) => {$(
        impl Given for $name {
            type As = Self;
            fn given(self, _: &State) -> wasmtime::Result<Self> {
                Ok(self)
            }
        }
    )*};
}

plain!(String, Vec<String>, u32, u64);

impl Given for Option<Resource<SearchOptions>> {
    type As = SearchOptions;
    fn given(self, state: &State) -> wasmtime::Result<SearchOptions> {
        let options = self.map(|options| state.table.get(&options).cloned());
        Ok(options.transpose()?.unwrap_or_default())
    }
}

/// Implements both twins of an interface from one list: files that steps leave, and reads, each an expression over what is asked
/// and the arguments.
macro_rules! reads {
    ($twin:ident, $sync_twin:ident; $(file $file:ident of $stream:expr;)* $(fn $name:ident($kind:ty $(, $arg:ident: $arg_type:ty)*) -> $result:ty, |$asked:ident| $read:expr;)*) => {
        impl<T: Send + 'static> $twin::HostWithStore<T> for HasState {
            $(async fn $name(
                accessor: &Accessor<T, Self>,
                handle: Resource<$kind>
                $(, $arg: $arg_type)*
            ) -> wasmtime::Result<Result<$result, wit::Error>> {
                let ($asked, $($arg,)*) = accessor.with(|mut access| {
                    let state = access.get();
                    let node = state.table.get(&handle)?.asked();
                    let asked = Asked { pipeline: Arc::clone(&state.pipeline), node };
                    Ok::<_, wasmtime::Error>((asked, $($arg.given(state)?,)*))
                })?;
                let outcome: Result<$result, Error> = $read;
                Ok(outcome.map_err(convert::error))
            })*
        }

        impl $twin::Host for &mut State {
            $(fn $file(&mut self, container: Resource<Container>) -> wasmtime::Result<Resource<File>> {
                self.output_file(&container, $stream)
            })*
        }

        impl $sync_twin::Host for &mut State {
            $(async fn $file(&mut self, container: Resource<Container>) -> wasmtime::Result<Resource<File>> {
                self.output_file(&container, $stream)
            })*

            $(async fn $name(
                &mut self,
                handle: Resource<$kind>
                $(, $arg: $arg_type)*
            ) -> wasmtime::Result<Result<$result, wit::Error>> {
                let node = self.table.get(&handle)?.asked();
                let $asked = Asked { pipeline: Arc::clone(&self.pipeline), node };
                $(let $arg = $arg.given(self)?;)*
                let outcome: Result<$result, Error> = $read;
                Ok(outcome.map_err(convert::error))
            })*
        }
    };
}

reads! {
    eval, eval_sync;
    file stdout_file of Stream::Stdout;
    file stderr_file of Stream::Stderr;
    fn stdout(Container) -> String, |asked| asked.text(Question::Stdout).await;
    fn stderr(Container) -> String, |asked| asked.text(Question::Stderr).await;
    fn combined_output(Container) -> String, |asked| asked.text(Question::CombinedOutput).await;
    fn exit_code(Container) -> i32, |asked| asked.exit_code().await;
    fn container_sync(Container) -> (), |asked| asked.done().await;
    fn container_exists(Container, path: String) -> bool, |asked| asked.exists(path).await;
    fn container_stat(Container, path: String) -> wit::Stat, |asked| asked.stat(Question::Stat(path)).await;
    fn env_variable(Container, name: String) -> Option<String>, |asked| {
        asked.configuration().await.map(|found| found.config.env(&name).map(str::to_owned))
    };
    fn env_variables(Container) -> Vec<Variable>, |asked| {
        asked.configuration().await.map(|found| convert::variables(found.config.env))
    };
    fn annotations(Container) -> Vec<Variable>, |asked| {
        asked.configuration().await.map(|found| convert::variables(found.annotations))
    };
    fn labels(Container) -> Vec<Variable>, |asked| {
        asked.configuration().await.map(|found| convert::variables(found.config.labels))
    };
    fn entrypoint(Container) -> Vec<String>, |asked| asked.configuration().await.map(|found| found.config.entrypoint);
    fn default_args(Container) -> Vec<String>, |asked| {
        asked.configuration().await.map(|found| found.config.default_args)
    };
    fn user(Container) -> String, |asked| asked.configuration().await.map(|found| found.config.user);
    fn workdir(Container) -> String, |asked| {
        let workdir = asked.configuration().await.map(|found| found.config.workdir);
        workdir.map(|path| if path.is_empty() { "/".to_owned() } else { path })
    };
    fn mounts(Container) -> Vec<String>, |asked| asked.configuration().await.map(|found| found.mounts);
    fn container_platform(Container) -> Platform, |asked| {
        asked.configuration().await.map(|found| convert::platform(found.platform))
    };
    fn image_ref(Container) -> Option<String>, |asked| asked.configuration().await.map(|found| found.image_ref);
    fn container_digest(Container) -> String, |asked| asked.text(Question::Digest).await;

    fn entries(Directory, path: String) -> Vec<String>, |asked| asked.names(Question::Entries(path)).await;
    fn glob(Directory, pattern: String) -> Vec<String>, |asked| asked.names(Question::Glob(pattern)).await;
    fn directory_exists(Directory, path: String) -> bool, |asked| asked.exists(path).await;
    fn directory_stat(Directory, path: String) -> wit::Stat, |asked| asked.stat(Question::Stat(path)).await;
    fn directory_find_up(Directory, name: String, start: String) -> Option<String>, |asked| {
        asked.find_up(name, start).await
    };
    fn directory_search(
        Directory, pattern: String, options: Option<Resource<SearchOptions>>
    ) -> Vec<SearchMatch>, |asked| asked.search(pattern, options).await;
    fn directory_digest(Directory) -> String, |asked| asked.text(Question::Digest).await;
    fn directory_size(Directory) -> u64, |asked| asked.size().await;
    fn directory_sync(Directory) -> (), |asked| asked.done().await;

    fn contents(File) -> String, |asked| asked.contents().await;
    fn contents_bytes(File) -> Vec<u8>, |asked| asked.bytes(Question::Contents).await;
    fn read(File, offset: u64, length: u32) -> Vec<u8>, |asked| {
        asked.bytes(Question::Range { offset, length: u64::from(length) }).await
    };
    fn file_size(File) -> u64, |asked| asked.size().await;
    fn file_stat(File) -> wit::Stat, |asked| asked.stat(Question::FileStat).await;
    fn file_digest(File) -> String, |asked| asked.text(Question::Digest).await;
    fn file_search(
        File, pattern: String, options: Option<Resource<SearchOptions>>
    ) -> Vec<SearchMatch>, |asked| asked.search(pattern, options).await;
    fn as_json(File) -> String, |asked| asked.json().await;
    fn file_sync(File) -> (), |asked| asked.done().await;

    fn added_paths(Changeset) -> Vec<String>, |asked| asked.changes().await.map(|changes| changes.added);
    fn modified_paths(Changeset) -> Vec<String>, |asked| asked.changes().await.map(|changes| changes.modified);
    fn removed_paths(Changeset) -> Vec<String>, |asked| asked.changes().await.map(|changes| changes.removed);
    fn is_empty(Changeset) -> bool, |asked| asked.changes().await.map(|changes| changes.is_empty());
    fn diff_stats(Changeset) -> Vec<DiffStat>, |asked| asked.diff_stats().await;
    fn as_patch(Changeset) -> String, |asked| asked.text(Question::AsPatch).await;
}

reads! {
    git_eval, git_eval_sync;
    fn tags(GitRepository, patterns: Vec<String>) -> Vec<String>, |asked| asked.names(Question::GitTags(patterns)).await;
    fn branches(GitRepository) -> Vec<String>, |asked| asked.names(Question::GitBranches).await;
    fn latest_version(GitRepository) -> String, |asked| asked.text(Question::GitLatestVersion).await;
    fn commit(GitReference) -> String, |asked| asked.text(Question::GitCommit).await;
    fn log(GitReference, count: u32) -> Vec<git::LogEntry>, |asked| {
        asked.commits(count).await.map(|commits| commits.into_iter().map(convert::log_entry).collect())
    };
}
