//! The base images that tests and the demo stand on, made once per machine from Debian's packages.
//!
//! `python:3.11-slim` and `busybox:latest` stand in for the images of that name where the public registry cannot be
//! reached: real root file systems, made by real package tools. A changed recipe changes the name of the directory
//! that the image is kept in, so it is made again.

mod busybox;
mod debian;
mod mirror;
mod python;
mod rust;

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

pub use mirror::{Mirror, mirror};

use crate::image::{self, Image};
use crate::{Error, Result, paths, process};

/// Goes up when the packer writes other bytes for the same recipe.
const PACKER: &str = "3";

/// What an image is made of.
struct Recipe {
    /// As users name it.
    name: &'static str,
    /// Everything that says what comes out: scripts, package names, settings.
    texts: &'static [&'static str],
    /// Makes the image's layout in the first directory; the second is for scratch.
    make: fn(&Path, &Path) -> Result<Image>,
}

/// A Debian with Python 3.11 as the official `python:3.11-slim` has it.
pub fn base_image() -> Result<Image> {
    ready(&python::RECIPE)
}

/// A small image with busybox and a few users, for tests that want a shell and nothing else.
pub fn busybox() -> Result<Image> {
    ready(&busybox::RECIPE)
}

/// An image with cargo and Rust's target for WebAssembly, out of this machine's own toolchain. Only tests that build Rust in steps
/// make it: it is large.
pub fn rust() -> Result<Image> {
    ready(&rust::RECIPE)
}

/// Both base images.
pub fn all() -> Result<Vec<Image>> {
    Ok(vec![busybox()?, base_image()?])
}

/// The mirror of Debian's packages that this machine is set to: `WHARF_DEBIAN_MIRROR`, or what its apt sources say.
pub fn debian_mirror() -> Result<String> {
    debian::archive()
}

/// The image of a recipe: from an earlier run, or made now. Processes that ask together make it once.
fn ready(recipe: &Recipe) -> Result<Image> {
    let kept = paths::fixtures();
    let name = format!("{}-{}", recipe.name.replace(':', "-"), key(recipe));
    let layout = kept.join(&name);
    if layout.join("index.json").is_file() {
        return Ok(Image::open(recipe.name, &layout));
    }
    if !paths::is_root() {
        return Err(Error::NeedsRoot {
            what: format!("making the base image {}", recipe.name),
        });
    }
    let _lock = process::lock(&kept.join(format!("{name}.lock")))?;
    if layout.join("index.json").is_file() {
        return Ok(Image::open(recipe.name, &layout));
    }
    let scratch = tempfile::Builder::new()
        .prefix("making-")
        .tempdir_in(&kept)
        .map_err(Error::io("making", &kept))?;
    let half_made = scratch.path().join("layout");
    (recipe.make)(&half_made, scratch.path())?;
    fs::rename(&half_made, &layout).map_err(Error::io("renaming to", &layout))?;
    Ok(Image::open(recipe.name, &layout))
}

/// Identifies a recipe, so that what was made by another is not taken for it.
fn key(recipe: &Recipe) -> String {
    let mut hash = Sha256::new();
    for text in [PACKER, recipe.name, image::architecture()]
        .iter()
        .chain(recipe.texts)
    {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    image::hex(&hash.finalize()[..6])
}
