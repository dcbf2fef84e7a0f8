//! The first process of a step's container.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, BufReader, Read, Stdin, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::{PermissionsExt, chown, symlink},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use wharf_runner::Inside;
use wharf_store::{Before, read_layer};

use crate::{
    HOME, PRIVATE,
    error::{Context, Error, Result},
    wire::{Frame, Job, Kind, PlacedFile},
};

/// Bytes that are passed on at once.
const PIECE: usize = 64 * 1024;

/// Does what the engine sends and ends.
pub fn main() -> ! {
    let up = Up::default();
    let code = match run(&up) {
        Ok(()) => 0,
        // There is nobody to tell.
        Err(Error::Gone) => 1,
        Err(error) => {
            up.send(Kind::Failed, error.to_string().as_bytes()).ok();
            1
        }
    };
    // Every other process of the container ends with this one.
    std::process::exit(code)
}

/// What goes to the engine.
#[derive(Clone, Default)]
struct Up(Arc<Mutex<()>>);

impl Up {
    fn send(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let _alone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Frame::write(&mut Output, kind, bytes)
    }
}

/// The standard output, without a buffer: frames are written at once.
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(rustix::stdio::stdout(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The layer on its way to the engine.
struct LayerPieces<'u> {
    up: &'u Up,
    piece: Vec<u8>,
}

impl Write for LayerPieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.up.send(Kind::Layer, &self.piece)?;
        self.piece.clear();
        Ok(())
    }
}

/// The file, tree or input that the engine sends next.
struct Part<'d> {
    down: &'d mut BufReader<Stdin>,
    piece: Vec<u8>,
    read: usize,
    is_whole: bool,
}

impl<'d> Part<'d> {
    fn of(down: &'d mut BufReader<Stdin>) -> Self {
        Self {
            down,
            piece: Vec::new(),
            read: 0,
            is_whole: false,
        }
    }

    /// The next piece; none at the end.
    fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.is_whole {
            return Ok(None);
        }
        let frame = Frame::read(self.down)?;
        match frame.kind {
            Kind::Data => Ok(Some(frame.bytes)),
            Kind::End => {
                self.is_whole = true;
                Ok(None)
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a frame out of place")),
        }
    }

    /// Passes over what is left of it.
    fn finish(mut self) -> io::Result<()> {
        while self.piece()?.is_some() {}
        Ok(())
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() {
            match self.piece()? {
                None => return Ok(0),
                Some(piece) => (self.piece, self.read) = (piece, 0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.read);
        buffer[..count].copy_from_slice(&self.piece[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

fn run(up: &Up) -> Result<()> {
    let mut down = BufReader::with_capacity(PIECE, io::stdin());
    let frame = Frame::read(&mut down).map_err(|_| Error::Gone)?;
    let unreadable = |error: serde_json::Error| Error::Unreadable(error.to_string());
    let job: Job = match frame.kind {
        Kind::Job => serde_json::from_slice(&frame.bytes).map_err(unreadable)?,
        other => return Err(Error::Unreadable(format!("it begins with {other:?}"))),
    };
    let mut passed_over = mount_points()?;
    passed_over.insert(relative(Path::new(HOME)));
    let (mut placed, mut made) = (Vec::new(), Vec::new());
    for (number, file) in job.files.iter().enumerate() {
        let mut part = Part::of(&mut down);
        placed.push(place(file, number, &mut part, &mut made)?);
        part.finish().context(&file.path)?;
    }
    passed_over.extend(placed.iter().map(|path| relative(path)));
    for path in &job.trees {
        let mut part = Part::of(&mut down);
        read_layer(&mut part, Path::new(path))?;
        part.finish().context(path)?;
    }
    let Some(spec) = job.spec else {
        return up.send(Kind::Done, b"").context("the engine");
    };
    let made_paths = made.iter().map(|path| relative(path)).collect();
    let before = Before::look(Path::new("/"), passed_over, &made_paths)?;
    let (stdin, to_program) = pipe()?;
    let (from_stdout, stdout) = pipe()?;
    let (from_stderr, stderr) = pipe()?;
    let program = Inside::start(&spec, &[stdin, stdout, stderr])?;
    thread::spawn(move || feed(down, File::from(to_program)));
    let printed = [(Kind::Stdout, from_stdout), (Kind::Stderr, from_stderr)].map(|(kind, from)| {
        let up = up.clone();
        thread::spawn(move || pass_on(&up, kind, File::from(from)))
    });
    let outcome = program.wait()?;
    for printed in printed {
        printed
            .join()
            .map_err(|_| Error::Gone)?
            .map_err(|_| Error::Gone)?;
    }
    // One may lie in a volume that stays.
    for path in &placed {
        fs::remove_file(path).ok();
    }
    // Those that the step has put something into are its own now.
    for path in made.iter().rev() {
        fs::remove_dir(path).ok();
    }
    let outcome = serde_json::to_vec(&outcome).map_err(unreadable)?;
    up.send(Kind::Outcome, &outcome).map_err(|_| Error::Gone)?;
    let mut layer = LayerPieces {
        up,
        piece: Vec::with_capacity(2 * PIECE),
    };
    before.write_changes(Path::new("/"), &mut layer)?;
    layer.flush().map_err(|_| Error::Gone)?;
    up.send(Kind::Done, b"").map_err(|_| Error::Gone)
}

/// Both ends of a pipe; the program gets neither but as one of its standard descriptors.
fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("a step's standard descriptors")
}

/// Gives the program its input. When the engine is gone the step ends.
fn feed(mut down: BufReader<Stdin>, to: File) {
    let mut part = Part::of(&mut down);
    let mut to = Some(to);
    loop {
        match part.piece() {
            Ok(Some(piece)) => {
                // A program need not read its input.
                if to.as_mut().is_some_and(|to| to.write_all(&piece).is_err()) {
                    to = None;
                }
            }
            Ok(None) => break,
            Err(_) => std::process::exit(1),
        }
    }
    drop(to);
    // Nothing more is said; that the connection is closed is.
    Frame::read(&mut down).ok();
    std::process::exit(1)
}

/// What the program prints.
fn pass_on(up: &Up, kind: Kind, mut from: File) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            count => up.send(kind, &piece[..count])?,
        }
    }
}

/// Puts a file where the step finds it; returns where that is once links are followed. Directories that have to be made for it
/// are added to `made`, outer ones first.
fn place(
    file: &PlacedFile,
    number: usize,
    content: &mut Part<'_>,
    made: &mut Vec<PathBuf>,
) -> Result<PathBuf> {
    let path = Path::new(&file.path);
    let parent = path.parent().unwrap_or(Path::new("/"));
    let missing: Vec<&Path> = parent.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(parent).context(&file.path)?;
    for directory in missing.into_iter().rev() {
        made.push(directory.canonicalize().context(&file.path)?);
    }
    let name = path.file_name().unwrap_or_default();
    let placed = parent.canonicalize().context(&file.path)?.join(name);
    match fs::remove_file(&placed) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).context(&file.path);
        }
        _ => {}
    }
    let target = if file.private {
        let target = Path::new(PRIVATE).join(number.to_string());
        symlink(&target, &placed).context(&file.path)?;
        target
    } else {
        placed.clone()
    };
    let mut open = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(open.write(true).create_new(true), 0o600);
    let mut written = open.open(&target).context(&file.path)?;
    io::copy(content, &mut written).context(&file.path)?;
    let (uid, gid) = file.owner;
    chown(&target, Some(uid), Some(gid)).context(&file.path)?;
    written
        .set_permissions(PermissionsExt::from_mode(file.mode))
        .context(&file.path)?;
    Ok(placed)
}

/// Where something else than the root is mounted.
fn mount_points() -> Result<HashSet<Vec<u8>>> {
    let text = fs::read("/proc/self/mountinfo").context("what is mounted")?;
    let points = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    let points = points.map(|point| PathBuf::from(std::ffi::OsString::from_vec(unescaped(point))));
    Ok(points
        .filter(|point| point != Path::new("/"))
        .map(|point| relative(&point))
        .collect())
}

/// As the kernel writes names: bytes that would be in the way are three octal digits.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|digits| *byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) => {
                let value = digits
                    .iter()
                    .fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                plain.push(value as u8);
                rest = &after[3..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

/// A path as seen from the root.
fn relative(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_have_their_own_names() {
        assert_eq!(unescaped(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescaped(br"/a\04"), br"/a\04");
        assert!(mount_points().unwrap().contains(b"proc".as_slice()));
    }
}
