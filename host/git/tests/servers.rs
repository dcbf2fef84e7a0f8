//! Repositories on real servers: git's own over HTTP, and OpenSSH.

#![allow(clippy::unwrap_used, reason = "a test: a failure may panic")]

use std::path::{Path, PathBuf};

use wharf_git::{Access, Depth, Error, Git, Name, Remote, Repository};
use wharf_testkit::git::{GitRepository, SshServer, serve_git};

/// A directory of the test's own, with git to work in it.
struct World {
    directory: tempfile::TempDir,
    git: Git,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            git: Git::find(None).unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn new_directory(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Fetches a commit and checks it out into a new directory.
    async fn check_out(&self, remote: &Remote, commit: &str, to: &str) -> Result<PathBuf, Error> {
        let own = Repository::open(&self.git, &self.new_directory("cache")).await?;
        own.fetch(remote, commit, Depth::Commits(1)).await?;
        let to = self.new_directory(to);
        let modules = self.path("modules");
        let place = |remote: &Remote| {
            let path = modules.join(remote.url().replace('/', "_"));
            std::fs::create_dir_all(&path).map(|()| path)
        };
        own.check_out(remote, commit, &to, &place).await?;
        Ok(to)
    }
}

fn open(url: &str) -> Remote {
    Remote::new(url, Access::Open, "").unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_fetched_over_http_once() {
    let world = World::new();
    let source = GitRepository::new(&world.path("app")).unwrap();
    let first = source.commit("README", "one\n").unwrap();
    source.git(&["tag", "-a", "v1.0.0", "-m", "one"]).unwrap();
    let second = source.commit("src/main", "two\n").unwrap();
    let server = serve_git(world.directory.path(), |_| true).unwrap();
    let remote = open(&server.url("/app/.git"));
    let refs = world.git.refs(&remote).await.unwrap();
    assert_eq!(refs.commit(&Name::Head).unwrap(), second);
    assert_eq!(refs.commit(&Name::Branch("main".to_owned())).unwrap(), second);
    assert_eq!(refs.commit(&Name::Tag("v1.0.0".to_owned())).unwrap(), first);
    assert_eq!((refs.branches(), refs.tags()), (vec!["main"], vec!["v1.0.0"]));
    assert_eq!(refs.latest_version().unwrap(), "v1.0.0");
    let missing = refs
        .commit(&Name::Branch("mian".to_owned()))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("no branch mian; it has main"), "{missing}");

    let to = world.check_out(&remote, &second, "second").await.unwrap();
    assert_eq!(
        (
            text(&to.join("README")).as_str(),
            text(&to.join("src/main")).as_str()
        ),
        ("one\n", "two\n")
    );
    assert!(!to.join(".git").exists());
    // An earlier commit, which no reference names, and the history that was left out at first.
    let to = world.check_out(&remote, &first, "first").await.unwrap();
    assert!(!to.join("src").exists());
    let asked = server.asked().len();
    world.check_out(&remote, &second, "again").await.unwrap();
    assert_eq!(server.asked().len(), asked, "what is here is not asked for");
    let own = Repository::open(&world.git, &world.path("cache")).await.unwrap();
    own.fetch(&remote, &second, Depth::Commits(5)).await.unwrap();
    let log = own.log(&second, 5).await.unwrap();
    let commits: Vec<_> = log.iter().map(|entry| entry.commit.as_str()).collect();
    assert_eq!(commits, [second.as_str(), &first]);
    assert_eq!(
        (log[0].author.as_str(), log[0].subject.as_str()),
        ("Ann Author <ann@example.org>", "Write src/main")
    );
    let none = "0123456789".repeat(4);
    let error = own.fetch(&remote, &none, Depth::Commits(1)).await.unwrap_err();
    assert!(
        matches!(&error, Error::NoReference { what, .. } if what.contains(&none)),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_sent_to_their_server_and_never_shown() {
    let world = World::new();
    GitRepository::new(&world.path("app"))
        .unwrap()
        .commit("README", "one\n")
        .unwrap();
    let password = format!("word{}", std::process::id());
    let expected = format!("Basic {}", base64(&format!("ann:{password}")));
    let server = serve_git(world.directory.path(), move |asked| {
        asked.header("authorization") == expected
    })
    .unwrap();
    let url = server.url("/app/.git");
    let access = |password: &str| Access::Password {
        user: "ann".to_owned(),
        password: password.as_bytes().to_vec().into(),
    };
    let good = Remote::new(&url, access(&password), "").unwrap();
    assert_eq!(world.git.refs(&good).await.unwrap().branches(), ["main"]);
    let wrong = Remote::new(&url, access("opensesame"), "").unwrap();
    let error = world.git.refs(&wrong).await.unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Refused {
                had_credentials: true,
                ..
            }
        ),
        "{error}"
    );
    let said = error.to_string();
    assert!(
        said.contains("user ann") && said.contains("127.0.0.1") && !said.contains("opensesame"),
        "{said}"
    );
    let nobody = world.git.refs(&open(&url)).await.unwrap_err();
    assert!(
        matches!(
            &nobody,
            Error::Refused {
                had_credentials: false,
                ..
            }
        ),
        "{nobody}"
    );
    let missing = world
        .git
        .refs(&Remote::new(&server.url("/none"), access(&password), "").unwrap())
        .await
        .unwrap_err();
    assert!(matches!(&missing, Error::NoRepository { .. }), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_known_hosts_open_a_repository_over_ssh() {
    let world = World::new();
    let source = GitRepository::new(&world.path("app")).unwrap();
    let commit = source.commit("README", "one\n").unwrap();
    let server = SshServer::start().unwrap();
    let url = server.url(source.path());
    let with =
        |key: String, known: &str| Remote::new(&url, Access::Key(key.into_bytes().into()), known).unwrap();
    let known = server.known_hosts().unwrap();
    let good = with(server.key().unwrap().trim_end().to_owned(), &known);
    assert_eq!(
        world.git.refs(&good).await.unwrap().commit(&Name::Head).unwrap(),
        commit
    );
    let to = world.check_out(&good, &commit, "out").await.unwrap();
    assert_eq!(text(&to.join("README")), "one\n");
    let unknown = world
        .git
        .refs(&with(server.key().unwrap(), ""))
        .await
        .unwrap_err();
    assert!(matches!(&unknown, Error::UnknownHost { .. }), "{unknown}");
    let refused = world
        .git
        .refs(&with(server.other_key().unwrap(), &known))
        .await
        .unwrap_err();
    assert!(matches!(&refused, Error::Refused { .. }), "{refused}");
    assert!(!refused.to_string().contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_come_along() {
    let world = World::new();
    let library = GitRepository::new(&world.path("library")).unwrap();
    library.commit("lib.c", "library\n").unwrap();
    let server = serve_git(world.directory.path(), |_| true).unwrap();
    let source = GitRepository::new(&world.path("app")).unwrap();
    source.commit("README", "one\n").unwrap();
    source
        .git(&[
            "submodule",
            "--quiet",
            "add",
            &server.url("/library/.git"),
            "vendor/library",
        ])
        .unwrap();
    let commit = source.commit("README", "two\n").unwrap();
    let remote = open(&server.url("/app/.git"));
    let to = world.check_out(&remote, &commit, "out").await.unwrap();
    assert_eq!(text(&to.join("vendor/library/lib.c")), "library\n");
    // A submodule on the disk of whoever runs git is none of the repository's business.
    source
        .git(&[
            "config",
            "-f",
            ".gitmodules",
            "submodule.vendor/library.url",
            "file:///etc",
        ])
        .unwrap();
    let commit = source.commit("README", "three\n").unwrap();
    let error = world.check_out(&remote, &commit, "evil").await.unwrap_err();
    assert!(matches!(&error, Error::Url { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_of_the_callers_is_a_repository_and_runs_nothing() {
    let world = World::new();
    let source = GitRepository::new(&world.path("app")).unwrap();
    let commit = source.commit("README", "one\n").unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let second = source.commit("model.bin", pointer).unwrap();
    let proof = world.path("ran");
    let evil = format!("touch {}", proof.display());
    for setting in [
        "core.fsmonitor",
        "core.sshCommand",
        "uploadpack.packObjectsHook",
        "core.pager",
    ] {
        source.git(&["config", setting, &evil]).unwrap();
    }
    let hook = source.path().join(".git/hooks/post-checkout");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, format!("#!/bin/sh\n{evil}\n")).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let own = Repository::of_directory(&world.git, source.path()).unwrap();
    let remote = own.remote();
    assert_eq!(
        world
            .git
            .refs(&remote)
            .await
            .unwrap()
            .commit(&Name::Head)
            .unwrap(),
        second
    );
    let to = world.new_directory("out");
    let none = |_: &Remote| Err(std::io::Error::other("no submodules"));
    let done = own.check_out(&remote, &second, &to, &none).await.unwrap();
    assert_eq!(done.lfs_pointers, ["model.bin"]);
    own.add_git_directory(&remote, &second, Depth::All, &to)
        .await
        .unwrap();
    assert!(!proof.exists(), "the repository's settings ran something");
    let kept = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "log", "--format=%H"])
        .current_dir(&to)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&kept.stdout),
        format!("{second}\n{commit}\n")
    );
    let status = std::process::Command::new("git")
        .args(["status", "--porcelain"])
        .current_dir(&to)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&status.stdout),
        "",
        "nothing is changed in it"
    );
    // A link would have us read, and change, what lies elsewhere.
    let outside = world.new_directory("outside");
    std::fs::write(outside.join("config"), "kept").unwrap();
    let linked = world.new_directory("linked");
    GitRepository::new(&linked).unwrap();
    std::fs::remove_dir_all(linked.join(".git/objects/info")).unwrap();
    std::os::unix::fs::symlink(&outside, linked.join(".git/objects/info")).unwrap();
    let error = Repository::of_directory(&world.git, &linked)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("objects/info is neither file nor directory"),
        "{error}"
    );
    let link = world.new_directory("link");
    std::os::unix::fs::symlink(linked.join(".git"), link.join(".git")).unwrap();
    assert!(Repository::of_directory(&world.git, &link).is_err());
    assert!(linked.join(".git/config").is_file());
    let none = Repository::of_directory(&world.git, &world.new_directory("empty"))
        .unwrap_err()
        .to_string();
    assert!(none.contains("no git repository"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_history_is_kept_when_it_is_asked_for() {
    let world = World::new();
    let source = GitRepository::new(&world.path("app")).unwrap();
    for number in 0..5 {
        source.commit("README", &format!("{number}\n")).unwrap();
    }
    let commit = source.git(&["rev-parse", "HEAD"]).unwrap();
    let server = serve_git(world.directory.path(), |_| true).unwrap();
    let remote = open(&server.url("/app/.git"));
    for (depth, commits) in [(Depth::Commits(2), "2"), (Depth::All, "5")] {
        let own = Repository::open(&world.git, &world.new_directory("cache"))
            .await
            .unwrap();
        own.fetch(&remote, &commit, depth).await.unwrap();
        let to = world.new_directory(&format!("out{commits}"));
        let none = |_: &Remote| Err(std::io::Error::other("no submodules"));
        own.check_out(&remote, &commit, &to, &none).await.unwrap();
        own.add_git_directory(&remote, &commit, depth, &to).await.unwrap();
        let count = std::process::Command::new("git")
            .args(["rev-list", "--count", "HEAD"])
            .current_dir(&to)
            .output();
        assert_eq!(String::from_utf8_lossy(&count.unwrap().stdout).trim(), commits);
    }
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
