//! Reads a directory of the host: which of its paths count, and the digest of each file.

use std::{
    fs::Metadata,
    io::Read,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use ignore::{
    WalkBuilder,
    gitignore::{Gitignore, GitignoreBuilder},
};
use wharf_digest::{Digest, Hasher};
use wharf_graph::{Error, op::Filter};
use wharf_platform as platform;
use wharf_proto::{
    Manifest,
    manifest::{Entry, EntryKind},
};

use super::stat_cache::{self, StatCache};

/// Bytes that are read and hashed at once.
const HASHED_AT_ONCE: u64 = 1024 * 1024;

/// A path below the root, as `root.join` but from bytes.
pub(super) fn join(root: &Path, relative: &[u8]) -> PathBuf {
    if root.is_dir() {
        root.join(platform::path::from_bytes(relative))
    } else {
        root.to_owned()
    }
}

/// The manifest of a directory.
pub(super) fn directory(root: &Path, filter: &Filter, cache: &Path) -> Result<Manifest, Error> {
    let metadata = std::fs::metadata(root).map_err(|error| missing(root, &error))?;
    if !metadata.is_dir() {
        return Err(Error::NotFound(format!("{} is not a directory", root.display())));
    }
    let found = list(root, filter)?;
    let mut cache = StatCache::open(cache, root);
    let digests = hash_changed(root, &found, &cache)?;
    let mut entries = Vec::with_capacity(found.len());
    for (found, digest) in found.into_iter().zip(digests) {
        entries.push(entry(root, found, digest, &mut cache)?);
    }
    cache.save();
    Ok(Manifest { entries })
}

/// The manifest of a tree that holds only this file.
pub(super) fn file(path: &Path, cache: &Path) -> Result<Manifest, Error> {
    let metadata = std::fs::metadata(path).map_err(|error| missing(path, &error))?;
    if !metadata.is_file() {
        return Err(Error::NotFound(format!("{} is not a file", path.display())));
    }
    let mut cache = StatCache::open(cache, path);
    let name = platform::path::to_bytes(Path::new(path.file_name().unwrap_or_default())).into_owned();
    let found = Found { path: name, metadata };
    let digest = match cache.get(&found.path, &found.metadata) {
        Some(known) => Some(known.digest),
        None => Some(hash(path)?),
    };
    let entry = entry(path, found, digest, &mut cache)?;
    cache.save();
    Ok(Manifest { entries: vec![entry] })
}

struct Found {
    path: Vec<u8>,
    metadata: Metadata,
}

fn missing(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound(format!("{} does not exist", path.display())),
        _ => Error::other("files", format!("{} cannot be read: {error}", path.display())),
    }
}

/// The paths that count, sorted, parents first.
fn list(root: &Path, filter: &Filter) -> Result<Vec<Found>, Error> {
    let include = patterns(root, &filter.include)?;
    let exclude = patterns(root, &filter.exclude)?;
    let mut walk = WalkBuilder::new(root);
    walk.standard_filters(false).hidden(false).follow_links(false);
    if filter.gitignore {
        walk.git_ignore(true)
            .require_git(false)
            .parents(false)
            .add_custom_ignore_filename(".wharfignore");
    }
    let mut found = Vec::new();
    for item in walk.build() {
        let item = item
            .map_err(|error| Error::other("files", format!("{} cannot be read: {error}", root.display())))?;
        let Ok(relative) = item.path().strip_prefix(root) else {
            continue;
        };
        if relative.as_os_str().is_empty() {
            continue;
        }
        let is_directory = item.file_type().is_some_and(|kind| kind.is_dir());
        let matches = |patterns: &Gitignore| {
            patterns
                .matched_path_or_any_parents(relative, is_directory)
                .is_ignore()
        };
        // A directory that no pattern includes is kept for now: something below it may be.
        let included = filter.include.is_empty() || is_directory || matches(&include);
        if !included || matches(&exclude) {
            continue;
        }
        let metadata = match item.path().symlink_metadata() {
            Ok(metadata) => metadata,
            // Gone since it was listed: as if it had gone before.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(missing(item.path(), &error)),
        };
        found.push(Found {
            path: platform::path::to_bytes(relative).into_owned(),
            metadata,
        });
    }
    found.sort_by(|one, other| {
        one.path
            .split(|b| *b == b'/')
            .cmp(other.path.split(|b| *b == b'/'))
    });
    if !filter.include.is_empty() {
        drop_unincluded_directories(&mut found, &include);
    }
    Ok(found)
}

/// Drops directories that are neither included themselves nor hold anything that is.
fn drop_unincluded_directories(found: &mut Vec<Found>, include: &Gitignore) {
    let mut needed = std::collections::HashSet::new();
    for item in found.iter().rev() {
        let path = platform::path::from_bytes(&item.path);
        let wanted = !item.metadata.is_dir()
            || needed.contains(&item.path)
            || include.matched_path_or_any_parents(&path, true).is_ignore();
        if wanted {
            needed.insert(item.path.clone());
            needed.extend(
                path.parent()
                    .map(|parent| platform::path::to_bytes(parent).into_owned()),
            );
        }
    }
    found.retain(|item| needed.contains(&item.path));
}

fn patterns(root: &Path, lines: &[String]) -> Result<Gitignore, Error> {
    let mut builder = GitignoreBuilder::new(root);
    for line in lines {
        builder
            .add_line(None, line)
            .map_err(|error| Error::Invalid(format!("the pattern {line:?} does not read: {error}")))?;
    }
    builder
        .build()
        .map_err(|error| Error::Invalid(format!("the patterns do not read: {error}")))
}

/// Digests of the files, in the order of `found`; those that did not change come from the cache, the rest is hashed on all
/// processors.
fn hash_changed(root: &Path, found: &[Found], cache: &StatCache) -> Result<Vec<Option<Digest>>, Error> {
    let mut digests: Vec<Option<Digest>> = vec![None; found.len()];
    let mut changed = Vec::new();
    for (at, item) in found
        .iter()
        .enumerate()
        .filter(|(_, item)| item.metadata.is_file())
    {
        match cache.get(&item.path, &item.metadata) {
            Some(known) => digests[at] = Some(known.digest),
            None => changed.push(at),
        }
    }
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(changed.len().max(1));
    let results = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            while let Some(at) = changed.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push((*at, hash(&join(root, &found[*at].path))?));
            }
            Ok(done)
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("hashing does not panic"))
            .collect::<Vec<_>>()
    });
    for result in results {
        for (at, digest) in result? {
            digests[at] = Some(digest);
        }
    }
    Ok(digests)
}

/// Digest of a file that stays as it is while it is read; one that changes is read again.
fn hash(path: &Path) -> Result<Digest, Error> {
    let unreadable =
        |error: std::io::Error| Error::other("files", format!("{} cannot be read: {error}", path.display()));
    for _ in 0..super::ATTEMPTS {
        let mut file = std::fs::File::open(path).map_err(|error| missing(path, &error))?;
        let before = file.metadata().map_err(unreadable)?;
        let mut hasher = Hasher::default();
        // Hashing is several times as fast with pieces of this size as with the few KiB that a copy takes.
        let mut buffer = vec![0; before.len().clamp(1, HASHED_AT_ONCE) as usize];
        loop {
            match file.read(&mut buffer).map_err(unreadable)? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            };
        }
        if stat_cache::same_file(&before, &file.metadata().map_err(unreadable)?) {
            return Ok(hasher.finish());
        }
    }
    Err(Error::other(
        "files",
        format!(
            "{} changes all the time: it was read {} times",
            path.display(),
            super::ATTEMPTS
        ),
    ))
}

fn entry(root: &Path, found: Found, digest: Option<Digest>, cache: &mut StatCache) -> Result<Entry, Error> {
    let Found { path, metadata } = found;
    let mode = platform::file::mode(&metadata);
    let own_time = platform::file::Facts::of(&metadata).modified;
    let (kind, modified) = if let Some(digest) = digest {
        let known = cache.get(&path, &metadata).map(|known| known.modified);
        let modified = known.unwrap_or_else(|| cache.put(&path, &metadata, digest));
        (
            EntryKind::File {
                digest,
                size: metadata.len(),
            },
            modified,
        )
    } else if metadata.is_dir() {
        (EntryKind::Directory, 0)
    } else if metadata.is_symlink() {
        let target =
            std::fs::read_link(join(root, &path)).map_err(|error| missing(&join(root, &path), &error))?;
        (
            EntryKind::Symlink(platform::path::to_bytes(&target).into_owned()),
            own_time,
        )
    } else {
        let message = "is a socket, a pipe or a device, which cannot be sent: leave it out with `exclude` or .wharfignore";
        return Err(Error::Invalid(format!(
            "{} {message}",
            join(root, &path).display()
        )));
    };
    // A link's own mode means nothing and differs between systems.
    let mode = if matches!(kind, EntryKind::Symlink(_)) {
        0o777
    } else {
        mode
    };
    Ok(Entry {
        path,
        mode,
        modified,
        kind,
    })
}
