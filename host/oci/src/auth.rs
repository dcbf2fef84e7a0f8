//! The token dance: what a registry's challenge asks for, and the tokens that were given.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use crate::{
    credentials::{Credential, CredentialSource},
    place::Place,
};

/// How long a token lives when the registry does not say: what the specification says.
const DEFAULT_LIFE: u64 = 60;

/// Tokens and credentials that registries have accepted, by what they are for.
pub(crate) struct Authority {
    source: CredentialSource,
    accepted: Mutex<HashMap<Purpose, (Pass, Option<Instant>)>>,
}

/// Registry, repository, and whether it is written to.
type Purpose = (String, String, bool);

/// What is done with a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing: the registry is asked whether it knows us.
    Know,
    /// It is read.
    Pull,
    /// It is written to, and blobs are taken from these other repositories of the registry.
    Push { from: Vec<String> },
}

impl Access {
    /// What a token has to be good for, in the words of token servers.
    fn scopes(&self, repository: &str, asked: Option<&str>) -> Vec<String> {
        match self {
            Self::Know => asked.map(str::to_owned).into_iter().collect(),
            Self::Pull => {
                let own = || format!("repository:{repository}:pull");
                vec![asked.map_or_else(own, str::to_owned)]
            }
            // Asked for all at once, so that one token does for the whole push.
            Self::Push { from } => std::iter::once(format!("repository:{repository}:pull,push"))
                .chain(from.iter().map(|other| format!("repository:{other}:pull")))
                .collect(),
        }
    }
}

/// What is sent along with a request.
#[derive(Clone)]
enum Pass {
    Bearer(String),
    Basic { user: String, password: String },
}

/// Why there is no pass.
pub(crate) enum NoPass {
    /// The registry, or its token server, wants other credentials than these.
    Refused,
    /// The token server does not answer, or not sensibly.
    Unavailable(String),
}

impl Authority {
    pub(crate) fn new(source: CredentialSource) -> Self {
        Self {
            source,
            accepted: Mutex::default(),
        }
    }

    /// Adds what the registry accepted before. The first request goes without.
    pub(crate) fn sign(
        &self,
        request: RequestBuilder,
        place: &Place,
        repository: &str,
        access: &Access,
    ) -> RequestBuilder {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        match accepted.get(&purpose(place, repository, access)) {
            Some((_, Some(end))) if *end <= Instant::now() => request,
            Some((Pass::Bearer(token), _)) => request.bearer_auth(token),
            Some((Pass::Basic { user, password }, _)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    /// Answers the challenge of a refused request, so that the next one is signed.
    pub(crate) async fn answer(
        &self,
        client: &Client,
        place: &Place,
        repository: &str,
        access: &Access,
        refused: &Response,
    ) -> Result<(), NoPass> {
        let credential = self.credential(place).await;
        let headers = refused.headers().get_all(reqwest::header::WWW_AUTHENTICATE);
        let challenges: Vec<Challenge> = headers
            .iter()
            .filter_map(|value| value.to_str().ok())
            .filter_map(Challenge::read)
            .collect();
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let (pass, end) = match (bearer, credential) {
            (Some(challenge), credential) => {
                let grant = {
                    let scopes = access.scopes(repository, challenge.get("scope"));
                    token(client, place, &scopes, challenge, credential.as_ref()).await?
                };
                // A token that ends while a request is under way is of no use.
                let life = Duration::from_secs(grant.expires_in.unwrap_or(DEFAULT_LIFE).saturating_sub(5));
                let token = grant
                    .token
                    .or(grant.access_token)
                    .filter(|token| !token.is_empty());
                let token =
                    token.ok_or_else(|| NoPass::Unavailable("its token server gave no token".to_owned()))?;
                (Pass::Bearer(token), Some(Instant::now() + life))
            }
            (None, Some(Credential::Password { user, password })) if basic => {
                (Pass::Basic { user, password }, None)
            }
            (None, _) => return Err(NoPass::Refused),
        };
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.insert(purpose(place, repository, access), (pass, end));
        Ok(())
    }

    /// As whom a registry is asked.
    pub(crate) async fn user(&self, place: &Place) -> Option<String> {
        self.credential(place)
            .await
            .and_then(|credential| credential.user().map(str::to_owned))
    }

    async fn credential(&self, place: &Place) -> Option<Credential> {
        let (source, server) = (self.source.clone(), place.credentials.clone());
        // A helper is a program that is run.
        tokio::task::spawn_blocking(move || source(&server))
            .await
            .ok()
            .flatten()
    }
}

fn purpose(place: &Place, repository: &str, access: &Access) -> Purpose {
    (
        place.base.clone(),
        repository.to_owned(),
        matches!(access, Access::Push { .. }),
    )
}

#[derive(Deserialize)]
struct Grant {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

async fn token(
    client: &Client,
    place: &Place,
    scopes: &[String],
    challenge: &Challenge,
    credential: Option<&Credential>,
) -> Result<Grant, NoPass> {
    let unavailable = |why: String| NoPass::Unavailable(format!("its token server: {why}"));
    let realm = challenge
        .get("realm")
        .ok_or_else(|| unavailable("the registry does not name it".to_owned()))?;
    let realm = Url::parse(realm).map_err(|error| unavailable(format!("{realm}: {error}")))?;
    let is_plain = realm.scheme() != "https";
    if is_plain && !place.is_plain() && credential.is_some() {
        return Err(unavailable(format!(
            "{realm} would get the credentials without encryption"
        )));
    }
    let service = challenge.get("service").unwrap_or_default();
    let query: Vec<(&str, &str)> = std::iter::once(("service", service))
        .chain(scopes.iter().map(|scope| ("scope", scope.as_str())))
        .collect();
    let request = match credential {
        Some(Credential::IdentityToken(refresh)) => client.post(realm).form(&[
            ("grant_type", "refresh_token"),
            ("client_id", "wharf"),
            ("service", service),
            ("scope", &scopes.join(" ")),
            ("refresh_token", refresh),
        ]),
        Some(Credential::Password { user, password }) => client
            .get(realm)
            .query(&query)
            .query(&[("account", user)])
            .basic_auth(user, Some(password)),
        None => client.get(realm).query(&query),
    };
    let response = request
        .send()
        .await
        .map_err(|error| unavailable(wharf_http::innermost(&error)))?;
    match response.status().as_u16() {
        200..=299 => {}
        400 | 401 | 403 => return Err(NoPass::Refused),
        status => return Err(unavailable(format!("it answered {status}"))),
    }
    let text = response
        .bytes()
        .await
        .map_err(|error| unavailable(wharf_http::innermost(&error)))?;
    serde_json::from_slice(&text).map_err(|_| unavailable("its answer is no token".to_owned()))
}

/// A `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
struct Challenge {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn read(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let mut parameters = Vec::new();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            parameters.push((name.trim_matches([' ', ',']).to_lowercase(), value.to_owned()));
            rest = after;
        }
        Some(Self {
            scheme: scheme.to_lowercase(),
            parameters,
        })
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Challenge;

    #[test]
    fn reads_challenges() {
        let text = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error=invalid"#;
        let challenge = Challenge::read(text).unwrap();
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.get("realm"), Some("https://auth.docker.io/token"));
        assert_eq!(challenge.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(challenge.get("error"), Some("invalid"));
        let basic = Challenge::read("Basic realm=\"Registry Realm\"").unwrap();
        assert_eq!(
            (basic.scheme.as_str(), basic.get("realm")),
            ("basic", Some("Registry Realm"))
        );
        assert_eq!(Challenge::read("Basic").unwrap().parameters, []);
        assert_eq!(Challenge::read("Bearer realm=\"open"), None);
    }
}
