//! Text of others, made fit for a terminal: what a step, a module or a registry prints moves no cursor, sets no title and
//! turns no text around.

use std::iter::Peekable;

/// What is kept of control sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// None of them.
    Nothing,
    /// Those that set colours; they end with the text.
    Colours,
}

/// The text of one line without what would do more than show letters. Tabs become spaces.
pub(crate) fn line(text: &str, keep: Keep) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_coloured = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => {
                if let Some(colours) = sequence(&mut letters)
                    && keep == Keep::Colours
                {
                    is_coloured = true;
                    out.push_str("\x1b[");
                    out.push_str(&colours);
                    out.push('m');
                }
            }
            '\u{9b}' => drop(control_sequence(&mut letters)),
            '\t' => out.push_str("    "),
            letter if is_harmless(letter) => out.push(letter),
            _ => {}
        }
    }
    if is_coloured {
        out.push_str("\x1b[0m");
    }
    out
}

/// Several lines, each as [`line`] makes it.
pub(crate) fn lines(text: &str) -> String {
    let clean: Vec<_> = text.split('\n').map(|one| line(one, Keep::Nothing)).collect();
    clean.join("\n")
}

/// Neither a control character nor one that changes the direction in which text is read.
fn is_harmless(letter: char) -> bool {
    !letter.is_control() && !matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Reads what follows an escape; of one that sets colours, its parameters are returned.
fn sequence(letters: &mut Peekable<impl Iterator<Item = char>>) -> Option<String> {
    match letters.next()? {
        '[' => control_sequence(letters),
        // Strings for the terminal (a title, a link, a picture) end with a bell or with ESC \.
        ']' | 'P' | 'X' | '^' | '_' => {
            while let Some(letter) = letters.next() {
                if letter == '\x07' || letter == '\u{9c}' {
                    break;
                }
                if letter == '\x1b' {
                    letters.next_if_eq(&'\\');
                    break;
                }
            }
            None
        }
        // A short sequence: intermediates, and one letter that ends it.
        mut letter => {
            while matches!(letter, ' '..='/') {
                letter = letters.next()?;
            }
            None
        }
    }
}

fn control_sequence(letters: &mut Peekable<impl Iterator<Item = char>>) -> Option<String> {
    let mut parameters = String::new();
    while let Some(letter) = letters.next_if(|letter| matches!(letter, ' '..='?')) {
        parameters.push(letter);
    }
    let is_colour = letters.next_if(|letter| matches!(letter, '@'..='~'))? == 'm'
        && parameters
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == ';' || letter == ':');
    is_colour.then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_are_left() {
        for (dirty, clean) in [
            ("\x1b[31mred\x1b[0m", "red"),
            ("up\x1b[2A\x1b[?25l\x1b[2J", "up"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bPpicture\x1b\\after", "after"),
            ("\x1b(Bplain\x1b=", "plain"),
            ("\u{9b}2Jc1", "c1"),
            ("tab\there\x07\x08", "tab    here"),
            ("abc\u{202e}txt.exe", "abctxt.exe"),
            ("cut\x1b[3", "cut"),
            ("cut\x1b]0;never ends", "cut"),
            ("cut\x1b", "cut"),
            ("字 é 👩‍🚀", "字 é 👩‍🚀"),
        ] {
            assert_eq!(line(dirty, Keep::Nothing), clean, "{dirty:?}");
        }
    }

    #[test]
    fn colours_stay_when_they_may_and_end_with_the_line() {
        assert_eq!(
            line("\x1b[1;31mred\x1b[2K", Keep::Colours),
            "\x1b[1;31mred\x1b[0m"
        );
        assert_eq!(line("plain", Keep::Colours), "plain");
        assert_eq!(line("\x1b[>4;2m", Keep::Colours), "");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\x1b[2J\nb\r\n"), "a\nb\n");
    }
}
