//! Values as people write them in one argument: JSON, or WAVE, which needs fewer quotes: `{level: fast, tags: [a, b]}`,
//! `git("https://…")`, `some(3)`. A word without quotes is text. What either has no place for is found when the value is
//! read by its type.

use serde_json::{Map, Value as Json};

/// How deep values may be nested.
const DEPTH: usize = 64;

/// Reads JSON or WAVE as JSON: a tuple is a list, a case with what it carries an object of one field.
///
/// # Errors
/// What is wrong, and where.
pub(crate) fn read(text: &str) -> Result<Json, String> {
    if let Ok(json) = serde_json::from_str(text) {
        return Ok(json);
    }
    let mut reader = Reader {
        rest: text,
        whole: text,
        depth: 0,
    };
    let value = reader.value()?;
    reader.space();
    if reader.rest.is_empty() {
        Ok(value)
    } else {
        Err(reader.expected("the end"))
    }
}

struct Reader<'t> {
    rest: &'t str,
    whole: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn expected(&self, what: &str) -> String {
        let at = self.whole[..self.whole.len() - self.rest.len()].chars().count() + 1;
        format!("expected {what} at character {at}")
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes this character, after space.
    fn take(&mut self, wanted: char) -> bool {
        self.space();
        let taken = self.rest.strip_prefix(wanted);
        self.rest = taken.unwrap_or(self.rest);
        taken.is_some()
    }

    fn value(&mut self) -> Result<Json, String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("it is nested more than {DEPTH} deep"));
        }
        self.space();
        let value = match self.rest.chars().next() {
            None => Err(self.expected("a value")),
            Some('{') => self.fields(),
            Some('[') => self.items('[', ']').map(Json::Array),
            Some('(') => self.items('(', ')').map(Json::Array),
            Some('"' | '\'') => self.quoted().map(Json::String),
            Some(_) => self.word(),
        };
        self.depth -= 1;
        value
    }

    /// `{name: value, …}`, or the names of flags: `{a, b}`.
    fn fields(&mut self) -> Result<Json, String> {
        let (mut fields, mut names) = (Map::new(), Vec::new());
        self.take('{');
        while !self.take('}') {
            self.space();
            let name = match self.rest.chars().next() {
                Some('"') => self.quoted()?,
                _ => self.until(&[':', ',', '}'])?.to_owned(),
            };
            if self.take(':') {
                let value = self.value()?;
                if fields.insert(name.clone(), value).is_some() {
                    return Err(format!("{name} is given twice"));
                }
            } else {
                names.push(Json::String(name));
            }
            if !self.take(',') && !self.rest.starts_with('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
        match (fields.is_empty(), names.is_empty()) {
            (_, true) => Ok(Json::Object(fields)),
            (true, false) => Ok(Json::Array(names)),
            (false, false) => Err(format!("{} has no value: write `name: value`", names[0])),
        }
    }

    fn items(&mut self, open: char, close: char) -> Result<Vec<Json>, String> {
        let mut items = Vec::new();
        self.take(open);
        while !self.take(close) {
            items.push(self.value()?);
            if !self.take(',') && !self.rest.starts_with(close) {
                return Err(self.expected(&format!("`,` or `{close}`")));
            }
        }
        Ok(items)
    }

    /// A word up to one of these, or to space.
    fn until(&mut self, ends: &[char]) -> Result<&'t str, String> {
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || ends.contains(&c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(self.expected("a name"));
        }
        self.rest = rest;
        Ok(word.strip_prefix('%').unwrap_or(word))
    }

    /// A number, a word, or a case with what it carries.
    fn word(&mut self) -> Result<Json, String> {
        let word = self.until(&[',', '(', ')', '[', ']', '{', '}', '"'])?;
        if self.rest.starts_with('(') {
            let mut carried = self.items('(', ')')?;
            let carried = match carried.len() {
                1 => carried.remove(0),
                _ => Json::Array(carried),
            };
            return Ok(Json::Object(Map::from_iter([(word.to_owned(), carried)])));
        }
        Ok(match word {
            "none" => Json::Null,
            word => serde_json::from_str(word).unwrap_or_else(|_| word.into()),
        })
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut letters = self.rest.char_indices();
        let quote = letters.next().map_or('"', |(_, quote)| quote);
        let mut text = String::new();
        while let Some((at, letter)) = letters.next() {
            match letter {
                letter if letter == quote => {
                    self.rest = &self.rest[at + letter.len_utf8()..];
                    return Ok(text);
                }
                '\\' => {
                    let escaped = letters.next().map(|(_, escaped)| escaped);
                    text.push(match escaped {
                        Some('n') => '\n',
                        Some('t') => '\t',
                        Some('r') => '\r',
                        Some('u') => unicode(&mut letters).ok_or("an escape is written \\u{1F600}")?,
                        Some(other @ ('"' | '\'' | '\\' | '/')) => other,
                        _ => return Err("a backslash in text is written \\\\".to_owned()),
                    });
                }
                letter => text.push(letter),
            }
        }
        Err(format!("text that begins with {quote} has to end with it"))
    }
}

/// The character behind `\u`: `{1F600}`.
fn unicode(letters: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let digits: String = letters
        .by_ref()
        .map(|(_, letter)| letter)
        .skip_while(|letter| *letter == '{')
        .take_while(|letter| *letter != '}')
        .take(9)
        .collect();
    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_wave_are_read() {
        for (text, value) in [
            (r#"{"a": [1, null, "x"]}"#, json!({"a": [1, null, "x"]})),
            (
                "{level: very-slow, jobs: 3, tags: [a, \"b c\"],}",
                json!({"level": "very-slow", "jobs": 3, "tags": ["a", "b c"]}),
            ),
            (
                "{source: ./src, token: env:TOKEN}",
                json!({"source": "./src", "token": "env:TOKEN"}),
            ),
            ("git(\"https://x/y(z)\")", json!({"git": "https://x/y(z)"})),
            ("pair(1, -2.5)", json!({"pair": [1, -2.5]})),
            ("(1, 'x', true)", json!([1, "x", true])),
            ("[some(3), none, none]", json!([{"some": 3}, null, null])),
            ("{read, write}", json!(["read", "write"])),
            ("\"a\\n\\u{e9}\\\"\"", json!("a\né\"")),
            (
                "{%record: 18446744073709551615}",
                json!({"record": 18_446_744_073_709_551_615_u64}),
            ),
        ] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, why) in [
            ("{a: 1", "`,` or `}` at character 6"),
            ("{a: }", "expected a name at character 5"),
            ("[1 2]", "`,` or `]` at character 4"),
            ("{a: 1, a: 2}", "a is given twice"),
            ("\"open", "has to end with it"),
            ("x y", "the end at character 3"),
            ("", "a value at character 1"),
            ("{a: 1, b}", "has no value"),
        ] {
            let found = read(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
        assert!(read(&"[".repeat(100_000)).unwrap_err().contains("deep"));
    }
}
