//! Logging in: a credential that a registry accepts, kept where Docker keeps its own.
//!
//! Docker's configuration says where: a helper for one registry (`credHelpers`), one for all (`credsStore`), or the file itself,
//! which is its user's alone.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Map, Value, json};
use wharf_platform::file;

use crate::{
    auth::Access,
    credentials::Credential,
    error::{Error, Failure, Result, explain},
    place::Place,
    registry::Registry,
    transport::Ask,
};

/// Where Docker keeps what it is logged in as.
#[derive(Clone, Debug)]
pub struct Logins {
    file: PathBuf,
}

impl Registry {
    /// Asks a registry whether it takes a credential.
    ///
    /// # Errors
    /// [`Error::Refused`] when it does not, which names the user.
    pub async fn check_login(&self, registry: &str, credential: &Credential) -> Result<()> {
        let place = self.place_of(registry)?;
        let known = credential.clone();
        let client = self.for_another(std::sync::Arc::new(move |_| Some(known.clone())));
        let ask = Ask::new(
            Method::GET,
            &place,
            "",
            &Access::Know,
            format!("{}/v2/", place.base),
        );
        match client.transport.ask(&ask).await {
            Ok(_) => Ok(()),
            Err(failure) => {
                let failure = match failure {
                    Failure::NotFound => Failure::unavailable("no registry answers there".to_owned()),
                    other => other,
                };
                Err(explain(registry, &place, vec![(place.clone(), failure)]))
            }
        }
    }

    fn place_of(&self, registry: &str) -> Result<Place> {
        // What is a registry in a reference is one here.
        let probe: crate::Reference = format!("{registry}/any").parse()?;
        if probe.registry() == "docker.io"
            && !matches!(registry, "docker.io" | "index.docker.io" | "registry-1.docker.io")
        {
            return Err(Error::Settings(format!(
                "{registry:?} is no registry: write its host, as in ghcr.io or registry.example:5000"
            )));
        }
        Ok(self.places.itself(probe.registry()))
    }
}

impl Logins {
    /// In `$DOCKER_CONFIG/config.json`, or `~/.docker/config.json`.
    ///
    /// # Errors
    /// When nobody says where the home directory is.
    pub fn of_docker() -> Result<Self> {
        let named = std::env::var_os("DOCKER_CONFIG").filter(|path| !path.is_empty());
        let directory = named
            .map(PathBuf::from)
            .or_else(|| Some(std::env::home_dir()?.join(".docker")));
        let homeless = || Error::Settings("there is no home directory: set DOCKER_CONFIG".to_owned());
        Ok(Self::at(directory.ok_or_else(homeless)?.join("config.json")))
    }

    /// In this file.
    pub fn at(file: PathBuf) -> Self {
        Self { file }
    }

    /// Keeps a credential for a registry. Returns where.
    pub fn keep(&self, registry: &str, user: &str, password: &str) -> Result<String> {
        let server = Place::registry(registry).credentials;
        let mut config = self.read()?;
        let helper = helper_of(&config, &server);
        let entry = match &helper {
            Some(helper) => {
                let kept = json!({ "ServerURL": server, "Username": user, "Secret": password });
                self.ask(helper, "store", &kept.to_string())?;
                json!({})
            }
            None => json!({ "auth": STANDARD.encode(format!("{user}:{password}")) }),
        };
        let auths = config.entry("auths").or_insert_with(|| json!({}));
        let wrong = || self.misread("its `auths` are no object");
        auths.as_object_mut().ok_or_else(wrong)?.insert(server, entry);
        self.write(&config)?;
        Ok(self.place(helper))
    }

    /// Forgets a registry's credential. False: there was none.
    pub fn forget(&self, registry: &str) -> Result<bool> {
        let server = Place::registry(registry).credentials;
        let mut config = self.read()?;
        let erased = match helper_of(&config, &server) {
            // A helper that knows of nothing says so, each in its own words.
            Some(helper) => self.ask(&helper, "erase", &server).is_ok(),
            None => false,
        };
        let auths = config.get_mut("auths").and_then(Value::as_object_mut);
        let removed = auths.is_some_and(|auths| auths.remove(&server).is_some());
        if removed {
            self.write(&config)?;
        }
        Ok(removed || erased)
    }

    fn read(&self) -> Result<Map<String, Value>> {
        let text = match std::fs::read(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(self.misread(&error.to_string())),
        };
        if text.trim_ascii().is_empty() {
            return Ok(Map::new());
        }
        // What it says of the text may hold what is in it.
        serde_json::from_slice(&text).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            self.misread(&format!("it is no JSON object ({place})"))
        })
    }

    /// Writes the file anew, for its owner alone from its first byte on; a link stays a link.
    fn write(&self, config: &Map<String, Value>) -> Result<()> {
        let place = self.file.canonicalize().unwrap_or_else(|_| self.file.clone());
        let failed =
            |error: io::Error| Error::Settings(format!("{} cannot be written: {error}", place.display()));
        let text = serde_json::to_string_pretty(config).map_err(|error| failed(error.into()))?;
        let directory = place.parent().unwrap_or(Path::new("."));
        if !directory.exists() {
            std::fs::create_dir_all(directory).map_err(failed)?;
            file::set_mode(directory, 0o700).map_err(failed)?;
        }
        let draft = place.with_extension(format!("json.{}", std::process::id()));
        let write = || {
            let mut out = file::create_new(&draft, 0o600)?;
            out.write_all(text.as_bytes())?;
            out.write_all(b"\n")?;
            std::fs::rename(&draft, &place)
        };
        write().map_err(|error| {
            std::fs::remove_file(&draft).ok();
            failed(error)
        })
    }

    /// Has a credential helper do something.
    fn ask(&self, helper: &str, action: &str, input: &str) -> Result<()> {
        let program = format!("docker-credential-{helper}");
        let failed = |why: String| {
            Error::Settings(format!(
                "{program}, which {} names, did not {action} the credential: {why}",
                self.file.display()
            ))
        };
        let mut child = Command::new(&program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // One that reads nothing says why by its exit code.
            let _ = stdin.write_all(input.as_bytes());
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        // What it prints may hold what it keeps.
        if status.success() {
            Ok(())
        } else {
            Err(failed(status.to_string()))
        }
    }

    fn place(&self, helper: Option<String>) -> String {
        match helper {
            Some(helper) => format!("docker-credential-{helper}"),
            None => self.file.display().to_string(),
        }
    }

    fn misread(&self, why: &str) -> Error {
        Error::Settings(format!("{} cannot be read: {why}", self.file.display()))
    }
}

/// The helper that keeps a registry's credential.
fn helper_of(config: &Map<String, Value>, server: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(|helpers| helpers.get(server));
    let helper = own.or_else(|| config.get("credsStore"))?.as_str()?;
    Some(helper.to_owned()).filter(|helper| !helper.is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::Logins;
    use crate::{Credential, docker_credentials_at};

    #[test]
    fn what_is_kept_is_found_and_forgotten_and_the_rest_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("deep/config.json");
        let logins = Logins::at(file.clone());
        logins.keep("ghcr.io", "ann", "one").unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = r#"{ "HttpHeaders": { "X": "y" }, "auths": { "other": { "auth": "YTpi" } } }"#;
        std::fs::write(&file, text).unwrap();
        logins.keep("docker.io", "ann", "two").unwrap();
        logins.keep("ghcr.io", "ann", "three:with a colon").unwrap();
        let source = docker_credentials_at(file.clone());
        let found = |server: &str| match source(server) {
            Some(Credential::Password { user, password }) => format!("{user} {password}"),
            _ => String::new(),
        };
        assert_eq!(found("https://index.docker.io/v1/"), "ann two");
        assert_eq!(found("ghcr.io"), "ann three:with a colon");
        assert_eq!(found("other"), "a b");
        assert!(logins.forget("ghcr.io").unwrap());
        assert!(!logins.forget("ghcr.io").unwrap());
        assert_eq!(found("ghcr.io"), "");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("HttpHeaders"), "{text}");
    }

    #[test]
    fn a_file_that_does_not_read_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, "{ \"auths\": hush").unwrap();
        let error = Logins::at(file.clone())
            .keep("ghcr.io", "ann", "x")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("config.json") && !error.contains("hush"),
            "{error}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ \"auths\": hush");
    }
}
