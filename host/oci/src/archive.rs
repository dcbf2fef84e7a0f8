//! Images as one file: an archive that is an OCI image layout and what `docker load` takes at the same time.
//!
//! What is read may be either of the two, as `docker save`, `skopeo` and [`write`] make them, compressed or not.

mod read;
mod write;

pub use read::Archive;
pub use write::{NewImage, write};

use serde::{Deserialize, Serialize};

/// Docker's own list of what is in an archive, `manifest.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Where OCI's layout has a blob.
fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    use super::{Archive, NewImage, write};
    use crate::{Config, Error, Platform, Reference};

    fn tar_with(name: &str, text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tar = tar::Builder::new(&mut file);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text).unwrap();
        tar.finish().unwrap();
        drop(tar);
        file
    }

    fn archive() -> (Vec<u8>, Vec<tempfile::NamedTempFile>) {
        let layers = vec![
            tar_with("a", b"one"),
            tar_with("b", b"two"),
            tar_with("a", b"one"),
        ];
        let config = Config {
            cmd: vec!["sh".to_owned()],
            env: vec!["A=b".to_owned()],
            ..Config::default()
        };
        let files: Vec<_> = layers.iter().map(|file| file.reopen().unwrap()).collect();
        let reference: Reference = "acme/app:1".parse().unwrap();
        let mut out = Vec::new();
        let image = NewImage {
            platform: &Platform::host(),
            config: &config,
            layers: &files,
            history: &[],
            annotations: &std::collections::BTreeMap::new(),
            reference: Some(&reference),
        };
        write(&mut out, &image).unwrap();
        (out, layers)
    }

    fn open(bytes: &[u8]) -> Result<Archive, Error> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Archive::open(file, &Platform::host())
    }

    #[test]
    fn what_was_written_reads_back() {
        let (bytes, layers) = archive();
        assert_eq!(bytes, archive().0, "the same image is the same archive");
        let packed = zstd::encode_all(&bytes[..], 1).unwrap();
        for bytes in [bytes, packed] {
            let archive = open(&bytes).unwrap();
            let image = archive.image();
            assert_eq!(image.config.cmd, ["sh"]);
            assert_eq!(image.layers.len(), 3);
            assert_eq!(image.layers[0], image.layers[2]);
            for (layer, file) in image.layers.iter().zip(&layers) {
                let mut found = Vec::new();
                archive.layer(layer).unwrap().read_to_end(&mut found).unwrap();
                assert_eq!(found, std::fs::read(file.path()).unwrap());
            }
        }
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
        let other = std::fs::read(tar_with("x", b"y").path()).unwrap();
        let (whole, _) = archive();
        for bytes in [&b""[..], b"no tar at all", &empty, &other, &whole[..700]] {
            assert!(open(bytes).is_err());
        }
        let arm = "linux/s390x".parse().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole).unwrap();
        file.rewind().unwrap();
        assert!(matches!(Archive::open(file, &arm), Err(Error::Platform { .. })));
    }
}
