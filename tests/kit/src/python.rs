//! This machine's Python, and packages for it that are kept from run to run.

use std::{fs, path::PathBuf, process::Command};

use crate::{Error, Result, paths, process};

/// `pip`.
pub fn pip() -> Result<Command> {
    let pip = paths::program("pip3").or_else(|| paths::program("pip"));
    pip.map(Command::new).ok_or_else(|| Error::Missing {
        program: "pip3".into(),
        package: "python3-pip".into(),
    })
}

/// A Python that has these packages, as pip takes them. Made once for a machine under this name.
pub fn with(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let place = paths::target().join("llm").join(name);
    let _alone = process::lock(&place.with_extension("lock"))?;
    let (python, done) = (place.join("bin/python"), place.join("done"));
    let wanted = packages.join("\n");
    if fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return Ok(python);
    }
    // Without a pip of its own, which Debian has in a package of its own: this machine's installs into it.
    let mut venv = Command::new(process::require("python3", "python3")?);
    process::run(venv.args(["-m", "venv", "--clear", "--without-pip"]).arg(&place))?;
    let mut install = pip()?;
    install.arg("--python").arg(&python);
    process::run(install.args(["install", "--quiet"]).args(packages))?;
    fs::write(&done, wanted).map_err(Error::io("writing", &done))?;
    Ok(python)
}
