//! Images on their way between registries.

mod names;

/// Copies, retags and promotes images between registries.
///
/// Layers that the destination has are not sent again; those that are sent keep their digests.
#[wharf_sdk::module]
mod functions {
    use oci_spec::distribution::Reference;
    use wharf_sdk::prelude::*;

    use crate::names;

    /// Copies an image, for one platform or for several, and returns the copy with its digest.
    pub async fn copy(
        /// The image, such as `ghcr.io/acme/app:1.4.2`, or with a digest.
        from: String,
        /// Where to, with a tag.
        to: String,
        /// Further tags at the destination.
        tags: Vec<String>,
        /// Platforms, such as `linux/arm64`; that of the engine when none is given.
        platforms: Vec<String>,
        /// Who the destination is told that we are; what the caller is logged in as otherwise.
        user: Option<String>,
        /// The password of that user, or a token in its place.
        password: Option<Secret>,
    ) -> Result<String> {
        let to = names::read(&to)?;
        for tag in &tags {
            names::tagged(&to, tag)?;
        }
        if to.digest().is_some() {
            return Err(Error::Invalid(format!(
                "{to} has a digest, which follows from what is copied: write a tag"
            )));
        }
        let options = options(&tags, user, password)?;
        publish(&platformed(&names::read(&from)?, &platforms)?, &to, options).await
    }

    /// Gives an image another tag in its own repository, and returns it with its digest.
    pub async fn retag(
        /// The image, with a tag or a digest.
        image: String,
        /// The other tag.
        tag: String,
        /// Platforms, such as `linux/arm64`; that of the engine when none is given.
        platforms: Vec<String>,
    ) -> Result<String> {
        let image = names::read(&image)?;
        let to = names::tagged(&image, &tag)?;
        publish(&platformed(&image, &platforms)?, &to, PublishOptions::new()).await
    }

    /// Copies an image under its own tag to another repository, unless that tag is there and is another image.
    pub async fn promote(
        /// The image, with its tag, such as `registry.example/staging/app:1.4.2`.
        image: String,
        /// The other repository, such as `registry.example/production/app`.
        to: String,
        /// Platforms, such as `linux/arm64`; that of the engine when none is given.
        platforms: Vec<String>,
        /// Who the destination is told that we are; what the caller is logged in as otherwise.
        user: Option<String>,
        /// The password of that user, or a token in its place.
        password: Option<Secret>,
    ) -> Result<String> {
        let image = names::read(&image)?;
        let to = names::promoted(&image, &to)?;
        let options = options(&[], user, password)?;
        let (candidates, there) = (platformed(&image, &platforms)?, platformed(&to, &platforms)?);
        let pairs = candidates.iter().zip(&there);
        let checks = pairs.map(|(candidate, there)| is_free(there, candidate));
        for is_free in join_all(checks).await {
            if !is_free? {
                return Err(Error::with_code(
                    "promoted",
                    format!("{to} is another image already: what was promoted is not replaced"),
                ));
            }
        }
        publish(&candidates, &to, options).await
    }

    /// Is nothing there yet, or the same image?
    async fn is_free(there: &Container, candidate: &Container) -> Result<bool> {
        let (there, own) = join!(there.digest(), candidate.digest());
        let own = own?;
        match there {
            Ok(digest) => Ok(digest == own),
            Err(Error::NotFound(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The image for each of the platforms: at least one.
    fn platformed(image: &Reference, platforms: &[String]) -> Result<Vec<Container>> {
        let reference = image.whole();
        if platforms.is_empty() {
            return Ok(vec![image::pull(reference)]);
        }
        let pull = |text: &String| Ok(image::pull_for(&reference, &names::platform(text)?));
        platforms.iter().map(pull).collect()
    }

    async fn publish(images: &[Container], to: &Reference, options: PublishOptions) -> Result<String> {
        let Some((first, others)) = images.split_first() else {
            return Err(Error::new("no image to publish"));
        };
        let options = others
            .iter()
            .fold(options, |options, other| options.platform(other));
        first.publish_opts(to.whole(), &options).await
    }

    fn options(tags: &[String], user: Option<String>, password: Option<Secret>) -> Result<PublishOptions> {
        let options = tags
            .iter()
            .fold(PublishOptions::new(), |options, tag| options.tag(tag));
        match (user, password) {
            (Some(user), Some(password)) => Ok(options.login(user, &password)),
            (None, None) => Ok(options),
            _ => Err(Error::Invalid("--user and --password go together".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests;
