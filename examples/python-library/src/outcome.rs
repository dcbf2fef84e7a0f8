//! What pytest said: read from its exit code and its last lines.

/// How the tests went under one setting.
pub struct Outcome {
    /// The setting's name.
    pub setting: String,
    /// pytest's own count, such as "128 passed, 2 warnings".
    pub counts: String,
    /// The last lines that it printed.
    tail: String,
    code: i32,
}

impl Outcome {
    /// Reads pytest's exit code and standard output.
    pub fn read(setting: &str, code: i32, output: &str) -> Self {
        let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.last().map_or("", |line| line.trim_matches(['=', ' ']));
        // The time it took is no part of how it went.
        let counts = last.rsplit_once(" in ").map_or(last, |(counts, _)| counts);
        Self {
            setting: setting.to_owned(),
            counts: if counts.is_empty() {
                format!("pytest ended with code {code}")
            } else {
                counts.to_owned()
            },
            tail: lines[lines.len().saturating_sub(20)..].join("\n"),
            code,
        }
    }

    /// Whether there were tests and all have passed.
    pub fn passed(&self) -> bool {
        self.code == 0
    }
}

/// One line for each setting, and the last lines of those that failed.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let verdict = if outcome.passed() { "passed" } else { "FAILED" };
        text += &format!("{:>20}: {verdict} ({})\n", outcome.setting, outcome.counts);
    }
    for outcome in outcomes.iter().filter(|outcome| !outcome.passed()) {
        text += &format!("\n--- {} ---\n{}\n", outcome.setting, outcome.tail);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Outcome, summary};

    #[test]
    fn counts_are_read_without_the_time() {
        let outcome = Outcome::read("plain", 0, "....\n128 passed, 2 warnings in 0.45s\n");
        assert!(outcome.passed());
        assert_eq!(outcome.counts, "128 passed, 2 warnings");
    }

    #[test]
    fn a_failure_is_shown_with_its_last_lines() {
        let failed = Outcome::read("optimised", 1, "E   boom\n1 failed in 0.1s\n");
        let silent = Outcome::read("plain", 5, "");
        let text = summary(&[failed, silent]);
        assert!(
            text.contains("optimised: FAILED (1 failed)") && text.contains("E   boom"),
            "{text}"
        );
        assert!(text.contains("pytest ended with code 5"), "{text}");
    }
}
