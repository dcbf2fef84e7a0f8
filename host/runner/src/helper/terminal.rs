//! The terminal of a step that is to have one, made from inside its container.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use oci_spec::runtime::Process;
use rustix::{
    fs::{Mode, OFlags, Uid},
    pty::OpenptFlags,
    termios::Winsize,
};

use super::{doing::Doing, send};

/// Makes a terminal in the container's own file system of terminals, sends its other end over `console`, and makes it the
/// container's console. Returns the standard descriptors of a program that runs on it.
pub(super) fn open(process: &Process, console: &OwnedFd) -> io::Result<Vec<OwnedFd>> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let end = rustix::fs::open("/dev/pts/ptmx", flags, Mode::empty()).doing("making a terminal")?;
    rustix::pty::unlockpt(&end).doing("unlocking the terminal")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let terminal = rustix::pty::ioctl_tiocgptpeer(&end, flags).doing("opening the terminal")?;
    if let Some(size) = process.console_size() {
        let letters = |count: u64| u16::try_from(count).unwrap_or(u16::MAX);
        let size = Winsize {
            ws_row: letters(size.height()),
            ws_col: letters(size.width()),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&terminal, size).doing("the terminal's size")?;
    }
    // Programs open it again by its name.
    let user = Uid::from_raw(process.user().uid());
    rustix::fs::fchown(&terminal, Some(user), None).doing("giving the terminal to the user")?;
    let name = rustix::pty::ptsname(&end, Vec::new()).doing("the terminal's name")?;
    let file = rustix::fs::open(
        "/dev/console",
        OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    );
    file.doing("making /dev/console")?;
    rustix::mount::mount_bind(OsStr::from_bytes(name.as_bytes()), "/dev/console")
        .doing("mounting /dev/console")?;
    send(console, b"terminal", &[end.as_fd()]).doing("handing the terminal over")?;
    Ok(vec![terminal.try_clone()?, terminal.try_clone()?, terminal])
}
