//! One function of the module, as the macro reads it.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    Attribute, Error, Expr, FnArg, Ident, ItemFn, LitStr, Pat, Result, Type, ext::IdentExt, spanned::Spanned,
};

use crate::{docs, names, own::Checked, shape::Shape};

/// A function that callers use.
pub(crate) struct Function {
    /// Its name in Rust.
    pub ident: Ident,
    /// Its name in kebab-case.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
    /// Does `wharf check` run it?
    pub check: bool,
    /// Is it written `async fn`?
    pub is_async: bool,
    /// Its parameters in order.
    pub params: Vec<Param>,
    /// What it returns; none for nothing.
    pub returned: Option<Shape>,
    /// The same as it is written.
    output: TokenStream,
}

/// A parameter of a function.
pub(crate) struct Param {
    /// Its name in kebab-case.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
    /// What is used when the caller says nothing.
    pub default: Option<Default>,
    /// Its type.
    pub shape: Shape,
    /// The same as it is written.
    pub ty: Type,
}

/// What stands in for an argument, as it is written.
pub(crate) enum Default {
    /// A value.
    Value(Expr),
    /// A path below the module's directory.
    Path(LitStr),
}

impl Function {
    /// Reads a public function and takes off it what only this macro understands.
    pub(crate) fn read(item: &mut ItemFn) -> Result<Self> {
        let signature = &item.sig;
        let refused = [
            (signature.generics.params.to_token_stream(), "cannot be generic"),
            (signature.unsafety.to_token_stream(), "cannot be unsafe"),
            (signature.abi.to_token_stream(), "has no ABI of its own"),
            (
                signature.variadic.to_token_stream(),
                "has a fixed number of parameters",
            ),
        ];
        if let Some((tokens, why)) = refused.into_iter().find(|(tokens, _)| !tokens.is_empty()) {
            return Err(Error::new(
                tokens.span(),
                format!("a function that callers use {why}"),
            ));
        }
        let ident = signature.ident.clone();
        if ident != ident.unraw() {
            return Err(Error::new(
                ident.span(),
                "a function that callers use cannot have a keyword as its name",
            ));
        }
        let (docs, check) = (docs::text(&item.attrs), take(&mut item.attrs, "check").is_some());
        let mut all = Checked::default();
        let params: Vec<_> = item
            .sig
            .inputs
            .iter_mut()
            .filter_map(|input| all.keep(Param::read(input)))
            .collect();
        if check && let Some(param) = params.iter().find(|param| !param.may_be_left_out()) {
            let why = format!(
                "a check is run without arguments: give `{}` a `#[default(…)]` or, for a directory or file, a \
                 `#[default_path(\"…\")]`, or make it an `Option`",
                param.name
            );
            all.refuse(Error::new(ident.span(), why));
        }
        let name = all.keep(names::kebab(&ident)).unwrap_or_default();
        let returned = all.keep(Shape::returned(&item.sig.output)).flatten();
        all.done(Self {
            name,
            docs,
            check,
            is_async: item.sig.asyncness.is_some(),
            params,
            returned,
            output: item.sig.output.to_token_stream(),
            ident,
        })
    }

    /// The types in its signature, each with how it is written.
    pub(crate) fn types(&self) -> impl Iterator<Item = (&Shape, TokenStream)> {
        let params = self
            .params
            .iter()
            .map(|param| (&param.shape, param.ty.to_token_stream()));
        params.chain(self.returned.iter().map(|shape| (shape, self.output.clone())))
    }
}

impl Param {
    fn read(input: &mut FnArg) -> Result<Self> {
        let FnArg::Typed(input) = input else {
            return Err(Error::new(
                input.span(),
                "a function that callers use has no `self`",
            ));
        };
        let Pat::Ident(pattern) = input.pat.as_ref() else {
            return Err(Error::new(
                input.pat.span(),
                "a parameter needs a name, which becomes the caller's flag",
            ));
        };
        let mut all = Checked::default();
        let name = all.keep(names::flag(&pattern.ident)).unwrap_or_default();
        let docs = docs::text(&input.attrs);
        let value =
            take(&mut input.attrs, "default").map(|attribute| attribute.parse_args().map(Default::Value));
        let path =
            take(&mut input.attrs, "default_path").map(|attribute| attribute.parse_args().map(Default::Path));
        input.attrs.retain(|attribute| !attribute.path().is_ident("doc"));
        if value.is_some() && path.is_some() {
            all.refuse(Error::new(pattern.span(), "a parameter has one default"));
        }
        let default = value.or(path).and_then(|default| all.keep(default));
        let shape = all.keep(Shape::read(&input.ty));
        let ty = (*input.ty).clone();
        // Without a shape there is an error, and nobody looks at this.
        let shape = shape.unwrap_or(Shape::Tuple(Vec::new()));
        all.done(Self {
            name,
            docs,
            default,
            shape,
            ty,
        })
    }

    /// Can a caller say nothing of it? A switch that is not set is false, and a list that is not given empty.
    fn may_be_left_out(&self) -> bool {
        self.default.is_some()
            || matches!(
                self.shape,
                Shape::Option(_) | Shape::List(_) | Shape::Plain("bool", _)
            )
    }
}

/// Takes the attribute of this name away.
fn take(attributes: &mut Vec<Attribute>, name: &str) -> Option<Attribute> {
    let index = attributes
        .iter()
        .position(|attribute| attribute.path().is_ident(name))?;
    Some(attributes.remove(index))
}
