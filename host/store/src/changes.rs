//! Trees that come from and go to containers that are not ours to mount: what an overlay's directories hold as tar streams, and
//! what has changed in a directory since it was looked at.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use wharf_archive::Entries;

use crate::{
    archive::{Form, WHITEOUT, export_entry, export_raw, marker},
    error::{Context, Result},
    import::{Import, Kind as Imported},
    tree::{self, Kind, Merged, Place},
};

/// Writes one directory of an overlay as a layer of the image format, whiteouts and times included. The same directory gives the
/// same bytes.
pub fn write_layer(directory: &Path, to: &mut dyn Write) -> Result<()> {
    let root = tree::open_directory(directory)?;
    let mut archive = tar::Builder::new(to);
    if let Some(top) = Place::root(&Merged::of_directory(own(&root)?))? {
        export_entry(&mut archive, b"./", &top, &mut HashMap::new(), Form::Whole)?;
    }
    export_raw(&mut archive, b"", &root, &mut HashMap::new(), Form::Whole)?;
    archive.finish().context(|| "a layer".to_owned())
}

/// Writes what an overlay of these directories, the highest first, would show, with its root.
pub fn write_tree(directories: &[PathBuf], to: &mut dyn Write) -> Result<()> {
    let mut archive = tar::Builder::new(to);
    let mut links = HashMap::new();
    let tree = Merged::of_paths(directories)?;
    if let Some(top) = Place::root(&tree)? {
        export_entry(&mut archive, b"./", &top, &mut links, Form::Whole)?;
    }
    for item in tree::walk(tree) {
        let (path, place) = item?;
        if place.stat.kind != Kind::Socket {
            export_entry(&mut archive, &path, &place, &mut links, Form::Whole)?;
        }
    }
    archive.finish().context(|| "a tree".to_owned())
}

/// Fills a directory with a layer of the image format, whoever wrote it.
pub fn read_layer(stream: &mut dyn Read, directory: &Path) -> Result<()> {
    let mut import = Import::at(directory, Imported::Layer)?;
    let mut entries = Entries::new(stream);
    while let Some(entry) = entries.next().context(|| "a layer".to_owned())? {
        import.entry(&entry, &mut entries)?;
    }
    import.finish()
}

fn own(directory: &OwnedFd) -> Result<OwnedFd> {
    directory.try_clone().context(|| "a directory".to_owned())
}

/// What was in a directory, so that it can be told later what has changed. The kernel sets the time by which that is told, and
/// nobody else can.
#[derive(Debug)]
pub struct Before {
    /// Every path and a zero byte.
    paths: Vec<u8>,
    /// Hashes of each path and of what was there, sorted.
    seen: Vec<(u64, u64)>,
    /// Paths that are not looked at, nor what is below them.
    passed_over: HashSet<Vec<u8>>,
}

impl Before {
    /// Looks at everything but what is passed over, with all below it. Directories that count as not there yet tell of
    /// nothing when they are gone, and are new when they are still there. Paths are relative to the directory.
    pub fn look(
        directory: &Path,
        passed_over: HashSet<Vec<u8>>,
        not_yet_there: &HashSet<Vec<u8>>,
    ) -> Result<Self> {
        let mut before = Self {
            paths: Vec::new(),
            seen: Vec::new(),
            passed_over,
        };
        let (mut paths, mut seen) = (Vec::new(), Vec::new());
        before.walk(directory, |path, place| {
            if not_yet_there.contains(path) {
                return Ok(());
            }
            paths.extend_from_slice(path);
            paths.push(0);
            seen.push((hash(&path), fingerprint(place)?));
            Ok(())
        })?;
        seen.sort_unstable();
        (before.paths, before.seen) = (paths, seen);
        Ok(before)
    }

    /// Writes what is different now as a layer of the image format.
    pub fn write_changes(&self, directory: &Path, to: &mut dyn Write) -> Result<()> {
        let root = Merged::of_directory(tree::open_directory(directory)?);
        let mut archive = tar::Builder::new(to);
        self.write_gone(directory, &mut archive)?;
        if let Some(top) = Place::root(&root)? {
            export_entry(&mut archive, b"./", &top, &mut HashMap::new(), Form::Whole)?;
        }
        let mut links = HashMap::new();
        self.walk(directory, |path, place| {
            let is_as_before = self
                .seen
                .binary_search(&(hash(&path), fingerprint(place)?))
                .is_ok();
            if is_as_before || place.stat.kind == Kind::Socket {
                return Ok(());
            }
            export_entry(&mut archive, path, place, &mut links, Form::Whole)
        })?;
        archive.finish().context(|| "a step's changes".to_owned())
    }

    /// Whiteouts of what is there no more, unless what it lay in is gone as well.
    fn write_gone<W: Write>(&self, directory: &Path, archive: &mut tar::Builder<W>) -> Result<()> {
        let root = tree::open_directory(directory)?;
        let mut gone: HashSet<&[u8]> = HashSet::new();
        for path in self
            .paths
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
        {
            let (parent, name) = split(path);
            if gone.contains(parent) {
                gone.insert(path);
                continue;
            }
            // No link is on the way: what a name lay in was a directory, and is one still.
            match tree::stat_at(&root, path)? {
                None => {
                    gone.insert(path);
                    marker(archive, &tree::join(parent, &[WHITEOUT, name].concat()))?;
                }
                // What is no directory hides what was below it.
                Some(stat) if !tree::Stat::of(&stat).is_directory() => {
                    gone.insert(path);
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Everything that is looked at, parents first.
    fn walk(&self, directory: &Path, mut each: impl FnMut(&[u8], &Place) -> Result<()>) -> Result<()> {
        let mut stack = vec![(Vec::new(), Merged::of_directory(tree::open_directory(directory)?))];
        while let Some((path, here)) = stack.pop() {
            let mut places = here.entries()?;
            places.sort_by(|one, other| one.name.cmp(&other.name));
            for place in places {
                let at = tree::join(&path, &place.name);
                if self.passed_over.contains(&at) {
                    continue;
                }
                each(&at, &place)?;
                if let Some(inner) = place.directory()? {
                    stack.push((at, inner));
                }
            }
        }
        Ok(())
    }
}

/// What tells a file from any other, and from itself after a change.
fn fingerprint(place: &Place) -> Result<u64> {
    let stat = tree::stat_at(&**place.parent(), &place.name)?.ok_or_else(|| tree::missing(&place.name))?;
    Ok(hash(&(
        stat.st_ino,
        stat.st_mode,
        stat.st_ctime,
        stat.st_ctime_nsec,
    )))
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The directory of a path, and its name there.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;

    #[test]
    fn what_has_changed_is_a_layer() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in [
            "same/inner",
            "gone/inner",
            "replaced/inner",
            "mounted",
            "unused/inner",
            "used",
        ] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in [
            "same/file",
            "gone/inner/file",
            "replaced/file",
            "moded",
            "mounted/file",
            "written",
        ] {
            fs::write(at(name), "before").unwrap();
        }
        let set = |paths: &[&str]| -> HashSet<Vec<u8>> {
            paths.iter().map(|path| path.as_bytes().to_vec()).collect()
        };
        let not_yet_there = set(&["unused", "unused/inner", "used"]);
        let before = Before::look(directory.path(), set(&["mounted"]), &not_yet_there).unwrap();
        // The kernel's clock moves by some milliseconds at a time.
        let stamp = fs::metadata(at("same/file")).unwrap();
        while {
            fs::write(at("mounted/probe"), "").unwrap();
            let now = fs::metadata(at("mounted/probe")).unwrap();
            (now.ctime(), now.ctime_nsec()) <= (stamp.ctime(), stamp.ctime_nsec())
        } {
            std::thread::yield_now();
        }
        fs::remove_dir_all(at("gone")).unwrap();
        fs::remove_dir_all(at("unused")).unwrap();
        fs::write(at("used/file"), "after").unwrap();
        fs::remove_dir_all(at("replaced")).unwrap();
        fs::create_dir(at("replaced")).unwrap();
        fs::write(at("replaced/new"), "after").unwrap();
        fs::set_permissions(at("moded"), PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(at("written"), "after").unwrap();
        fs::hard_link(at("written"), at("linked")).unwrap();
        symlink("nowhere", at("link")).unwrap();
        fs::write(at("mounted/file"), "after").unwrap();
        let mut layer = Vec::new();
        before.write_changes(directory.path(), &mut layer).unwrap();

        let mut entries = Vec::new();
        let mut stream = layer.as_slice();
        let mut archive = Entries::new(&mut stream);
        while let Some(entry) = archive.next().unwrap() {
            entries.push(String::from_utf8(entry.path).unwrap());
        }
        entries.sort();
        assert_eq!(
            entries,
            [
                "./",
                ".wh.gone",
                "link",
                "linked",
                "moded",
                "replaced",
                "replaced/.wh.file",
                "replaced/.wh.inner",
                "replaced/new",
                "used",
                "used/file",
                "written"
            ]
        );
        let target = tempfile::tempdir().unwrap();
        read_layer(&mut layer.as_slice(), target.path()).unwrap();
        let of = |name: &str| fs::metadata(target.path().join(name)).unwrap();
        assert_eq!(of("moded").mode() & 0o777, 0o600);
        assert_eq!(of("written").ino(), of("linked").ino());
        let written = fs::metadata(at("written")).unwrap();
        assert_eq!(of("written").mtime_nsec(), written.mtime_nsec());
    }
}
