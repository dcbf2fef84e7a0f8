//! What is used when a caller says nothing: read as a value of the parameter's type, or refused where it stands.

use serde_json::{Map, Value};
use syn::{Error, Expr, ExprPath, ExprUnary, Lit, LitStr, Result, UnOp};

use crate::{
    function::{Default, Param},
    own::{Definition, Kind},
    shape::Shape,
    world::World,
};

/// The default of a parameter as the section has it: a value, or a path below the module's directory.
pub(crate) fn section(param: &Param, world: &World) -> Result<Map<String, Value>> {
    let (key, value) = match &param.default {
        None => return Ok(Map::new()),
        Some(Default::Value(expression)) => ("default", value(&param.shape, expression, world)?),
        Some(Default::Path(path)) => ("default_path", default_path(&param.shape, path)?),
    };
    Ok(Map::from_iter([(key.to_owned(), value)]))
}

fn default_path(shape: &Shape, path: &LitStr) -> Result<Value> {
    let inner = if let Shape::Option(inner) = shape {
        inner
    } else {
        shape
    };
    if !matches!(inner, Shape::Shared(shared) if ["directory", "file"].contains(&shared.name)) {
        return Err(Error::new(
            path.span(),
            "a default path is for a `Directory` or a `File`; other types take `#[default(…)]`",
        ));
    }
    let text = path.value();
    if text.is_empty() || text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err(Error::new(
            path.span(),
            "a default path lies in the module's directory: it is relative, has no `..`, and is \".\" for all of it",
        ));
    }
    Ok(text.into())
}

/// An expression as a value of this type, in JSON.
fn value(shape: &Shape, expression: &Expr, world: &World) -> Result<Value> {
    let refused = |why: &str| Err(Error::new_spanned(expression, why));
    match (shape, expression) {
        (_, Expr::Group(group)) => value(shape, &group.expr, world),
        (_, Expr::Paren(paren)) => value(shape, &paren.expr, world),
        (Shape::Option(inner), _) => value(inner, expression, world),
        (Shape::List(item), Expr::Array(array)) => {
            let items = array.elems.iter().map(|one| value(item, one, world));
            items.collect::<Result<Vec<_>>>().map(Value::from)
        }
        (Shape::List(_), _) => refused("the default of a `Vec` is a list: `[…]`"),
        (Shape::Tuple(shapes), Expr::Tuple(tuple)) if shapes.len() == tuple.elems.len() => {
            let items = shapes
                .iter()
                .zip(&tuple.elems)
                .map(|(shape, one)| value(shape, one, world));
            items.collect::<Result<Vec<_>>>().map(Value::from)
        }
        (Shape::Tuple(_), _) => refused("the default of a tuple is a tuple of as many values"),
        (Shape::Plain(rust, _), _) => plain(rust, expression),
        (Shape::Shared(shared), _) => match (shared.name, expression) {
            ("container" | "volume", Expr::Lit(literal)) => match &literal.lit {
                Lit::Str(text) => Ok(text.value().into()),
                _ => {
                    refused("the default of a `Container` is an image's name, and of a `CacheVolume` its own")
                }
            },
            ("directory" | "file", _) => {
                refused("the default of a directory or file is a path: `#[default_path(\"…\")]`")
            }
            ("secret", _) => refused("a secret has no default: only a caller says which it is"),
            _ => refused("this type has no default"),
        },
        (Shape::Own(name), _) => case(world.definition(name), name, expression),
        (Shape::Result(..), _) => refused("this type has no default"),
    }
}

fn case(definition: Option<&Definition>, name: &str, expression: &Expr) -> Result<Value> {
    let refused = |why: String| Err(Error::new_spanned(expression, why));
    let Some(definition) = definition.filter(|definition| definition.kind != Kind::Record) else {
        return refused(format!(
            "`{name}` is a struct, which has no default: make the parameter an `Option`"
        ));
    };
    let plain: Vec<_> = definition
        .members
        .iter()
        .filter(|case| case.shape.is_none())
        .collect();
    let found = case_name(expression, name)
        .and_then(|written| plain.iter().find(|case| case.rust == written).copied());
    match found {
        Some(case) => Ok(case.name.clone().into()),
        None => {
            let cases: Vec<_> = plain
                .iter()
                .map(|case| format!("`{name}::{}`", case.rust))
                .collect();
            refused(format!(
                "the default of a `{name}` is one of {}",
                cases.join(", ")
            ))
        }
    }
}

/// `Fast` of `Level::Fast`, when `Level` is the type.
fn case_name(expression: &Expr, ty: &str) -> Option<String> {
    let Expr::Path(ExprPath { path, .. }) = expression else {
        return None;
    };
    let mut segments = path.segments.iter().rev();
    let case = segments.next()?.ident.to_string();
    segments
        .next()
        .is_some_and(|holder| holder.ident == ty)
        .then_some(case)
}

fn plain(rust: &str, expression: &Expr) -> Result<Value> {
    let refused = || {
        let what = match rust {
            "String" => "text in quotes",
            "char" => "a character in single quotes",
            "bool" => "true or false",
            "f32" | "f64" => "a number",
            _ => "a whole number that fits",
        };
        Error::new_spanned(expression, format!("the default of a `{rust}` is {what}"))
    };
    match (rust, expression) {
        (
            "f32" | "f64",
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }),
        ) => {
            let number = float(expr).ok_or_else(refused)?;
            Ok((-number).into())
        }
        ("f32" | "f64", _) => float(expression).map(Value::from).ok_or_else(refused),
        (
            _,
            Expr::Unary(ExprUnary {
                op: UnOp::Neg(_),
                expr,
                ..
            }),
        ) => whole(rust, expr, -1).ok_or_else(refused),
        (_, Expr::Lit(literal)) => match (rust, &literal.lit) {
            ("String", Lit::Str(text)) => Ok(text.value().into()),
            ("bool", Lit::Bool(flag)) => Ok(flag.value.into()),
            ("char", Lit::Char(letter)) => Ok(letter.value().to_string().into()),
            _ => whole(rust, expression, 1).ok_or_else(refused),
        },
        _ => Err(refused()),
    }
}

fn float(expression: &Expr) -> Option<f64> {
    let Expr::Lit(literal) = expression else {
        return None;
    };
    match &literal.lit {
        Lit::Float(number) => number.base10_parse().ok(),
        Lit::Int(number) => number.base10_parse().ok(),
        _ => None,
    }
}

/// A whole number that fits the type of this name.
fn whole(rust: &str, expression: &Expr, sign: i128) -> Option<Value> {
    let Expr::Lit(literal) = expression else {
        return None;
    };
    let Lit::Int(number) = &literal.lit else {
        return None;
    };
    let number = sign * i128::from(number.base10_parse::<u64>().ok()?);
    let bits: u32 = rust.strip_prefix(['u', 'i'])?.parse().ok()?;
    let range = if rust.starts_with('u') {
        0..1_i128 << bits
    } else {
        -(1_i128 << (bits - 1))..1_i128 << (bits - 1)
    };
    if !range.contains(&number) {
        return None;
    }
    let signed = i64::try_from(number).map(Value::from);
    signed
        .ok()
        .or_else(|| u64::try_from(number).ok().map(Value::from))
}
