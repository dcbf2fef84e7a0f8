//! How a container's commands run, and what its image says: variables, user, entrypoint, labels, ports, health check.

use crate::{Container, HealthcheckOptions, Secret, text::owned};

impl Container {
    /// Set an environment variable.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let quiet = image::pull("debian:12").with_env_variable("DEBIAN_FRONTEND", "noninteractive");
    /// ```
    #[must_use]
    pub fn with_env_variable(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_env_variable(name.as_ref(), value.as_ref(), false))
    }

    /// Set an environment variable; `$NAME` in the value is replaced by the container's variables.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let tools = image::pull("debian:12").with_env_variable_expanded("PATH", "/opt/tools/bin:$PATH");
    /// ```
    #[must_use]
    pub fn with_env_variable_expanded(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_env_variable(name.as_ref(), value.as_ref(), true))
    }

    /// Remove an environment variable.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let clean = image::pull("python:3.11").without_env_variable("PYTHON_VERSION");
    /// ```
    #[must_use]
    pub fn without_env_variable(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_env_variable(name.as_ref()))
    }

    /// Give steps a secret's value as an environment variable.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn deploy(tools: Container, token: &Secret) -> Container {
    ///     tools.with_secret_variable("DEPLOY_TOKEN", token).with_exec(["deploy", "--production"])
    /// }
    /// # deploy(Container::new(), &Secret::of_value("token", "x"));
    /// ```
    #[must_use]
    pub fn with_secret_variable(&self, name: impl AsRef<str>, value: &Secret) -> Self {
        Self(self.0.with_secret_variable(name.as_ref(), &value.0))
    }

    /// Remove a secret variable.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # let (tools, token) = (Container::new(), Secret::of_value("token", "x"));
    /// let pushed = tools.with_secret_variable("TOKEN", &token).with_exec(["git", "push"]);
    /// let cleaned = pushed.without_secret_variable("TOKEN").with_exec(["git", "gc"]);
    /// ```
    #[must_use]
    pub fn without_secret_variable(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_secret_variable(name.as_ref()))
    }

    /// Set an environment variable whose value is in no key: a step is not run again because it changed.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let numbered = image::pull("alpine:3.20").with_volatile_variable("BUILD_NUMBER", "1873");
    /// ```
    #[must_use]
    pub fn with_volatile_variable(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_volatile_variable(name.as_ref(), value.as_ref()))
    }

    /// Set the directory that commands start in, made when missing; relative to the one before.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let built = image::pull("rust:1").with_workdir("/src").with_exec(["cargo", "build"]);
    /// ```
    #[must_use]
    pub fn with_workdir(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.with_workdir(path.as_ref()))
    }

    /// Back to `/`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let at_the_root = image::pull("node:22").with_workdir("/app").without_workdir();
    /// ```
    #[must_use]
    pub fn without_workdir(&self) -> Self {
        Self(self.0.without_workdir())
    }

    /// Set the user that commands run as: `user`, `user:group`, names or numbers.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let careful = image::pull("node:22").with_user("node:node").with_exec(["npm", "ci"]);
    /// ```
    #[must_use]
    pub fn with_user(&self, user: impl AsRef<str>) -> Self {
        Self(self.0.with_user(user.as_ref()))
    }

    /// Back to root.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let installed = image::pull("jenkins/jenkins:lts").without_user().with_exec(["apt-get", "install", "-y", "make"]);
    /// ```
    #[must_use]
    pub fn without_user(&self) -> Self {
        Self(self.0.without_user())
    }

    /// Set the entrypoint; default arguments are reset.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("python:3.11-slim").with_entrypoint(["python", "-m", "app"]);
    /// ```
    #[must_use]
    pub fn with_entrypoint(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_entrypoint(&owned(args), false))
    }

    /// Set the entrypoint and keep the default arguments.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let wrapped = image::pull("postgres:17").with_entrypoint_only(["/usr/local/bin/traced"]);
    /// ```
    #[must_use]
    pub fn with_entrypoint_only(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_entrypoint(&owned(args), true))
    }

    /// Remove the entrypoint; default arguments are reset.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let plain = image::pull("curlimages/curl").without_entrypoint().with_default_args(["sh"]);
    /// ```
    #[must_use]
    pub fn without_entrypoint(&self) -> Self {
        Self(self.0.without_entrypoint(false))
    }

    /// Remove the entrypoint and keep the default arguments.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let plain = image::pull("postgres:17").without_entrypoint_only();
    /// ```
    #[must_use]
    pub fn without_entrypoint_only(&self) -> Self {
        Self(self.0.without_entrypoint(true))
    }

    /// Set the arguments that are used when none are given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("nginx:1").with_default_args(["nginx", "-g", "daemon off;"]);
    /// ```
    #[must_use]
    pub fn with_default_args(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_default_args(&owned(args)))
    }

    /// Remove the default arguments.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("alpine:3.20").without_default_args();
    /// ```
    #[must_use]
    pub fn without_default_args(&self) -> Self {
        Self(self.0.without_default_args())
    }

    /// Set an annotation of the image's manifest.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = Container::new().with_annotation("org.opencontainers.image.licenses", "Apache-2.0");
    /// ```
    #[must_use]
    pub fn with_annotation(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_annotation(name.as_ref(), value.as_ref()))
    }

    /// Remove an annotation.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("alpine:3.20").without_annotation("org.opencontainers.image.created");
    /// ```
    #[must_use]
    pub fn without_annotation(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_annotation(name.as_ref()))
    }

    /// Set an image label.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = Container::new().with_label("org.opencontainers.image.version", "1.4.2");
    /// ```
    #[must_use]
    pub fn with_label(&self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(self.0.with_label(name.as_ref(), value.as_ref()))
    }

    /// Remove an image label.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("nginx:1").without_label("maintainer");
    /// ```
    #[must_use]
    pub fn without_label(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.without_label(name.as_ref()))
    }

    /// Note a port that the image listens on; the protocol is "tcp" or "udp".
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let web = image::pull("nginx:1").with_exposed_port(80, "tcp").as_service();
    /// ```
    #[must_use]
    pub fn with_exposed_port(&self, port: u16, protocol: impl AsRef<str>) -> Self {
        Self(self.0.with_exposed_port(port, protocol.as_ref()))
    }

    /// Remove a noted port.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("nginx:1").without_exposed_port(80, "tcp").with_exposed_port(8080, "tcp");
    /// ```
    #[must_use]
    pub fn without_exposed_port(&self, port: u16, protocol: impl AsRef<str>) -> Self {
        Self(self.0.without_exposed_port(port, protocol.as_ref()))
    }
    /// Set the image's health check, Docker's `HEALTHCHECK`: a command that exits with 0 where the container is well. Services count
    /// as started when it has passed.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let database = image::pull("postgres:17").with_docker_healthcheck(["pg_isready", "--username", "postgres"]);
    /// ```
    #[must_use]
    pub fn with_docker_healthcheck(&self, args: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.with_docker_healthcheck(&owned(args), None))
    }

    /// As [`with_docker_healthcheck`](Self::with_docker_healthcheck), with options.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// # use std::time::Duration;
    /// let options = HealthcheckOptions::new().interval(Duration::from_secs(5)).retries(10);
    /// let database = image::pull("postgres:17").with_docker_healthcheck_opts(["pg_isready"], &options);
    /// ```
    #[must_use]
    pub fn with_docker_healthcheck_opts(
        &self,
        args: impl IntoIterator<Item: Into<String>>,
        options: &HealthcheckOptions,
    ) -> Self {
        Self(self.0.with_docker_healthcheck(&owned(args), Some(&options.0)))
    }

    /// Remove the image's health check.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let unchecked = image::pull("nginx:1").without_docker_healthcheck();
    /// ```
    #[must_use]
    pub fn without_docker_healthcheck(&self) -> Self {
        Self(self.0.without_docker_healthcheck())
    }
}
