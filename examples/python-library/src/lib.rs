//! Tests a Python library under several settings and builds its wheel, all in containers.

mod outcome;

/// Tests a Python library and builds its wheel.
///
/// The library is a source distribution with a `pyproject.toml` or a `setup.py`, and tests that pytest finds.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use crate::outcome::{Outcome, summary};

    /// The settings that the tests are run under: name, arguments of Python, environment.
    const SETTINGS: [(&str, &[&str], &[(&str, &str)]); 3] = [
        ("plain", &[], &[]),
        ("warnings are errors", &["-W", "error"], &[]),
        ("optimised", &["-O"], &[("PYTHONHASHSEED", "1")]),
    ];

    /// Prints what the library needs for its build and its tests, one requirement a line.
    const REQUIREMENTS: &str = r#"
import tomllib
project = tomllib.load(open("/pyproject.toml", "rb"))
needed = list(project.get("build-system", {}).get("requires", ["setuptools", "wheel"]))
about = project.get("project", {})
needed += about.get("dependencies", [])
extras = about.get("optional-dependencies", {})
needed += next((extras[name] for name in ("test", "tests", "testing") if name in extras), [])
print("\n".join(needed))
"#;

    /// Tests the library under three settings and, when they pass, builds its wheel. Gives the wheel and a summary.
    pub async fn release(
        /// The library's source distribution.
        source: Directory,
        /// The version of Python. Default: 3.11
        python: Option<String>,
        /// Build the wheel even when tests fail under other settings than the plain one.
        #[default(false)]
        lenient: bool,
    ) -> Result<Directory> {
        let base = base(&source, python).await?;
        let outcomes = outcomes(&base, &source).await?;
        for outcome in outcomes.iter().filter(|outcome| !outcome.passed()) {
            if outcome.setting == SETTINGS[0].0 || !lenient {
                return Err(Error::with_code("tests-failed", summary(&outcomes)));
            }
            log::warn(format!("tests fail when {}: {}", outcome.setting, outcome.counts));
        }
        Ok(built(&base, &source).with_new_file("summary.txt", summary(&outcomes)))
    }

    /// Tests the library under three settings and says how it went.
    pub async fn test(
        /// The library's source distribution.
        source: Directory,
        /// The version of Python. Default: 3.11
        python: Option<String>,
    ) -> Result<String> {
        let base = base(&source, python).await?;
        let outcomes = outcomes(&base, &source).await?;
        let text = summary(&outcomes);
        if outcomes.iter().all(Outcome::passed) {
            Ok(text)
        } else {
            Err(Error::with_code("tests-failed", text))
        }
    }

    /// Builds the library's wheel without testing it.
    pub async fn wheel(
        /// The library's source distribution.
        source: Directory,
        /// The version of Python. Default: 3.11
        python: Option<String>,
    ) -> Result<Directory> {
        Ok(built(&base(&source, python).await?, &source))
    }

    /// Greets, from this module alone: no container is started.
    pub fn hello(
        /// Whom to greet.
        #[default("world")]
        name: String,
    ) -> String {
        format!("Hello, {name}!")
    }

    /// Python with what the library needs. It depends on `pyproject.toml` alone, so that other files can change under it.
    async fn base(source: &Directory, python: Option<String>) -> Result<Container> {
        let version = python.unwrap_or_else(|| "3.11".to_owned());
        let python = image::pull(format!("python:{version}-slim"))
            .with_env_variable("PYTHONDONTWRITEBYTECODE", "1")
            .with_env_variable("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .with_env_variable("PIP_ROOT_USER_ACTION", "ignore");
        let needed = if source.exists("pyproject.toml").await? {
            let asked = python
                .with_mounted_file("/pyproject.toml", &source.file("pyproject.toml"))
                .with_exec_opts(
                    ["python", "-c", REQUIREMENTS],
                    &ExecOptions::new().reason("read the requirements"),
                );
            asked.stdout().await?
        } else {
            "setuptools\nwheel\n".to_owned()
        };
        let mut install = vec!["pip", "install", "pytest"];
        install.extend(needed.lines().filter(|line| !line.is_empty()));
        let installed = python
            .with_network(Network::All)
            .with_mounted_cache("/root/.cache/pip", &CacheVolume::new("pip"))
            .with_exec_opts(install, &ExecOptions::new().reason("install what the tests need"));
        // What follows needs neither.
        Ok(installed
            .without_mount("/root/.cache/pip")
            .with_network(Network::None))
    }

    /// Runs the tests under all settings at once.
    async fn outcomes(base: &Container, source: &Directory) -> Result<Vec<Outcome>> {
        let ready = with_source(base, source).with_env_variable("PYTHONPATH", "/library:/library/src");
        let runs = SETTINGS.map(|(setting, arguments, variables)| {
            let configured = variables
                .iter()
                .fold(ready.with_workdir("/library"), |container, (name, value)| {
                    container.with_env_variable(name, value)
                });
            let command =
                ["python"]
                    .iter()
                    .chain(arguments)
                    .chain(&["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
            let options = ExecOptions::new()
                .expect(Expect::Any)
                .reason(format!("test: {setting}"));
            (setting, configured.with_exec_opts(command.copied(), &options))
        });
        let reads = runs.iter().map(|(setting, run)| async move {
            let (code, output) = join!(run.exit_code(), run.stdout());
            Ok(Outcome::read(setting, code?, &output?))
        });
        join_all(reads).await.into_iter().collect()
    }

    /// The directory that holds the library's wheel.
    fn built(base: &Container, source: &Directory) -> Directory {
        // The same bytes whenever it is built.
        let ready = with_source(base, source).with_env_variable("SOURCE_DATE_EPOCH", "315532800");
        let command = [
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "--no-index",
            "--wheel-dir",
            "/wheel",
            ".",
        ];
        ready
            .with_exec_opts(command, &ExecOptions::new().reason("build the wheel"))
            .directory("/wheel")
    }

    fn with_source(base: &Container, source: &Directory) -> Container {
        let options = CopyOptions::new().exclude([".git", ".venv", "**/__pycache__", "dist"]);
        base.with_directory_opts("/library", source, &options)
            .with_workdir("/library")
    }
}
