//! Paths as bytes with `/` between their names, as Linux has them and engines are told of them.

use std::{
    borrow::Cow,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// A relative path as bytes.
pub fn to_bytes(path: &Path) -> Cow<'_, [u8]> {
    let bytes = path.as_os_str().as_encoded_bytes();
    if cfg!(windows) && bytes.contains(&b'\\') {
        return Cow::Owned(
            bytes
                .iter()
                .map(|byte| if *byte == b'\\' { b'/' } else { *byte })
                .collect(),
        );
    }
    Cow::Borrowed(bytes)
}

/// A path from bytes. Where names are no bytes, what is no UTF-8 in them is replaced.
pub fn from_bytes(bytes: &[u8]) -> PathBuf {
    PathBuf::from(name_from_bytes(bytes).into_owned())
}

/// One name from bytes.
pub fn name_from_bytes(bytes: &[u8]) -> Cow<'_, OsStr> {
    #[cfg(unix)]
    {
        Cow::Borrowed(std::os::unix::ffi::OsStrExt::from_bytes(bytes))
    }
    #[cfg(not(unix))]
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Cow::Borrowed(OsStr::new(text)),
        Cow::Owned(text) => Cow::Owned(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_back() {
        for bytes in [&b"a/b c"[..], "ä/ö".as_bytes()] {
            assert_eq!(to_bytes(&from_bytes(bytes)).as_ref(), bytes);
        }
        if cfg!(unix) {
            assert_eq!(to_bytes(&from_bytes(b"a\xff\\b")).as_ref(), b"a\xff\\b");
        }
    }
}
