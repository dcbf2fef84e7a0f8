//! Builds real modules with the installed cargo.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;
use wharf_build::{BuildError, build};
use wharf_digest::Digest;

const SOURCE: &str = r#"//! A module for tests.

/// What the module is for.
#[wharf_sdk::module]
mod functions {
    use wharf_sdk::prelude::*;

    /// Greets.
    ///
    /// Politely.
    pub fn hello(
        /// Whom to greet.
        #[default("world")]
        name: String,
    ) -> String {
        format!("hello {name}")
    }

    /// What Python says of itself.
    #[check]
    pub async fn version(image: Option<String>, caches: Option<Vec<CacheVolume>>) -> Result<(String, bool)> {
        let mut base = image::pull(image.as_deref().unwrap_or("python:3.11-slim")).with_network(Network::All);
        for cache in caches.into_iter().flatten() {
            base = base.with_mounted_cache("/cache", &cache);
        }
        Ok((base.with_exec(["python", "-V"]).stdout().await?, true))
    }

    /// A name that a type of the interface has too.
    pub async fn container(directory: Directory, file: File, secret: Secret) -> Result<Container, String> {
        if secret.name().is_empty() {
            return Err("no name".to_owned());
        }
        Ok(Container::new().with_directory("/", &directory).with_file("/file", &file))
    }

    /// Does nothing.
    pub fn nothing() {}
}
"#;

/// A module's directory with this source, and the SDK beside it as in a checkout of its own.
fn module(source: &str) -> (TempDir, PathBuf) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = tempfile::tempdir().unwrap();
    copy(&checkout.join("sdk-guest"), &root.path().join("sdk-guest"));
    copy(&checkout.join("wit"), &root.path().join("wit"));
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(checkout.join(name), root.path().join(name)).unwrap();
    }
    trim_workspace(&root.path().join("Cargo.toml"));
    let directory = root.path().join("modules/app");
    fs::create_dir_all(directory.join("src")).unwrap();
    fs::write(
        directory.join("wharf.toml"),
        "[module]\nname = \"acme:app\"\nversion = \"0.2.0\"\nsdk = \"rust\"\n",
    )
    .unwrap();
    let manifest = "[package]\nname = \"app\"\nversion = \"0.2.0\"\nedition = \"2024\"\n[workspace]\n[lib]\n\
                    crate-type = [\"cdylib\"]\n[dependencies]\nwharf-sdk = { path = \"../../sdk-guest/rust\" }\n";
    fs::write(directory.join("Cargo.toml"), manifest).unwrap();
    fs::write(directory.join("src/lib.rs"), source).unwrap();
    fs::copy(
        checkout.join("examples/bench/Cargo.lock"),
        directory.join("Cargo.lock"),
    )
    .unwrap();
    (root, directory)
}

/// Leaves only the SDK in the workspace's members.
fn trim_workspace(manifest: &Path) {
    let text = fs::read_to_string(manifest).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let workspace = table
        .get_mut("workspace")
        .and_then(toml::Value::as_table_mut)
        .unwrap();
    let members = ["sdk-guest/rust", "sdk-guest/rust/macro"].map(|member| toml::Value::from(member));
    workspace.insert("members".to_owned(), toml::Value::Array(members.to_vec()));
    fs::write(manifest, table.to_string()).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The JSON in the custom section of this name at the component's top level.
fn section(component: &[u8], name: &str) -> Value {
    let mut depth = 0_u32;
    for payload in wasmparser::Parser::new(0).parse_all(component) {
        match payload.unwrap() {
            wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => {
                depth += 1
            }
            wasmparser::Payload::End(_) => depth = depth.saturating_sub(1),
            wasmparser::Payload::CustomSection(section) if depth == 0 && section.name() == name => {
                return serde_json::from_slice(section.data()).unwrap();
            }
            _ => {}
        }
    }
    panic!("no section {name}");
}

#[test]
fn a_directory_that_is_no_module_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let error = build(directory.path(), &|_| ()).unwrap_err();
    assert!(matches!(error, BuildError::NotAModule(_)));
    assert!(error.to_string().contains("wharf.toml"), "{error}");
    fs::write(
        directory.path().join("wharf.toml"),
        "[module]\nname = \"acme:app\"\nversion = \"0.1.0\"\n",
    )
    .unwrap();
    let error = build(directory.path(), &|_| ()).unwrap_err();
    assert!(matches!(error, BuildError::NoCargoManifest(_)), "{error}");
}

#[test]
fn a_component_is_passed_through() {
    let file = tempfile::NamedTempFile::with_suffix(".wasm").unwrap();
    fs::write(file.path(), b"\0asm").unwrap();
    let built = build(file.path(), &|_| ()).unwrap();
    assert_eq!((built.path.as_path(), built.fresh), (file.path(), true));
}
