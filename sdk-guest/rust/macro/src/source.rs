//! The author's own types wherever they are written: found by following the crate's `mod`s, as the compiler does.
//!
//! What a macro makes of a function's signature is the text of an interface, which has to name every field of the types in
//! it. Macros see only the tokens that they stand on, so this reads the crate's files.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, DeriveInput, Expr, Item, ItemMod, Lit, Meta, punctuated::Punctuated, token::Comma};

/// All types of a crate that derive `Type`.
#[derive(Default)]
pub(crate) struct Source {
    types: Vec<DeriveInput>,
    read: HashSet<PathBuf>,
}

impl Source {
    /// Reads the crate whose root is one of these files; what cannot be read or parsed is left to the compiler's own words.
    pub(crate) fn of(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut source = Self::default();
        for root in roots {
            let beside = root.parent().map(Path::to_owned).unwrap_or_default();
            source.file(&root, &beside);
        }
        source
    }

    /// Adds types that stand among these items, whose own modules have their files below `directory`.
    pub(crate) fn add(&mut self, items: &[Item], file: &Path, directory: &Path) {
        for item in items {
            let input = match item {
                Item::Struct(item) => DeriveInput::from(item.clone()),
                Item::Enum(item) => DeriveInput::from(item.clone()),
                Item::Mod(module) if !is_for_tests(&module.attrs) => {
                    self.module(module, file, directory);
                    continue;
                }
                _ => continue,
            };
            if derives_type(&input.attrs) {
                self.types.push(input);
            }
        }
    }

    fn module(&mut self, module: &ItemMod, file: &Path, directory: &Path) {
        let name = module.ident.to_string();
        let name = name.trim_start_matches("r#");
        if let Some((_, items)) = &module.content {
            self.add(items, file, &directory.join(name));
            return;
        }
        if let Some(path) = path_attribute(&module.attrs) {
            let path = file.parent().unwrap_or(Path::new("")).join(path);
            let beside = path.parent().map(Path::to_owned).unwrap_or_default();
            self.file(&path, &beside);
            return;
        }
        for path in [
            directory.join(format!("{name}.rs")),
            directory.join(name).join("mod.rs"),
        ] {
            self.file(&path, &directory.join(name));
        }
    }

    fn file(&mut self, path: &Path, directory: &Path) {
        let Ok(real) = path.canonicalize() else { return };
        if !self.read.insert(real) {
            return;
        }
        if let Ok(text) = fs::read_to_string(path)
            && let Ok(file) = syn::parse_file(&text)
        {
            self.add(&file.items, path, directory);
        }
    }

    /// The types of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<&DeriveInput> {
        self.types.iter().filter(|input| input.ident == name).collect()
    }
}

/// The root file of the crate that is compiled, and the file in which the macro stands: one of them leads to every other.
pub(crate) fn roots(here: Option<PathBuf>) -> Vec<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = manifest.map(|directory| directory.join(library(&directory).unwrap_or("src/lib.rs".into())));
    root.into_iter().chain(here).collect()
}

/// Where Cargo.toml says that the library is.
fn library(directory: &Path) -> Option<PathBuf> {
    let manifest: toml::Table = fs::read_to_string(directory.join("Cargo.toml"))
        .ok()?
        .parse()
        .ok()?;
    Some(manifest.get("lib")?.get("path")?.as_str()?.into())
}

fn derives_type(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
        .filter_map(|attribute| {
            attribute
                .parse_args_with(Punctuated::<syn::Path, Comma>::parse_terminated)
                .ok()
        })
        .flatten()
        .any(|path| path.segments.last().is_some_and(|last| last.ident == "Type"))
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(path) => Some(path.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_in_every_file_of_the_crate() {
        let crate_ = std::env::temp_dir().join(format!("wharf-sdk-source-{}", std::process::id()));
        let write = |name: &str, text: &str| {
            let path = crate_.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let ty = |name: &str| format!("#[derive(Debug, wharf_sdk::Type)] pub struct {name} {{ a: u8 }}");
        write(
            "src/lib.rs",
            &format!(
                "mod a; mod b; mod inline {{ mod c; {} }} #[path = \"else/where.rs\"] mod d; #[cfg(test)] mod tests {{ {} }}",
                ty("Inline"),
                ty("OfTests")
            ),
        );
        write("src/a.rs", &format!("mod deep; {}", ty("A")));
        write(
            "src/a/deep.rs",
            &format!("#[derive(Clone)] struct NotOurs; {}", ty("Deep")),
        );
        write("src/b/mod.rs", &ty("B"));
        write("src/inline/c.rs", &ty("C"));
        write("src/else/where.rs", &ty("D"));
        write("src/unused.rs", &ty("Unused"));
        let source = Source::of([crate_.join("src/lib.rs"), crate_.join("src/a.rs")]);
        let mut names: Vec<_> = source.types.iter().map(|input| input.ident.to_string()).collect();
        names.sort();
        assert_eq!(names, ["A", "B", "C", "D", "Deep", "Inline"]);
        fs::remove_dir_all(crate_).unwrap();
    }
}
