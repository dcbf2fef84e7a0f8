//! The names that modules have.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A module's name: `namespace:name`, each in lower case, words divided by dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModuleName {
    namespace: String,
    name: String,
}

/// A text that is no module's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a module's name; it is `namespace:name` in lower case, such as `acme:pipeline`")]
pub struct NotAName(pub String);

impl ModuleName {
    /// Who it belongs to: `acme`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What it is: `pipeline`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Is it words of letters and digits, each of which starts with a letter, divided by dashes?
fn is_label(label: &str) -> bool {
    label.split('-').all(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    })
}

impl FromStr for ModuleName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (namespace, name) = text
            .split_once(':')
            .filter(|(namespace, name)| is_label(namespace) && is_label(name))
            .ok_or_else(|| NotAName(text.to_owned()))?;
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl TryFrom<String> for ModuleName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.parse()
    }
}

impl From<ModuleName> for String {
    fn from(name: ModuleName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("acme:a-b".parse::<ModuleName>().unwrap().to_string(), "acme:a-b");
        for wrong in ["acme", "acme:", "Acme:x", "a:b:c", "a:-b", "a:b/c", "a:b\n"] {
            assert!(wrong.parse::<ModuleName>().is_err(), "{wrong}");
        }
    }
}
