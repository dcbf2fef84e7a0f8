//! One function of the module, as the macro reads it.

use proc_macro2::TokenStream;
use serde_json::Value;
use syn::{
    Attribute, Error, Expr, FnArg, Ident, ItemFn, Lit, Pat, Result, UnOp, ext::IdentExt, spanned::Spanned,
};

use crate::{
    docs, names,
    types::{Crossing, Reader},
};

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
    /// What it returns.
    pub returned: Crossing,
}

/// A parameter of a function.
pub(crate) struct Param {
    /// Its name in kebab-case.
    pub name: String,
    /// Its doc comment.
    pub docs: String,
    /// What is used when the caller says nothing.
    pub default: Option<Value>,
    /// Its type in WIT.
    pub wit: String,
    /// Its generated type.
    pub raw: TokenStream,
}

impl Function {
    /// Reads a public function and takes off it what only this macro understands.
    pub(crate) fn read(item: &mut ItemFn, types: &mut Reader) -> Result<Self> {
        let signature = &item.sig;
        refuse(
            &signature.generics.params,
            "a function that callers use cannot be generic",
        )?;
        refuse(
            &signature.unsafety,
            "a function that callers use cannot be unsafe",
        )?;
        refuse(
            &signature.abi,
            "a function that callers use has no ABI of its own",
        )?;
        refuse(
            &signature.variadic,
            "a function that callers use has a fixed number of parameters",
        )?;
        let ident = signature.ident.clone();
        if ident != ident.unraw() {
            return Err(Error::new(
                ident.span(),
                "a function that callers use cannot have a keyword as its name",
            ));
        }
        let name = names::kebab(&ident)?;
        let (docs, check) = (docs::text(&item.attrs), take(&mut item.attrs, "check").is_some());
        let params = item
            .sig
            .inputs
            .iter_mut()
            .map(|input| Param::read(input, types))
            .collect::<Result<Vec<_>>>()?;
        if check
            && let Some(param) = params
                .iter()
                .find(|param| param.default.is_none() && !param.wit.starts_with("option<"))
        {
            return Err(Error::new(
                ident.span(),
                format!(
                    "a check is run without arguments: give `{}` a `#[default(…)]` or make it an `Option`",
                    param.name
                ),
            ));
        }
        Ok(Self {
            name,
            docs,
            check,
            is_async: item.sig.asyncness.is_some(),
            params,
            returned: types.returned(&item.sig.output)?,
            ident,
        })
    }
}

impl Param {
    fn read(input: &mut FnArg, types: &mut Reader) -> Result<Self> {
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
        let name = names::flag(&pattern.ident)?;
        let docs = docs::text(&input.attrs);
        let default = take(&mut input.attrs, "default")
            .map(|attribute| literal(&attribute.parse_args::<Expr>()?))
            .transpose()?;
        input.attrs.retain(|attribute| !attribute.path().is_ident("doc"));
        let Crossing { wit, raw } = types.read(&input.ty)?;
        Ok(Self {
            name,
            docs,
            default,
            wit,
            raw,
        })
    }
}

/// Takes the attribute of this name away.
fn take(attributes: &mut Vec<Attribute>, name: &str) -> Option<Attribute> {
    let index = attributes
        .iter()
        .position(|attribute| attribute.path().is_ident(name))?;
    Some(attributes.remove(index))
}

/// A literal as JSON.
fn literal(expression: &Expr) -> Result<Value> {
    let refused = || {
        Error::new(
            expression.span(),
            "a default is a literal: text, a number, true or false, or a list of those",
        )
    };
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Ok(text.value().into()),
            Lit::Bool(flag) => Ok(flag.value.into()),
            Lit::Char(letter) => Ok(letter.value().to_string().into()),
            Lit::Int(number) => Ok(number.base10_parse::<u64>()?.into()),
            Lit::Float(number) => Ok(number.base10_parse::<f64>()?.into()),
            _ => Err(refused()),
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => match literal(&unary.expr)? {
            Value::Number(number) => {
                let negated = match number.as_u64() {
                    Some(whole) => i64::try_from(whole).ok().map(|whole| Value::from(-whole)),
                    None => number.as_f64().map(|number| Value::from(-number)),
                };
                negated.ok_or_else(refused)
            }
            _ => Err(refused()),
        },
        Expr::Array(array) => array
            .elems
            .iter()
            .map(literal)
            .collect::<Result<Vec<_>>>()
            .map(Value::from),
        _ => Err(refused()),
    }
}

fn refuse(what: &impl quote::ToTokens, why: &str) -> Result<()> {
    let tokens = what.to_token_stream();
    if tokens.is_empty() {
        Ok(())
    } else {
        Err(Error::new(tokens.span(), why))
    }
}
