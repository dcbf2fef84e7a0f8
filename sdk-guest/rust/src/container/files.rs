//! What is in a container's root file system.

use crate::{Container, CopyOptions, Directory, File, text::owned};

impl Container {
    /// Put the contents of `source` under `path`, made when missing; relative paths start at the working directory.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("nginx:1").with_directory("/usr/share/nginx/html", &host::directory("site"));
    /// ```
    #[must_use]
    pub fn with_directory(&self, path: impl AsRef<str>, source: &Directory) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, None))
    }

    /// As [`with_directory`](Self::with_directory), taking what the options let through.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let sources = CopyOptions::new().include(["*.py"]).owner("app:app");
    /// let image = image::pull("python:3.11").with_directory_opts("/app", &host::directory("."), &sources);
    /// ```
    #[must_use]
    pub fn with_directory_opts(
        &self,
        path: impl AsRef<str>,
        source: &Directory,
        options: &CopyOptions,
    ) -> Self {
        Self(self.0.with_directory(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Put `source` at `path`; a path that ends in `/` or names a directory keeps the file's own name.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("alpine:3.20").with_file("/usr/local/bin/", &host::file("tool"));
    /// ```
    #[must_use]
    pub fn with_file(&self, path: impl AsRef<str>, source: &File) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, None))
    }

    /// As [`with_file`](Self::with_file), with owner and mode from the options.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let program = CopyOptions::new().mode(0o755);
    /// let image = image::pull("alpine:3.20").with_file_opts("/usr/local/bin/tool", &host::file("tool.sh"), &program);
    /// ```
    #[must_use]
    pub fn with_file_opts(&self, path: impl AsRef<str>, source: &File, options: &CopyOptions) -> Self {
        Self(self.0.with_file(path.as_ref(), &source.0, Some(&options.0)))
    }

    /// Put several files into the directory `path`, each under its own name.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let scripts = [host::file("start.sh"), host::file("stop.sh")];
    /// let image = image::pull("alpine:3.20").with_files("/usr/local/bin", &scripts);
    /// ```
    #[must_use]
    pub fn with_files<'a>(&self, path: impl AsRef<str>, sources: impl IntoIterator<Item = &'a File>) -> Self {
        let sources: Vec<_> = sources.into_iter().map(|file| &file.0).collect();
        Self(self.0.with_files(path.as_ref(), &sources, None))
    }

    /// Write a file with this text, mode 0o644, owned by root.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let configured = image::pull("postgres:17").with_new_file("/etc/app.toml", "workers = 4\n");
    /// ```
    #[must_use]
    pub fn with_new_file(&self, path: impl AsRef<str>, contents: impl AsRef<str>) -> Self {
        Self(self.0.with_new_file(path.as_ref(), contents.as_ref(), None, None))
    }

    /// Write a file with this text; mode 0o644 and owner root unless given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let scheduled = image::pull("debian:12").with_new_file_opts("/usr/local/bin/run", "#!/bin/sh\nexec app\n", Some(0o755), None);
    /// ```
    #[must_use]
    pub fn with_new_file_opts(
        &self,
        path: impl AsRef<str>,
        contents: impl AsRef<str>,
        mode: Option<u32>,
        owner: Option<&str>,
    ) -> Self {
        Self(
            self.0
                .with_new_file(path.as_ref(), contents.as_ref(), mode, owner),
        )
    }

    /// Make a directory and its parents; mode 0o755 and owner root unless given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("alpine:3.20").with_new_directory("/var/lib/app", Some(0o700), Some("1000:1000"));
    /// ```
    #[must_use]
    pub fn with_new_directory(&self, path: impl AsRef<str>, mode: Option<u32>, owner: Option<&str>) -> Self {
        Self(self.0.with_new_directory(path.as_ref(), mode, owner))
    }

    /// Make a symbolic link at `path` that points to `target`, which need not exist.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("debian:12").with_symlink("/usr/bin/python3", "/usr/local/bin/python");
    /// ```
    #[must_use]
    pub fn with_symlink(&self, target: impl AsRef<str>, path: impl AsRef<str>) -> Self {
        Self(self.0.with_symlink(target.as_ref(), path.as_ref()))
    }

    /// Remove the directory at `path` from the root file system.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let slim = image::pull("debian:12").without_directory("/usr/share/doc");
    /// ```
    #[must_use]
    pub fn without_directory(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_directory(path.as_ref()))
    }

    /// Remove the file at `path` from the root file system.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("nginx:1").without_file("/etc/nginx/conf.d/default.conf");
    /// ```
    #[must_use]
    pub fn without_file(&self, path: impl AsRef<str>) -> Self {
        Self(self.0.without_file(path.as_ref()))
    }

    /// Remove several files from the root file system.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let image = image::pull("debian:12").without_files(["/etc/motd", "/etc/issue"]);
    /// ```
    #[must_use]
    pub fn without_files(&self, paths: impl IntoIterator<Item: Into<String>>) -> Self {
        Self(self.0.without_files(&owned(paths)))
    }
}
