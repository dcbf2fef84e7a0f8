//! The contract's handles and functions, each listed as `wit/` has it. What differs from the generated bindings does not
//! compile: the crate calls both in the same words.

use std::sync::{Arc, Mutex, PoisonError};

use super::node::{Argument, Handle, Handles, Node, Shown};

/// The arguments of a call, by their names.
macro_rules! arguments {
    ($($name:ident),*) => {
        vec![$((stringify!($name), $name.shown())),*]
    };
}

/// A handle: how one is made, and what it is made into.
macro_rules! handle {
    ($name:ident, $kind:literal {
        $(make $make:ident($($made:ident: $made_ty:ty),*);)*
        $(fn $method:ident($($arg:ident: $ty:ty),*) -> $result:ident;)*
    }) => {
        #[derive(Debug)]
        pub struct $name(Arc<Node>);

        impl Handle for $name {
            const KIND: &'static str = $kind;
            fn of(node: Arc<Node>) -> Self {
                Self(node)
            }
            fn node(&self) -> &Arc<Node> {
                &self.0
            }
        }

        impl Shown for $name {
            fn shown(&self) -> Argument {
                Argument::Node(Arc::clone(&self.0))
            }
        }

        impl Handles for $name {
            fn handles(&self, found: &mut Vec<Arc<Node>>) {
                found.push(Arc::clone(&self.0));
            }
        }

        impl $name {
            $(pub fn $make($($made: $made_ty),*) -> Self {
                let call = concat!(stringify!($name), "::", stringify!($make));
                Self(Node::new($kind, call, None, arguments!($($made),*)))
            })*
            $(pub fn $method(&self, $($arg: $ty),*) -> $result {
                let (kind, call) = (<$result as Handle>::KIND, stringify!($method));
                $result::of(Node::new(kind, call, Some(&self.0), arguments!($($arg),*)))
            })*
        }
    };
}

/// Options that are set one by one.
macro_rules! options {
    ($name:ident { $($set:ident as $shown:literal($($value:ident: $ty:ty),+);)* }) => {
        #[derive(Default)]
        pub struct $name(Mutex<Vec<(&'static str, Argument)>>);

        impl Shown for $name {
            fn shown(&self) -> Argument {
                Argument::Settings(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl $name {
            pub fn new() -> Self {
                Self::default()
            }
            $(pub fn $set(&self, $($value: $ty),+) {
                let mut settings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                settings.push(($shown, setting(vec![$($value.set()),+])));
            })*
        }
    };
}

/// What an option was set to.
fn setting(mut values: Vec<Argument>) -> Argument {
    match (values.pop(), values.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Argument::List(values.into_iter().chain(last).collect()),
    }
}

/// Free functions that build.
macro_rules! builders {
    ($($module:literal $name:ident($($arg:ident: $ty:ty),*) -> $result:ident;)*) => {$(
        pub fn $name($($arg: $ty),*) -> $result {
            $result::of(Node::new(<$result as Handle>::KIND, $module, None, arguments!($($arg),*)))
        }
    )*};
}

/// Reads and effects, by the name that authors know.
macro_rules! reads {
    ($($name:ident as $shown:literal($($arg:ident: $ty:ty),*) -> $result:ty;)*) => {$(
        pub async fn $name($($arg: $ty),*) -> Result<$result, Error> {
            crate::native::recording::read($shown, arguments!($($arg),*))
        }
    )*};
}

pub mod secret {
    use super::*;

    handle!(Secret, "secret" {});

    impl Secret {
        /// The value is nowhere: what a test compares does not show it.
        pub fn of_value(name: &str, _: &str) -> Self {
            Self(Node::stand_in(Self::KIND, name))
        }
        pub fn name(&self) -> String {
            self.0.call.clone()
        }
        pub fn scheme(&self) -> String {
            "env".to_owned()
        }
    }
}

pub mod filesystem {
    use super::*;

    options!(CopyOptions {
        set_include as "include"(patterns: &[String]);
        set_exclude as "exclude"(patterns: &[String]);
        set_gitignore as "gitignore"(enabled: bool);
        set_owner as "owner"(owner: &str);
        set_mode as "mode"(mode: u32);
    });

    options!(SearchOptions {
        set_literal as "literal"(enabled: bool);
        set_ignore_case as "ignore_case"(enabled: bool);
        set_include as "include"(patterns: &[String]);
        set_limit as "limit"(lines: u32);
    });

    handle!(Changeset, "changeset" {
        make new(before: &Directory, after: &Directory);
        fn before() -> Directory;
        fn after() -> Directory;
    });

    handle!(Directory, "directory" {
        make new();
        fn subdirectory(path: &str) -> Directory;
        fn file(path: &str) -> File;
        fn with_directory(path: &str, source: &Directory, options: Option<&CopyOptions>) -> Directory;
        fn with_file(path: &str, source: &File, options: Option<&CopyOptions>) -> Directory;
        fn with_files(path: &str, sources: &[&File], options: Option<&CopyOptions>) -> Directory;
        fn with_new_file(path: &str, contents: &str, mode: Option<u32>) -> Directory;
        fn with_new_directory(path: &str, mode: Option<u32>) -> Directory;
        fn with_symlink(target: &str, path: &str) -> Directory;
        fn without_directory(path: &str) -> Directory;
        fn without_file(path: &str) -> Directory;
        fn without_files(paths: &[String]) -> Directory;
        fn filter(options: &CopyOptions) -> Directory;
        fn diff(other: &Directory) -> Directory;
        fn with_changes(changes: &Changeset) -> Directory;
        fn with_patch(patch: &str) -> Directory;
        fn chown(path: &str, owner: &str) -> Directory;
        fn with_timestamps(seconds: u64) -> Directory;
    });

    handle!(File, "file" {
        make new(name: &str, contents: &str);
        fn with_name(name: &str) -> File;
        fn unpack() -> Directory;
        fn with_replaced(text: &str, replacement: &str, all: bool) -> File;
        fn chown(owner: &str) -> File;
        fn with_timestamps(seconds: u64) -> File;
    });
}

pub mod cache {
    pub use self::CacheVolume as Volume;
    use super::{filesystem::Directory, *};
    use crate::Sharing;

    // Under the name that authors know.
    handle!(CacheVolume, "cache volume" {
        make new(name: &str);
        fn with_sharing(sharing: Sharing) -> CacheVolume;
        fn with_source(source: &Directory) -> CacheVolume;
        fn with_owner(owner: &str) -> CacheVolume;
    });
}

pub mod container {
    use super::{
        cache::Volume,
        filesystem::{CopyOptions, Directory, File},
        secret::Secret,
        *,
    };
    use crate::{Expect, Platform};

    options!(ExecOptions {
        set_stdin as "stdin"(text: &str);
        set_stdin_secret as "stdin_secret"(value: &Secret);
        set_redirect_stdout as "redirect_stdout"(path: &str);
        set_redirect_stderr as "redirect_stderr"(path: &str);
        set_expect as "expect"(expect: Expect);
        set_use_entrypoint as "use_entrypoint"(enabled: bool);
        set_expand as "expand"(enabled: bool);
        set_timeout as "timeout"(milliseconds: u64);
        set_no_cache as "no_cache"(enabled: bool);
        set_cpu_limit as "cpu_limit"(millicpus: u32);
        set_memory_limit as "memory_limit"(bytes: u64);
        set_pids_limit as "pids_limit"(count: u32);
        set_reason as "reason"(text: &str);
    });

    options!(HealthcheckOptions {
        set_interval as "interval"(milliseconds: u64);
        set_timeout as "timeout"(milliseconds: u64);
        set_start_period as "start_period"(milliseconds: u64);
        set_start_interval as "start_interval"(milliseconds: u64);
        set_retries as "retries"(count: u32);
    });

    handle!(Container, "container" {
        make new();
        make scratch(platform: &Platform);
        fn with_rootfs(root: &Directory) -> Container;
        fn rootfs() -> Directory;
        fn directory(path: &str) -> Directory;
        fn file(path: &str) -> File;
        fn with_exec(args: &[String], options: Option<&ExecOptions>) -> Container;
        fn with_env_variable(name: &str, value: &str, expand: bool) -> Container;
        fn without_env_variable(name: &str) -> Container;
        fn with_secret_variable(name: &str, value: &Secret) -> Container;
        fn without_secret_variable(name: &str) -> Container;
        fn with_volatile_variable(name: &str, value: &str) -> Container;
        fn with_workdir(path: &str) -> Container;
        fn without_workdir() -> Container;
        fn with_user(user: &str) -> Container;
        fn without_user() -> Container;
        fn with_entrypoint(args: &[String], keep_default_args: bool) -> Container;
        fn without_entrypoint(keep_default_args: bool) -> Container;
        fn with_default_args(args: &[String]) -> Container;
        fn without_default_args() -> Container;
        fn with_label(name: &str, value: &str) -> Container;
        fn without_label(name: &str) -> Container;
        fn with_annotation(name: &str, value: &str) -> Container;
        fn without_annotation(name: &str) -> Container;
        fn with_exposed_port(port: u16, protocol: &str) -> Container;
        fn without_exposed_port(port: u16, protocol: &str) -> Container;
        fn with_docker_healthcheck(args: &[String], options: Option<&HealthcheckOptions>) -> Container;
        fn without_docker_healthcheck() -> Container;
        fn with_directory(path: &str, source: &Directory, options: Option<&CopyOptions>) -> Container;
        fn with_file(path: &str, source: &File, options: Option<&CopyOptions>) -> Container;
        fn with_files(path: &str, sources: &[&File], options: Option<&CopyOptions>) -> Container;
        fn with_new_file(path: &str, contents: &str, mode: Option<u32>, owner: Option<&str>) -> Container;
        fn with_new_directory(path: &str, mode: Option<u32>, owner: Option<&str>) -> Container;
        fn with_symlink(target: &str, path: &str) -> Container;
        fn without_directory(path: &str) -> Container;
        fn without_file(path: &str) -> Container;
        fn without_files(paths: &[String]) -> Container;
        fn with_mounted_directory(path: &str, source: &Directory, owner: Option<&str>) -> Container;
        fn with_mounted_file(path: &str, source: &File, owner: Option<&str>) -> Container;
        fn with_mounted_cache(path: &str, volume: &Volume) -> Container;
        fn with_mounted_secret(path: &str, source: &Secret, owner: Option<&str>, mode: Option<u32>) -> Container;
        fn with_mounted_temp(path: &str, size: Option<u64>) -> Container;
        fn without_mount(path: &str) -> Container;
        fn with_lent_cache(path: &str, writable: bool) -> Container;
    });
}

pub mod network {
    use super::{container::Container, *};
    use crate::Network;

    pub fn with_network(container: &Container, mode: Network) -> Container {
        let arguments = arguments!(mode);
        Container::of(Node::new(
            Container::KIND,
            "with_network",
            Some(container.node()),
            arguments,
        ))
    }

    pub fn with_network_hosts(container: &Container, hosts: &[String]) -> Container {
        let arguments = arguments!(hosts);
        Container::of(Node::new(
            Container::KIND,
            "with_network_hosts",
            Some(container.node()),
            arguments,
        ))
    }
}

pub mod image {
    use super::{container::Container, filesystem::File, secret::Secret, *};
    use crate::Platform;

    builders! {
        "image::pull" pull(reference: &str, platform: Option<&Platform>) -> Container;
        "image::pull_as" pull_as(
            reference: &str,
            platform: Option<&Platform>,
            user: &str,
            password: &Secret
        ) -> Container;
        "image::of_archive" of_archive(file: &File, platform: Option<&Platform>) -> Container;
        "image::of_docker" of_docker(name: &str) -> Container;
    }
}

pub mod http {
    use super::{filesystem::File, secret::Secret, *};

    options!(FetchOptions {
        set_digest as "digest"(digest: &str);
        add_header as "header"(name: &str, value: &str);
        add_secret_header as "secret_header"(name: &str, value: &Secret);
        set_bearer_auth as "bearer_auth"(token: &Secret);
        set_basic_auth as "basic_auth"(user: &str, password: &Secret);
        set_name as "name"(name: &str);
        set_mode as "mode"(mode: u32);
    });

    builders! {
        "http::fetch" fetch(url: &str, options: Option<&FetchOptions>) -> File;
    }
}

pub mod git {
    use super::{filesystem::Directory, secret::Secret, *};

    options!(Access {
        set_token as "token"(token: &Secret);
        set_basic_auth as "basic_auth"(user: &str, password: &Secret);
        set_ssh_key as "ssh_key"(key: &Secret);
        set_known_hosts as "known_hosts"(lines: &str);
    });

    options!(CheckoutOptions {
        set_keep_git_dir as "keep_git_dir"(enabled: bool);
        set_depth as "depth"(commits: u32);
    });

    handle!(Repository, "repository" {
        fn head() -> Reference;
        fn branch(name: &str) -> Reference;
        fn tag(name: &str) -> Reference;
        fn commit(id: &str) -> Reference;
        fn latest_version() -> Reference;
        fn ref_(name: &str) -> Reference;
    });

    handle!(Reference, "reference" {
        fn tree(options: Option<&CheckoutOptions>) -> Directory;
    });

    builders! {
        "git::repository" open(url: &str, access: Option<&Access>) -> Repository;
        "git::of_directory" of_directory(directory: &Directory) -> Repository;
    }
}

pub mod git_eval {
    use super::{
        git::{Reference, Repository},
        *,
    };
    use crate::bindings::wharf::pipeline::{git::LogEntry, types::Error};

    reads! {
        tags as "tags"(repository: &Repository, patterns: Vec<String>) -> Vec<String>;
        branches as "branches"(repository: &Repository) -> Vec<String>;
        latest_version as "latest_version_tag"(repository: &Repository) -> String;
        commit as "commit"(reference: &Reference) -> String;
        log as "log"(reference: &Reference, count: u32) -> Vec<LogEntry>;
    }
}

pub mod service {
    use super::{container::Container, *};

    options!(ServiceOptions {
        set_args as "args"(args: &[String]);
        set_use_entrypoint as "use_entrypoint"(enabled: bool);
        set_start_timeout as "start_timeout"(milliseconds: u64);
        set_cpu_limit as "cpu_limit"(millicpus: u32);
        set_memory_limit as "memory_limit"(bytes: u64);
        set_pids_limit as "pids_limit"(count: u32);
    });

    handle!(Service, "service" {});

    impl Service {
        pub fn of_container(container: &Container, options: Option<&ServiceOptions>) -> Self {
            let arguments = arguments!(options);
            Self(Node::new(
                Self::KIND,
                "as_service",
                Some(container.node()),
                arguments,
            ))
        }
    }

    pub fn with_service(container: &Container, alias: &str, service: &Service) -> Container {
        let arguments = arguments!(alias, service);
        Container::of(Node::new(
            Container::KIND,
            "with_service",
            Some(container.node()),
            arguments,
        ))
    }
}

pub mod serve {
    use super::{service::Service, *};
    use crate::{Port, bindings::wharf::pipeline::types::Error};

    reads! {
        start as "start"(service: &Service) -> ();
        stop as "stop"(service: &Service) -> ();
        endpoint as "endpoint"(service: &Service, port: Option<u16>, scheme: Option<String>) -> String;
        hostname as "hostname"(service: &Service) -> String;
        ports as "ports"(service: &Service) -> Vec<Port>;
        logs as "logs"(service: &Service) -> String;
    }
}

pub mod gpu {
    use super::{container::Container, filesystem::Directory, *};
    use crate::gpu::{Sharing, WhenBusy};

    options!(Request {
        set_count as "count"(count: u32);
        set_minimum_memory as "minimum_memory"(bytes: u64);
        set_sharing as "sharing"(sharing: Sharing);
        set_when_busy as "when_busy"(when_busy: WhenBusy);
    });

    pub fn with_gpu(container: &Container, request: &Request) -> Container {
        let arguments = arguments!(request);
        Container::of(Node::new(
            Container::KIND,
            "with_gpu",
            Some(container.node()),
            arguments,
        ))
    }

    pub fn on_target(directory: &Directory, target: &str) -> Directory {
        let arguments = arguments!(target);
        Directory::of(Node::new(
            Directory::KIND,
            "on_target",
            Some(directory.node()),
            arguments,
        ))
    }

    pub fn without_gpu(container: &Container) -> Container {
        Container::of(Node::new(
            Container::KIND,
            "without_gpu",
            Some(container.node()),
            Vec::new(),
        ))
    }
}

pub mod gpu_eval {
    use crate::{
        bindings::wharf::pipeline::types::Error,
        gpu::{Device, Target},
    };

    reads! {
        devices as "gpu::devices"() -> Vec<Device>;
        targets as "gpu::targets"() -> Vec<Target>;
    }
}

pub mod publishing {
    use super::{container::Container, secret::Secret, *};
    use crate::Compression;

    options!(PublishOptions {
        add_tag as "tag"(tag: &str);
        add_platform as "platform"(container: &Container);
        set_compression as "compression"(compression: Compression);
        add_annotation as "annotation"(name: &str, value: &str);
        set_login as "login"(user: &str, password: &Secret);
    });
}

pub mod registry {
    use super::{container::Container, publishing::PublishOptions, *};
    use crate::bindings::wharf::pipeline::types::Error;

    reads! {
        publish as "publish"(
            container: &Container,
            reference: String,
            options: Option<&PublishOptions>
        ) -> String;
    }
}

pub mod host {
    use super::{
        filesystem::{CopyOptions, Directory, File},
        service::Service,
        *,
    };
    use crate::bindings::wharf::pipeline::{host::Forward, types::Error};

    builders! {
        "host::directory" directory_at(path: &str, options: Option<&CopyOptions>) -> Directory;
        "host::file" file_at(path: &str) -> File;
        "host::service" service_at(host: &str, ports: &[Forward]) -> Service;
    }

    reads! {
        up as "up"(service: &Service, ports: Vec<Forward>) -> ();
        find_up as "host::find_up"(name: String, start: String) -> Option<String>;
        env_variable as "host::env_variable"(name: String) -> Option<String>;
    }
}

pub mod eval {
    use super::{
        container::Container,
        filesystem::{Changeset, Directory, File, SearchOptions},
        *,
    };
    use crate::{DiffStat, Platform, SearchMatch, Stat, Variable, bindings::wharf::pipeline::types::Error};

    pub fn stdout_file(container: &Container) -> File {
        File::of(Node::new(
            File::KIND,
            "stdout_file",
            Some(container.node()),
            Vec::new(),
        ))
    }

    pub fn stderr_file(container: &Container) -> File {
        File::of(Node::new(
            File::KIND,
            "stderr_file",
            Some(container.node()),
            Vec::new(),
        ))
    }

    reads! {
        stdout as "stdout"(container: &Container) -> String;
        stderr as "stderr"(container: &Container) -> String;
        combined_output as "combined_output"(container: &Container) -> String;
        exit_code as "exit_code"(container: &Container) -> i32;
        container_sync as "sync"(container: &Container) -> ();
        container_exists as "exists"(container: &Container, path: String) -> bool;
        container_stat as "stat"(container: &Container, path: String) -> Stat;
        env_variable as "env_variable"(container: &Container, name: String) -> Option<String>;
        env_variables as "env_variables"(container: &Container) -> Vec<Variable>;
        labels as "labels"(container: &Container) -> Vec<Variable>;
        annotations as "annotations"(container: &Container) -> Vec<Variable>;
        entrypoint as "entrypoint"(container: &Container) -> Vec<String>;
        default_args as "default_args"(container: &Container) -> Vec<String>;
        user as "user"(container: &Container) -> String;
        workdir as "workdir"(container: &Container) -> String;
        mounts as "mounts"(container: &Container) -> Vec<String>;
        container_platform as "platform"(container: &Container) -> Platform;
        image_ref as "image_ref"(container: &Container) -> Option<String>;
        container_digest as "digest"(container: &Container) -> String;
        entries as "entries"(directory: &Directory, path: String) -> Vec<String>;
        glob as "glob"(directory: &Directory, pattern: String) -> Vec<String>;
        directory_exists as "exists"(directory: &Directory, path: String) -> bool;
        directory_stat as "stat"(directory: &Directory, path: String) -> Stat;
        directory_find_up as "find_up"(directory: &Directory, name: String, start: String) -> Option<String>;
        directory_search as "search"(
            directory: &Directory,
            pattern: String,
            options: Option<&SearchOptions>
        ) -> Vec<SearchMatch>;
        directory_digest as "digest"(directory: &Directory) -> String;
        directory_size as "size"(directory: &Directory) -> u64;
        directory_sync as "sync"(directory: &Directory) -> ();
        contents as "contents"(file: &File) -> String;
        contents_bytes as "contents_bytes"(file: &File) -> Vec<u8>;
        read as "read"(file: &File, offset: u64, length: u32) -> Vec<u8>;
        file_size as "size"(file: &File) -> u64;
        file_stat as "stat"(file: &File) -> Stat;
        file_digest as "digest"(file: &File) -> String;
        file_search as "search"(
            file: &File,
            pattern: String,
            options: Option<&SearchOptions>
        ) -> Vec<SearchMatch>;
        as_json as "as_json"(file: &File) -> String;
        file_sync as "sync"(file: &File) -> ();
        added_paths as "added_paths"(changes: &Changeset) -> Vec<String>;
        modified_paths as "modified_paths"(changes: &Changeset) -> Vec<String>;
        removed_paths as "removed_paths"(changes: &Changeset) -> Vec<String>;
        is_empty as "is_empty"(changes: &Changeset) -> bool;
        diff_stats as "diff_stats"(changes: &Changeset) -> Vec<DiffStat>;
        as_patch as "as_patch"(changes: &Changeset) -> String;
    }
}

pub mod exports {
    use super::{
        container::Container,
        filesystem::{Directory, File},
        *,
    };
    use crate::bindings::wharf::pipeline::types::Error;

    reads! {
        export_directory as "export"(directory: &Directory, path: String) -> ();
        export_file as "export"(file: &File, path: String) -> ();
        export_container as "export"(container: &Container, path: String) -> ();
        load as "load"(container: &Container, name: String) -> String;
    }
}

pub mod reveal {
    use super::{secret::Secret, *};
    use crate::bindings::wharf::pipeline::types::Error;

    reads! {
        plaintext as "plaintext"(secret: &Secret) -> String;
    }
}

pub mod debug {
    use super::{container::Container, filesystem::Directory, *};
    use crate::bindings::wharf::pipeline::types::Error;

    reads! {
        terminal as "terminal"(container: &Container, command: Vec<String>) -> i32;
        directory_terminal as "terminal"(directory: &Directory, tools: &Container, command: Vec<String>) -> i32;
    }
}

/// A module that a test runs is built from its source and was given nothing.
pub mod module {
    use super::{
        filesystem::{CopyOptions, Directory},
        *,
    };

    pub fn name() -> String {
        "test".to_owned()
    }
    pub fn version() -> Option<String> {
        None
    }
    pub fn digest() -> String {
        "test".to_owned()
    }
    pub fn granted(_: &str) -> bool {
        false
    }

    builders! {
        "module::source_directory" source_directory(options: Option<&CopyOptions>) -> Directory;
    }
}

/// Words for the person who watches: nobody does.
pub mod log {
    use crate::log::Level;

    #[derive(Debug)]
    pub struct Group;

    impl Group {
        pub fn new(_: &str) -> Self {
            Self
        }
        pub fn say(&self, _: Level, _: &str) {}
        pub fn progress(&self, _: u64, _: u64) {}
    }

    pub fn info(_: &str) {}
    pub fn warn(_: &str) {}
    pub fn error(_: &str) {}
    pub fn progress(_: u64, _: u64) {}
    pub fn annotate(_: Level, _: &str, _: &str, _: Option<u32>) {}
}
