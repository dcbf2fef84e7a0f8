//! `as-user --home DIR [--no-ids] [--inside] [--hide PROGRAM] [--expose PATH] [--own PATH] -- PROGRAM ARGS`: runs a program as an ordinary
//! user, in a view of the machine of its own (see [`wharf_testkit::ordinary`]). Run as root.

#![allow(unsafe_code, reason = "mounts with other owners have no safe interface")]
#![allow(clippy::print_stderr, reason = "whoever runs it wants to know")]

use std::{
    ffi::OsString,
    fs,
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::{
            fs::{MetadataExt, PermissionsExt},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use rustix::{
    fs::{CWD, FileType, Mode},
    mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags},
    thread::{UnshareFlags, unshare_unsafe},
};
use wharf_testkit::ordinary::{ID, IDS, NAME, User};

fn main() -> ExitCode {
    let Some((user, command)) = User::of_args(std::env::args_os().skip(1)) else {
        eprintln!(
            "as-user --home DIR [--no-ids] [--inside] [--hide PROGRAM] [--expose PATH] [--own PATH] -- PROGRAM ARGS"
        );
        return ExitCode::from(2);
    };
    eprintln!("as-user: {}", run(&user, &command));
    ExitCode::FAILURE
}

/// Becomes the program; returns only with why it could not.
fn run(user: &User, command: &[OsString]) -> io::Error {
    if let Err(error) = prepare(user) {
        return error;
    }
    let Some((program, args)) = command.split_first() else {
        return io::Error::other("no program is named");
    };
    if user.inside {
        return run_inside(Path::new(program), args);
    }
    Command::new(program)
        .args(args)
        .env("HOME", &user.home)
        .env("USER", NAME)
        // Groups go with the user: a process without root's rights has none left.
        .gid(ID)
        .uid(ID)
        .exec()
}

/// Becomes the user, and the program in a namespace of it.
fn run_inside(program: &Path, args: &[OsString]) -> io::Error {
    // SAFETY: these change this process, of one thread, and touch no memory of it.
    let changed = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setresgid(ID, ID, ID) == 0
            && libc::setresuid(ID, ID, ID) == 0
            // A process that has changed its user belongs to root otherwise, and nobody else may map its ids.
            && libc::prctl(libc::PR_SET_DUMPABLE, 1) == 0
    };
    if !changed {
        return io::Error::last_os_error();
    }
    match wharf_userns::run(program, args) {
        Ok(code) => std::process::exit(code.into()),
        Err(error) => io::Error::other(error.to_string()),
    }
}

/// What the user sees.
fn prepare(user: &User) -> io::Result<()> {
    let here = std::env::current_dir()?;
    // SAFETY: this process has one thread, and what it has open stays open.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // In memory and seen by nobody else, on a directory that every machine has.
    let scratch = Path::new("/mnt");
    rustix::mount::mount("tmpfs", scratch, "tmpfs", MountFlags::empty(), c"mode=755")?;
    accounts(user, scratch)?;
    tunnel(scratch)?;
    for program in &user.hidden {
        rustix::mount::mount_bind("/dev/null", program)?;
    }
    expose(user)?;
    // As the user sees it, which may be another mount than it was.
    std::env::set_current_dir(here)
}

/// The files of accounts, with the user's added, over the machine's.
fn accounts(user: &User, scratch: &Path) -> io::Result<()> {
    let (upper, work) = (scratch.join("etc"), scratch.join("work"));
    fs::create_dir(&upper)?;
    fs::create_dir(&work)?;
    let home = user.home.display();
    let range = if user.has_ids {
        format!("{NAME}:{}:{}\n", IDS.0, IDS.1)
    } else {
        String::new()
    };
    for (file, line) in [
        ("passwd", format!("{NAME}:x:{ID}:{ID}::{home}:/bin/sh\n")),
        ("group", format!("{NAME}:x:{ID}:\n")),
        ("subuid", range.clone()),
        ("subgid", range),
    ] {
        let now = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
        fs::write(upper.join(file), now + &line)?;
    }
    let options = format!(
        "lowerdir=/etc,upperdir={},workdir={}",
        upper.display(),
        work.display()
    );
    let options = std::ffi::CString::new(options)?;
    Ok(rustix::mount::mount(
        "overlay",
        "/etc",
        "overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?)
}

/// The device of tunnels, as machines for people have it: open to all.
fn tunnel(scratch: &Path) -> io::Result<()> {
    let usual = Path::new("/dev/net/tun");
    if !usual.exists() {
        return Ok(());
    }
    let open = scratch.join("tun");
    let number = fs::metadata(usual)?.rdev();
    rustix::fs::mknodat(
        CWD,
        &open,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        number,
    )?;
    fs::set_permissions(&open, fs::Permissions::from_mode(0o666))?;
    Ok(rustix::mount::mount_bind(&open, usual)?)
}

/// Makes paths reachable whose parents are closed: the outermost closed one is covered, and has nothing but them.
fn expose(user: &User) -> io::Result<()> {
    let owner = if user.owned.is_empty() {
        None
    } else {
        Some(owners()?)
    };
    let all = user.exposed.iter().map(|path| (path, None));
    let all = all.chain(user.owned.iter().map(|path| (path, owner.as_ref())));
    let mut trees = Vec::new();
    for (path, owner) in all {
        let path = path.canonicalize()?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, &path, flags)?;
        if let Some(owner) = owner {
            set_owners(&tree, owner)?;
        }
        trees.push((path, tree));
    }
    let mut covered: Vec<PathBuf> = Vec::new();
    for (path, _) in &trees {
        if let Some(closed) = path.ancestors().skip(1).filter(|parent| is_closed(parent)).last()
            && !covered.iter().any(|covered| covered == closed)
        {
            covered.push(closed.to_owned());
        }
    }
    for closed in &covered {
        rustix::mount::mount("tmpfs", closed, "tmpfs", MountFlags::empty(), c"mode=755")?;
    }
    for (path, tree) in trees {
        if !path.exists() {
            make_point(&path, &tree)?;
        }
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(tree.as_fd(), "", CWD, &path, flags)?;
    }
    Ok(())
}

fn is_closed(directory: &Path) -> bool {
    fs::metadata(directory).is_ok_and(|facts| facts.mode() & 0o001 == 0)
}

fn make_point(path: &Path, tree: &OwnedFd) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent)?;
    if kind == FileType::Directory {
        fs::create_dir(path)
    } else {
        fs::File::create(path).map(drop)
    }
}

/// A user namespace whose ids say what belongs to whom in a mount: what is root's is the user's, and those that are set aside
/// stay what they are.
fn owners() -> io::Result<OwnedFd> {
    // A process that is in such a namespace for as long as we look.
    let mut holder = Command::new("unshare")
        .args(["--user", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    // It answers once it is there.
    if let Some(stdin) = &mut holder.stdin {
        io::Write::write_all(stdin, b"x")?;
    }
    let mut answer = [0];
    if let Some(stdout) = &mut holder.stdout {
        stdout.read_exact(&mut answer)?;
    }
    let of = |name: &str| format!("/proc/{}/{name}", holder.id());
    let map = format!(
        "0 {ID} 1\n{first} {first} {count}\n",
        first = IDS.0,
        count = IDS.1
    );
    fs::write(of("uid_map"), &map)?;
    fs::write(of("gid_map"), &map)?;
    let namespace = fs::File::open(of("ns/user"))?;
    drop(holder.stdin.take());
    holder.wait()?;
    Ok(namespace.into())
}

/// What `mount_setattr` takes, from linux/mount.h.
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

fn set_owners(tree: &OwnedFd, namespace: &OwnedFd) -> io::Result<()> {
    const IDMAP: u64 = 0x0010_0000;
    let attributes = MountAttributes {
        set: IDMAP,
        clear: 0,
        propagation: 0,
        namespace: namespace.as_raw_fd() as u64,
    };
    // SAFETY: the path is an empty string and the structure as long as is said; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
