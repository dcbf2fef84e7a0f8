//! Functions for the tests of the whole path: steps with any settings, and guests that misbehave.

mod hostile;

/// What the behaviour tests call.
#[wharf_sdk::module]
mod functions {
    use std::time::Duration;

    use wharf_sdk::prelude::*;

    /// Runs one step and returns what it printed on standard output.
    pub async fn run(
        /// The image.
        image: String,
        /// The arguments; none runs the default ones.
        args: Vec<String>,
        /// `NAME=value`, each a variable.
        env: Vec<String>,
        /// Variables to remove.
        without_env: Vec<String>,
        /// The user.
        user: Option<String>,
        /// The working directory.
        workdir: Option<String>,
        /// The entrypoint to set.
        entrypoint: Option<Vec<String>>,
        /// Text for standard input.
        stdin: Option<String>,
        /// success, failure or any.
        expect: Option<String>,
        /// Put the entrypoint before the arguments.
        use_entrypoint: bool,
        /// Replace variables in the arguments.
        expand: bool,
        /// Give the step a network.
        network: bool,
        /// End the step after so many milliseconds.
        timeout: Option<u64>,
        /// Bytes of memory.
        memory: Option<u64>,
        /// Processes and threads.
        pids: Option<u32>,
    ) -> Result<String> {
        let mut container = image::pull(image);
        for variable in &env {
            let (name, value) = variable.split_once('=').ok_or("a variable is NAME=value")?;
            container = container.with_env_variable(name, value);
        }
        for name in without_env {
            container = container.without_env_variable(name);
        }
        if let Some(user) = user {
            container = container.with_user(user);
        }
        if let Some(workdir) = workdir {
            container = container.with_workdir(workdir);
        }
        if let Some(entrypoint) = entrypoint {
            container = container.with_entrypoint(entrypoint);
        }
        if network {
            container = container.with_network(Network::All);
        }
        let mut options = ExecOptions::new()
            .use_entrypoint(use_entrypoint)
            .expand(expand)
            .expect(expectation(expect)?);
        if let Some(text) = stdin {
            options = options.stdin(text);
        }
        if let Some(milliseconds) = timeout {
            options = options.timeout(Duration::from_millis(milliseconds));
        }
        if let Some(bytes) = memory {
            options = options.memory_limit(bytes);
        }
        if let Some(count) = pids {
            options = options.pids_limit(count);
        }
        container.with_exec_opts(args, &options).stdout().await
    }

    /// Runs one step and returns its exit code, whatever it is.
    pub async fn code(image: String, args: Vec<String>) -> Result<i32> {
        image::pull(image)
            .with_exec_opts(args, &ExecOptions::new().expect(Expect::Any))
            .exit_code()
            .await
    }

    /// The container that a command leaves.
    pub async fn made(image: String, args: Vec<String>) -> Container {
        image::pull(image).with_exec(args)
    }

    /// A file of the directory, as text.
    pub async fn read(source: Directory, path: String) -> Result<String> {
        source.file(path).contents().await
    }

    /// The directory with one file more.
    pub fn add(source: Directory, path: String, contents: String) -> Directory {
        source.with_new_file(path, contents)
    }

    /// What a step prints that sees the secret as a variable.
    pub async fn secret_length(image: String, secret: Secret) -> Result<String> {
        let container = image::pull(image).with_secret_variable("TOKEN", &secret);
        container
            .with_exec(["sh", "-c", "printf %s \"$TOKEN\" | wc -c"])
            .stdout()
            .await
    }

    /// Adds a line to a file in a cache volume and returns all of it.
    pub async fn remember(image: String, cache: CacheVolume, line: String) -> Result<String> {
        let container = image::pull(image)
            .with_mounted_cache("/cache", &cache)
            .with_env_variable("LINE", line);
        container
            .with_exec(["sh", "-c", "echo \"$LINE\" >> /cache/lines; cat /cache/lines"])
            .stdout()
            .await
    }

    /// Every plain type, as it came.
    #[allow(clippy::too_many_arguments, reason = "one for each type")]
    pub fn echo(
        flag: bool,
        letter: char,
        text: String,
        small: u8,
        whole: i64,
        big: u64,
        fraction: f64,
        list: Vec<u32>,
        pair: (String, i32),
        #[default(7)] default: u16,
        maybe: Option<String>,
    ) -> String {
        format!(
            "{flag} {letter:?} {text:?} {small} {whole} {big} {fraction} {list:?} {pair:?} {default} {maybe:?}"
        )
    }

    /// Fails with an error of its own.
    pub fn fails(message: String) -> Result<()> {
        Err(Error::with_code("told-to", message))
    }

    /// Fails with a text.
    pub fn fails_with_text(message: String) -> Result<String, String> {
        Err(message)
    }

    /// Panics with this message.
    pub fn panics(message: String) {
        panic!("{message}");
    }

    /// Never ends.
    pub fn spins() -> u64 {
        crate::hostile::spin()
    }

    /// Asks for this many bytes of memory and writes to them.
    pub fn allocates(bytes: u64) -> u64 {
        crate::hostile::allocate(bytes)
    }

    /// Calls itself this many times, each on top of the one before.
    pub fn recurses(depth: u64) -> u64 {
        crate::hostile::recurse(depth)
    }

    /// Holds this many handles at once.
    pub fn handles(count: u32) -> u32 {
        let held: Vec<_> = (0..count).map(|_| Directory::new()).collect();
        u32::try_from(held.len()).unwrap_or(u32::MAX)
    }

    /// Returns a text of this many bytes.
    pub fn text(bytes: u32) -> String {
        "x".repeat(bytes as usize)
    }

    /// Holds.
    ///
    /// More than one line is said of it.
    #[check]
    pub async fn holds() -> Result<()> {
        Ok(())
    }

    /// Holds when its step succeeds.
    #[check]
    pub async fn step_holds(#[default("busybox:latest")] image: String) -> Container {
        image::pull(image).with_exec(["true"])
    }

    /// Never holds: its step fails.
    #[check]
    pub async fn step_breaks(#[default("busybox:latest")] image: String) -> Container {
        image::pull(image).with_exec(["sh", "-c", "echo a thing is broken >&2; exit 3"])
    }

    /// Never holds.
    #[check]
    pub fn says_no() -> bool {
        false
    }

    fn expectation(name: Option<String>) -> Result<Expect> {
        match name.as_deref() {
            None | Some("success") => Ok(Expect::Success),
            Some("failure") => Ok(Expect::Failure),
            Some("any") => Ok(Expect::Any),
            Some(other) => Err(Error::Invalid(format!("`{other}` is no expectation"))),
        }
    }
}
