//! References of images, and platforms, as callers write them.

use oci_spec::distribution::Reference;
use wharf_sdk::{Error, Platform, Result};

/// Reads a reference as Docker does: `app` is `docker.io/library/app:latest`.
pub(crate) fn read(text: &str) -> Result<Reference> {
    text.parse()
        .map_err(|error| Error::Invalid(format!("{text:?} is no image's reference: {error}")))
}

/// The reference with another tag, and without its digest.
pub(crate) fn tagged(image: &Reference, tag: &str) -> Result<Reference> {
    let text = format!("{}/{}:{tag}", image.registry(), image.repository());
    match text.parse::<Reference>() {
        Ok(reference) if reference.tag() == Some(tag) => Ok(reference),
        _ => Err(Error::Invalid(format!(
            "{tag:?} is no tag: it has letters, digits, `_`, `.` and `-`, and at most 128 of them"
        ))),
    }
}

/// The same tag in another repository.
pub(crate) fn promoted(image: &Reference, repository: &str) -> Result<Reference> {
    let tag = image.tag().ok_or_else(|| {
        Error::Invalid(format!(
            "{image} has no tag under which it could be promoted: write it with one"
        ))
    })?;
    format!("{repository}:{tag}").parse().map_err(|error| {
        Error::Invalid(format!(
            "{repository:?} is no repository such as registry.example/production/app: {error}"
        ))
    })
}

/// Reads `linux/amd64` or `linux/arm/v7`.
pub(crate) fn platform(text: &str) -> Result<Platform> {
    let parts: Vec<_> = text.split('/').map(str::to_owned).collect();
    let is_whole = parts.iter().all(|part| !part.is_empty());
    match (&parts[..], is_whole) {
        ([os, architecture, cpu @ ..], true) if cpu.len() < 2 => Ok(Platform {
            os: os.clone(),
            architecture: architecture.clone(),
            cpu: cpu.first().cloned(),
        }),
        _ => Err(Error::Invalid(format!(
            "{text:?} is no platform such as linux/amd64 or linux/arm/v7"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_put_in_the_place_of_another() {
        for (image, expected) in [
            ("r.example:5000/a/b:1", "r.example:5000/a/b:2"),
            ("r.example:5000/a/b", "r.example:5000/a/b:2"),
            ("a/b:1", "docker.io/a/b:2"),
        ] {
            assert_eq!(
                tagged(&read(image).unwrap(), "2").unwrap().whole(),
                expected,
                "{image}"
            );
        }
        for tag in ["a b", "a/b", "1@sha256:00", "", ".."] {
            let error = tagged(&read("a/b").unwrap(), tag).unwrap_err().to_string();
            assert!(error.contains("is no tag"), "{tag}: {error}");
        }
    }

    #[test]
    fn an_image_is_promoted_under_its_own_tag() {
        let to = |image: &str, repository: &str| promoted(&read(image).unwrap(), repository);
        assert_eq!(
            to("r.example/staging/a:1", "r.example/a").unwrap().whole(),
            "r.example/a:1"
        );
        let digest = format!("r.example/a@sha256:{}", "0".repeat(64));
        assert!(
            to(&digest, "r.example/b")
                .unwrap_err()
                .to_string()
                .contains("has no tag")
        );
        for repository in ["r.example/a:1", "R example", ""] {
            let error = to("r.example/a:1", repository).unwrap_err().to_string();
            assert!(error.contains("is no repository"), "{repository}: {error}");
        }
    }

    #[test]
    fn platforms_have_two_or_three_parts() {
        let read = |text: &str| platform(text).map(|read| (read.os, read.architecture, read.cpu));
        let owned = str::to_owned;
        assert_eq!(read("linux/arm64"), Ok((owned("linux"), owned("arm64"), None)));
        assert_eq!(
            read("linux/arm/v7"),
            Ok((owned("linux"), owned("arm"), Some(owned("v7"))))
        );
        for text in ["linux", "", "linux/", "a/b/c/d"] {
            assert!(
                read(text).unwrap_err().to_string().contains("is no platform"),
                "{text}"
            );
        }
    }
}
