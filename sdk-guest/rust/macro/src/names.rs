//! Names: Rust's snake_case to the interface's kebab-case, and what may not be a name.

use syn::{Error, Ident, Result, ext::IdentExt};

/// The kebab-case name of a function or parameter.
pub(crate) fn kebab(ident: &Ident) -> Result<String> {
    let name = ident.unraw().to_string();
    let well_formed = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if name.split('_').all(well_formed) {
        Ok(name.replace('_', "-"))
    } else {
        Err(Error::new(
            ident.span(),
            format!(
                "`{name}` cannot be a name that callers use: write lower-case words joined by `_`, each starting with a letter"
            ),
        ))
    }
}

/// The kebab-case name of a parameter, which becomes a flag.
pub(crate) fn flag(ident: &Ident) -> Result<String> {
    let name = kebab(ident)?;
    if ["output", "json", "help"].contains(&name.as_str()) {
        return Err(Error::new(
            ident.span(),
            format!("a parameter cannot be called `{name}`: `--{name}` belongs to `wharf call` itself"),
        ));
    }
    Ok(name)
}
