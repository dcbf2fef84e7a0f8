//! Packs the SDK into one archive, with the crates that it is built from, so that a new module builds without a network.
//!
//! The archive holds `guest/rust` (the SDK), `wit` (what it binds to) and `vendor` (a directory source of the crates it
//! depends on, with the checksums of the registry).

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use toml::{Table, Value};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The SDK's packages: where they are here, and where they are in the archive.
const PACKAGES: [(&str, &str); 3] = [
    ("sdk-guest/rust", "guest/rust"),
    ("sdk-guest/rust/macro", "guest/rust/macro"),
    ("sdk-guest/test", "guest/test"),
];
/// Directories of published crates that no build reads.
const UNREAD: [&str; 4] = ["tests", "benches", "fuzz", ".github"];

fn main() -> Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?)
        .join("../..")
        .canonicalize()?;
    let schema = Path::new("template/wharf.schema.json");
    println!("cargo::rerun-if-changed={}", schema.display());
    for input in ["Cargo.toml", "Cargo.lock", "sdk-guest", "wit"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let mut files = BTreeMap::new();
    files.insert("wharf.schema.json".to_owned(), fs::read(schema)?);
    add(&mut files, &root.join("wit"), "wit", &[])?;
    for (from, to) in PACKAGES {
        add(
            &mut files,
            &root.join(from).join("src"),
            &format!("{to}/src"),
            &[],
        )?;
        files.insert(format!("{to}/Cargo.toml"), package(&root, from)?.into_bytes());
    }
    vendor(&mut files, &root)?;
    let archive = pack(&files)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("digest"), wharf_digest::Digest::of(&archive).to_hex())?;
    fs::write(out.join("sdk.tar.zst"), archive)?;
    Ok(())
}

/// A package's manifest as it stands by itself: what it inherits from this workspace written out, and without what only
/// its development needs.
fn package(root: &Path, from: &str) -> Result<String> {
    let ours: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let ours = ours.get("workspace").ok_or("no [workspace]")?;
    let mut package: Table = fs::read_to_string(root.join(from).join("Cargo.toml"))?.parse()?;
    for own in ["dev-dependencies", "lints", "test"] {
        package.remove(own);
    }
    for table in ["package", "dependencies"] {
        for (key, value) in package
            .get_mut(table)
            .and_then(Value::as_table_mut)
            .into_iter()
            .flatten()
        {
            if value.get("workspace").is_none() {
                continue;
            }
            *value = ours[table][key.as_str()].clone();
            if let Some(path) = value.get_mut("path") {
                let inside = path
                    .as_str()
                    .and_then(|path| path.strip_prefix(from)?.strip_prefix('/'));
                *path = Value::from(inside.ok_or("the SDK depends on a package that is not its own")?);
            }
        }
    }
    Ok(package.to_string())
}

/// Adds the crates that the SDK is built from.
fn vendor(files: &mut BTreeMap<String, Vec<u8>>, root: &Path) -> Result<()> {
    let lock: Table = fs::read_to_string(root.join("Cargo.lock"))?.parse()?;
    let locked = lock["package"].as_array().ok_or("Cargo.lock has no packages")?;
    let text = |package: &Value, key: &str| package.get(key).and_then(Value::as_str).map(str::to_owned);
    for (name, version) in dependencies(root)? {
        let checksum = locked
            .iter()
            .find(|package| {
                text(package, "name").as_ref() == Some(&name)
                    && text(package, "version").as_ref() == Some(&version)
            })
            .and_then(|package| text(package, "checksum"));
        // The packages of this workspace have none.
        let Some(checksum) = checksum else { continue };
        let place = format!("vendor/{name}-{version}");
        add(files, &unpacked(&name, &version)?, &place, &UNREAD)?;
        let checksums = format!("{{\"files\":{{}},\"package\":\"{checksum}\"}}");
        files.insert(format!("{place}/.cargo-checksum.json"), checksums.into_bytes());
    }
    Ok(())
}

/// The names and versions of everything that a build of the SDK takes. What is not here yet is fetched, as any build does.
fn dependencies(root: &Path) -> Result<Vec<(String, String)>> {
    let tree = |more: &[&str]| -> Result<Option<String>> {
        let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "tree",
                "--locked",
                "--package",
                "wharf-sdk",
                "--edges",
                "normal,build",
            ])
            .args(["--target", "all", "--prefix", "none", "--format", "{p}"])
            .args(more)
            .current_dir(root)
            .output()?;
        if output.status.success() {
            return Ok(Some(String::from_utf8(output.stdout)?));
        }
        if more.is_empty() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(None)
    };
    let tree = match tree(&["--offline"])? {
        Some(tree) => Some(tree),
        None => tree(&[])?,
    };
    let mut found: Vec<_> = tree
        .unwrap_or_default()
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let name = words.next()?.to_owned();
            Some((name, words.next()?.strip_prefix('v')?.to_owned()))
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Where cargo has unpacked a crate.
fn unpacked(name: &str, version: &str) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo = cargo
        .or_else(|| Some(env::home_dir()?.join(".cargo")))
        .ok_or("no home directory")?;
    let sources = cargo.join("registry/src");
    let crates = fs::read_dir(&sources).map_err(|error| format!("{}: {error}", sources.display()))?;
    for registry in crates {
        let place = registry?.path().join(format!("{name}-{version}"));
        if place.join("Cargo.toml").is_file() {
            return Ok(place);
        }
    }
    Err(format!(
        "{name} {version} is not in {}: run `cargo fetch`",
        sources.display()
    )
    .into())
}

/// Adds a directory's files, but for some at its top.
fn add(files: &mut BTreeMap<String, Vec<u8>>, from: &Path, to: &str, without: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(OsStr::to_str)
            .ok_or("a file's name is not text")?;
        // Left by cargo where it has unpacked a crate.
        if without.contains(&name) || name == ".cargo-ok" {
            continue;
        }
        let to = format!("{to}/{name}");
        if path.is_dir() {
            add(files, &path, &to, &[])?;
        } else {
            files.insert(to, fs::read(&path)?);
        }
    }
    Ok(())
}

/// One archive whose bytes follow from the files alone.
fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 19)?);
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, bytes.as_slice())?;
    }
    Ok(tar.into_inner()?.finish()?)
}
