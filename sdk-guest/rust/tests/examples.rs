//! Every public function has an example, which `cargo test --doc` compiles and runs.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What is no part of what authors use.
const INNER: [&str; 4] = ["bindings.rs", "native", "text.rs", "wire.rs"];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        if INNER.contains(&name) {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Names of the public functions of a source without an example that is run.
fn without_example(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut has_example, mut is_inside) = (false, false);
    for line in source.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("///") {
            if let Some(kind) = doc.trim().strip_prefix("```") {
                has_example |= !is_inside && kind.is_empty();
                is_inside = !is_inside;
            }
            continue;
        }
        if line.starts_with("#[") {
            continue;
        }
        let function = ["pub fn ", "pub async fn ", "pub const fn "]
            .iter()
            .find_map(|start| line.strip_prefix(start));
        if let (Some(function), false) = (function, has_example) {
            let name = function.split(['(', '<']).next().unwrap_or(function);
            found.push(name.to_owned());
        }
        has_example = false;
    }
    found
}

#[test]
fn every_public_function_has_an_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 15, "{files:?}");
    let missing: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let names = without_example(&fs::read_to_string(path).unwrap());
            let file = path.strip_prefix(&root).unwrap().display().to_string();
            names.into_iter().map(move |name| format!("{file}: {name}"))
        })
        .collect();
    assert!(
        missing.is_empty(),
        "no example, or one that is not run: {missing:#?}"
    );
}

#[test]
fn examples_that_are_not_run_are_none() {
    let text = "/// One.\n///\n/// ```no_run\n/// x\n/// ```\npub fn one() {}\n\n/// Two.\n///\n/// ```\n/// x\n/// ```\n#[must_use]\npub fn two() {}\npub async fn three() {}\n";
    assert_eq!(without_example(text), ["one", "three"]);
}
