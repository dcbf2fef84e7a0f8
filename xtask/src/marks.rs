//! Tables that commands write into pages which people write.

use std::fs;
use std::path::Path;

use crate::shell::Done;

/// Where what a command writes begins and ends.
pub(crate) struct Marks {
    pub(crate) begin: &'static str,
    pub(crate) end: &'static str,
}

impl Marks {
    /// Puts content into a page, in place of what was there.
    pub(crate) fn write(&self, page: &Path, content: &str) -> Done {
        let text = fs::read_to_string(page)?;
        let written = self.between(&text, content).ok_or_else(|| {
            let Self { begin, end } = self;
            format!(
                "{} has no place for the table: {begin:?}, {end:?}",
                page.display()
            )
        })?;
        Ok(fs::write(page, written)?)
    }

    /// The page with other content between its marks; nothing when it has none.
    pub(crate) fn between(&self, page: &str, content: &str) -> Option<String> {
        let begin = page.find(self.begin)? + self.begin.len();
        let end = begin + page[begin..].find(self.end)?;
        Some(format!("{}\n\n{}\n{}", &page[..begin], content, &page[end..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_between_the_marks_alone_and_does_so_again() {
        let marks = Marks {
            begin: "<!-- begin -->",
            end: "<!-- end -->",
        };
        let page = "Before.\n\n<!-- begin -->\n\nold\n\n<!-- end -->\n\nAfter.\n";
        let once = marks.between(page, "new\n").expect("it has marks");
        assert_eq!(
            once,
            "Before.\n\n<!-- begin -->\n\nnew\n\n<!-- end -->\n\nAfter.\n"
        );
        assert_eq!(marks.between(&once, "new\n"), Some(once));
        assert_eq!(marks.between("no marks", "new"), None);
    }
}
