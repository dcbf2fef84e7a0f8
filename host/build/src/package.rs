//! What a module's Cargo.toml says of it to people who look for modules.

use std::{collections::BTreeMap, fs, path::Path};

/// What is passed on.
const FIELDS: [&str; 3] = ["description", "license", "repository"];

/// The fields that the package has; none of those that it takes from a workspace.
pub(crate) fn facts(directory: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = text.parse().unwrap_or_default();
    let package = manifest.get("package").and_then(toml::Value::as_table);
    let fact = |name: &str| {
        let value = package?.get(name)?.as_str()?;
        Some((name.to_owned(), value.to_owned()))
    };
    FIELDS.into_iter().filter_map(fact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_package_says_is_passed_on() {
        let directory = tempfile::tempdir().unwrap();
        assert!(facts(directory.path()).is_empty());
        let text = "[package]\nname = \"x\"\nlicense = \"MIT\"\nrepository.workspace = true\ndescription = \"Builds.\"\n";
        fs::write(directory.path().join("Cargo.toml"), text).unwrap();
        let facts = facts(directory.path());
        assert_eq!(facts.len(), 2);
        assert_eq!(
            (facts["license"].as_str(), facts["description"].as_str()),
            ("MIT", "Builds.")
        );
    }
}
