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

    /// What a command says in an image of the caller's Docker.
    pub async fn said_in_docker(name: String, args: Vec<String>) -> Result<String> {
        image::of_docker(name).with_exec(args).stdout().await
    }

    /// Runs a script on GPUs, and returns what it printed.
    pub async fn on_gpus(image: String, script: String, count: Option<u32>) -> Result<String> {
        let request = gpu::Request::new().count(count.unwrap_or(1)).sharing(gpu::Sharing::Exclusive);
        let container = image::pull(image).with_gpu(&request);
        container.with_exec(["sh", "-c", &script]).stdout().await
    }

    /// The engine's GPUs.
    pub async fn gpus() -> Result<Vec<String>> {
        let line = |device: gpu::Device| {
            let capability = device.compute_capability.unwrap_or_default();
            format!("{} {} {capability} {}", device.name, device.memory_total, device.is_usable)
        };
        Ok(gpu::devices().await?.into_iter().map(line).collect())
    }

    /// The engines that the user has named.
    pub async fn targets() -> Result<Vec<String>> {
        let line = |target: gpu::Target| {
            let free = target.devices.iter().filter(|device| device.is_free).count();
            let state = target.why_not.unwrap_or_else(|| format!("{free} free"));
            format!("{} {} {state}", target.name, target.labels.join(" "))
        };
        Ok(gpu::targets().await?.into_iter().map(line).collect())
    }

    /// What a script makes in `/made` on another engine's GPU, and how many GPUs a step of this engine sees beside it.
    pub async fn on_target(image: String, script: String, token: Secret, target: String) -> Result<String> {
        let there = image::pull(&image).with_secret_variable("TOKEN", &token).with_gpu(&gpu::Request::new());
        let made = there.with_exec(["sh", "-c", &script]).directory("/made").on_target(&target);
        let here = image::pull(image).with_mounted_directory("/made", &made);
        let looks = "cat /made/*; echo here: $(ls /dev | grep -c fake)";
        here.with_exec(["sh", "-c", looks]).stdout().await
    }

    /// A file of the directory, as text.
    pub async fn read(source: Directory, path: String) -> Result<String> {
        source.file(path).contents().await
    }

    /// What an archive at a URL holds.
    pub fn fetched(url: String, digest: Option<String>, token: Option<Secret>) -> Directory {
        let mut fetch = http::fetch(url);
        if let Some(digest) = digest {
            fetch = fetch.digest(digest);
        }
        if let Some(token) = token {
            fetch = fetch.bearer_auth(&token);
        }
        fetch.unpack()
    }

    /// The branches of a repository, the commit of one, its last author, and a file of it.
    pub async fn of_git(url: String, branch: String, path: String) -> Result<Vec<String>> {
        let repository = git::repository(url);
        let reference = repository.branch(branch);
        let mut found = repository.branches().await?;
        found.push(reference.commit().await?);
        found.extend(reference.log(1).await?.into_iter().map(|entry| entry.author));
        found.push(reference.tree().file(path).contents().await?);
        Ok(found)
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

    /// The secret's value, for whoever may see it.
    pub async fn reveal_secret(secret: Secret) -> Result<String> {
        secret.plaintext().await
    }

    /// Runs a step that has the secret's value among its arguments and fails, for whoever may see it.
    pub async fn tells_a_secret(image: String, secret: Secret) -> Result<String> {
        let value = secret.plaintext().await?;
        let step = image::pull(image).with_exec(["sh", "-c", "exit 3", &value]);
        step.stdout().await
    }

    /// Opens a terminal in a container, and says what became of it and of the container.
    pub async fn stops(image: String, command: Vec<String>) -> Result<String> {
        let prepared = image::pull(image).with_new_file("/made", "by the pipeline\n");
        let code = prepared.terminal_with(command).await?;
        let kept = prepared.with_exec(["sh", "-c", "ls / | grep -c typed || true"]).stdout().await?;
        Ok(format!("code {code}, kept {}", kept.trim()))
    }

    /// Opens terminals in two containers at once, and one in a directory.
    pub async fn stops_often(image: String) -> Result<String> {
        let base = image::pull(image);
        let one = base.with_env_variable("WHICH", "one");
        let other = base.with_env_variable("WHICH", "other");
        let (one, other) = join!(one.terminal(), other.terminal());
        let directory = Directory::new().with_new_file("file", "in the directory\n");
        Ok(format!("{} {} {}", one?, other?, directory.terminal(&base).await?))
    }

    /// A step that fails when it has written something, where a shell finds all that it had.
    pub async fn breaks(image: String, source: Directory, token: Secret) -> Result<String> {
        let step = image::pull(image)
            .with_mounted_directory("/src", &source)
            .with_secret_variable("TOKEN", &token)
            .with_env_variable("GREETING", "hello")
            .with_workdir("/src");
        step.with_exec(["sh", "-c", "echo root > /left; echo mount > left; echo it broke; exit 3"])
            .stdout()
            .await
    }

    /// Everything that a module without the right to reveal can try to get at a secret's value.
    pub async fn tries_to_see(secret: Secret, variable: String, path: String) -> Vec<String> {
        let mut seen = vec![secret.name(), secret.scheme(), format!("{secret:?}")];
        seen.push(format!("{:?}", secret.plaintext().await));
        seen.push(format!("{:?}", host::env_variable(variable).await));
        seen.push(format!("{:?}", host::file(&path).contents().await));
        seen.push(format!("{:?}", host::file(format!("./x/../{path}")).contents().await));
        seen.push(format!("{:?}", host::directory(".").file(&path).contents().await));
        let container = Container::new()
            .with_secret_variable("TOKEN", &secret)
            .with_mounted_secret("/token", &secret);
        seen.push(format!("{:?}", container.env_variables().await));
        seen.push(format!("{:?}", container.env_variable("TOKEN").await));
        seen.push(format!("{:?}", container.file("/token").contents().await));
        seen.push(format!("{:?}", container.digest().await.is_ok()));
        seen
    }

    /// Makes a secret of what a file holds; a step uses it and prints it.
    pub async fn made_secret(image: String, token: String) -> Result<String> {
        let base = image::pull(image);
        let made = base
            .with_new_file("/token", token)
            .file("/token")
            .contents()
            .await?;
        let secret = Secret::of_value("token", made);
        let uses = base.with_secret_variable("TOKEN", &secret);
        uses.with_exec(["sh", "-c", "echo \"${#TOKEN} $TOKEN\""])
            .stdout()
            .await
    }

    /// What the module knows of itself.
    pub fn knows_itself() -> Vec<String> {
        use wharf_sdk::module;
        vec![
            module::name(),
            module::version().unwrap_or_default(),
            module::digest(),
            format!("{} {}", module::granted("reveal"), module::granted("container")),
        ]
    }

    /// Names in the module's own source.
    pub async fn own_source() -> Result<Vec<String>> {
        wharf_sdk::module::source_directory().entries("/").await
    }

    /// What is there of arguments, variables and files.
    pub fn looks_around() -> String {
        let found = crate::hostile::surroundings();
        if found.is_empty() {
            "nothing".to_owned()
        } else {
            found
        }
    }

    /// Says words of all kinds.
    pub fn talks() {
        let group = log::Group::new("checks");
        group.warn("one is slow");
        group.progress(1, 2);
        log::annotate(log::Level::Error, "unused", "src/lib.rs", Some(7));
    }

    /// Marks what is to do as done, and says what that changed.
    pub async fn finished(source: Directory) -> Result<Changeset> {
        let mut after = source.directory("/");
        for found in source.search("(?i)todo").await? {
            let done = source.file(&found.path).with_all_replaced("TODO", "DONE");
            after = after.with_file(&found.path, &done);
        }
        Ok(source.changes_to(&after.without_file("old.txt")))
    }

    /// The directory with the changes of one of our own, and a patch.
    pub async fn again(source: Directory, patch: String) -> Result<Directory> {
        let changed = source.with_new_file("new.txt", "new\n").without_file("old.txt");
        Ok(source
            .with_changes(&source.changes_to(&changed))
            .with_patch(patch))
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

    /// A web server that says hello.
    pub fn web(image: String) -> Service {
        image::pull(image)
            .with_new_file("/srv/index.html", "hello\n")
            .with_default_args(["sh", "-c", "echo serving; exec httpd -f -p 80 -h /srv"])
            .with_exposed_port(80, "tcp")
            .as_service()
    }

    /// What a service answers to a line.
    pub async fn ask(image: String, service: Service, port: u16, line: String) -> Result<String> {
        let script = format!("nc it {port}");
        image::pull(image)
            .with_service("it", &service)
            .with_exec_opts(["sh", "-c", script.as_str()], &ExecOptions::new().stdin(line))
            .stdout()
            .await
    }

    /// What a service of the caller's machine answers to a line, and what is known of it while it runs.
    pub async fn ask_host(image: String, port: u16, line: String) -> Result<String> {
        let service = host::service("127.0.0.1", port);
        service.start().await?;
        let endpoint = service.endpoint().await?;
        if service.ports().await?
            != [Port {
                number: port,
                transport: Transport::Tcp,
            }]
        {
            return Err("the service has other ports".into());
        }
        let script = endpoint.replace(':', " ");
        let answer = image::pull(image)
            .with_service("it", &service)
            .with_exec_opts(
                ["sh", "-c", format!("nc {script}").as_str()],
                &ExecOptions::new().stdin(line),
            )
            .stdout()
            .await?;
        service.stop().await?;
        Ok(answer)
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
