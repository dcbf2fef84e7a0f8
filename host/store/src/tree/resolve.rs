//! From a path to a place: component by component, links followed inside the root.

use super::{Merged, Place, shown};
use crate::error::{Error, Result};

/// How many links one path may pass through, as in the kernel.
const LINKS: usize = 40;

/// Where a path led.
struct Walk {
    /// Directories from the root to where we are, with their names.
    above: Vec<(Vec<u8>, Merged)>,
    /// What is there, when it is no directory.
    last: Option<Place>,
    /// Components that do not exist.
    missing: Vec<Vec<u8>>,
    /// Did the path pass through something that does not exist? Making it would lead there all the same.
    broken: bool,
}

/// What is at a path; none when it or something above it does not exist.
pub(crate) fn find(root: &Merged, path: &[u8], follow: bool) -> Result<Option<Place>> {
    let walk = walk(root, path, follow)?;
    if walk.broken || !walk.missing.is_empty() {
        return Ok(None);
    }
    if let Some(place) = walk.last {
        return Ok(Some(place));
    }
    let Some((name, _)) = walk.above.last() else {
        return Place::root(root)?.map(Some).ok_or_else(empty_root);
    };
    // The parent is known to have it: it was found there a moment ago.
    let parent = if walk.above.len() >= 2 {
        &walk.above[walk.above.len() - 2].1
    } else {
        root
    };
    parent.child(name)
}

fn empty_root() -> Error {
    Error::NotFound("the tree is empty".to_owned())
}

/// Where a path leads once links are followed; what does not exist stays as it is written.
pub(crate) fn real_path(root: &Merged, path: &[u8]) -> Result<Vec<u8>> {
    let walk = walk(root, path, true)?;
    let mut real = Vec::new();
    let last = walk.last.as_ref().map(|place| &place.name);
    for name in walk
        .above
        .iter()
        .map(|(name, _)| name)
        .chain(last)
        .chain(&walk.missing)
    {
        real.push(b'/');
        real.extend_from_slice(name);
    }
    Ok(if real.is_empty() { b"/".to_vec() } else { real })
}

fn walk(root: &Merged, path: &[u8], follow: bool) -> Result<Walk> {
    let mut walk = Walk {
        above: Vec::new(),
        last: None,
        missing: Vec::new(),
        broken: false,
    };
    let mut todo: Vec<Vec<u8>> = components(path).rev().collect();
    let mut links = 0;
    while let Some(name) = todo.pop() {
        if name == b".." {
            if walk.missing.pop().is_some() {
                walk.broken = true;
            } else {
                walk.above.pop();
            }
            continue;
        }
        if !walk.missing.is_empty() {
            walk.missing.push(name);
            continue;
        }
        let here = walk.above.last().map_or(root, |(_, directory)| directory);
        let Some(place) = here.child(&name)? else {
            walk.missing.push(name);
            continue;
        };
        let is_last = todo.is_empty();
        if place.stat.kind == super::Kind::Symlink && (follow || !is_last) {
            links += 1;
            if links > LINKS {
                return Err(Error::Invalid(format!(
                    "{}: too many levels of symbolic links",
                    shown(path)
                )));
            }
            let target = place.link_target()?;
            if target.starts_with(b"/") {
                walk.above.clear();
            }
            todo.extend(components(&target).rev());
            continue;
        }
        match place.directory()? {
            Some(directory) => walk.above.push((name, directory)),
            None if is_last => walk.last = Some(place),
            None => {
                let at = shown(path);
                return Err(Error::NotFound(format!(
                    "{at} does not exist: {} is not a directory",
                    shown(&name)
                )));
            }
        }
    }
    Ok(walk)
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(<[u8]>::to_vec)
}
