//! What registries keep beside images: manifests of any kind, small blobs that belong to them, and the tags that there are.

use reqwest::{Method, header};

use crate::{
    auth::Access,
    error::{Failure, Result, explain},
    place::Place,
    reference::Reference,
    registry::Registry,
    transport::Ask,
};

/// As many tags as are asked for at once.
const TAGS_AT_ONCE: usize = 1000;
/// No repository has more pages of tags.
const MOST_PAGES: usize = 100;

/// A manifest as it stands, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// The digest of its text.
    pub digest: String,
    /// The text: JSON.
    pub text: Vec<u8>,
}

impl Registry {
    /// The manifest that a reference names, whatever it is the manifest of. Its digest is that of its text, and the one that
    /// the reference has where it has one.
    pub async fn fetch_manifest(&self, reference: &Reference) -> Result<RawManifest> {
        self.at_places(reference, async |place| {
            let found = self.manifest(place, reference.repository(), reference.manifest_name());
            let (text, digest) = found.await?;
            Ok(RawManifest { digest, text })
        })
        .await
    }

    /// A small blob of a repository, no longer than 16 MiB, compared with its digest.
    pub async fn fetch_document(&self, reference: &Reference, digest: &str) -> Result<Vec<u8>> {
        self.at_places(reference, async |place| {
            self.config(place, reference.repository(), digest).await
        })
        .await
    }

    /// The tags of a reference's repository, in no order; none when the registry has no such repository.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>> {
        self.at_places(reference, async |place| {
            match self.tags_at(place, reference.repository()).await {
                Err(Failure::NotFound) => Ok(Vec::new()),
                other => other,
            }
        })
        .await
    }

    async fn tags_at(&self, place: &Place, repository: &str) -> Result<Vec<String>, Failure> {
        #[derive(serde::Deserialize)]
        struct Page {
            // Some write null for none.
            tags: Option<Vec<String>>,
        }
        let (mut all, mut next) = (Vec::new(), format!("tags/list?n={TAGS_AT_ONCE}"));
        for _ in 0..MOST_PAGES {
            let ask = Ask::get(place, repository, next.clone());
            let (text, headers) = self.transport.document(&ask).await?;
            let page: Page =
                serde_json::from_slice(&text).map_err(|error| Failure::damaged("the list of tags", error))?;
            all.extend(page.tags.unwrap_or_default());
            let link = headers.get(header::LINK).and_then(|link| link.to_str().ok());
            match link.and_then(|link| next_page(place, link)) {
                Some(page) => next = page,
                None => break,
            }
        }
        Ok(all)
    }

    /// What a host says of itself at a well-known path; none when it says nothing, or cannot be asked.
    pub async fn well_known(&self, host: &str, path: &str) -> Option<Vec<u8>> {
        let place = self.places.itself(host);
        let url = format!("{}/.well-known/{path}", place.base);
        let ask = Ask::new(Method::GET, &place, "", &Access::Know, url);
        match self.transport.document(&ask).await {
            Ok((text, _)) => Some(text),
            Err(failure) => {
                tracing::debug!("{host} says nothing at {path}: {failure:?}");
                None
            }
        }
    }

    /// Asks mirrors and registry in their order until one answers.
    async fn at_places<T>(
        &self,
        reference: &Reference,
        ask: impl AsyncFn(&Place) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut failures = Vec::new();
        for place in self.places.of(reference.registry()) {
            match ask(&place).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failures.push(self.places.remember(&place, failure)),
            }
        }
        let registry = Place::registry(reference.registry());
        Err(explain(&reference.to_string(), &registry, failures))
    }
}

/// Where the next page of a list is: what a `Link` header names, at the same place.
fn next_page(place: &Place, link: &str) -> Option<String> {
    let (target, rest) = link.strip_prefix('<')?.split_once('>')?;
    if !rest.contains("rel=\"next\"") {
        return None;
    }
    let base = reqwest::Url::parse(&place.base).ok()?;
    let url = base.join(target).ok()?;
    (url.origin() == base.origin()).then(|| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Place, next_page};

    #[test]
    fn the_next_page_is_at_the_same_place() {
        let place = Place::registry("localhost:5000");
        let next = |link: &str| next_page(&place, link);
        assert_eq!(
            next("</v2/a/tags/list?n=2&last=b>; rel=\"next\"").as_deref(),
            Some("http://localhost:5000/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next("<http://elsewhere/v2/a>; rel=\"next\""), None);
        assert_eq!(next("</v2/a>; rel=\"prev\""), None);
        assert_eq!(next("nothing"), None);
    }
}
