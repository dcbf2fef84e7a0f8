//! What is known of a container, and what its last step did.

use crate::bindings::wharf::pipeline::eval;
use crate::{Container, File, Platform, Result, Stat, Variable};

impl Container {
    /// Standard output of the last step. A container without a step is an `invalid` error.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("stdout", "v22.1.0\n").plan(async {
    /// let version = image::pull("node:22").with_exec(["node", "--version"]).stdout().await?;
    /// # assert_eq!(version, "v22.1.0\n");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn stdout(&self) -> Result<String> {
        Ok(eval::stdout(&self.0).await?)
    }

    /// Standard output of the last step as a file named `stdout`, however large.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("read", b"1\n2\n".to_vec()).plan(async {
    /// let dump = image::pull("busybox").with_exec(["seq", "1", "100000000"]).stdout_file();
    /// let beginning = dump.read(0, 1024).await?;
    /// # assert_eq!(beginning, b"1\n2\n");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub fn stdout_file(&self) -> File {
        eval::stdout_file(&self.0).into()
    }

    /// Standard error of the last step.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("stderr", "warning: unused").plan(async {
    /// let built = image::pull("rust:1").with_exec(["cargo", "build"]);
    /// if built.stderr().await?.contains("warning") {
    ///     log::warn("the build has warnings");
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn stderr(&self) -> Result<String> {
        Ok(eval::stderr(&self.0).await?)
    }

    /// Standard error of the last step as a file named `stderr`, however large.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let warnings = image::pull("gcc:14").with_exec(["make", "-C", "/src"]).stderr_file();
    /// ```
    pub fn stderr_file(&self) -> File {
        eval::stderr_file(&self.0).into()
    }

    /// Standard output and standard error of the last step, in the order of their arrival.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("combined_output", "ok\n").plan(async {
    /// let log = image::pull("golang:1").with_exec(["go", "test", "./..."]).combined_output().await?;
    /// # assert_eq!(log, "ok\n");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn combined_output(&self) -> Result<String> {
        Ok(eval::combined_output(&self.0).await?)
    }

    /// Exit code of the last step, as far as it was expected: 0 unless `expect` says otherwise.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("exit_code", 1).plan(async {
    /// let any = ExecOptions::new().expect(Expect::Any);
    /// let differs = image::pull("busybox").with_exec_opts(["cmp", "/a", "/b"], &any).exit_code().await? != 0;
    /// # assert!(differs);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn exit_code(&self) -> Result<i32> {
        Ok(eval::exit_code(&self.0).await?)
    }

    /// Run all steps of the container.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// let (unit, style) = (image::pull("rust:1").with_exec(["cargo", "test"]), image::pull("rust:1").with_exec(["cargo", "fmt", "--check"]));
    /// let (unit, style) = join!(unit.sync(), style.sync());
    /// unit.and(style)?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn sync(&self) -> Result<()> {
        Ok(eval::container_sync(&self.0).await?)
    }

    /// Does the path exist in the container? Mounted directories count.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("exists", true).plan(async {
    /// let has_bash = image::pull("debian:12").exists("/bin/bash").await?;
    /// # assert!(has_bash);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn exists(&self, path: impl Into<String>) -> Result<bool> {
        Ok(eval::container_exists(&self.0, path.into()).await?)
    }

    /// Facts about a path of the container; symbolic links are followed inside the root.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("stat", wharf_sdk::Stat { name: "app".into(), kind: wharf_sdk::FileKind::Regular, size: 5_000_000, mode: 0o755, uid: 0, gid: 0 }).plan(async {
    /// let size = image::pull("alpine:3.20").with_file("/app", &host::file("app")).stat("/app").await?.size;
    /// # assert_eq!(size, 5_000_000);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn stat(&self, path: impl Into<String>) -> Result<Stat> {
        Ok(eval::container_stat(&self.0, path.into()).await?)
    }

    /// Value of an environment variable; none when it is not set. Secret variables are not shown.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("env_variable", "3.11.9").plan(async {
    /// let version = image::pull("python:3.11").env_variable("PYTHON_VERSION").await?;
    /// # assert_eq!(version.as_deref(), Some("3.11.9"));
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn env_variable(&self, name: impl Into<String>) -> Result<Option<String>> {
        Ok(eval::env_variable(&self.0, name.into()).await?)
    }

    /// All environment variables in the order in which they were set.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("env_variables", vec![wharf_sdk::Variable { name: "A".into(), value: "1".into() }]).plan(async {
    /// for variable in image::pull("python:3.11").env_variables().await? {
    ///     log::info(format!("{}={}", variable.name, variable.value));
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn env_variables(&self) -> Result<Vec<Variable>> {
        Ok(eval::env_variables(&self.0).await?)
    }

    /// All annotations, by name.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("annotations", vec![wharf_sdk::Variable { name: "A".into(), value: "1".into() }]).plan(async {
    /// let annotations = image::pull("alpine:3.20").annotations().await?;
    /// # assert_eq!(annotations[0].name, "A");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn annotations(&self) -> Result<Vec<Variable>> {
        Ok(eval::annotations(&self.0).await?)
    }

    /// All labels, by name.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("labels", vec![wharf_sdk::Variable { name: "A".into(), value: "1".into() }]).plan(async {
    /// let labels = image::pull("nginx:1").labels().await?;
    /// let maintainer = labels.iter().find(|label| label.name == "maintainer");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn labels(&self) -> Result<Vec<Variable>> {
        Ok(eval::labels(&self.0).await?)
    }

    /// The entrypoint; empty when there is none.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("entrypoint", ["postgres"]).plan(async {
    /// let entrypoint = image::pull("postgres:17").entrypoint().await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn entrypoint(&self) -> Result<Vec<String>> {
        Ok(eval::entrypoint(&self.0).await?)
    }

    /// The default arguments; empty when there are none.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("default_args", ["postgres"]).plan(async {
    /// let args = image::pull("postgres:17").default_args().await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn default_args(&self) -> Result<Vec<String>> {
        Ok(eval::default_args(&self.0).await?)
    }

    /// The user as it was set; empty when it was not.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("user", "node").plan(async {
    /// let runs_as_root = image::pull("node:22").user().await?.is_empty();
    /// # assert!(!runs_as_root);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn user(&self) -> Result<String> {
        Ok(eval::user(&self.0).await?)
    }

    /// The working directory.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("workdir", "/app").plan(async {
    /// let home = image::pull("ghcr.io/acme/app").workdir().await?;
    /// # assert_eq!(home, "/app");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn workdir(&self) -> Result<String> {
        Ok(eval::workdir(&self.0).await?)
    }

    /// The paths that have a mount.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("mounts", ["/src"]).plan(async {
    /// let tested = image::pull("python:3.11").with_mounted_directory("/src", &host::directory("."));
    /// let mounts = tested.mounts().await?;
    /// # assert_eq!(mounts, ["/src"]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn mounts(&self) -> Result<Vec<String>> {
        Ok(eval::mounts(&self.0).await?)
    }

    /// The platform.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("platform", Platform { os: "linux".into(), architecture: "amd64".into(), cpu: None }).plan(async {
    /// let platform = image::pull("alpine:3.20").platform().await?;
    /// let name = format!("app-{}-{}", platform.os, platform.architecture);
    /// # assert_eq!(name, "app-linux-amd64");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn platform(&self) -> Result<Platform> {
        Ok(eval::container_platform(&self.0).await?)
    }

    /// The reference of the image that the container started from, with its digest; none for a container of no image.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("image_ref", "docker.io/library/alpine:3.20@sha256:0").plan(async {
    /// let base = image::pull("alpine:3.20").image_ref().await?;
    /// let image = Container::new().with_label("base", base.unwrap_or_default());
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn image_ref(&self) -> Result<Option<String>> {
        Ok(eval::image_ref(&self.0).await?)
    }

    /// Digest of the root file system and the configuration; the same on every machine. Mounts are not part of it.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("digest", "b3:0").plan(async {
    /// let digest = image::pull("alpine:3.20").with_file("/app", &host::file("app")).digest().await?;
    /// # assert_eq!(digest, "b3:0");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn digest(&self) -> Result<String> {
        Ok(eval::container_digest(&self.0).await?)
    }
}
