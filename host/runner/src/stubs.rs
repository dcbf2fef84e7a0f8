//! Mount points that had to be made in a step's layer, and how they leave it again.
//!
//! Something can only be mounted on what is there. So the runner makes what is missing, in the step's upper directory, and
//! takes it away afterwards: the layer is what the process alone would have written.

use std::{
    fs::Metadata,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Something that is in an upper directory only for the sake of a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stub {
    /// Relative to the upper directory.
    path: PathBuf,
    /// As it was made: when it is another one afterwards, the process has made it its own.
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Stub {
    fn is_as_made(&self, now: &Metadata) -> bool {
        (now.mode(), now.uid(), now.gid()) == (self.mode, self.uid, self.gid)
    }
}

/// What a mount point has to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PointKind {
    Directory,
    /// With this mode if it has to be made.
    DirectoryWithMode(u32),
    File,
}

/// Makes mount points in a mounted root and remembers what that changed.
pub(crate) struct Points<'r, F> {
    root: &'r F,
    /// Where the root is mounted, and the directory that changes go to.
    mounted_at: &'r Path,
    upper: Option<&'r Path>,
    pub(crate) stubs: Vec<Stub>,
}

impl<'r, F: AsFd> Points<'r, F> {
    pub(crate) fn new(root: &'r F, mounted_at: &'r Path, upper: Option<&'r Path>) -> Self {
        Self {
            root,
            mounted_at,
            upper,
            stubs: Vec::new(),
        }
    }

    /// Opens a place in the root; what is missing on the way is made.
    pub(crate) fn place(&mut self, path: &str, kind: PointKind) -> io::Result<OwnedFd> {
        match open_in(self.root, path) {
            Err(Errno::NOENT) => {}
            outcome => return Ok(outcome?),
        }
        let path = path.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.place(if parent.is_empty() { "/" } else { parent }, PointKind::Directory)?;
        let in_layer = self.layer_path(&parent);
        if let Some(directory) = &in_layer {
            self.note_copies(directory)?;
        }
        match kind {
            PointKind::Directory => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))?,
            PointKind::DirectoryWithMode(mode) => {
                rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
                // Apart, because the mask takes bits away from the first.
                rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
            }
            PointKind::File => {
                let flags =
                    OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                drop(rustix::fs::openat(
                    &parent,
                    name,
                    flags,
                    Mode::from_raw_mode(0o644),
                )?);
            }
        }
        let made = rustix::fs::openat(
            &parent,
            name,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if let Some(directory) = in_layer {
            self.note(directory.join(name), &made)?;
        }
        Ok(made)
    }

    /// Where a directory of the root is in the layer; none for what belongs to a mount of its own.
    fn layer_path(&self, directory: &impl AsFd) -> Option<PathBuf> {
        let mount = |fd: BorrowedFd<'_>| {
            rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
                .ok()
                .map(|stat| stat.stx_mnt_id)
        };
        if mount(directory.as_fd()) != mount(self.root.as_fd()) {
            return None;
        }
        let seen = std::fs::read_link(fd_path(directory)).ok()?;
        Some(seen.strip_prefix(self.mounted_at).ok()?.to_owned())
    }

    /// Writing below a directory copies it and its parents into the layer: those that are not there yet.
    fn note_copies(&mut self, directory: &Path) -> io::Result<()> {
        let Some(upper) = self.upper else { return Ok(()) };
        let missing: Vec<PathBuf> = directory
            .ancestors()
            .filter(|path| !path.as_os_str().is_empty() && upper.join(path).symlink_metadata().is_err())
            .map(Path::to_owned)
            .collect();
        for path in missing.into_iter().rev() {
            let there = open_in(self.root, &path)?;
            self.note(path, &there)?;
        }
        Ok(())
    }

    fn note(&mut self, path: PathBuf, there: &impl AsFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(there)?;
        self.stubs.push(Stub {
            path,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        });
        Ok(())
    }
}

/// A path by which the kernel finds an open descriptor.
pub(crate) fn fd_path(descriptor: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

/// Opens a place in a root; no link leads out of it.
///
/// On a way with `..` the kernel gives up when anything on the machine was mounted or renamed meanwhile, and other steps
/// do that all the time: openat2(2) says to try again.
pub(crate) fn open_in(root: &impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = path.into_c_str()?;
    let mut attempts = 1000;
    loop {
        match rustix::fs::openat2(
            root,
            &*path,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            resolve,
        ) {
            Err(rustix::io::Errno::AGAIN) if attempts > 0 => attempts -= 1,
            opened => return opened,
        }
    }
}

/// Takes stubs out of a layer, the innermost first, as far as nothing was put there.
pub(crate) fn remove(upper: &Path, stubs: &[Stub]) {
    for stub in stubs.iter().rev() {
        let path = upper.join(&stub.path);
        let Ok(now) = path.symlink_metadata() else {
            continue;
        };
        if !stub.is_as_made(&now) {
            continue;
        }
        // A directory with something in it stays by itself.
        if FileType::from_raw_mode(stub.mode) == FileType::Directory {
            std::fs::remove_dir(&path).ok();
        } else if now.len() == 0 {
            std::fs::remove_file(&path).ok();
        }
    }
}
