//! Changes of a wharf.toml that leave everything else as it was written: comments, order, space.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A wharf.toml that is being changed.
pub struct ManifestText(DocumentMut);

/// What is written behind a dependency's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `"1.2"`.
    Version(String),
    /// `{ oci = "registry.example/acme/tool", version = "1.2" }`, in this order.
    Table(Vec<(&'static str, String)>),
}

const DEPENDENCIES: &str = "dependencies";
const GRANTS: &str = "grants";

impl ManifestText {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no TOML; in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let document = text.parse::<DocumentMut>().map_err(|error| error.to_string())?;
        Ok(Self(document))
    }

    /// Adds a dependency, or has it come from elsewhere. False: it stands there already.
    pub fn add(&mut self, name: &str, entry: &Entry) -> bool {
        let table = self
            .0
            .entry(DEPENDENCIES)
            .or_insert_with(|| Item::Table(Table::new()));
        let Some(table) = table.as_table_like_mut() else {
            return false;
        };
        let mut value = entry.value();
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(there) if same(there, &value) => return false,
            Some(there) => {
                // What stands behind it on its line stays there.
                *value.decor_mut() = there.decor().clone();
                *there = value;
            }
            None => {
                table.insert(name, Item::Value(value));
            }
        }
        true
    }

    /// Removes a dependency, and what was granted to it. False: there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let removed = self
            .table(DEPENDENCIES)
            .is_some_and(|table| table.remove(name).is_some());
        if removed {
            self.table(GRANTS).map(|table| table.remove(name));
        }
        for empty in [DEPENDENCIES, GRANTS] {
            if removed && self.table(empty).is_some_and(|table| table.is_empty()) {
                self.0.remove(empty);
            }
        }
        removed
    }

    /// Grants something to a dependency: the name of a right, and how much of it as it is written in TOML.
    ///
    /// # Errors
    /// When the text has something else in the grants' place, or the amount is no TOML; in words.
    pub fn grant(&mut self, name: &str, right: &str, amount: &str) -> Result<(), String> {
        let amount: Value = amount.parse().map_err(|error| format!("{amount}: {error}"))?;
        let misplaced = || "[grants] is no table".to_owned();
        let grants = self.0.entry(GRANTS).or_insert_with(|| {
            let mut table = Table::new();
            // Only its tables are written, with their whole names.
            table.set_implicit(true);
            Item::Table(table)
        });
        let grants = grants.as_table_like_mut().ok_or_else(misplaced)?;
        let own = grants.entry(name).or_insert_with(|| Item::Table(Table::new()));
        let own = own.as_table_like_mut().ok_or_else(misplaced)?;
        own.insert(right, Item::Value(amount));
        Ok(())
    }

    /// The names of its dependencies.
    pub fn dependencies(&self) -> Vec<String> {
        let table = self.0.get(DEPENDENCIES).and_then(Item::as_table_like);
        table
            .map(|table| table.iter().map(|(name, _)| name.to_owned()).collect())
            .unwrap_or_default()
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    fn table(&mut self, name: &str) -> Option<&mut dyn TableLike> {
        self.0.get_mut(name)?.as_table_like_mut()
    }
}

impl Entry {
    fn value(&self) -> Value {
        match self {
            Self::Version(version) => version.as_str().into(),
            Self::Table(fields) => {
                let mut table = InlineTable::new();
                for (name, value) in fields {
                    table.insert(*name, value.as_str().into());
                }
                Value::InlineTable(table)
            }
        }
    }
}

/// Do two values say the same, however they are written?
fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| {
        let mut value = value.clone();
        value.decor_mut().clear();
        value.to_string().split_whitespace().collect::<String>()
    };
    plain(one) == plain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Ours.\n[module]\nname = \"my:app\"   # the name\nversion = \"0.1.0\"\n\n[dependencies]\n# Builds.\n\"acme:tool\" = \"1\" # pinned for now\n\"acme:base\" = { path = \"../base\" }\n\n[grants.\"acme:tool\"]\nnetwork = true\n";

    fn edited(change: impl Fn(&mut ManifestText) -> bool) -> (bool, String) {
        let mut manifest = ManifestText::read(TEXT).unwrap();
        let changed = change(&mut manifest);
        (changed, manifest.text())
    }

    #[test]
    fn what_is_added_stands_at_the_end_and_nothing_else_changes() {
        let entry = Entry::Table(vec![
            ("oci", "r.example/a/b".to_owned()),
            ("version", "2".to_owned()),
        ]);
        let (changed, text) = edited(|manifest| manifest.add("acme:new", &entry));
        assert!(changed);
        let line = "\"acme:new\" = { oci = \"r.example/a/b\", version = \"2\" }\n";
        assert_eq!(
            text,
            TEXT.replace("../base\" }\n", &format!("../base\" }}\n{line}"))
        );
        let (changed, text) = edited(|manifest| manifest.add("acme:tool", &Entry::Version("2".to_owned())));
        assert!(changed);
        assert_eq!(
            text,
            TEXT.replace("\"acme:tool\" = \"1\"", "\"acme:tool\" = \"2\"")
        );
        let (changed, text) = edited(|manifest| manifest.add("acme:tool", &Entry::Version("1".to_owned())));
        assert_eq!((changed, text.as_str()), (false, TEXT));
    }

    #[test]
    fn the_table_is_made_when_there_is_none() {
        let mut manifest = ManifestText::read("[module]\nname = \"a:b\"\n").unwrap();
        manifest.add("acme:tool", &Entry::Version("1".to_owned()));
        assert_eq!(
            manifest.text(),
            "[module]\nname = \"a:b\"\n\n[dependencies]\n\"acme:tool\" = \"1\"\n"
        );
        assert_eq!(manifest.dependencies(), ["acme:tool"]);
        manifest.remove("acme:tool");
        assert_eq!(manifest.text(), "[module]\nname = \"a:b\"\n");
    }

    #[test]
    fn what_is_removed_takes_its_grants_along() {
        let (changed, text) = edited(|manifest| manifest.remove("acme:tool"));
        assert!(changed);
        assert!(
            !text.contains("acme:tool") && !text.contains("grants") && text.contains("# Ours."),
            "{text}"
        );
        assert!(text.contains("\"acme:base\" = { path = \"../base\" }"), "{text}");
        let (changed, text) = edited(|manifest| manifest.remove("acme:other"));
        assert_eq!((changed, text.as_str()), (false, TEXT));
    }

    #[test]
    fn what_is_granted_stands_in_the_dependencys_table() {
        let mut manifest = ManifestText::read(TEXT).unwrap();
        manifest.grant("acme:tool", "caches", "[\"pip\"]").unwrap();
        manifest.grant("acme:base", "images", "true").unwrap();
        let text = manifest.text();
        assert!(
            text.contains("[grants.\"acme:tool\"]\nnetwork = true\ncaches = [\"pip\"]\n"),
            "{text}"
        );
        assert!(
            text.ends_with("\n[grants.\"acme:base\"]\nimages = true\n"),
            "{text}"
        );
        assert!(text.contains("# pinned for now"), "{text}");
        let mut bare = ManifestText::read("[module]\nname = \"a:b\"\n").unwrap();
        bare.grant("c:d", "network", "true").unwrap();
        assert_eq!(
            bare.text(),
            "[module]\nname = \"a:b\"\n\n[grants.\"c:d\"]\nnetwork = true\n"
        );
    }
}
