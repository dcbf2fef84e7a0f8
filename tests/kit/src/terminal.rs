//! A terminal with a program on it, and somebody who types and reads.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::{
    pty::OpenptFlags,
    termios::{Termios, Winsize},
};

use crate::process;

/// When a test that waits for a text gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal. Its program is killed when it is dropped.
#[derive(Debug)]
pub struct Terminal {
    end: File,
    /// Keeps its settings when the program has ended.
    terminal: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How much of it was looked at.
    read: usize,
}

/// A terminal's settings, to be compared.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings(String);

fn settings(of: &Termios) -> Settings {
    Settings(format!(
        "{:?} {:?} {:?} {:?}",
        of.input_modes, of.output_modes, of.control_modes, of.local_modes
    ))
}

fn size((rows, columns): (u16, u16)) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Runs a command on a terminal of so many rows and columns.
    ///
    /// # Panics
    /// When there is no terminal, or the command cannot be run.
    pub fn start(command: &Command, rows_and_columns: (u16, u16)) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let end = rustix::pty::openpt(flags).expect("a terminal");
        rustix::pty::unlockpt(&end).expect("an unlocked terminal");
        let terminal = File::from(rustix::pty::ioctl_tiocgptpeer(&end, flags).expect("its other end"));
        rustix::termios::tcsetwinsize(&terminal, size(rows_and_columns)).expect("a size");
        // It begins a session whose terminal its standard input is, as a login does, and becomes the program.
        let mut on_terminal = Command::new("setsid");
        on_terminal
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("TERM", "xterm-256color");
        if let Some(directory) = command.get_current_dir() {
            on_terminal.current_dir(directory);
        }
        let copy = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        on_terminal.stdin(copy()).stdout(copy()).stderr(copy());
        let child = on_terminal
            .spawn()
            .unwrap_or_else(|error| panic!("{on_terminal:?}: {error}"));
        let end = File::from(end);
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let (mut reading, writing) = (end.try_clone().expect("a descriptor"), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reading.read(&mut buffer) {
                let mut shown = writing.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            end,
            terminal,
            child,
            shown,
            read: 0,
        }
    }

    /// Waits until the text is shown, after what was waited for before, and returns what is shown between them.
    ///
    /// # Panics
    /// When it does not show up.
    #[track_caller]
    pub fn sees(&mut self, text: &str) -> String {
        let from = self.read;
        let found = process::wait_for(PATIENCE, || {
            let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
            let at = shown[from..]
                .windows(text.len())
                .position(|part| part == text.as_bytes())?;
            Some((
                String::from_utf8_lossy(&shown[from..from + at]).into_owned(),
                from + at + text.len(),
            ))
        });
        let Some((before, read)) = found else {
            panic!("{text:?} is not shown; this is:\n{}", self.all());
        };
        self.read = read;
        before
    }

    /// All that was shown until now.
    pub fn all(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Presses these keys.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn types(&mut self, keys: &str) {
        self.end
            .write_all(keys.as_bytes())
            .expect("the terminal takes keys");
    }

    /// Makes it larger or smaller.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn resize(&self, rows_and_columns: (u16, u16)) {
        rustix::termios::tcsetwinsize(&self.end, size(rows_and_columns)).expect("a size");
    }

    /// Its settings.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn settings(&self) -> Settings {
        settings(&rustix::termios::tcgetattr(&self.terminal).expect("settings"))
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the program has ended; its exit code, 128 and the signal's number when a signal ended it.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let ended = process::wait_for(PATIENCE, || self.child.try_wait().ok().flatten());
        let Some(status) = ended else {
            panic!("it does not end; this is shown:\n{}", self.all());
        };
        status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
