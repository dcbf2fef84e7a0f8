//! Tests of modules against the real host, in plain `cargo test`: the module is built as users have it, called as users call
//! it, with the rights that the test gives it and no others.
//!
//! ```no_run
//! // tests/module.rs
//! use wharf_test::Host;
//!
//! #[test]
//! fn counts_the_files_of_a_directory() {
//!     let host = Host::new();
//!     host.write("tree/a", "1");
//!     host.write("tree/b", "2");
//!     let module = host.module(env!("CARGO_MANIFEST_DIR"));
//!     assert_eq!(module.call("count").flag("source", "tree").text(), "2");
//! }
//!
//! #[test]
//! fn sees_no_secret_that_it_was_not_granted() {
//!     let host = Host::new().with_env("TOKEN", "t0k3n");
//!     let module = host.module(env!("CARGO_MANIFEST_DIR"));
//!     let deploy = || module.call("deploy").flag("token", "env:TOKEN");
//!     deploy().denied("reveal");
//!     assert_eq!(deploy().allow("reveal").text(), "done");
//! }
//! ```
//!
//! The host is the program `wharf`: the one that `WHARF_BIN` names, or the one on the path. Each [`Host`] has a home and a store of
//! its own, an engine that nobody else uses and that ends with it, and a directory in which calls run. What tests share are the
//! images: `WHARF_REGISTRY_MIRRORS` and the other variables of `wharf` are passed on.
//!
//! Tests of what a function plans need no host: `wharf_sdk::testing` compares that as text.

use std::{
    collections::BTreeMap,
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// Variables that say how the host reaches others; they are passed on.
const PASSED_ON: [&str; 14] = [
    "PATH",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "WHARF_ENGINE",
    "WHARF_RUNTIME",
    "WHARF_CA_CERT",
    "WHARF_REGISTRY_MIRRORS",
    "DOCKER_HOST",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "TMPDIR",
    "TERM",
];

/// A host of a test's own. Its engine ends and its files go when it is dropped.
#[derive(Debug)]
pub struct Host {
    program: PathBuf,
    root: PathBuf,
    environment: BTreeMap<OsString, OsString>,
}

/// A module on a host.
#[derive(Clone, Debug)]
pub struct Module<'h> {
    host: &'h Host,
    place: OsString,
}

/// A call that is being written. It is made when its outcome is asked for.
#[derive(Clone, Debug)]
#[must_use = "a call is made when its outcome is asked for"]
pub struct Call<'h> {
    module: Module<'h>,
    options: Vec<OsString>,
    words: Vec<OsString>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit code: 0 done, 1 failed, 2 called wrongly, 3 denied, 4 out of reach.
    pub code: i32,
    /// What it printed: the value.
    pub value: Vec<u8>,
    /// What was said meanwhile, and the error.
    pub said: String,
    line: String,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A new one.
    ///
    /// # Panics
    /// When its directory cannot be made.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "wharf-test-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let root = env::temp_dir().join(name);
        for directory in ["home", "work"] {
            fs::create_dir_all(root.join(directory))
                .unwrap_or_else(|error| panic!("{} cannot be made: {error}", root.display()));
        }
        let mut environment: BTreeMap<OsString, OsString> = PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).into(), env::var_os(name)?)))
            .collect();
        // The toolchain is the user's: it would be looked for in the new home.
        for (name, usual) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let home = env::home_dir().map(|home| home.join(usual).into_os_string());
            environment.entry(name.into()).or_insert(home.unwrap_or_default());
        }
        environment.insert("HOME".into(), root.join("home").into());
        environment.insert("WHARF_HOME".into(), root.join("wharf").into());
        Self {
            program: env::var_os("WHARF_BIN").map_or_else(|| "wharf".into(), PathBuf::from),
            root,
            environment,
        }
    }

    /// Sets a variable that calls see, as the one of a secret.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.into(), value.as_ref().into());
        self
    }

    /// Uses this program, whatever `WHARF_BIN` and the path say.
    #[must_use]
    pub fn with_program(mut self, program: impl AsRef<Path>) -> Self {
        program.as_ref().clone_into(&mut self.program);
        self
    }

    /// A path in the directory in which calls run.
    pub fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.root.join("work").join(below)
    }

    /// Writes a file there, with its directories.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        let parent = path.parent().unwrap_or(&path);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content.as_ref()));
        written.unwrap_or_else(|error| panic!("{} cannot be written: {error}", path.display()));
        path
    }

    /// A module: its directory, a component's file, or one of a registry.
    pub fn module(&self, place: impl AsRef<OsStr>) -> Module<'_> {
        Module {
            host: self,
            place: place.as_ref().to_owned(),
        }
    }

    /// Runs `wharf` with these words.
    ///
    /// # Panics
    /// When the program cannot be run.
    pub fn run<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Outcome {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .env_clear()
            .envs(&self.environment)
            .current_dir(self.path(""))
            .stdin(Stdio::null());
        let line: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let line = format!("wharf {}", line.join(" "));
        let output = command.output().unwrap_or_else(|error| {
            panic!(
                "{} cannot be run ({error}): put it on the path, or name it in WHARF_BIN",
                self.program.display()
            )
        });
        Outcome::of(output, line)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let mut stop = Command::new(&self.program);
        stop.args(["engine", "stop"]).env_clear().envs(&self.environment);
        stop.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .ok();
        fs::remove_dir_all(&self.root).ok();
    }
}

impl<'h> Module<'h> {
    /// A call of one of its functions.
    pub fn call(&self, function: &str) -> Call<'h> {
        Call {
            module: self.clone(),
            options: Vec::new(),
            words: vec![function.into()],
        }
    }
}

impl Call<'_> {
    /// Gives a parameter a value, as users write it: text, a number, a path, `env:NAME`. One that begins with a dash is fine.
    pub fn flag(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut word = OsString::from(format!("--{name}="));
        word.push(value);
        self.words.push(word);
        self
    }

    /// Turns a switch on.
    pub fn switch(mut self, name: &str) -> Self {
        self.words.push(format!("--{name}").into());
        self
    }

    /// Calls a method of what was returned so far.
    pub fn then(mut self, method: &str) -> Self {
        self.words.push(method.into());
        self
    }

    /// Gives the module a right for this call, or a part of one: `reveal`, `network=example.com`.
    pub fn allow(mut self, right: &str) -> Self {
        self.options.extend(["--allow".into(), right.into()]);
        self
    }

    /// Makes the call.
    pub fn run(&self) -> Outcome {
        let start = ["call", "-q"].map(OsString::from);
        let module = ["-m".into(), self.module.place.clone()];
        let words = start
            .into_iter()
            .chain(module)
            .chain(self.options.iter().cloned());
        self.module.host.run(words.chain(self.words.iter().cloned()))
    }

    /// Makes the call, and returns the value as text without its last line end.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn text(&self) -> String {
        let outcome = self.run();
        outcome.expect(0);
        let text = String::from_utf8_lossy(&outcome.value).into_owned();
        text.strip_suffix('\n').map(str::to_owned).unwrap_or(text)
    }

    /// Makes the call, and returns the value as JSON.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn json(&self) -> String {
        self.clone().switch("json").text()
    }

    /// Makes the call, which fails, and returns what was said.
    ///
    /// # Panics
    /// When it succeeds, or ends in another way.
    #[track_caller]
    pub fn fails(&self) -> String {
        let outcome = self.run();
        outcome.expect(1);
        outcome.said
    }

    /// Makes the call, which is denied this capability, and returns what was said.
    ///
    /// # Panics
    /// When it is not, or another one is meant.
    #[track_caller]
    pub fn denied(&self, capability: &str) -> String {
        let outcome = self.run();
        outcome.expect(3);
        assert!(
            outcome.said.contains(&format!("may not use {capability}")),
            "`{}` is denied something else:\n{}",
            outcome.line,
            outcome.said
        );
        outcome.said
    }
}

impl Outcome {
    fn of(output: Output, line: String) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            value: output.stdout,
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            line,
        }
    }

    #[track_caller]
    fn expect(&self, code: i32) {
        assert_eq!(
            self.code,
            code,
            "`{}` ended with {}:\n{}{}",
            self.line,
            self.code,
            self.said,
            String::from_utf8_lossy(&self.value)
        );
    }
}
