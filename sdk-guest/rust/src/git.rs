//! The right to take files from git repositories. The engine fetches them: no step needs a network for it.
//!
//! ```
//! # use wharf_sdk::prelude::*;
//! # async fn release(token: Secret) -> Result<Directory> {
//! let sources = git::repository("https://git.example/team/app.git").token(&token);
//! let last = sources.latest_version().tree();
//! let main = sources.branch("main");
//! log::info(format!("main is at {}", main.commit().await?));
//! # let _ = last;
//! Ok(main.tree())
//! # }
//! ```

use crate::bindings::wharf::pipeline::{git as raw, git_eval};
use crate::{Directory, Result, Secret, text::owned};

pub use crate::bindings::wharf::pipeline::git::LogEntry;

/// The repository at an address: `https://host/path`, `ssh://user@host/path` or `user@host:path`.
///
/// ```
/// # use wharf_sdk::prelude::*;
/// let tools = git::repository("https://example.com/acme/tools.git").tag("v1.4.2").tree();
/// ```
pub fn repository(url: impl Into<String>) -> Repository {
    Repository {
        place: Place::Url(url.into(), raw::Access::new()),
    }
}

/// The repository that a directory holds, in its `.git` or as a bare one.
///
/// ```
/// # use wharf_sdk::{prelude::*, testing::Planner};
/// # let plan = Planner::new().answer("commit", "0a1b2c").plan(async {
/// let whole = CopyOptions::new().gitignore(false);
/// let commit = git::of_directory(&host::directory_opts(".", &whole)).head().commit().await?;
/// # assert_eq!(commit, "0a1b2c");
/// # Ok(()) });
/// # assert_eq!(plan.returned, Ok::<(), Error>(()));
/// ```
pub fn of_directory(directory: &Directory) -> Repository {
    Repository {
        place: Place::Opened(raw::of_directory(&directory.0)),
    }
}

/// A repository.
#[derive(Debug)]
pub struct Repository {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Url(String, raw::Access),
    Opened(raw::Repository),
}

impl Repository {
    fn access(self, set: impl FnOnce(&raw::Access)) -> Self {
        // A directory is asked as nobody.
        if let Place::Url(_, access) = &self.place {
            set(access);
        }
        self
    }

    /// Send a secret as a token. For https.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn private(token: &Secret) -> Directory {
    ///     git::repository("https://example.com/acme/private.git").token(token).head().tree()
    /// }
    /// # private(&Secret::of_value("token", "x"));
    /// ```
    #[must_use]
    pub fn token(self, token: &Secret) -> Self {
        self.access(|access| access.set_token(&token.0))
    }

    /// Send a user's name, and a secret as the password. For https.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn private(password: &Secret) -> Directory {
    ///     git::repository("https://example.com/acme/private.git").basic_auth("ann", password).head().tree()
    /// }
    /// # private(&Secret::of_value("password", "x"));
    /// ```
    #[must_use]
    pub fn basic_auth(self, user: impl AsRef<str>, password: &Secret) -> Self {
        self.access(|access| access.set_basic_auth(user.as_ref(), &password.0))
    }

    /// Use a secret as the private key. For ssh.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// fn private(key: &Secret) -> Directory {
    ///     git::repository("git@example.com:acme/private.git").ssh_key(key).head().tree()
    /// }
    /// # private(&Secret::of_value("key", "x"));
    /// ```
    #[must_use]
    pub fn ssh_key(self, key: &Secret) -> Self {
        self.access(|access| access.set_ssh_key(&key.0))
    }

    /// The keys of ssh servers, one a line, as in a `known_hosts` file. A server whose key is not among them is refused.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let ours = git::repository("git@git.example.com:acme/app.git")
    ///     .known_hosts("git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample");
    /// ```
    #[must_use]
    pub fn known_hosts(self, lines: impl AsRef<str>) -> Self {
        self.access(|access| access.set_known_hosts(lines.as_ref()))
    }

    fn reference(&self, of: impl FnOnce(&raw::Repository) -> raw::Reference) -> Reference {
        Reference(of(self.opened().get()))
    }

    /// The commit that the repository itself starts from.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let newest = git::repository("https://example.com/acme/app.git").head().tree();
    /// ```
    pub fn head(&self) -> Reference {
        self.reference(raw::Repository::head)
    }

    /// The last commit of a branch.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let develop = git::repository("https://example.com/acme/app.git").branch("develop").tree();
    /// ```
    pub fn branch(&self, name: impl AsRef<str>) -> Reference {
        self.reference(|repository| repository.branch(name.as_ref()))
    }

    /// The commit that has a tag.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let release = git::repository("https://example.com/acme/app.git").tag("v1.4.2").tree();
    /// ```
    pub fn tag(&self, name: impl AsRef<str>) -> Reference {
        self.reference(|repository| repository.tag(name.as_ref()))
    }

    /// This commit, by all its hexadecimal digits. One that is known is not asked for again.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let fixed = git::repository("https://example.com/acme/app.git").commit("3f5ac4d9e1b6a7c80d2e4f61728394a5b6c7d8e9");
    /// ```
    pub fn commit(&self, id: impl AsRef<str>) -> Reference {
        self.reference(|repository| repository.commit(id.as_ref()))
    }

    /// The commit with the tag of the highest version (`1.2.3` or `v1.2.3`, no pre-release).
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let newest = git::repository("https://example.com/acme/app.git").latest_version().tree();
    /// ```
    pub fn latest_version(&self) -> Reference {
        self.reference(raw::Repository::latest_version)
    }

    /// Whatever has this name, as git reads it: a full reference, a tag, a branch, a commit.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let proposed = git::repository("https://example.com/acme/app.git").named("refs/pull/17/head").tree();
    /// ```
    pub fn named(&self, name: impl AsRef<str>) -> Reference {
        self.reference(|repository| repository.ref_(name.as_ref()))
    }

    /// Names of the tags that match one of these patterns (`v1.*`), of all when there is none; sorted.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("tags", ["v1.4.1", "v1.4.2"]).plan(async {
    /// let releases = git::repository("https://example.com/acme/app.git").tags(["v1.*"]).await?;
    /// # assert_eq!(releases.len(), 2);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn tags(&self, patterns: impl IntoIterator<Item: Into<String>>) -> Result<Vec<String>> {
        let opened = self.opened();
        Ok(git_eval::tags(opened.get(), owned(patterns)).await?)
    }

    /// Names of all branches, sorted.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("branches", ["main"]).plan(async {
    /// let branches = git::repository("https://example.com/acme/app.git").branches().await?;
    /// # assert_eq!(branches, ["main"]);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn branches(&self) -> Result<Vec<String>> {
        let opened = self.opened();
        Ok(git_eval::branches(opened.get()).await?)
    }

    /// The name of the tag with the highest version.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("latest_version_tag", "v1.4.2").plan(async {
    /// let version = git::repository("https://example.com/acme/app.git").latest_version_tag().await?;
    /// # assert_eq!(version, "v1.4.2");
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn latest_version_tag(&self) -> Result<String> {
        let opened = self.opened();
        Ok(git_eval::latest_version(opened.get()).await?)
    }

    fn opened(&self) -> Opened<'_> {
        match &self.place {
            Place::Url(url, access) => Opened::Own(raw::open(url, Some(access))),
            Place::Opened(repository) => Opened::Lent(repository),
        }
    }
}

/// A handle for the length of a read.
enum Opened<'r> {
    Own(raw::Repository),
    Lent(&'r raw::Repository),
}

impl Opened<'_> {
    fn get(&self) -> &raw::Repository {
        match self {
            Self::Own(repository) => repository,
            Self::Lent(repository) => repository,
        }
    }
}

/// A commit of a repository, by a name that means the same one for the whole run.
#[derive(Debug)]
pub struct Reference(raw::Reference);

impl Reference {
    /// The commit's files, with those of its submodules. Files that LFS keeps elsewhere are here as pointers, with a warning.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let app = git::repository("https://example.com/acme/app.git").branch("main").tree();
    /// let built = image::pull("rust:1").with_directory("/src", &app).with_workdir("/src").with_exec(["cargo", "build"]);
    /// ```
    pub fn tree(&self) -> Directory {
        self.0.tree(None).into()
    }

    /// The commit's files and, as `.git`, the repository itself with so many commits of the history; all unless given.
    ///
    /// ```
    /// # use wharf_sdk::prelude::*;
    /// let app = git::repository("https://example.com/acme/app.git").branch("main").tree_with_git_dir(Some(50));
    /// let described = image::pull("alpine/git").with_mounted_directory("/src", &app).with_exec(["git", "-C", "/src", "describe"]);
    /// ```
    pub fn tree_with_git_dir(&self, depth: Option<u32>) -> Directory {
        let options = raw::CheckoutOptions::new();
        options.set_keep_git_dir(true);
        if let Some(commits) = depth {
            options.set_depth(commits);
        }
        self.0.tree(Some(&options)).into()
    }

    /// The commit's hexadecimal digits.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("commit", "0a1b2c").plan(async {
    /// let commit = git::repository("https://example.com/acme/app.git").branch("main").commit().await?;
    /// let image = Container::new().with_label("org.opencontainers.image.revision", commit);
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn commit(&self) -> Result<String> {
        Ok(git_eval::commit(&self.0).await?)
    }

    /// The last so many commits up to this one, the newest first.
    ///
    /// ```
    /// # use wharf_sdk::{prelude::*, testing::Planner};
    /// # let plan = Planner::new().answer("log", Vec::<git::LogEntry>::new()).plan(async {
    /// for entry in git::repository("https://example.com/acme/app.git").head().log(10).await? {
    ///     log::info(format!("{} {}", entry.author, entry.subject));
    /// }
    /// # Ok(()) });
    /// # assert_eq!(plan.returned, Ok::<(), Error>(()));
    /// ```
    pub async fn log(&self, count: u32) -> Result<Vec<LogEntry>> {
        Ok(git_eval::log(&self.0, count).await?)
    }
}
