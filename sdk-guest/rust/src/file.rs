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
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let config = File::new("app.toml", "workers = 4\n");
    /// ```
    pub fn new(name: impl AsRef<str>, contents: impl AsRef<str>) -> Self {
        Self(raw::File::new(name.as_ref(), contents.as_ref()))
    }

    /// The same file under another name.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let renamed = host::file("config.example.toml").with_name("config.toml");
    /// ```
    #[must_use]
    pub fn with_name(&self, name: impl AsRef<str>) -> Self {
        Self(self.0.with_name(name.as_ref()))
    }

    /// What the file holds: an archive (tar, zip, deb) or the one file that was compressed (gzip, xz, bzip2, zstd), told by its
    /// content whatever its name is. An archive that would write outside of the directory, makes devices or unpacks to far
    /// more than it is, is refused when the directory is read.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = http::fetch("https://example.com/tool-1.4.0.tar.gz").file().unpack().directory("tool-1.4.0");
    /// ```
    pub fn unpack(&self) -> Directory {
        self.0.unpack().into()
    }

    /// The same file with `replacement` in the one place where `text` is. Text that is not there, or in several places, is an
    /// error once the result is read.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let released = host::file("Cargo.toml").with_replaced("0.0.0", "1.4.2");
    /// ```
    #[must_use]
    pub fn with_replaced(&self, text: impl AsRef<str>, replacement: impl AsRef<str>) -> Self {
        Self(self.0.with_replaced(text.as_ref(), replacement.as_ref(), false))
    }

    /// The same file with `replacement` in every place where `text` is, of which there must be one.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let page = host::file("index.html").with_all_replaced("@VERSION@", "1.4.2");
    /// ```
    #[must_use]
    pub fn with_all_replaced(&self, text: impl AsRef<str>, replacement: impl AsRef<str>) -> Self {
        Self(self.0.with_replaced(text.as_ref(), replacement.as_ref(), true))
    }

    /// The same file owned by `owner` (`uid` or `uid:gid`).
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let key = host::file("deploy.pub").chown("1000:1000");
    /// ```
    #[must_use]
    pub fn chown(&self, owner: impl AsRef<str>) -> Self {
        Self(self.0.chown(owner.as_ref()))
    }

    /// The same file with this modification time, in seconds since 1970.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let reproducible = host::file("app").with_timestamps(0);
    /// ```
    #[must_use]
    pub fn with_timestamps(&self, seconds: u64) -> Self {
        Self(self.0.with_timestamps(seconds))
    }

    /// The file as text; an `invalid` error when it is not UTF-8 or larger than 16 MiB.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("contents", "1.4.2\n").plan(async {
    /// let version = host::file("VERSION").contents().await?.trim().to_owned();
    /// # assert_eq!(version, "1.4.2");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn contents(&self) -> Result<String> {
        Ok(eval::contents(&self.0).await?)
    }

    /// The file's bytes; an `invalid` error when there are more than 16 MiB.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("contents_bytes", vec![0x7f, b'E', b'L', b'F']).plan(async {
    /// let is_elf = host::file("app").contents_bytes().await?.starts_with(b"\x7fELF");
    /// # assert!(is_elf);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn contents_bytes(&self) -> Result<Vec<u8>> {
        Ok(eval::contents_bytes(&self.0).await?)
    }

    /// At most `length` bytes from `offset` on; fewer at the end of the file.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("read", vec![0_u8; 512]).plan(async {
    /// let first_sector = host::file("disk.img").read(0, 512).await?;
    /// # assert_eq!(first_sector.len(), 512);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>> {
        Ok(eval::read(&self.0, offset, length).await?)
    }

    /// Size in bytes.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("size", 4096_u64).plan(async {
    /// if host::file("dist/app.js").size().await? > 1 << 20 {
    ///     log::warn("the bundle is larger than 1 MiB");
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn size(&self) -> Result<u64> {
        Ok(eval::file_size(&self.0).await?)
    }

    /// Facts about the file.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("stat", wharf_sdk::Stat { name: "app".into(), kind: wharf_sdk::FileKind::Regular, size: 5_000_000, mode: 0o755, uid: 0, gid: 0 }).plan(async {
    /// let is_program = host::file("tool").stat().await?.mode & 0o111 != 0;
    /// # assert!(is_program);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn stat(&self) -> Result<Stat> {
        Ok(eval::file_stat(&self.0).await?)
    }

    /// Digest of name, mode, owner and bytes; the same on every machine.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("digest", "b3:0").plan(async {
    /// let digest = host::file("app").digest().await?;
    /// # assert_eq!(digest, "b3:0");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn digest(&self) -> Result<String> {
        Ok(eval::file_digest(&self.0).await?)
    }

    /// Lines that match a regular expression; none in a file that is not text.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("search", Vec::<wharf_sdk::SearchMatch>::new()).plan(async {
    /// let errors = host::file("build.log").search(r"^error").await?.len();
    /// # assert_eq!(errors, 0);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn search(&self, pattern: impl Into<String>) -> Result<Vec<SearchMatch>> {
        Ok(eval::file_search(&self.0, pattern.into(), None).await?)
    }

    /// As [`search`](Self::search), with options.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("search", Vec::<wharf_sdk::SearchMatch>::new()).plan(async {
    /// let first = SearchOptions::new().ignore_case(true).limit(1);
    /// let failed = !host::file("build.log").search_opts("fatal", &first).await?.is_empty();
    /// # assert!(!failed);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn search_opts(
        &self,
        pattern: impl Into<String>,
        options: &SearchOptions,
    ) -> Result<Vec<SearchMatch>> {
        Ok(eval::file_search(&self.0, pattern.into(), Some(&options.0)).await?)
    }

    /// The file as JSON text, checked: an `invalid` error says in which line it is none.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("as_json", "{}").plan(async {
    /// let settings = host::file("settings.json").as_json().await?;
    /// # assert_eq!(settings, "{}");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn as_json(&self) -> Result<String> {
        Ok(eval::as_json(&self.0).await?)
    }

    /// Make the file, read nothing.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// http::fetch("https://example.com/model.bin").file().sync().await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn sync(&self) -> Result<()> {
        Ok(eval::file_sync(&self.0).await?)
    }

    /// Write the file to the caller's disk; a path that ends in `/` or names a directory keeps the file's own name.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().plan(async {
    /// image::pull("golang:1").with_exec(["go", "build", "-o", "/app"]).file("/app").export("dist/app").await?;
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn export(&self, path: impl Into<String>) -> Result<()> {
        Ok(exports::export_file(&self.0, path.into()).await?)
    }
}
