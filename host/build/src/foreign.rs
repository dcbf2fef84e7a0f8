//! Modules whose source others wrote, out of a repository: no code of theirs runs on this machine, not even to build them. What
//! builds them gets a command line, and brings the component.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wharf_digest::Digest;
use wharf_manifest::{Manifest, Origin};

use crate::{
    BuildError, Built, Workshop, built_component, cargo, carries_sdk, error::Result, fresh, package,
    sections, vendor, write_atomically,
};

/// Where a repository's files are while a module of it is built.
const TREE: &str = "/repository";
/// Where cargo puts what it makes.
const TARGET_DIRECTORY: &str = "/target";
/// Where the component is then.
const COMPONENT: &str = "/component.wasm";

/// The source of a module in a repository's tree, which lies on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// The repository's address.
    pub url: String,
    /// The commit's files, by their real path. No link in them leads out of them.
    pub tree: PathBuf,
    /// The module's directory among them, by its real path.
    pub directory: PathBuf,
}

/// How a module is built out of its repository's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Where the repository's files have to be.
    pub tree: &'static str,
    /// The module's directory, in which it is built.
    pub directory: String,
    /// Gets what the commands need and an image may lack. It has a network.
    pub prepare: String,
    /// The command that builds, program first.
    pub args: Vec<String>,
    /// Variables that it needs.
    pub env: Vec<(&'static str, String)>,
    /// Whether all that it is built from lies among the files, so that it needs no network.
    pub is_complete: bool,
    /// Where the component is afterwards.
    pub component: &'static str,
}

impl Foreign {
    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        Origin::Git(self.url.clone(), self.within().display().to_string())
    }

    /// The module's directory, as seen from the repository's root.
    fn within(&self) -> &Path {
        self.directory.strip_prefix(&self.tree).unwrap_or(Path::new(""))
    }

    /// What lies at this path of the same repository.
    pub(crate) fn beside(&self, real: &Path) -> Option<Self> {
        real.starts_with(&self.tree).then(|| Self {
            directory: real.to_owned(),
            ..self.clone()
        })
    }

    /// How it is built. With `complete`, out of the crates that lie beside its SDK, when they may be all it takes.
    fn recipe(&self, complete: bool) -> Recipe {
        let directory = Path::new(TREE).join(self.within());
        let vendor = vendor::sufficient(&self.directory).filter(|_| complete);
        let vendor =
            vendor.and_then(|vendor| Some(directory.join(vendor.strip_prefix(&self.directory).ok()?)));
        let arguments = cargo::arguments(Path::new(TARGET_DIRECTORY));
        let crates = vendor.iter().flat_map(|vendor| vendor::settings(vendor));
        let target = cargo::TARGET;
        let build = format!("cargo build \"$@\" && cp {TARGET_DIRECTORY}/{target}/wharf/*.wasm {COMPONENT}");
        let args = ["sh", "-ec", &build, "cargo"].map(str::to_owned).into_iter();
        let args = args
            .chain(arguments.iter().map(|one| one.to_string_lossy().into_owned()))
            .chain(crates);
        let flags = format!("--remap-path-prefix={}={}", directory.display(), cargo::MODULE);
        Recipe {
            tree: TREE,
            prepare: format!(
                "test -d \"$(rustc --print sysroot)/lib/rustlib/{target}\" || rustup target add {target}"
            ),
            args: args.collect(),
            env: vec![("CARGO_ENCODED_RUSTFLAGS", flags)],
            is_complete: vendor.is_some(),
            directory: directory.display().to_string(),
            component: COMPONENT,
        }
    }
}

/// Builds a module of a repository, unless it was built.
pub(crate) fn build(foreign: &Foreign, manifest: &Manifest, workshop: &Workshop<'_>) -> Result<Built> {
    let directory = &foreign.directory;
    let (record, component) = (directory.join(".wharf/module.json"), built_component(directory));
    if let Some(digest) = fresh::check(&record, &component) {
        return Ok(Built {
            path: component,
            digest,
            fresh: true,
        });
    }
    if !workshop.builds {
        return Err(BuildError::NotBuilt(directory.clone()));
    }
    let compiled = match &manifest.module.component {
        Some(prebuilt) => inside(foreign, &directory.join(prebuilt))?,
        None => compile(foreign, manifest, workshop)?,
    };
    let bytes = fs::read(&compiled).map_err(BuildError::io("read", &compiled))?;
    let bytes = sections::append(&bytes, manifest, package::facts(directory))?;
    let output = directory.join(".wharf");
    fs::create_dir_all(&output).map_err(BuildError::io("create", &output))?;
    write_atomically(&component, &bytes)?;
    let digest = Digest::of(&bytes);
    // All that it is made from stays as it is, but for what is written about the modules that it calls.
    let sources = [directory.join(".wharf/dependencies.rs")];
    fresh::record(&record, &component, directory, &sources, digest)?;
    Ok(Built {
        path: component,
        digest,
        fresh: false,
    })
}

/// A file that has to be one of the repository's.
fn inside(foreign: &Foreign, path: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(path).map_err(BuildError::io("open", path))?;
    match real.starts_with(&foreign.tree) {
        true => Ok(real),
        false => Err(BuildError::Foreign {
            url: foreign.url.clone(),
            why: format!(
                "its wharf.toml names {}, which is outside of the repository",
                path.display()
            ),
        }),
    }
}

fn compile(foreign: &Foreign, manifest: &Manifest, workshop: &Workshop<'_>) -> Result<PathBuf> {
    if carries_sdk(&foreign.directory) {
        wharf_scaffold::ensure_sdk(&foreign.directory)?;
    }
    let failed = |why: String| BuildError::Foreign {
        url: foreign.url.clone(),
        why: format!("{} cannot be built: {why}", manifest.module.name),
    };
    let recipe = foreign.recipe(true);
    let is_complete = recipe.is_complete;
    match workshop.finder.build(foreign, &recipe) {
        Err(why) if is_complete && vendor::lacks_a_crate(&why) => workshop
            .finder
            .build(foreign, &foreign.recipe(false))
            .map_err(failed),
        outcome => outcome.map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(tree: &Path, directory: &str) -> Foreign {
        Foreign {
            url: "https://git.example/tools".to_owned(),
            tree: tree.to_owned(),
            directory: tree.join(directory),
        }
    }

    #[test]
    fn a_module_belongs_to_its_place_in_the_repository() {
        let tree = Path::new("/kept/0011");
        let tool = foreign(tree, "modules/tool");
        assert_eq!(
            tool.origin().scope(),
            "git:https://git.example/tools#modules/tool"
        );
        assert_eq!(
            foreign(tree, "").origin().scope(),
            "git:https://git.example/tools#"
        );
        assert_eq!(
            tool.beside(Path::new("/kept/0011/modules/base")),
            Some(foreign(tree, "modules/base"))
        );
        assert_eq!(tool.beside(Path::new("/kept/0012/modules/base")), None);
    }

    #[test]
    fn it_is_built_in_its_own_directory_and_says_nothing_about_ours() {
        let recipe = foreign(Path::new("/home/ann/kept/0011"), "modules/tool").recipe(true);
        assert_eq!(recipe.directory, "/repository/modules/tool");
        assert!(!recipe.is_complete, "no crates lie beside it");
        let all = format!("{recipe:?}");
        assert!(!all.contains("/home/ann"), "{all}");
    }

    #[test]
    fn a_component_is_taken_from_the_repository_alone() {
        let directory = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(base.join("tree/tool")).unwrap();
        fs::write(base.join("secret.wasm"), "").unwrap();
        fs::write(base.join("tree/own.wasm"), "").unwrap();
        let tool = foreign(&base.join("tree"), "tool");
        assert!(inside(&tool, &tool.directory.join("../own.wasm")).is_ok());
        let error = inside(&tool, &tool.directory.join("../../secret.wasm")).unwrap_err();
        assert!(error.to_string().contains("outside of the repository"), "{error}");
    }
}
