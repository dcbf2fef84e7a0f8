//! What callers write that becomes a part of a command line: none of it is an option, or several words.

use wharf_sdk::{Error, Result};

/// Checks the address of a mirror.
pub(crate) fn mirror(text: &str) -> Result<()> {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let is_address = rest.is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')
            && rest
                .chars()
                .all(|c| c.is_ascii_graphic() && !"'\"\\$`".contains(c))
    });
    check(
        is_address,
        text,
        "no address of a mirror such as http://mirror.example/debian",
    )
}

/// Checks the name of a suite.
pub(crate) fn suite(text: &str) -> Result<()> {
    check(
        is_word(text, "-._/"),
        text,
        "no name of a suite such as stable or bookworm",
    )
}

/// Checks the name of a package, perhaps with an architecture and a version.
pub(crate) fn package(text: &str) -> Result<()> {
    check(
        is_word(text, "+-.:~="),
        text,
        "no name of a package such as curl or libssl3:amd64",
    )
}

/// A letter or digit, and then those or one of these characters.
fn is_word(text: &str, others: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn check(is_right: bool, text: &str, what: &str) -> Result<()> {
    if is_right {
        Ok(())
    } else {
        Err(Error::Invalid(format!("{text:?} is {what}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_they_are_meant_to_be() {
        for text in [
            "http://a.example/debian",
            "https://[::1]:8080/debian/",
            "http://127.0.0.1:1/x?y=z",
        ] {
            assert_eq!(mirror(text), Ok(()), "{text}");
        }
        for text in [
            "",
            "a.example",
            "file:///etc",
            "http://",
            "http://a b",
            "http://a/$(id)",
            "http://-x",
        ] {
            assert!(
                mirror(text)
                    .unwrap_err()
                    .to_string()
                    .contains("no address of a mirror"),
                "{text}"
            );
        }
        for text in ["stable", "bookworm-backports", "stable/updates"] {
            assert_eq!(suite(text), Ok(()), "{text}");
        }
        for text in ["curl", "g++", "libssl3:amd64", "curl=7.88.1-10+deb12u5", "a~b"] {
            assert_eq!(package(text), Ok(()), "{text}");
        }
        for text in ["", "--hook", "a,b", "a b", "?essential", "./x"] {
            assert!(
                package(text)
                    .unwrap_err()
                    .to_string()
                    .contains("no name of a package"),
                "{text}"
            );
            assert!(suite(text).is_err(), "{text}");
        }
    }
}
