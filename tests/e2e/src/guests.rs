//! The modules under `tests/guests`, built for the tests that call them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use wharf_testkit::{World, paths};

/// What makes components of Python, as pip takes it.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

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

/// The component written in Python, made with componentize-py and `wit/` alone; none, with a line that says why, where pip cannot get
/// that.
#[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
pub fn python() -> Option<PathBuf> {
    let component = paths::target().join("guests/python.wasm");
    let tools = tempfile::tempdir().expect("a directory");
    let installed = run(Command::new("python3").args(["-m", "venv"]).arg(tools.path())).and_then(|()| {
        run(Command::new(tools.path().join("bin/pip")).args(["install", "--quiet", COMPONENTIZE_PY]))
    });
    if let Err(why) = installed {
        eprintln!("skipped: pip cannot get componentize-py: {why}");
        return None;
    }
    std::fs::create_dir_all(component.parent()?).expect("a directory");
    let made = tools.path().join("python.wasm");
    // What Python compiles of it lies beside it.
    let app = tools.path().join("app");
    std::fs::create_dir(&app).expect("a directory");
    std::fs::copy(source("python").join("app.py"), app.join("app.py")).expect("the module is copied");
    let mut command = Command::new(tools.path().join("bin/componentize-py"));
    command.arg("-d").arg(paths::workspace().join("wit"));
    command.arg("-d").arg(source("python").join("wit"));
    command.args(["-w", "foreign:python/guest", "componentize", "app", "-p"]);
    command.arg(&app).arg("-o").arg(&made);
    run(&mut command).expect("the component is made");
    // Another test may read it meanwhile: it gets its name when it is whole.
    let whole = component.with_extension(format!("{}.new", std::process::id()));
    std::fs::copy(&made, &whole).expect("the component is copied");
    std::fs::rename(&whole, &component).expect("the component is named");
    Some(component)
}

/// The directory of the module that calls the one in Python.
pub fn python_caller(world: &World) -> PathBuf {
    built(world, "python-caller")
}

/// Runs a program to its end; what it said when it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The component written by hand.
pub fn by_hand(to: &Path) -> PathBuf {
    let component = wat::parse_file(source("sync.wat")).expect("the text is a component");
    let path = to.join("by-hand.wasm");
    std::fs::write(&path, component).expect("the component is written");
    path
}
