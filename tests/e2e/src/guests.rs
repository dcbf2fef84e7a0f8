//! The modules under `tests/guests`, built for the tests that call them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use wharf_testkit::{World, paths};

/// The directory of one of them.
pub fn source(name: &str) -> PathBuf {
    paths::workspace().join("tests/guests").join(name)
}

/// The component made with the SDK, built by `wharf` itself.
pub fn sdk(world: &World) -> PathBuf {
    built(world, "behaviours").join(".wharf/module.wasm")
}

/// The directory of the module whose functions take and return types of their own.
pub fn types(world: &World) -> PathBuf {
    built(world, "types")
}

/// The directory of the module that calls others.
pub fn caller(world: &World) -> PathBuf {
    built(world, "caller")
}

fn built(world: &World, name: &str) -> PathBuf {
    let directory = source(name);
    world
        .wharf(["build".as_ref(), "-m".as_ref(), directory.as_os_str()])
        .ok();
    directory
}

/// The component made with wit-bindgen and `wit/` alone, built by cargo alone.
pub fn raw() -> PathBuf {
    let directory = source("raw");
    let target = paths::target().join("guests");
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&directory)
        // The tests' own settings for the compiler are not the guest's.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR")
        .status()
        .expect("cargo runs");
    assert!(status.success(), "{} does not build", directory.display());
    target.join("wasm32-wasip2/release/raw.wasm")
}

/// The component written by hand.
pub fn by_hand(to: &Path) -> PathBuf {
    let component = wat::parse_file(source("sync.wat")).expect("the text is a component");
    let path = to.join("by-hand.wasm");
    std::fs::write(&path, component).expect("the component is written");
    path
}
