//! The contract as a page: every item of `wit/` with the first sentence of what is said of it.

use std::{fmt::Write, fs};

use wharf_testkit::paths;

use crate::shell::Failure;

/// What stands above the tables.
const HEAD: &str = "\
# The contract

Everything that a module can use of its host, by interface: what a module's component imports says what it can do. Generated
from `wit/` by `cargo xtask generate`; the whole text of each item is there. Interfaces with asynchronous functions have a
twin with the suffix `-sync` for guests without them. The Rust SDK has each item under the same name, as a method where the
first parameter is a handle. Each item says since which version of the contract it is there.
";

/// An interface.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    docs: String,
    since: String,
    pub(crate) items: Vec<Item>,
}

/// A type or a function.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// The resource that it is of.
    of: Option<String>,
    /// As `wit/` writes it, without docs.
    text: String,
    docs: String,
    /// The version that it came with.
    since: String,
    /// The names of a type's fields or cases.
    parts: Vec<String>,
}

impl Item {
    /// The name of a function; none for a type or a constructor.
    #[cfg(test)]
    fn function(&self) -> Option<&str> {
        let (name, rest) = self.text.split_once(": ")?;
        rest.contains("func(").then_some(name)
    }
}

/// The page.
pub(crate) fn page() -> Result<String, Failure> {
    let mut page = HEAD.to_owned();
    for interface in interfaces()? {
        let Interface {
            name,
            docs,
            since,
            items,
        } = interface;
        let _ = write!(
            page,
            "\n## {name}\n\n{docs} Since {since}.\n\n| item | what it is | since |\n| --- | --- | --- |\n"
        );
        for item in items {
            let Item { docs, since, .. } = &item;
            let _ = writeln!(page, "| {} | {} | {since} |", shown(&item), first_sentence(docs));
        }
    }
    Ok(page)
}

fn shown(item: &Item) -> String {
    let of = item.of.iter().map(|resource| format!("{resource}."));
    let text: String = of.chain([item.text.clone()]).collect();
    let parts = item.parts.join("`, `");
    if parts.is_empty() {
        format!("`{text}`")
    } else {
        format!("`{text}`: `{parts}`")
    }
}

fn first_sentence(docs: &str) -> String {
    let end = docs.find(". ").map_or(docs.len(), |at| at + 1);
    docs[..end].replace('|', "\\|")
}

/// The interfaces in the order in which the world imports them, without their twins.
pub(crate) fn interfaces() -> Result<Vec<Interface>, Failure> {
    let directory = paths::workspace().join("wit");
    let world = fs::read_to_string(directory.join("pipeline.wit"))?;
    let mut found = Vec::new();
    let names = world
        .lines()
        .skip_while(|line| *line != "world imports {")
        .take_while(|line| *line != "}")
        .filter_map(|line| line.trim().strip_prefix("import ")?.strip_suffix(';'));
    for name in names {
        let path = directory.join(format!("{name}.wit"));
        let text =
            fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        found.push(read(name, &text));
    }
    Ok(found)
}

/// Reads one interface, of which every line holds one thing, as all in `wit/` do; a long function may take several lines.
fn read(name: &str, text: &str) -> Interface {
    let mut interface = Interface {
        name: name.to_owned(),
        ..Interface::default()
    };
    let (mut docs, mut since) = (String::new(), String::new());
    let mut item = String::new();
    let mut resource: Option<String> = None;
    // The type whose fields or cases are read.
    let mut inside_type = false;
    for line in text.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            let doc = doc.trim();
            if !docs.is_empty() && !doc.is_empty() {
                docs.push(' ');
            }
            docs.push_str(doc);
            continue;
        }
        if let Some(version) = line.strip_prefix("@since(version = ") {
            version.trim_end_matches(')').clone_into(&mut since);
            continue;
        }
        if line.starts_with("package ") || line.starts_with("use ") {
            continue;
        }
        if line == "}" {
            if inside_type {
                inside_type = false;
            } else {
                resource = None;
            }
            continue;
        }
        if line.starts_with("interface ") {
            interface.docs = std::mem::take(&mut docs);
            interface.since = std::mem::take(&mut since);
            continue;
        }
        if inside_type {
            let part = line.trim_end_matches(',');
            let part = part.split(&[':', '('][..]).next().unwrap_or(part);
            if let (Some(item), false) = (interface.items.last_mut(), part.is_empty()) {
                item.parts.push(part.to_owned());
            }
            docs.clear();
            continue;
        }
        if !item.is_empty() && !line.is_empty() {
            item.push(' ');
        }
        item.push_str(line);
        let opens = item.strip_suffix('{').map(str::trim_end);
        let Some(whole) = opens.or_else(|| item.strip_suffix(';')) else {
            continue;
        };
        interface.items.push(Item {
            of: resource.clone(),
            text: whole.to_owned(),
            docs: std::mem::take(&mut docs),
            since: std::mem::take(&mut since),
            parts: Vec::new(),
        });
        if opens.is_some() {
            match whole.strip_prefix("resource ") {
                Some(name) => resource = Some(name.to_owned()),
                None => inside_type = true,
            }
        }
        item.clear();
    }
    interface
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_with_their_docs() {
        let text = "package a:b;\n\n/// Of files. More.\ninterface files {\n    use types.{error};\n\n    \
            /// Facts.\n    record facts {\n        /// Size.\n        size: u64,\n    }\n\n    \
            /// One. It is\n    /// long.\n    @since(version = 0.2.0)\n    resource file {\n        /// Made.\n        constructor(name: string);\n        \
            /// Its name.\n        name: func()\n            -> string;\n    }\n}\n";
        let interface = read("files", text);
        let shown: Vec<_> = interface
            .items
            .iter()
            .map(|item| format!("{} {}", shown(item), first_sentence(&item.docs)))
            .collect();
        assert_eq!(
            shown,
            [
                "`record facts`: `size` Facts.",
                "`resource file` One.",
                "`file.constructor(name: string)` Made.",
                "`file.name: func() -> string` Its name.",
            ]
        );
        assert_eq!(interface.docs, "Of files. More.");
        assert_eq!(interface.items[1].since, "0.2.0");
    }

    #[test]
    fn every_item_says_what_it_is_and_since_when() {
        for interface in interfaces().unwrap() {
            let Interface { docs, since, .. } = &interface;
            assert!(
                !docs.is_empty() && !since.is_empty() && !interface.items.is_empty(),
                "{interface:?}"
            );
            for Item {
                text, docs, since, ..
            } in interface.items
            {
                let name = &interface.name;
                assert!(!docs.is_empty(), "{name}: {text} says nothing");
                assert!(
                    !since.is_empty(),
                    "{name}: {text} does not say since when it is there"
                );
            }
        }
    }

    #[test]
    fn every_function_is_in_the_sdk() {
        let mut sdk = String::new();
        let source = paths::workspace().join("sdk-guest/rust/src");
        for directory in [source.clone(), source.join("container")] {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    sdk.push_str(&fs::read_to_string(path).unwrap());
                }
            }
        }
        for interface in interfaces().unwrap() {
            for item in &interface.items {
                let Some(name) = item.function() else { continue };
                let name = name.replace('-', "_");
                // A word of Rust's own has a mark behind it.
                let called = [format!(".{name}("), format!("::{name}("), format!(".{name}_(")];
                assert!(
                    called.iter().any(|call| sdk.contains(call.as_str())),
                    "{}: the SDK has no way to call {name}",
                    interface.name
                );
            }
        }
    }
}
