//! Names: Rust's snake_case and CamelCase to the interface's kebab-case, and what may not be a name.

use proc_macro2::Span;
use syn::{Error, Ident, Result, ext::IdentExt};

/// The kebab-case name of a function, parameter or field.
pub(crate) fn kebab(ident: &Ident) -> Result<String> {
    let name = ident.unraw().to_string();
    if name.split('_').all(is_word) {
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

fn is_word(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
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

/// The kebab-case name of a type or a case.
pub(crate) fn of_camel(ident: &Ident) -> Result<String> {
    let name = of_type(&ident.unraw().to_string());
    if name.split('-').all(is_word) {
        Ok(name)
    } else {
        Err(Error::new(
            ident.span(),
            format!(
                "`{ident}` cannot be a name that callers use: write it in CamelCase, each word starting with a letter"
            ),
        ))
    }
}

/// The same for a name that is known to be good: `HttpServer` and `HTTPServer` are `http-server`.
pub(crate) fn of_type(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut kebab = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let after_lower = at > 0 && !letters[at - 1].is_ascii_uppercase();
        let before_lower = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if at > 0 && letter.is_ascii_uppercase() && (after_lower || before_lower) {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab.replace('_', "-")
}

/// The generated type's name for a kebab-case one.
pub(crate) fn camel(kebab: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    kebab.split('-').map(word).collect()
}

/// The generated name of a package, a namespace or a function for a kebab-case one.
pub(crate) fn snake(kebab: &str) -> Ident {
    let name = kebab.replace('-', "_");
    match syn::parse_str::<Ident>(&name) {
        Ok(ident) => ident,
        Err(_) => Ident::new(&format!("{name}_"), Span::call_site()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case_becomes_kebab_case_and_back() {
        for (rust, kebab, generated) in [
            ("Report", "report", "Report"),
            ("HttpServer", "http-server", "HttpServer"),
            ("HTTPServer", "http-server", "HttpServer"),
            ("Sha256", "sha256", "Sha256"),
            ("ABTest", "ab-test", "AbTest"),
        ] {
            assert_eq!(of_type(rust), kebab);
            assert_eq!(camel(kebab), generated);
        }
        assert!(of_camel(&Ident::new("X86_64", Span::call_site())).is_err());
    }
}
