//! One file as a value, with its builders and reads.

use crate::bindings::wharf::pipeline::{eval, exports, filesystem as raw};
use crate::{Directory, Result, SearchMatch, SearchOptions, Stat};

/// One file. Every builder returns a new one and leaves this as it was.
///
/// ```
/// use wharf_sdk::prelude::*;
///
/// async fn first_line(file: File) -> Result<String> {
///     if file.size().await? > 1_000_000 {
///         return Err("that is too much to look at".into());
///     }
///     let text = file.contents().await?;
///     Ok(text.lines().next().unwrap_or_default().to_owned())
/// }
///
/// fn licence() -> File {
///     File::new("LICENSE", "Do as you like.\n").with_name("COPYING")
/// }
/// ```
#[derive(Debug)]
pub struct File(pub(crate) raw::File);

impl From<raw::File> for File {
    fn from(file: raw::File) -> Self {
        Self(file)
    }
}

impl From<File> for raw::File {
    fn from(file: File) -> Self {
        file.0
    }
}

impl File {
    /// A file with this name and text, mode 0o644.
    pub fn new(name: impl AsRef<str>, contents: impl AsRef<str>) -> Self {
        Self(raw::File::new(name.as_ref(), contents.as_ref()))
    }

    /// The same file under another name.
    #[must_use]
    pub fn with_name(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.with_name(name.as_ref()))
    }

    /// What the file holds: an archive (tar, zip, deb) or the one file that was compressed (gzip, xz, bzip2, zstd), told by its
    /// content whatever its name is. An archive that would write outside of the directory, makes devices or unpacks to far
    /// more than it is, is refused when the directory is read.
    ///
    /// ```no_run
    /// # use wharf_sdk::prelude::*;
    /// # async fn license(archive: File) -> Result<String> {
    /// archive.unpack().file("tool-1.4.0/LICENSE").contents().await
    /// # }
    /// ```
    pub fn unpack(&self) -> Directory {
        self.0.unpack().into()
    }

    /// The same file with `replacement` in the one place where `text` is. Text that is not there, or in several places, is an
    /// error once the result is read.
    ///
    /// ```no_run
    /// # use wharf_sdk::prelude::*;
    /// # fn example(source: Directory, version: String) -> Directory {
    /// let manifest = source.file("Cargo.toml");
    /// source.with_file("Cargo.toml", &manifest.with_replaced("0.0.0-dev", version))
    /// # }
    /// ```
    #[must_use]
    pub fn with_replaced(&self, text: impl AsRef<str>, replacement: impl AsRef<str>) -> Self {
        Self(self.0.with_replaced(text.as_ref(), replacement.as_ref(), false))
    }

    /// The same file with `replacement` in every place where `text` is, of which there must be one.
    #[must_use]
    pub fn with_all_replaced(&self, text: impl AsRef<str>, replacement: impl AsRef<str>) -> Self {
        Self(self.0.with_replaced(text.as_ref(), replacement.as_ref(), true))
    }

    /// The same file owned by `owner` (`uid` or `uid:gid`).
    #[must_use]
    pub fn chown(&self, owner: impl AsRef<str>) -> Self {
        Self(self.0.chown(owner.as_ref()))
    }

    /// The same file with this modification time, in seconds since 1970.
    #[must_use]
    pub fn with_timestamps(&self, seconds: u64) -> Self {
        Self(self.0.with_timestamps(seconds))
    }

    /// The file as text; an `invalid` error when it is not UTF-8 or larger than 16 MiB.
    pub async fn contents(&self) -> Result<String> {
        Ok(eval::contents(&self.0).await?)
    }

    /// The file's bytes; an `invalid` error when there are more than 16 MiB.
    pub async fn contents_bytes(&self) -> Result<Vec<u8>> {
        Ok(eval::contents_bytes(&self.0).await?)
    }

    /// At most `length` bytes from `offset` on; fewer at the end of the file.
    pub async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        Ok(eval::read(&self.0, offset, length).await?)
    }

    /// Size in bytes.
    pub async fn size(&self) -> Result<u64> {
        Ok(eval::file_size(&self.0).await?)
    }

    /// Facts about the file.
    pub async fn stat(&self) -> Result<Stat> {
        Ok(eval::file_stat(&self.0).await?)
    }

    /// Digest of name, mode, owner and bytes; the same on every machine.
    pub async fn digest(&self) -> Result<String> {
        Ok(eval::file_digest(&self.0).await?)
    }

    /// Lines that match a regular expression; none in a file that is not text.
    pub async fn search(&self, pattern: impl Into<String>) -> Result<Vec<SearchMatch>> {
        Ok(eval::file_search(&self.0, pattern.into(), None).await?)
    }

    /// As [`search`](Self::search), with options.
    pub async fn search_opts(
        &self,
        pattern: impl Into<String>,
        options: &SearchOptions,
    ) -> Result<Vec<SearchMatch>> {
        Ok(eval::file_search(&self.0, pattern.into(), Some(&options.0)).await?)
    }

    /// The file as JSON text, checked: an `invalid` error says in which line it is none.
    pub async fn as_json(&self) -> Result<String> {
        Ok(eval::as_json(&self.0).await?)
    }

    /// Make the file, read nothing.
    pub async fn sync(&self) -> Result<()> {
        Ok(eval::file_sync(&self.0).await?)
    }

    /// Write the file to the caller's disk; a path that ends in `/` or names a directory keeps the file's own name.
    pub async fn export(&self, path: impl Into<String>) -> Result<()> {
        Ok(exports::export_file(&self.0, path.into()).await?)
    }
}
