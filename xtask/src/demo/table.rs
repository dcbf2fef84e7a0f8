//! The comparison as a table, and its place in the documentation.

use std::fmt::Write as _;

use wharf_testkit::paths;

use super::Run;
use super::by_hand::Beside;
use crate::machine::Machine;
use crate::marks::Marks;
use crate::shell::Done;

/// Where the table begins and ends in the documentation.
const MARKS: Marks = Marks {
    begin: "<!-- What follows is written by `cargo xtask demo --beside-shell --write`. -->",
    end: "<!-- What `cargo xtask demo --beside-shell --write` writes ends here. -->",
};

/// The table. Each run is one sample of each side.
pub(super) fn markdown(names: &[&str], runs: &[Run], beside: &[Beside], machine: &Machine) -> String {
    let mut text = format!("{}.\n\n", machine.text());
    text.push_str(
        "| | shell script | wharf | ratio | the script fetched | wharf fetched | its uploads | wharf's |\n",
    );
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for ((name, ours), theirs) in names.iter().zip(runs).zip(beside) {
        let (mine, script) = (ours.took.as_secs_f64(), theirs.took.as_secs_f64());
        let _ = writeln!(
            text,
            "| {name} | {script:.1} s | {mine:.2} s | {:.1} | {:.1} MB | {:.1} MB | {} | {} |",
            script / mine,
            theirs.fetched as f64 / 1e6,
            ours.fetched as f64 / 1e6,
            theirs.uploads,
            ours.uploads
        );
    }
    text
}

/// Puts it into the documentation.
pub(super) fn write(table: &str) -> Done {
    MARKS.write(&paths::workspace().join("docs/performance.md"), table)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_documentation_has_a_place_for_the_table() {
        let page = paths::workspace().join("docs/performance.md");
        let text = fs::read_to_string(page).expect("the page is there");
        assert!(MARKS.between(&text, "").is_some());
    }
}
