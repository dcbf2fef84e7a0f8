//! Paths of the graph: absolute, `/` between components, cleaned by their letters as Docker cleans them.

/// `path` seen from `base`, absolute, without `.`, `..`, doubled or trailing slashes.
pub fn absolute(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let start = if path.starts_with('/') { "" } else { base };
    for part in start.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// `path` below `ancestor`, both absolute: what follows, starting with `/`; `/` when they are equal.
pub(super) fn below<'a>(path: &'a str, ancestor: &str) -> Option<&'a str> {
    if ancestor == "/" {
        return Some(path);
    }
    match path.strip_prefix(ancestor)? {
        "" => Some("/"),
        rest if rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{absolute, below};

    #[test]
    fn paths_are_cleaned_and_stay_below_the_root() {
        for (base, path, expected) in [
            ("/", "a/./b//c/", "/a/b/c"),
            ("/src", "../x", "/x"),
            ("/src", "/abs", "/abs"),
            ("/", "../../..", "/"),
            ("", "", "/"),
        ] {
            assert_eq!(absolute(base, path), expected);
        }
    }

    #[test]
    fn below_respects_component_borders() {
        assert_eq!(below("/a/b", "/a"), Some("/b"));
        assert_eq!(below("/a", "/a"), Some("/"));
        assert_eq!(below("/ab", "/a"), None);
        assert_eq!(below("/ab", "/"), Some("/ab"));
    }
}
