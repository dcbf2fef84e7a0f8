//! Rust projects: builds, tests, lints.

mod project;

/// Builds, tests and lints of Rust projects, with cargo's caches.
///
/// Crates are fetched in a step with network; everything else runs without. What cargo has fetched and compiled is in cache volumes,
/// on which no result depends.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    use crate::project::Project;

    /// Where the project lies in containers.
    const PLACE: &str = "/project";
    /// Cargo's own directory: its registry and its settings.
    const HOME: &str = "/cargo";
    /// The crates that the project needs, unpacked, and the settings with which cargo finds them.
    const VENDOR: &str = "/vendor";
    /// Where cargo compiles.
    const TARGET: &str = "/target";

    /// Builds a project for release, and returns its programs and libraries.
    pub async fn build(
        /// The project, with its Cargo.lock.
        source: Directory,
        /// An image with Rust.
        #[default("rust:1-slim")]
        rust: Container,
        /// Further arguments of `cargo build`, as in `--args=--features --args=tls`.
        args: Vec<String>,
    ) -> Result<Directory> {
        let project = Project::read(&source).await?;
        let script = concat!(include_str!("times.sh"), include_str!("build.sh"));
        Ok(step(&rust, &source, &project, script, args, "build").directory("/out"))
    }

    /// Runs a project's tests, and returns what they print. Fails when one does.
    pub async fn test(
        /// The project, with its Cargo.lock.
        source: Directory,
        /// An image with Rust.
        #[default("rust:1-slim")]
        rust: Container,
        /// Further arguments of `cargo test`, as in `--args=--workspace`.
        args: Vec<String>,
    ) -> Result<String> {
        let project = Project::read(&source).await?;
        let script = concat!(
            include_str!("times.sh"),
            "exec cargo test --locked --offline \"$@\"\n"
        );
        step(&rust, &source, &project, script, args, "test")
            .stdout()
            .await
    }

    /// Lints a project with clippy, and returns what it says. A warning is an error.
    pub async fn clippy(
        /// The project, with its Cargo.lock.
        source: Directory,
        /// An image with Rust; clippy is added where it has none.
        #[default("rust:1-slim")]
        rust: Container,
        /// Further arguments of `cargo clippy`, as in `--args=--workspace`.
        args: Vec<String>,
    ) -> Result<String> {
        let project = Project::read(&source).await?;
        let add = "cargo clippy --version >/dev/null 2>&1 || rustup component add clippy";
        let rust = rust.with_network(Network::All).with_exec_opts(
            ["sh", "-c", add],
            &ExecOptions::new().reason("find clippy, or add it"),
        );
        let strict = "exec cargo clippy --locked --offline --all-targets \"$@\" -- --deny warnings\n";
        let script = [include_str!("times.sh"), strict].concat();
        step(&rust, &source, &project, &script, args, "clippy")
            .combined_output()
            .await
    }

    /// Runs a script of cargo's in the whole project, without network.
    fn step(
        rust: &Container,
        source: &Directory,
        project: &Project,
        script: &str,
        args: Vec<String>,
        reason: &str,
    ) -> Container {
        let vendor = vendored(rust, source, project);
        let target = CacheVolume::new(&project.volume).with_sharing(Sharing::Locked);
        // Which toolchain it is, the image says: rustup would want to fetch another one.
        let sources = CopyOptions::new().exclude([".git", "/target", "/rust-toolchain*"]);
        let command = ["sh", "-euc", script, reason].map(str::to_owned);
        rust.with_network(Network::None)
            .with_env_variable("CARGO_HOME", HOME)
            .with_env_variable("CARGO_TARGET_DIR", TARGET)
            .with_mounted_cache(TARGET, &target)
            .with_mounted_directory(VENDOR, &vendor)
            .with_file(format!("{HOME}/config.toml"), &vendor.file("config.toml"))
            .with_directory_opts(PLACE, source, &sources)
            .with_workdir(PLACE)
            .with_exec_opts(
                command.into_iter().chain(args),
                &ExecOptions::new().reason(reason),
            )
    }

    /// The crates that the project needs. This depends on manifests and on the names of source files, not on what is in those.
    fn vendored(rust: &Container, source: &Directory, project: &Project) -> Directory {
        let manifests = CopyOptions::new()
            .include(["Cargo.toml", "Cargo.lock", ".cargo/config.toml"])
            .exclude(["/target"]);
        rust.with_network(Network::All)
            .with_env_variable("CARGO_HOME", HOME)
            .with_mounted_cache(HOME, &CacheVolume::new("cargo"))
            .with_directory_opts(PLACE, source, &manifests)
            .with_workdir(PLACE)
            .with_exec_opts(
                ["sh", "-euc", include_str!("vendor.sh"), "vendor", VENDOR],
                &ExecOptions::new()
                    .stdin(&project.source_files)
                    .reason("fetch the crates that the project needs"),
            )
            .directory(VENDOR)
    }
}

#[cfg(test)]
mod tests;
