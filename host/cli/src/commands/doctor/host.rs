//! What of this host matters beside the kernel: disks, directories, programs, certificates.
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "no engine is on such a host")
)]

use std::path::{Path, PathBuf};

use wharf_platform::file::{check_writable, room};

use super::{Finding, Group, State};
use crate::{engine_choice, table, toolchain::said};

/// Images and what is made from them are large: with less room than this, little can be done.
const ROOM: u64 = 2_000_000_000;

/// The nearest directory that is there, from a path upwards.
pub(super) fn existing(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

/// Can a directory be made or used there?
pub(super) fn writable(name: &'static str, path: &Path) -> Finding {
    let at = existing(path);
    match check_writable(&at) {
        Ok(()) => Finding::new(Group::Local, name, State::Ok, path.display().to_string()),
        Err(error) => {
            let text = format!("{} cannot be written to: {}", at.display(), error.kind());
            Finding::new(Group::Local, name, State::Missing, text)
                .next("export WHARF_HOME=/a/directory/of/yours")
        }
    }
}

/// The store's directory: whether it can be written to, on which file system, with how much room.
pub(super) fn store(path: &Path) -> Vec<Finding> {
    let at = existing(path);
    let mut store = writable("store", path);
    if store.state == State::Ok
        && let Some(kind) = file_system(&at)
    {
        store.text = format!("{} on {kind}", store.text);
    }
    let Some((free, all)) = room(&at) else {
        return vec![store];
    };
    let text = format!("{} of {} are free", table::bytes(free), table::bytes(all));
    let space = if free < ROOM {
        let text = format!("{text}: images and results may not fit");
        Finding::new(Group::Local, "disk", State::Warn, text).next("wharf cache prune")
    } else {
        Finding::new(Group::Local, "disk", State::Ok, text)
    };
    vec![store, space]
}

/// The kind of file system that holds a directory, as the kernel calls it.
fn file_system(path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind_at(&path, &mounts)
}

/// Of the mounts that a path lies on, the one nearest to it; of several at one place, the last.
fn kind_at(path: &Path, mounts: &str) -> Option<String> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = PathBuf::from(left.split(' ').nth(4)?);
        let kind = right.split(' ').next()?.to_owned();
        path.starts_with(&point)
            .then(|| (point.components().count(), kind))
    };
    let found = mounts.lines().filter_map(mount);
    found.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

/// Programs that some sources need.
pub(super) async fn programs() -> Vec<Finding> {
    let git = match said("git", &["--version"]).await {
        Ok(version) => Finding::new(Group::Sources, "git", State::Ok, version),
        Err(why) => Finding::new(
            Group::Sources,
            "git",
            State::Warn,
            format!("git {why}: sources from git cannot be read"),
        )
        .next("apt-get install git    # or your system's package"),
    };
    vec![git]
}

/// The certificates that registries are trusted by.
pub(super) fn certificates(named: Option<&Path>) -> Finding {
    match engine_choice::ca_bundle(named) {
        Ok(Some(path)) => Finding::new(
            Group::Sources,
            "certificates",
            State::Ok,
            path.display().to_string(),
        ),
        Ok(None) => {
            let text = "there are none: registries over https cannot be trusted";
            Finding::new(Group::Sources, "certificates", State::Warn, text).next(
                "apt-get install ca-certificates    # or your system's package; --ca-cert PATH names a file",
            )
        }
        Err(report) => Finding::new(Group::Sources, "certificates", State::Warn, report.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_counts_and_the_last_of_several() {
        let mounts = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:5 / /data rw shared:1 - xfs /dev/b rw\n\
                      31 22 0:6 / /data rw - btrfs /dev/c rw\n";
        assert_eq!(kind_at(Path::new("/data/x"), mounts).as_deref(), Some("btrfs"));
        assert_eq!(kind_at(Path::new("/database"), mounts).as_deref(), Some("ext4"));
    }

    #[test]
    fn what_is_not_there_yet_is_looked_for_upwards() {
        assert_eq!(
            existing(Path::new("/proc/self/no/such/place")),
            Path::new("/proc/self")
        );
    }
}
