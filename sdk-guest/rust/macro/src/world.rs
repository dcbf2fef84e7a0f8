//! What the functions' signatures use: the author's types behind them, and how names are spelled in the interface.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Error, Result};

use crate::{
    function::Function,
    names,
    own::{Checked, Definition},
    shape::Shared,
    source::Source,
};

/// The functions of a module and the types that they name.
pub(crate) struct World {
    /// What callers use.
    pub functions: Vec<Function>,
    /// The author's types, each before those that hold it.
    pub definitions: Vec<Definition>,
}

impl World {
    /// Finds the author's types that the functions use.
    pub(crate) fn gather(functions: Vec<Function>, source: &Source) -> Result<Self> {
        let mut all = Checked::default();
        let mut gathered = Gathered {
            source,
            definitions: Vec::new(),
        };
        for function in &functions {
            for (shape, tokens) in function.types() {
                for name in shape.own() {
                    all.keep(gathered.visit(name, span_of(&tokens, name), &mut Vec::new()));
                }
            }
        }
        let definitions = gathered.definitions;
        for (at, definition) in definitions.iter().enumerate() {
            if let Some(other) = definitions[..at]
                .iter()
                .find(|other| other.name == definition.name)
            {
                let (one, two) = (&other.rust, &definition.rust);
                let why = format!(
                    "`{one}` and `{two}` are both `{}` for callers: rename one",
                    other.name
                );
                all.refuse(Error::new(Span::call_site(), why));
            }
        }
        all.done(Self {
            functions,
            definitions,
        })
    }

    /// The contract's types that the functions and the author's types name, each once.
    pub(crate) fn shared(&self) -> Vec<&'static Shared> {
        let signatures = self
            .functions
            .iter()
            .flat_map(Function::types)
            .map(|(shape, _)| shape);
        let members = self.definitions.iter().flat_map(|definition| &definition.members);
        let mut found: Vec<&'static Shared> = Vec::new();
        for shape in signatures.chain(members.filter_map(|member| member.shape.as_ref())) {
            for shared in shape.shared() {
                if !found.contains(&shared) {
                    found.push(shared);
                }
            }
        }
        found
    }

    /// The name of a type inside the interface: its own, unless a function has taken that.
    pub(crate) fn spell(&self, name: &str) -> String {
        if self.functions.iter().any(|function| function.name == name) {
            format!("{name}-type")
        } else {
            name.to_owned()
        }
    }

    /// The author's type of this name in Rust.
    pub(crate) fn definition(&self, rust: &str) -> Option<&Definition> {
        self.definitions.iter().find(|definition| definition.rust == rust)
    }
}

struct Gathered<'s> {
    source: &'s Source,
    definitions: Vec<Definition>,
}

impl Gathered<'_> {
    /// Adds a type with all that it holds; `path` has the types that are being looked into.
    fn visit(&mut self, name: &str, span: Span, path: &mut Vec<String>) -> Result<()> {
        if path.iter().any(|outer| outer == name) {
            let why = format!(
                "`{name}` holds itself, through {}: a value that crosses has an end",
                list(path)
            );
            return Err(Error::new(span, why));
        }
        if self.definitions.iter().any(|known| known.rust == name) {
            return Ok(());
        }
        let input = match self.source.named(name)[..] {
            [only] => only,
            [] => return Err(Error::new(span, unknown(name))),
            _ => {
                let why = format!(
                    "several types of this crate are called `{name}`, and callers could not tell them apart: rename one"
                );
                return Err(Error::new(span, why));
            }
        };
        let definitions = Definition::read(input).map_err(|_| {
            Error::new(
                span,
                format!("`{name}` cannot cross yet: see what is said where it is defined"),
            )
        })?;
        path.push(name.to_owned());
        for definition in &definitions {
            for inner in definition.own() {
                if definitions.iter().all(|record| record.rust != inner) {
                    self.visit(inner, span, path)?;
                }
            }
        }
        path.pop();
        self.definitions.extend(definitions.into_iter().rev());
        Ok(())
    }
}

fn list(path: &[String]) -> String {
    path.iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn unknown(name: &str) -> String {
    format!(
        "`{name}` cannot cross between a module and its callers: those are plain types (bool, numbers, char, String, Vec, \
         Option, tuples), Container, Directory, File, Secret, CacheVolume and Service, and types of this crate with \
         `#[derive(wharf_sdk::Type)]`, by the names they are defined under"
    )
}

/// Does the type hold itself, however deep? The names of the types on the way, when it does.
pub(crate) fn recursion(name: &str, source: &Source) -> Option<Vec<String>> {
    fn look(name: &str, wanted: &str, source: &Source, path: &mut Vec<String>) -> bool {
        let [input] = source.named(name)[..] else {
            return false;
        };
        if path.iter().any(|seen| seen == name) {
            return false;
        }
        path.push(name.to_owned());
        let definitions = Definition::read(input).unwrap_or_default();
        for inner in definitions.iter().flat_map(Definition::own) {
            if inner == wanted || look(inner, wanted, source, path) {
                return true;
            }
        }
        path.pop();
        false
    }
    let mut path = Vec::new();
    look(name, name, source, &mut path).then_some(path)
}

/// Where a name stands in a type.
fn span_of(tokens: &TokenStream, name: &str) -> Span {
    fn find(tokens: TokenStream, name: &str) -> Option<Span> {
        tokens.into_iter().find_map(|token| match token {
            TokenTree::Ident(ident) if ident == name => Some(ident.span()),
            TokenTree::Group(group) => find(group.stream(), name),
            _ => None,
        })
    }
    find(tokens.to_token_stream(), name).unwrap_or_else(|| Span::call_site())
}

/// The generated type of one of the author's.
pub(crate) fn generated(world: &World, rust: &str) -> proc_macro2::Ident {
    let kebab = world
        .definition(rust)
        .map_or_else(|| names::of_type(rust), |own| own.name.clone());
    quote::format_ident!("{}", names::camel(&world.spell(&kebab)))
}
