//! Files: what is known of them, who may read them, and bytes at a place.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    path::Path,
};

use serde::{Deserialize, Serialize};

/// What changes about a file when somebody writes to it. Times are nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Bytes.
    pub size: u64,
    /// When it was written to last, as whoever did it says.
    pub modified: i64,
    /// When it, or what is said of it, changed last, as the system says. Where there is no such time, when it was made.
    pub changed: i64,
    /// Its number on its file system; 0 where files have none.
    pub inode: u64,
    /// The file system; 0 where files have no numbers.
    pub device: u64,
}

impl Facts {
    /// As the file was when its metadata was read.
    #[cfg(unix)]
    pub fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let time =
            |seconds: i64, nanoseconds: i64| seconds.wrapping_mul(1_000_000_000).wrapping_add(nanoseconds);
        Self {
            size: metadata.size(),
            modified: time(metadata.mtime(), metadata.mtime_nsec()),
            changed: time(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    /// As the file was when its metadata was read.
    #[cfg(not(unix))]
    pub fn of(metadata: &Metadata) -> Self {
        let time = |time: io::Result<std::time::SystemTime>| {
            time.ok()
                .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        };
        Self {
            size: metadata.len(),
            modified: time(metadata.modified()),
            changed: time(metadata.created()),
            inode: 0,
            device: 0,
        }
    }
}

/// Permission bits, with those for running as another. Where there are none: what everyone's files have that may be run, as
/// nothing tells which may not.
pub fn mode(metadata: &Metadata) -> u32 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.permissions().mode() & 0o7777
    }
    #[cfg(not(unix))]
    if metadata.permissions().readonly() {
        0o555
    } else {
        0o755
    }
}

/// Sets permission bits. Where there are none, a file that its owner may not write to becomes read-only.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(unix)]
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    #[cfg(not(unix))]
    let permissions = {
        let mut permissions = path.metadata()?.permissions();
        permissions.set_readonly(mode & 0o200 == 0);
        permissions
    };
    std::fs::set_permissions(path, permissions)
}

/// Can others than its owner read it? Where there are no permission bits, nobody knows and the directory decides.
pub fn is_open_to_others(metadata: &Metadata) -> bool {
    cfg!(unix) && mode(metadata) & 0o077 != 0
}

/// A directory for its owner alone, with those above it.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// A new file with these permission bits from its first byte on.
pub fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(path)
}

/// Can nobody but this user, and the system's own, write to what is in the directory?
pub fn is_private_directory(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let own = rustix::process::geteuid().as_raw();
        path.metadata()
            .is_ok_and(|metadata| metadata.uid() == own && metadata.mode() & 0o022 == 0)
    }
    // In a user's own directories, as the system makes them.
    #[cfg(not(unix))]
    path.is_dir()
}

/// Reads what is at a place; less than the buffer holds where the file ends.
pub fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::read_at(file, buffer, at)
    }
    #[cfg(windows)]
    {
        std::os::windows::fs::FileExt::seek_read(file, buffer, at)
    }
}

/// Fills the buffer from a place.
pub fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                buffer = &mut buffer[count..];
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of it at a place.
pub fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
    }
    #[cfg(windows)]
    {
        let (mut bytes, mut at) = (bytes, at);
        while !bytes.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
            bytes = &bytes[count..];
            at += count as u64;
        }
        Ok(())
    }
}

/// Why nothing can be made in a directory.
pub fn check_writable(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Access, access};
        Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
    }
    #[cfg(not(unix))]
    if directory.metadata()?.permissions().readonly() {
        Err(io::ErrorKind::PermissionDenied.into())
    } else {
        Ok(())
    }
}

/// Bytes that are free on a directory's file system for this user, and all that it has.
pub fn room(directory: &Path) -> Option<(u64, u64)> {
    #[cfg(unix)]
    {
        let room = rustix::fs::statvfs(directory).ok()?;
        Some((room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = directory;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_where_they_were_put() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = create_new(&path, 0o600).unwrap();
        write_all_at(&file, b"world", 6).unwrap();
        write_all_at(&file, b"hello ", 0).unwrap();
        let file = File::open(&path).unwrap();
        let mut buffer = [0; 5];
        read_exact_at(&file, &mut buffer, 6).unwrap();
        assert_eq!(&buffer, b"world");
        assert_eq!(read_at(&file, &mut buffer, 9).unwrap(), 2);
        let short = read_exact_at(&file, &mut buffer, 9).unwrap_err();
        assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_private_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let private = directory.path().join("a/b");
        create_private_directory(&private).unwrap();
        assert!(is_private_directory(&private));
        let file = private.join("key");
        create_new(&file, 0o600).unwrap();
        assert!(!is_open_to_others(&file.metadata().unwrap()));
        set_mode(&file, 0o644).unwrap();
        assert!(is_open_to_others(&file.metadata().unwrap()));
        set_mode(&private, 0o777).unwrap();
        assert!(!is_private_directory(&private));
    }
}
