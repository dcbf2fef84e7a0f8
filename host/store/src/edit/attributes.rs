//! Extended attributes, and the one of ours that says that a modification time was set explicitly.
//!
//! Overlay's own are never shown, copied or compared.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd},
    sync::LazyLock,
};

use rustix::{fs::XattrFlags, io::Errno};

use crate::ordinary;

/// The attribute that says that a modification time was set explicitly and is part of the identity.
pub(crate) static TIME_SET: LazyLock<String> = LazyLock::new(|| ordinary::attribute("wharf.time"));
/// How the names of overlay's own attributes begin.
const OVERLAY: &str = "overlay.";
/// The most bytes that the kernel takes as a value.
const VALUE: usize = 64 * 1024;

/// Names and values, sorted by name.
pub(crate) type Attributes = Vec<(String, Vec<u8>)>;

/// What has extended attributes: an open file, or a [`Name`].
pub(crate) trait Attributed {
    /// Writes the names, each ended by a zero; returns their length.
    fn list(&self, names: &mut [u8]) -> rustix::io::Result<usize>;
    /// Writes a value; returns its length.
    fn get(&self, name: &str, value: &mut [u8]) -> rustix::io::Result<usize>;
    /// Sets a value.
    fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()>;
}

impl<F: AsFd> Attributed for F {
    fn list(&self, names: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::fs::flistxattr(self, names)
    }

    fn get(&self, name: &str, value: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::fs::fgetxattr(self, name, value)
    }

    fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        rustix::fs::fsetxattr(self, name, value, XattrFlags::empty())
    }
}

/// A name in a directory, which is not followed: links, pipes and devices have attributes, and cannot be opened for them.
pub(crate) struct Name(CString);

impl Name {
    /// The name in this directory, for as long as that is open.
    pub(crate) fn of(directory: &impl AsFd, name: &[u8]) -> io::Result<Self> {
        let directory = directory.as_fd().as_raw_fd();
        let path = [format!("/proc/self/fd/{directory}/").as_bytes(), name].concat();
        Ok(Self(CString::new(path)?))
    }
}

impl Attributed for Name {
    fn list(&self, names: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::fs::llistxattr(&self.0, names)
    }

    fn get(&self, name: &str, value: &mut [u8]) -> rustix::io::Result<usize> {
        rustix::fs::lgetxattr(&self.0, name, value)
    }

    fn set(&self, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
        rustix::fs::lsetxattr(&self.0, name, value, XattrFlags::empty())
    }
}

/// All of them.
pub(crate) fn xattrs(of: &impl Attributed) -> io::Result<Attributes> {
    let mut found = Vec::new();
    for name in names(of)? {
        let mut value = vec![0; VALUE];
        let length = of.get(&name, &mut value)?;
        value.truncate(length);
        found.push((name, value));
    }
    Ok(found)
}

/// Copies all of them.
pub(crate) fn copy_xattrs(source: &impl Attributed, target: &impl Attributed) -> io::Result<()> {
    for (name, value) in xattrs(source)? {
        target.set(name.as_bytes(), &value)?;
    }
    Ok(())
}

/// Makes the modification time, in nanoseconds since 1970, part of the identity until the file is written again.
pub(super) fn mark_time(file: &impl Attributed, modified: i64) -> io::Result<()> {
    match file.set(TIME_SET.as_bytes(), &modified.to_le_bytes()) {
        // Attributes that users may set are for files and directories: where the machine's root alone may set others, the times
        // of links are not part of the identity.
        Err(Errno::PERM) if !ordinary::is_trusted() => Ok(()),
        outcome => Ok(outcome?),
    }
}

/// Was the modification time set explicitly, and is it still the one that was?
pub(crate) fn is_time_set(attributes: &[(String, Vec<u8>)], modified: i64) -> bool {
    let marked =
        |(name, value): &(String, Vec<u8>)| *name == *TIME_SET && value.as_slice() == modified.to_le_bytes();
    attributes.iter().any(marked)
}

fn names(of: &impl Attributed) -> io::Result<Vec<String>> {
    let mut list = vec![0; 4096];
    let length = loop {
        match of.list(&mut list) {
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::NOTSUP) => break 0,
            Err(error) => return Err(error.into()),
        }
    };
    let names = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    let mut names: Vec<String> = names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.retain(|name| !ordinary::is_attribute(name.as_bytes(), OVERLAY));
    names.sort();
    Ok(names)
}
