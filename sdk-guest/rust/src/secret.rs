//! Secrets by handle: a name and a source, never the value.

use crate::Result;
use crate::bindings::wharf::pipeline::{reveal, secret};

/// A value that stays with the caller until a step needs it. In no key, layer, log or database.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// async fn publish(wheel: Directory, token: Secret) -> Result<()> {
///     let upload = image::pull("python:3.11-slim")
///         .with_network(Network::All)
///         .with_secret_variable("TWINE_PASSWORD", &token)
///         .with_mounted_directory("/dist", &wheel);
///     upload.with_exec(["twine", "upload", "/dist/*"]).sync().await
/// }
/// ```
#[derive(Debug)]
pub struct Secret(pub(crate) secret::Secret);

impl From<secret::Secret> for Secret {
    fn from(secret: secret::Secret) -> Self {
        Self(secret)
    }
}

impl From<Secret> for secret::Secret {
    fn from(secret: Secret) -> Self {
        secret.0
    }
}

impl Secret {
    /// A secret of a value that the module holds, such as a token that a step made. It is told from others by a digest under a
    /// key that only the engine's store has. What a step printed stays in that step's log.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("contents", "abc\n").plan(async {
    /// let base = image::pull("ghcr.io/acme/tools");
    /// let token = base.with_exec(["sh", "-c", "make-token > /token"]).file("/token");
    /// let token = Secret::of_value("token", token.contents().await?.trim());
    /// let deployed = base.with_secret_variable("TOKEN", &token).with_exec(["deploy"]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub fn of_value(name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self(secret::Secret::of_value(name.as_ref(), value.as_ref()))
    }

    /// The value as text. The caller has to allow it, with `wharf call --allow reveal`; otherwise it is a `denied` error.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::{self, Planner}};
    /// async fn is_from_gitlab(token: Secret) -> Result<bool> {
    ///     Ok(token.plaintext().await?.starts_with("glpat-"))
    /// }
    /// # let plan = Planner::new().answer("plaintext", "glpat-1").plan(is_from_gitlab(testing::secret("token")));
    /// # assert_eq!(plan.returned, Ok(true));
    /// ```
    pub async fn plaintext(&self) -> Result<String> {
        Ok(reveal::plaintext(&self.0).await?)
    }

    /// The name under which the caller passed it, such as "TOKEN" for `env:TOKEN`.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn variable(tools: Container, token: &Secret) -> Container {
    ///     tools.with_secret_variable(token.name(), token)
    /// }
    /// # variable(Container::new(), &Secret::of_value("TOKEN", "x"));
    /// ```
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// Where its value comes from: "env", "file", "cmd" or "value".
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn is_kept_in_a_file(token: &Secret) -> bool {
    ///     token.scheme() == "file"
    /// }
    /// # is_kept_in_a_file(&Secret::of_value("TOKEN", "x"));
    /// ```
    pub fn scheme(&self) -> String {
        self.0.scheme()
    }
}
