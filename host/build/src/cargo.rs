//! Runs cargo: own target directory, flags of our own only, paths remapped, so that one source gives one component on
//! every machine.

use std::{
    collections::VecDeque,
    env,
    ffi::OsString,
    fs,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use serde::Deserialize;

use crate::{BuildError, error::Result, shared, vendor};

pub(crate) const TARGET: &str = "wasm32-wasip2";
/// What a module's directory is called in its component.
pub(crate) const MODULE: &str = "/module";
/// How many of cargo's last lines an error shows.
const TAIL: usize = 40;

/// What the profile sets: one unit and no debugging data for equal bytes, small code because the host compiles it again.
const PROFILE: [&str; 6] = [
    "profile.wharf.inherits=\"release\"",
    "profile.wharf.opt-level=\"s\"",
    "profile.wharf.codegen-units=1",
    "profile.wharf.debug=false",
    "profile.wharf.strip=\"symbols\"",
    "profile.wharf.panic=\"abort\"",
];

/// What cargo has made.
pub(crate) struct Artifact {
    /// The component.
    pub wasm: PathBuf,
    /// The files that went into it.
    pub sources: Vec<PathBuf>,
}

impl Artifact {
    /// A component that something else has built.
    pub(crate) fn prebuilt(wasm: PathBuf) -> Self {
        let sources = vec![wasm.clone()];
        Self { wasm, sources }
    }
}

/// Compiles the module: from the crates that lie beside the SDK when they are all it takes, with no network; from the
/// registry otherwise. What it depends on is compiled once for all modules, below `shared`.
pub(crate) fn compile(
    directory: &Path,
    target: &Path,
    shared: &Path,
    on_output: &dyn Fn(&str),
) -> Result<Artifact> {
    fs::create_dir_all(target).map_err(BuildError::io("create", target))?;
    let own_crates = vendor::sufficient(directory);
    let sdk = shared::sdk(shared, directory)?;
    let flags = Flags::of(directory, sdk.as_deref());
    let run = |crates: Option<&Path>, on_output: &dyn Fn(&str)| {
        let is_alone = sdk.is_none() && crates.is_some();
        let intermediate = shared::directory(shared, directory, &flags.of_all, is_alone)?;
        let mut command = command(directory, target, &intermediate);
        command.args(crates.into_iter().flat_map(vendor::settings));
        command.env("CARGO_ENCODED_RUSTFLAGS", &flags.of_all);
        command.arg("--").arg(&flags.of_module);
        let mut child = spawn(command, directory)?;
        let (artifact, tail) = follow(&mut child, directory, on_output)?;
        let status = child.wait().map_err(BuildError::io("run cargo in", directory))?;
        Ok::<_, BuildError>((status, artifact, tail))
    };
    if let Some(own) = own_crates {
        let crates = sdk.as_ref().map_or(own, |sdk| sdk.join(wharf_scaffold::CRATES));
        let held = vendor::Held::new(on_output);
        let (status, artifact, tail) = run(Some(&crates), &|line| held.line(line))?;
        if status.success() || !vendor::lacks_a_crate(&tail) {
            held.release();
            return finish(directory, status, artifact, tail);
        }
    }
    let (status, artifact, tail) = run(None, on_output)?;
    finish(directory, status, artifact, tail)
}

fn spawn(mut command: Command, directory: &Path) -> Result<Child> {
    match command.spawn() {
        Ok(child) => Ok(child),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(BuildError::NoCargo(directory.to_owned()))
        }
        Err(error) => Err(BuildError::io("run cargo in", directory)(error)),
    }
}

fn finish(directory: &Path, status: ExitStatus, artifact: Option<PathBuf>, tail: String) -> Result<Artifact> {
    if !status.success() {
        if tail.contains("target may not be installed")
            || tail.contains(&format!("rustup target add {TARGET}"))
        {
            return Err(BuildError::NoTarget);
        }
        return Err(BuildError::Cargo {
            module: directory.to_owned(),
            output: tail,
        });
    }
    let wasm = artifact.ok_or_else(|| BuildError::NoComponent(directory.to_owned()))?;
    let sources = dependencies(&wasm.with_extension("d"))?;
    Ok(Artifact { wasm, sources })
}

fn command(directory: &Path, target: &Path, intermediate: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.arg("rustc").args(arguments(target));
    command.args(["--message-format", "json-render-diagnostics"]);
    let place = toml::Value::from(intermediate.to_string_lossy().into_owned());
    command.args(["--config", &format!("build.build-dir={place}")]);
    for (name, _) in env::vars_os() {
        if shapes_code(&name) {
            command.env_remove(name);
        }
    }
    command
}

/// What `cargo build` and `cargo rustc` are told, wherever they run.
pub(crate) fn arguments(target: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["--lib", "--target", TARGET, "--profile", "wharf", "--target-dir"]
        .map(OsString::from)
        .into();
    arguments.push(target.into());
    for setting in PROFILE {
        arguments.extend(["--config".into(), setting.into()]);
    }
    arguments
}

/// Variables of the caller that would make other code of the same source.
fn shapes_code(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_BOOTSTRAP",
        "CARGO_INCREMENTAL",
    ]
    .contains(&name)
        || [
            "CARGO_BUILD_",
            "CARGO_PROFILE_",
            "CARGO_TARGET_",
            "CARGO_ENCODED_",
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

/// Flags that take this machine's paths out of the component. The last one that fits a path wins.
struct Flags {
    /// Of all that is compiled. Modules that have the same share it.
    of_all: OsString,
    /// Of the module's own code.
    of_module: OsString,
}

impl Flags {
    /// For a module whose SDK is the one that lies here for all modules, if it is.
    fn of(directory: &Path, sdk: Option<&Path>) -> Self {
        let home = env::var_os("HOME").map(PathBuf::from);
        let cargo = env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| home.map(|home| home.join(".cargo")))
            .map(|cargo| (cargo, "/cargo".to_owned()));
        let own_sdk = directory.join(wharf_scaffold::SDK);
        let real = fs::canonicalize(&own_sdk).ok();
        // Cargo calls the SDK in the module by the path from there, which is the same in all modules.
        let is_named_alike = |path: &Path| {
            let own = real.as_ref().filter(|_| sdk.is_some());
            own.is_some_and(|own| path.starts_with(own))
        };
        let dependencies = path_dependencies(directory)
            .into_iter()
            .filter(|(path, _)| !is_named_alike(path))
            .map(|(path, name)| (path, format!("/dependency/{name}")));
        // The crates beside it are called what they would be called in the module.
        let sdk = sdk
            .map(Path::to_owned)
            .or_else(|| real.is_some().then_some(own_sdk));
        let sdk = sdk.map(|sdk| (sdk, format!("{MODULE}/{}", wharf_scaffold::SDK)));
        let mut of_all = OsString::new();
        for (from, to) in dependencies.chain(cargo).chain(sdk) {
            if !of_all.is_empty() {
                of_all.push("\u{1f}");
            }
            of_all.push(remap(&from, &to));
        }
        Self {
            of_all,
            of_module: remap(directory, MODULE),
        }
    }
}

fn remap(from: &Path, to: &str) -> OsString {
    let mut flag = OsString::from("--remap-path-prefix=");
    flag.push(from);
    flag.push("=");
    flag.push(to);
    flag
}

/// The packages outside the module that its manifest names by path, and theirs.
fn path_dependencies(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut found: Vec<(PathBuf, String)> = Vec::new();
    let mut next = vec![directory.to_owned()];
    while let Some(package) = next.pop() {
        let Ok(text) = fs::read_to_string(package.join("Cargo.toml")) else {
            continue;
        };
        let Ok(table) = text.parse::<toml::Table>() else {
            continue;
        };
        let Some(dependencies) = table.get("dependencies").and_then(toml::Value::as_table) else {
            continue;
        };
        for (name, dependency) in dependencies {
            let path = dependency
                .get("path")
                .and_then(toml::Value::as_str)
                .map(|path| package.join(path));
            if let Some(Ok(path)) = path.map(fs::canonicalize)
                && found.iter().all(|(known, _)| *known != path)
            {
                found.push((path.clone(), name.clone()));
                next.push(path);
            }
        }
    }
    found
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Passes on what cargo prints, and gathers the component's path and the last lines.
fn follow(
    child: &mut Child,
    directory: &Path,
    on_output: &dyn Fn(&str),
) -> Result<(Option<PathBuf>, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let reader = scope.spawn(move || artifact(stdout, directory));
        let mut tail = VecDeque::new();
        for line in stderr
            .into_iter()
            .flat_map(|stderr| BufReader::new(stderr).split(b'\n'))
        {
            let line = line.map_err(BuildError::io("read cargo's output in", directory))?;
            let line = String::from_utf8_lossy(&line).into_owned();
            on_output(&line);
            if tail.len() == TAIL {
                tail.pop_front();
            }
            tail.push_back(line);
        }
        let artifact = reader.join().unwrap_or_default();
        Ok((artifact, Vec::from(tail).join("\n")))
    })
}

/// The component among the messages on cargo's standard output.
fn artifact(stdout: Option<impl Read>, directory: &Path) -> Option<PathBuf> {
    let mut found = None;
    for line in stdout
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines().map_while(io::Result::ok))
    {
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        if message.reason == "compiler-artifact" && message.manifest_path == directory.join("Cargo.toml") {
            let wasm = message
                .filenames
                .into_iter()
                .find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
            found = wasm.or(found);
        }
    }
    found
}

/// The files that a dependency file names. Its lines are `target: file file …`, with spaces in names escaped.
fn dependencies(path: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string(path).map_err(BuildError::io("read", path))?;
    let mut files = Vec::new();
    for line in text.lines() {
        let Some((_, names)) = line.split_once(": ") else {
            continue;
        };
        let mut name = String::new();
        let mut letters = names.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if letters.peek() == Some(&' ') => name.extend(letters.next()),
                ' ' => files.push(PathBuf::from(std::mem::take(&mut name))),
                other => name.push(other),
            }
        }
        if !name.is_empty() {
            files.push(PathBuf::from(name));
        }
    }
    Ok(files)
}
