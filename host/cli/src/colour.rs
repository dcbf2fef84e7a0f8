//! Colours: where a person looks who wants them.

use std::io::IsTerminal;

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Cyan = 36,
    Grey = 90,
}

/// Whether text gets its colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(bool);

impl Paint {
    /// None at all.
    pub(crate) const NONE: Self = Self(false);

    /// As fits standard output.
    pub(crate) fn of_stdout() -> Self {
        Self::decide(std::io::stdout().is_terminal(), |name| std::env::var(name).ok())
    }

    /// As fits standard error.
    pub(crate) fn of_stderr() -> Self {
        Self::decide(std::io::stderr().is_terminal(), |name| std::env::var(name).ok())
    }

    /// `NO_COLOR` wins, then `CLICOLOR_FORCE`; otherwise a terminal gets them that is not dumb.
    fn decide(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        if is_set("NO_COLOR") {
            return Self::NONE;
        }
        if variable("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0") {
            return Self(true);
        }
        let is_dumb = variable("TERM").is_none_or(|term| term == "dumb");
        Self(is_terminal && !is_dumb)
    }

    /// Are there colours?
    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    /// The text in a colour.
    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        if self.0 {
            format!("\x1b[{}m{text}\x1b[0m", colour as u8)
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(is_terminal: bool, variables: &[(&str, &str)]) -> bool {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Paint::decide(is_terminal, variable).is_on()
    }

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let xterm = ("TERM", "xterm");
        assert!(decided(true, &[xterm]));
        assert!(!decided(false, &[xterm]));
        assert!(!decided(true, &[("TERM", "dumb")]));
        assert!(!decided(true, &[]));
        assert!(!decided(true, &[xterm, ("NO_COLOR", "1")]));
        assert!(decided(true, &[xterm, ("NO_COLOR", "")]));
        assert!(decided(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!decided(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!decided(
            true,
            &[xterm, ("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
        ));
    }
}
