//! Images that go to and come from the local Docker, as archives.

use std::path::Path;

use bollard::query_parameters::{ImportImageOptionsBuilder, TagImageOptionsBuilder};
use futures::{StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use crate::{Daemon, DockerError};

/// Loads an image's archive and gives the image a name, `acme/app:dev`; returns its id.
pub async fn load(daemon: &Daemon, archive: &Path, name: &str) -> Result<String, DockerError> {
    let (repository, tag) = split(name)?;
    let unreadable = |source| DockerError::io("read", archive, source);
    let file = tokio::fs::File::open(archive).await.map_err(unreadable)?;
    let options = ImportImageOptionsBuilder::new().quiet(true).build();
    let said = daemon
        .docker
        .import_image_stream(options, ReaderStream::new(file), None)
        .map_err(DockerError::refused("load the image"))
        .try_collect::<Vec<_>>()
        .await?;
    let text: String = said.into_iter().filter_map(|said| said.stream).collect();
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("Loaded image ID: "))
        .ok_or_else(|| DockerError::Refused {
            doing: "load the image",
            why: format!("it said {text:?} and named no image"),
        })?;
    let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
    daemon
        .docker
        .tag_image(id, Some(options))
        .await
        .map_err(DockerError::refused("name the image"))?;
    Ok(id.to_owned())
}

/// Writes an image's archive.
pub async fn save(daemon: &Daemon, name: &str, to: &Path) -> Result<(), DockerError> {
    // Asked for first: the archive of an image that is not there is an error in the middle of nothing.
    daemon
        .docker
        .inspect_image(name)
        .await
        .map_err(DockerError::refused("find the image"))?;
    let unwritable = |source| DockerError::io("write", to, source);
    let mut file = tokio::fs::File::create(to).await.map_err(unwritable)?;
    let mut archive = std::pin::pin!(daemon.docker.export_image(name));
    while let Some(piece) = archive.next().await {
        let piece = piece.map_err(DockerError::refused("save the image"))?;
        file.write_all(&piece).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)
}

/// Repository and tag of a name.
fn split(name: &str) -> Result<(&str, &str), DockerError> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let (repository, tag) = match name[start..].split_once(':') {
        Some((last, tag)) => (&name[..start + last.len()], tag),
        None => (name, "latest"),
    };
    if repository.is_empty() || tag.is_empty() || name.contains('@') {
        return Err(DockerError::Refused {
            doing: "name the image",
            why: format!("{name:?} is no name: write acme/app:dev"),
        });
    }
    Ok((repository, tag))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn names_have_a_repository_and_a_tag() {
        assert_eq!(split("app").unwrap(), ("app", "latest"));
        assert_eq!(
            split("host:5000/acme/app").unwrap(),
            ("host:5000/acme/app", "latest")
        );
        assert_eq!(
            split("host:5000/acme/app:1").unwrap(),
            ("host:5000/acme/app", "1")
        );
        for wrong in ["", ":1", "app:", "app@sha256:00"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
