//! Mounts inside a step's root, always relative to it: no path of the step's own making leads out.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use oci_spec::runtime::Mount;
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, StatVfsMountFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags},
};

use wharf_userns::ids;

use crate::{
    overlay::Overlay,
    stubs::{PointKind, Points, fd_path, open_in},
};

/// The kernel takes values of a file system's configuration up to this length.
const LONGEST_VALUE: usize = 255;

/// The option that has overlay keep its marks in attributes that users may set.
pub(crate) const USER_XATTR: &str = "userxattr";

/// Paths of an overlay as the kernel takes them: long ones, and those with what it reads as its own, by way of a descriptor.
struct Paths(Vec<OwnedFd>);

impl Paths {
    fn short(&mut self, path: &Path) -> io::Result<PathBuf> {
        let name = path.as_os_str().as_bytes();
        if name.len() <= LONGEST_VALUE && !name.iter().any(|byte| br"\:,".contains(byte)) {
            return Ok(path.to_owned());
        }
        self.by_descriptor(path)
    }

    fn by_descriptor(&mut self, path: &Path) -> io::Result<PathBuf> {
        let opened = open_directory(path)?;
        let short = fd_path(&opened);
        self.0.push(opened);
        Ok(short.into())
    }
}

/// Mounts an overlay on a directory. Changes are `volatile`: a step never waits for the disk.
pub(crate) fn mount_overlay(overlay: &Overlay, empty: &Path, on: &OwnedFd) -> io::Result<()> {
    let mut lowers = overlay.lowers.clone();
    // An overlay has an upper and a lower, or two lowers.
    let fewest = if overlay.upper.is_some() { 1 } else { 2 };
    while lowers.len() < fewest {
        lowers.push(empty.to_owned());
    }
    match mount_by_parts(&lowers, overlay, on) {
        // Before Linux 6.8 there is no `lowerdir+`.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => mount_by_string(&lowers, overlay, on),
        outcome => outcome,
    }
}

/// Of what overlay can do, what it is to do.
fn choices() -> &'static [(&'static str, Option<&'static str>)] {
    if ids().are_the_machines() {
        &[
            ("index", Some("off")),
            ("metacopy", Some("off")),
            ("redirect_dir", Some("off")),
        ]
    } else {
        // Whoever is no root of the machine may not set the attributes that overlay uses otherwise. With those that it may set
        // there is neither of the other two.
        &[("index", Some("off")), (USER_XATTR, None)]
    }
}

fn mount_by_parts(lowers: &[PathBuf], overlay: &Overlay, on: &OwnedFd) -> io::Result<()> {
    let mut paths = Paths(Vec::new());
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set = |key: &str, value: &Path| rustix::mount::fsconfig_set_string(fs.as_fd(), key, value);
    set("source", Path::new("overlay"))?;
    for lower in lowers {
        set("lowerdir+", &paths.short(lower)?)?;
    }
    if let Some((upper, work)) = &overlay.upper {
        set("upperdir", &paths.short(upper)?)?;
        set("workdir", &paths.short(work)?)?;
        rustix::mount::fsconfig_set_flag(fs.as_fd(), "volatile")?;
    }
    for (option, value) in choices() {
        match value {
            Some(value) => set(option, Path::new(value))?,
            None => rustix::mount::fsconfig_set_flag(fs.as_fd(), *option)?,
        }
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    move_to(&mount, on)
}

/// The older way: one string of at most a page. Descriptors stand for paths, so that some 200 layers fit.
fn mount_by_string(lowers: &[PathBuf], overlay: &Overlay, on: &OwnedFd) -> io::Result<()> {
    let mut paths = Paths(Vec::new());
    let choices = choices().iter().map(|(option, value)| match value {
        Some(value) => format!("{option}={value}"),
        None => (*option).to_owned(),
    });
    let mut options = choices.collect::<Vec<_>>().join(",");
    let mut joined = Vec::new();
    for lower in lowers {
        joined.push(paths.by_descriptor(lower)?.display().to_string());
    }
    options.push_str(",lowerdir=");
    options.push_str(&joined.join(":"));
    if let Some((upper, work)) = &overlay.upper {
        let (upper, work) = (paths.by_descriptor(upper)?, paths.by_descriptor(work)?);
        let changes = format!(
            ",upperdir={},workdir={},volatile",
            upper.display(),
            work.display()
        );
        options.push_str(&changes);
    }
    mount("overlay", &fd_path(on), "overlay", 0, &options)
}

/// Splits the options of a specification's mount into flags and what the file system itself reads.
fn options(list: &[String]) -> (libc::c_ulong, String) {
    let mut flags = 0;
    let mut data = Vec::new();
    for option in list {
        match option.as_str() {
            "nosuid" => flags |= libc::MS_NOSUID,
            "nodev" => flags |= libc::MS_NODEV,
            "noexec" => flags |= libc::MS_NOEXEC,
            "noatime" => flags |= libc::MS_NOATIME,
            "nodiratime" => flags |= libc::MS_NODIRATIME,
            "ro" => flags |= libc::MS_RDONLY,
            "strictatime" => flags |= libc::MS_STRICTATIME,
            "relatime" => flags |= libc::MS_RELATIME,
            "sync" => flags |= libc::MS_SYNCHRONOUS,
            "bind" => flags |= libc::MS_BIND,
            "rbind" => flags |= libc::MS_BIND | libc::MS_REC,
            // Everything is private here already.
            "defaults" | "rw" | "suid" | "dev" | "exec" | "async" | "private" | "rprivate" => {}
            other => data.push(other),
        }
    }
    (flags, data.join(","))
}

/// Mounts a file of the machine's on a file.
pub(super) fn bind_file(source: &Path, on: &OwnedFd) -> io::Result<()> {
    mount(&source.to_string_lossy(), &fd_path(on), "", libc::MS_BIND, "")
}

fn mount(source: &str, target: &str, kind: &str, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let text = |text: &str| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let (source, target, kind, data) = (text(source)?, text(target)?, text(kind)?, text(data)?);
    // SAFETY: all pointers are to strings that live until the call returns.
    let result = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Mounts what a specification asks for.
pub(super) fn mount_in_root<F: AsFd>(root: &F, wanted: &Mount, points: &mut Points<'_, F>) -> io::Result<()> {
    let (flags, data) = options(wanted.options().as_deref().unwrap_or_default());
    let destination = wanted.destination().to_string_lossy();
    let source = wanted
        .source()
        .as_ref()
        .map(|source| source.to_string_lossy().into_owned());
    let source = source.unwrap_or_default();
    let is_bind = flags & libc::MS_BIND != 0 || wanted.typ().as_deref() == Some("bind");
    let kind = if is_bind && !std::fs::metadata(&source)?.is_dir() {
        PointKind::File
    } else {
        PointKind::Directory
    };
    let target = points.place(&destination, kind)?;
    if !is_bind {
        let kind = wanted.typ().clone().unwrap_or_default();
        return mount(&source, &fd_path(&target), &kind, flags, &data);
    }
    mount(
        &source,
        &fd_path(&target),
        "",
        libc::MS_BIND | (flags & libc::MS_REC),
        "",
    )?;
    let own = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    if flags & own != 0 {
        // What was opened is what lies below the mount; opened again it is the mount.
        restrict(&open_in(root, &*destination)?, flags & own)?;
    }
    Ok(())
}

/// Adds flags to a mount, and keeps those it has.
fn restrict(mounted: &OwnedFd, flags: libc::c_ulong) -> io::Result<()> {
    let kept = rustix::fs::fstatvfs(mounted)?.f_flag;
    let mut all = flags | libc::MS_BIND | libc::MS_REMOUNT;
    for (own, flag) in [
        (StatVfsMountFlags::NOSUID, libc::MS_NOSUID),
        (StatVfsMountFlags::NODEV, libc::MS_NODEV),
        (StatVfsMountFlags::NOEXEC, libc::MS_NOEXEC),
        (StatVfsMountFlags::RDONLY, libc::MS_RDONLY),
    ] {
        if kept.contains(own) {
            all |= flag;
        }
    }
    mount("", &fd_path(mounted), "", all, "")
}

/// Hides a path: a file behind /dev/null, a directory behind an empty one. What is not there needs no hiding.
pub(super) fn mask(root: &impl AsFd, path: &str) -> io::Result<()> {
    let target = match open_in(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        outcome => outcome?,
    };
    let stat = rustix::fs::fstat(&target)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        mount("tmpfs", &fd_path(&target), "tmpfs", libc::MS_RDONLY, "")
    } else {
        mount("/dev/null", &fd_path(&target), "", libc::MS_BIND, "")
    }
}

/// Makes a path of the root read-only where it is there.
pub(super) fn protect(root: &impl AsFd, path: &str) -> io::Result<()> {
    let target = match open_in(root, path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        outcome => outcome?,
    };
    let target = fd_path(&target);
    mount(&target, &target, "", libc::MS_BIND | libc::MS_REC, "")?;
    restrict(&open_in(root, path)?, libc::MS_RDONLY)
}

/// A small file system in memory, on which what can be mounted in advance waits for its root.
pub(super) fn mount_stage(stage: &Path) -> io::Result<()> {
    let on = open_directory(stage)?;
    mount(
        "tmpfs",
        &fd_path(&on),
        "tmpfs",
        libc::MS_NOSUID,
        "mode=755,size=64k",
    )
}

/// Moves a mount with all that is mounted in it.
pub(super) fn move_to(mounted: &OwnedFd, target: &OwnedFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(rustix::mount::move_mount(mounted, "", target, "", flags)?)
}

/// Nothing that is mounted here shows on the host.
pub(super) fn make_private() -> io::Result<()> {
    mount("none", "/", "", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// Opens a directory to mount on or to look into.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{mount_by_parts, mount_by_string, open_directory};
    use crate::overlay::Overlay;

    /// Both ways of mounting show the same; long and odd paths included.
    #[test]
    fn an_overlay_can_be_mounted_in_the_old_way_too() {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts, so it needs root"
        );
        let scratch = tempfile::tempdir().unwrap();
        let deep = scratch.path().join("x".repeat(200)).join("y:z,".repeat(30));
        let make = |name: &str| {
            let path = deep.join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let lowers: Vec<_> = (0..100).map(|number| make(&format!("lower{number}"))).collect();
        for (number, lower) in lowers.iter().enumerate() {
            fs::write(lower.join("same"), number.to_string()).unwrap();
            fs::write(lower.join(format!("own{number}")), "").unwrap();
        }
        for mount in [mount_by_parts, mount_by_string] {
            let fresh = tempfile::tempdir_in(&deep).unwrap();
            let parts = ["upper", "work", "point"].map(|name| fresh.path().join(name));
            for part in &parts {
                fs::create_dir(part).unwrap();
            }
            let [upper, work, point] = parts;
            let overlay = Overlay {
                lowers: lowers.clone(),
                upper: Some((upper.clone(), work)),
            };
            mount(&lowers, &overlay, &open_directory(&point).unwrap()).unwrap();
            assert_eq!(fs::read_to_string(point.join("same")).unwrap(), "0");
            assert_eq!(fs::read_dir(&point).unwrap().count(), 101);
            fs::write(point.join("new"), "written").unwrap();
            rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH).unwrap();
            assert_eq!(fs::read_to_string(upper.join("new")).unwrap(), "written");
        }
    }
}
