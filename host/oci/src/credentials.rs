//! Who we are to a registry: Docker's own configuration by default, or whatever the owner of the client supplies.

use std::{fmt, sync::Arc};

use docker_credential::DockerCredential;

use crate::place::Place;

/// What a registry is told about who asks. Debugging output leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user's name and password, or an access token in its place.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's own login gave, to be exchanged for others.
    IdentityToken(String),
}

impl Credential {
    /// The user's name, where there is one.
    pub(crate) fn user(&self) -> Option<&str> {
        match self {
            Self::Password { user, .. } => Some(user),
            Self::IdentityToken(_) => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

/// Finds the credential for a registry by the name that Docker keeps it under. It may block.
pub type CredentialSource = Arc<dyn Fn(&str) -> Option<Credential> + Send + Sync>;

/// What Docker keeps the login to a registry under, which is called so in references.
pub fn login_server(registry: &str) -> String {
    Place::registry(registry).credentials
}

/// Docker's configuration file (`$DOCKER_CONFIG/config.json`) and the credential helpers that it names.
pub fn docker_credentials() -> CredentialSource {
    Arc::new(|server| found(server, docker_credential::get_credential(server)))
}

/// The same from a configuration file that lies elsewhere.
pub fn docker_credentials_at(config: std::path::PathBuf) -> CredentialSource {
    Arc::new(move |server| {
        let file = std::fs::File::open(&config).ok()?;
        found(
            server,
            docker_credential::get_credential_from_reader(file, server),
        )
    })
}

fn found(
    server: &str,
    outcome: Result<DockerCredential, docker_credential::CredentialRetrievalError>,
) -> Option<Credential> {
    use docker_credential::CredentialRetrievalError::{
        ConfigNotFound, ConfigReadError, NoCredentialConfigured,
    };
    match outcome {
        // Helpers that keep an identity token say so by the user's name.
        Ok(DockerCredential::UsernamePassword(user, token)) if user == "<token>" => {
            Some(Credential::IdentityToken(token))
        }
        Ok(DockerCredential::UsernamePassword(user, password)) => {
            Some(Credential::Password { user, password })
        }
        Ok(DockerCredential::IdentityToken(token)) => Some(Credential::IdentityToken(token)),
        Err(ConfigNotFound | ConfigReadError | NoCredentialConfigured) => None,
        // What a helper printed may hold what it keeps, so the reason stays out of the log.
        Err(_) => {
            tracing::warn!("the credentials that Docker keeps for {server} cannot be read; asking without");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Credential;

    #[test]
    fn a_password_is_not_in_debugging_output() {
        let credential = Credential::Password {
            user: "ann".to_owned(),
            password: "opensesame".to_owned(),
        };
        let text = format!("{credential:?}");
        assert!(text.contains("ann") && !text.contains("opensesame"), "{text}");
    }
}
