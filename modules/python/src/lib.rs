//! Python projects: what they need, their tests, their wheels.

mod project;

/// Environments, tests and wheels of Python projects.
///
/// A project has a `pyproject.toml` or a `setup.py`. What it needs is installed in one step, with a cache volume for pip, and again
/// only when that changes. All else runs without network.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use crate::project::Project;

    /// Where the project lies in containers.
    const PLACE: &str = "/project";
    /// Where pip keeps what it has fetched.
    const CACHE: &str = "/var/cache/pip";
    /// pip without what only people need to be told.
    const PIP: [&str; 5] = ["python", "-m", "pip", "--disable-pip-version-check", "--quiet"];
    /// What pip is told to build and install from what is there alone.
    const OFFLINE: [&str; 3] = ["--no-deps", "--no-build-isolation", "--no-index"];
    /// A time for files in wheels: 1980, the first that zip archives know.
    const EPOCH: &str = "315532800";

    /// Python with what a project needs, and no network: to run anything of it in. The project itself is not in it.
    pub async fn environment(
        /// The project.
        source: Directory,
        /// An image with Python and pip.
        #[default("python:3.11-slim")]
        python: Container,
        /// Optional dependencies and dependency groups of the project that are installed, too.
        extras: Vec<String>,
        /// Further packages, as pip takes them, such as `ruff>=0.5`.
        packages: Vec<String>,
    ) -> Result<Container> {
        let project = Project::read(&source).await?;
        let mut needed = project.needs(&extras)?;
        needed.extend(packages);
        Ok(installed(&python, needed))
    }

    /// Runs a project's tests with pytest, and returns what it prints. Fails when a test does.
    pub async fn test(
        /// The project.
        source: Directory,
        /// An image with Python and pip.
        #[default("python:3.11-slim")]
        python: Container,
        /// Optional dependencies and dependency groups of the project that are installed, too; those named `test`, `tests` and
        /// `testing` when none is named.
        extras: Vec<String>,
        /// Further packages, as pip takes them, such as `pytest-cov`.
        packages: Vec<String>,
        /// Further arguments of pytest, as in `--args=-k --args=parser`.
        args: Vec<String>,
    ) -> Result<String> {
        let project = Project::read(&source).await?;
        let extras = if extras.is_empty() {
            project.for_tests()
        } else {
            extras
        };
        let mut needed = project.needs(&extras)?;
        needed.push("pytest".to_owned());
        needed.extend(packages);
        let mut ready = with_source(&installed(&python, needed), &source);
        if project.is_package() {
            ready = ready.with_exec_opts(
                PIP.iter()
                    .chain(&["install"])
                    .chain(&OFFLINE)
                    .chain(&["."])
                    .copied(),
                &ExecOptions::new().reason("install the project"),
            );
        }
        let command = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"].map(str::to_owned);
        let run = ready.with_exec_opts(
            command.into_iter().chain(args),
            &ExecOptions::new().reason("test"),
        );
        run.stdout().await
    }

    /// Builds a project's wheel: the same bytes whenever it is built.
    pub async fn wheel(
        /// The project.
        source: Directory,
        /// An image with Python and pip.
        #[default("python:3.11-slim")]
        python: Container,
    ) -> Result<File> {
        let project = Project::read(&source).await?;
        if !project.is_package() {
            return Err(Error::with_code(
                "no-package",
                "the project cannot be built: it has neither a setup.py nor [build-system] or [project] in pyproject.toml",
            ));
        }
        let ready = with_source(&installed(&python, project.to_build()), &source);
        let command = PIP.iter().chain(&["wheel"]).chain(&OFFLINE);
        let wheels = ready
            .with_env_variable("SOURCE_DATE_EPOCH", EPOCH)
            .with_exec_opts(
                command.chain(&["--wheel-dir", "/wheel", "."]).copied(),
                &ExecOptions::new().reason("build the wheel"),
            )
            .directory("/wheel");
        match &wheels.glob("*.whl").await?[..] {
            [wheel] => Ok(wheels.file(wheel)),
            several => Err(Error::new(format!(
                "a project has one wheel, and not {}",
                several.len()
            ))),
        }
    }

    /// Python with these packages, which pip fetches where it has not yet. What follows has neither network nor pip's cache.
    fn installed(python: &Container, packages: Vec<String>) -> Container {
        let quiet = python
            .with_env_variable("PYTHONDONTWRITEBYTECODE", "1")
            .with_env_variable("PIP_ROOT_USER_ACTION", "ignore");
        if packages.is_empty() {
            return quiet.with_network(Network::None);
        }
        // Behind `--` nothing is an option of pip's.
        let command = PIP
            .iter()
            .chain(&["install", "--"])
            .map(|word| (*word).to_owned());
        quiet
            .with_network(Network::All)
            .with_env_variable("PIP_CACHE_DIR", CACHE)
            .with_mounted_cache(CACHE, &CacheVolume::new("pip"))
            .with_exec_opts(
                command.chain(packages),
                &ExecOptions::new().reason("install what the project needs"),
            )
            .without_mount(CACHE)
            .without_env_variable("PIP_CACHE_DIR")
            .with_network(Network::None)
    }

    fn with_source(ready: &Container, source: &Directory) -> Container {
        let options = CopyOptions::new().exclude([".git", ".venv", "**/__pycache__", "build", "dist"]);
        ready
            .with_directory_opts(PLACE, source, &options)
            .with_workdir(PLACE)
    }
}

#[cfg(test)]
mod tests;
