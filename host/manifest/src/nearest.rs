//! What somebody may have meant.

/// Says that a key is not known, and which one it may have been.
pub(crate) fn unknown(what: &str, key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (distance(key, name), *name)).min();
    match nearest {
        Some((distance, name)) if distance <= 3 => format!("{what} is not known; did you mean `{name}`?"),
        _ => format!("{what} is not known; there are {}", known.join(", ")),
    }
}

/// How many letters differ, counted as insertions, removals and replacements.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
