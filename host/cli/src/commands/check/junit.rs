//! Results of checks as JUnit's XML, which CI systems list.

use std::{fmt::Write as _, path::Path};

use super::Checked;
use crate::error::Report;

/// Refused before anything runs: a file that cannot be there.
pub(super) fn needed(path: &Path) -> Result<(), Report> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if path.is_dir() || parent.is_some_and(|parent| !parent.is_dir()) {
        let why = format!("--junit {}: a file cannot be written there", path.display());
        return Err(Report::usage(why).with_hint("name a file in a directory that is there"));
    }
    Ok(())
}

/// Writes the results.
pub(super) fn write(path: &Path, module: &str, checked: &[Checked]) -> Result<(), Report> {
    std::fs::write(path, text(module, checked))
        .map_err(|error| Report::failed(format!("cannot write {}: {error}", path.display())))
}

fn text(module: &str, checked: &[Checked]) -> String {
    let module = escaped(module);
    let failures = checked.iter().filter(|check| check.outcome.is_err()).count();
    let longest = checked.iter().map(|check| check.took).max().unwrap_or_default();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"{module}\" tests=\"{}\" \
         failures=\"{failures}\" time=\"{:.3}\">\n",
        checked.len(),
        longest.as_secs_f64(),
    );
    for check in checked {
        let _ = write!(
            text,
            "    <testcase classname=\"{module}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&check.name),
            check.took.as_secs_f64()
        );
        match &check.outcome {
            Ok(()) => text.push_str("/>\n"),
            Err(report) => {
                let words = report.words();
                let first = words.lines().next().unwrap_or_default();
                let _ = writeln!(
                    text,
                    ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
                    escaped(first),
                    escaped(words.trim_end())
                );
            }
        }
    }
    text + "  </testsuite>\n</testsuites>\n"
}

/// Text in which nothing is markup; what XML has no letter for is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(letter),
            '\u{fffe}' | '\u{ffff}' => {}
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_have_their_words_and_nothing_in_them_is_markup() {
        let check = |name: &str, outcome| Checked {
            name: name.to_owned(),
            took: Duration::from_millis(1200),
            outcome,
        };
        let all = [
            check("lint", Ok(())),
            check("tests", Err(Report::failed("<a & \"b\">\n]]></failure>\u{1}"))),
        ];
        insta::assert_snapshot!(text("my:app", &all), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
          <testsuite name="my:app" tests="2" failures="1" time="1.200">
            <testcase classname="my:app" name="lint" time="1.200"/>
            <testcase classname="my:app" name="tests" time="1.200">
              <failure message="&lt;a &amp; &quot;b&quot;&gt;">&lt;a &amp; &quot;b&quot;&gt;
        ]]&gt;&lt;/failure&gt;</failure>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }
}
