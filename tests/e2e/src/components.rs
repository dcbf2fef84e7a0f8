//! Small components made on the spot: modules whose names, versions and contents a test chooses.

use std::path::PathBuf;

use wharf_testkit::World;

/// A module that only computes.
#[derive(Clone, Debug)]
pub struct Component {
    /// `namespace:name`.
    pub name: String,
    /// Three numbers.
    pub version: String,
    /// What its one function, `count`, returns: another number makes other bytes.
    pub count: u32,
    /// What it says that it calls: names and versions.
    pub calls: Vec<(String, String)>,
}

impl Component {
    /// One of this name, version and content.
    pub fn new(name: &str, version: &str, count: u32) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            count,
            calls: Vec::new(),
        }
    }

    /// The same, which says that it calls these: names and versions.
    #[must_use]
    pub fn calling(mut self, calls: &[(&str, &str)]) -> Self {
        self.calls = calls
            .iter()
            .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
            .collect();
        self
    }

    /// Its bytes, with the sections that `wharf build` adds.
    pub fn bytes(&self) -> Vec<u8> {
        let manifest = serde_json::json!({
            "format": 1,
            "module": { "name": self.name, "version": self.version, "sdk": "rust" },
            "capabilities": [],
            "dependencies": self.calls.iter().map(|(name, version)| (name.clone(), serde_json::json!({ "version": version }))).collect::<serde_json::Map<_, _>>(),
        });
        let docs = serde_json::json!({
            "format": 1,
            "module": { "name": self.name, "version": self.version, "docs": "Counts for tests." },
            "functions": [{ "name": "count", "docs": "How many there are.", "params": [], "result": "u32" }],
            "types": [],
        });
        let quoted = |value: serde_json::Value| value.to_string().replace('"', "\\\"");
        let text = format!(
            r#"(component
                (core module $m (func (export "count") (result i32) i32.const {}))
                (core instance $m (instantiate $m))
                (func $count (result u32) (canon lift (core func $m "count")))
                (export "count" (func $count))
                (@custom "wharf:docs" "{}")
                (@custom "wharf:manifest" "{}"))"#,
            self.count,
            quoted(docs),
            quoted(manifest)
        );
        wat::parse_str(text).expect("the text is a component")
    }

    /// The same in a file of a world.
    pub fn write(&self, world: &World) -> PathBuf {
        let file = format!(
            "{}-{}-{}.wasm",
            self.name.replace(':', "-"),
            self.version,
            self.count
        );
        world.write(file, self.bytes())
    }
}
