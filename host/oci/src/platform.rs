//! Platforms: operating system and processor, and which image serves which.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Operating system and processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Linux on the processor of this host.
    pub fn host() -> Self {
        let (architecture, variant) = canonical(std::env::consts::ARCH, None);
        Self {
            os: "linux".to_owned(),
            architecture,
            variant,
        }
    }

    /// How well an image for `self` serves where `wanted` is wanted: `None` for not at all, the least number for best.
    ///
    /// An ARM processor runs what was made for its predecessors; a variant that is not asked for does not matter.
    pub(crate) fn distance(&self, wanted: &Self) -> Option<u32> {
        let (own, own_variant) = canonical(&self.architecture, self.variant.as_deref());
        let (architecture, variant) = canonical(&wanted.architecture, wanted.variant.as_deref());
        if self.os != wanted.os || own != architecture {
            return None;
        }
        match (own_variant, variant) {
            (own, wanted) if own == wanted => Some(0),
            (None, Some(_)) => Some(100),
            // Without a wish the newest of an old processor's variants, and the oldest of a new one's.
            (Some(own), None) => {
                level(&own).map(|level| if architecture == "arm" { 100 - level } else { level })
            }
            (Some(own), Some(wanted)) => level(&wanted)?.checked_sub(level(&own)?),
            (None, None) => Some(0),
        }
    }
}

/// The number in `v7`.
fn level(variant: &str) -> Option<u32> {
    variant
        .strip_prefix('v')?
        .parse()
        .ok()
        .filter(|level| *level < 100)
}

/// One name for each processor. `arm64` is `v8` and `amd64` is `v1` when nothing is said.
fn canonical(architecture: &str, variant: Option<&str>) -> (String, Option<String>) {
    let architecture = match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "i386" | "i686" | "x86" => "386",
        "armhf" => "arm",
        "powerpc64le" | "powerpc64" => "ppc64le",
        other => other,
    };
    let variant = match (architecture, variant) {
        (_, Some("")) | ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
        (_, variant) => variant.map(str::to_owned),
    };
    (architecture.to_owned(), variant)
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
        };
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => ("", "", None),
        };
        if ![os, architecture, variant.unwrap_or("v")].iter().all(is_word) {
            return Err(Error::Settings(format!(
                "{text:?} is not a platform: write it as `linux/amd64` or `linux/arm/v7`"
            )));
        }
        let (architecture, variant) = canonical(&architecture.to_lowercase(), variant);
        Ok(Self {
            os: os.to_lowercase(),
            architecture,
            variant,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Platform;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn reads_and_writes_platforms() {
        assert_eq!(platform("linux/x86_64").to_string(), "linux/amd64");
        assert_eq!(platform("linux/arm64/v8").to_string(), "linux/arm64");
        assert_eq!(platform("linux/arm/v7").to_string(), "linux/arm/v7");
        for wrong in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_nearest_variant_serves() {
        let distance = |own: &str, wanted: &str| platform(own).distance(&platform(wanted));
        assert_eq!(distance("linux/arm64/v8", "linux/arm64"), Some(0));
        assert!(distance("linux/arm/v7", "linux/arm") < distance("linux/arm/v6", "linux/arm"));
        assert!(distance("linux/arm/v6", "linux/arm/v7") > distance("linux/arm/v7", "linux/arm/v7"));
        assert!(distance("linux/amd64", "linux/amd64") < distance("linux/amd64/v3", "linux/amd64"));
        assert_eq!(
            distance("linux/arm/v7", "linux/arm/v6"),
            None,
            "an older processor does not run it"
        );
        assert_eq!(distance("linux/amd64", "linux/arm64"), None);
        assert_eq!(distance("windows/amd64", "linux/amd64"), None);
    }
}
