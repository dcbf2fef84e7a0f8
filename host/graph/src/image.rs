//! Platforms and image configuration, as far as the graph reads them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// Operating system and processor, in Go's naming.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// Such as `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// The platform that this program was built for; steps run on Linux.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: None,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .iter()
            .try_for_each(|variant| write!(f, "/{variant}"))
    }
}

/// How a container's processes run and what its image says of itself. Folded: the order of the calls that made it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Variables in the order in which they were set.
    pub env: Vec<(String, String)>,
    /// Put before the arguments when asked for.
    pub entrypoint: Vec<String>,
    /// The arguments when none are given.
    pub default_args: Vec<String>,
    /// As it was set; empty is root.
    pub user: String,
    /// Absolute; empty is `/`.
    pub workdir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ports as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Fields of the image's configuration that Wharf keeps as they are (health check, volumes, stop signal …): a JSON object
    /// as text, empty when there are none. Services read some of them.
    pub rest: String,
}

impl ImageConfig {
    /// Value of a variable.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Set a variable; one that is there keeps its place.
    pub fn set_env(&mut self, name: &str, value: String) {
        match self.env.iter_mut().find(|(key, _)| key == name) {
            Some(slot) => slot.1 = value,
            None => self.env.push((name.to_owned(), value)),
        }
    }

    /// Remove a variable.
    pub fn unset_env(&mut self, name: &str) {
        self.env.retain(|(key, _)| key != name);
    }

    /// Replace `$NAME` and `${NAME}` by the variables; an unset one by nothing. `\$` is a dollar.
    pub fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['$', '\\']) {
            out.push_str(&rest[..at]);
            let tail = &rest[at..];
            rest = if let Some(after) = tail.strip_prefix("\\$") {
                out.push('$');
                after
            } else if let Some((name, after)) = variable_reference(tail) {
                out.push_str(self.env(name).unwrap_or_default());
                after
            } else {
                out.push_str(&tail[..1]);
                &tail[1..]
            };
        }
        out.push_str(rest);
        out
    }
}

/// Splits `$NAME…` or `${NAME}…` into name and rest.
fn variable_reference(text: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
            && name.starts_with(|c: char| !c.is_ascii_digit())
    };
    let text = text.strip_prefix('$')?;
    let (name, rest) = if let Some(braced) = text.strip_prefix('{') {
        braced.split_once('}')?
    } else {
        text.split_at(
            text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
                .unwrap_or(text.len()),
        )
    };
    is_name(name).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::ImageConfig;

    #[test]
    fn expansion_reads_both_forms_and_leaves_the_rest() {
        let mut config = ImageConfig::default();
        config.set_env("A", "1".to_owned());
        config.set_env("EMPTY", String::new());
        for (text, expected) in [
            ("$A", "1"),
            ("x${A}y$A", "x1y1"),
            ("[$EMPTY][$UNSET]", "[][]"),
            (r"\$A $ $1 ${A", r"$A $ $1 ${A"),
            ("a\\b", "a\\b"),
        ] {
            assert_eq!(config.expand(text), expected, "{text}");
        }
    }
}
