//! Files by URL, what archives hold, and commits of repositories, through an engine.

use std::path::Path;

use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script},
    guests,
};
use wharf_graph::{
    Container, Directory, Error, File,
    build::{Edit, GitRepository},
    op::{CopyOptions, FileEdit, Filter, SecretId},
    read::{Answer, Question},
    source::{Access, Checkout, FetchRequest, FetchSecret, Reference},
};
use wharf_testkit::{
    HttpServer, World,
    git::{GitRepository as Source, SshServer, serve_git},
    http::Reply,
    world::Done,
};

/// SHA-256 of `abc`.
const OF_ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

async fn contents(run: &Run, file: &File) -> Result<String, Error> {
    match run.ask(file.node(), Question::Contents).await? {
        Answer::Bytes(bytes) => Ok(String::from_utf8(bytes).expect("text")),
        other => panic!("{other:?} is no content"),
    }
}

async fn names(run: &Run, directory: &Directory) -> Result<Vec<String>, Error> {
    match run
        .ask(directory.node(), Question::Entries("/".to_owned()))
        .await?
    {
        Answer::Names(names) => Ok(names),
        other => panic!("{other:?} are no names"),
    }
}

/// A secret whose value is this text, in a file.
fn secret(run: &Run, directory: &Path, name: &str, value: &str) -> SecretId {
    let path = directory.join(name);
    std::fs::write(&path, value).expect("the secret is written");
    let id = SecretId {
        owner: "test".to_owned(),
        uri: format!("file:{}", path.display()),
    };
    run.session.register_secret(id.clone());
    id
}

/// A value that no other run has.
fn random() -> String {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).expect("random bytes");
    wharf_digest::Digest::of(&bytes).to_hex()
}

fn with_digest(url: &str, digest: &str) -> File {
    File::fetch(FetchRequest {
        digest: Some(digest.to_owned()),
        ..FetchRequest::new(url)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_is_asked_once_a_run_and_sends_nothing_that_is_known() {
    let engine = TestEngine::start();
    let tag = std::sync::Arc::new(std::sync::Mutex::new("one"));
    let current = std::sync::Arc::clone(&tag);
    let server = HttpServer::start(move |asked| {
        let tag = *current.lock().expect("the tag");
        Reply::file(asked, format!("version {tag}").as_bytes(), tag)
    })
    .expect("a server");
    let url = server.url("/data/table.csv?key=word");
    let file = File::fetch(FetchRequest::new(&url));
    let used = script(
        &busybox().edit(Edit::copy_file("/in/", &file, CopyOptions::default())),
        "cat /in/table.csv; stat -c ' %a' /in/table.csv",
    );
    let run = engine.run();
    assert_eq!(run.stdout(&used).await.expect("a step"), "version one 644\n");
    let renamed = file
        .edit(FileEdit::Rename("other".to_owned()))
        .edit(FileEdit::Mode(0o755));
    let again = script(
        &busybox().edit(Edit::copy_file("/in/", &renamed, CopyOptions::default())),
        "stat -c %a /in/other",
    );
    assert_eq!(run.stdout(&again).await.expect("a step"), "755\n");
    assert_eq!(server.asked().len(), 1, "once a run");

    let mut run = engine.run();
    assert_eq!(run.stdout(&used).await.expect("a step"), "version one 644\n");
    assert_eq!(run.steps().await.0, Vec::<String>::new(), "nothing ran");
    assert_eq!(server.asked().len(), 2);
    assert_eq!(server.asked()[1].header("if-none-match"), "\"one\"");

    *tag.lock().expect("the tag") = "two";
    assert_eq!(
        engine.run().stdout(&used).await.expect("a step"),
        "version two 644\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_known_by_its_digest_is_not_asked_for_again() {
    let mut engine = TestEngine::start();
    let server = HttpServer::start(|asked| Reply::file(asked, b"abc", "one")).expect("a server");
    let file = with_digest(&server.url("/file"), OF_ABC);
    assert_eq!(contents(&engine.run(), &file).await.expect("the file"), "abc");
    assert_eq!(contents(&engine.run(), &file).await.expect("the file"), "abc");
    engine.kill();
    engine.launch();
    assert_eq!(contents(&engine.run(), &file).await.expect("the file"), "abc");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_url_is_said_in_words() {
    let engine = TestEngine::start();
    let run = engine.run();
    let server = HttpServer::start(|asked| match asked.path.as_str() {
        "/abc" => Reply::whole("abc"),
        "/private" => Reply::status(403),
        _ => Reply::status(404),
    })
    .expect("a server");
    let wrong = format!("sha256:{}", "0".repeat(64));
    let error = contents(&run, &with_digest(&server.url("/abc"), &wrong))
        .await
        .expect_err("another digest");
    let text = error.to_string();
    assert!(text.contains(OF_ABC) && text.contains(&wrong), "{text}");
    assert!(matches!(error, Error::Other { code, .. } if code == "digest-mismatch"));

    let url = server.url("/none?token=opensesame");
    let error = contents(&run, &File::fetch(FetchRequest::new(&url)))
        .await
        .expect_err("nothing there");
    assert!(
        matches!(&error, Error::NotFound(text) if text.contains("/none?…") && !text.contains("opensesame")),
        "{error}"
    );

    let token = secret(&run, engine.path(), "token", &random());
    let request = FetchRequest {
        secrets: vec![FetchSecret::Bearer(token)],
        ..FetchRequest::new(&server.url("/private"))
    };
    let error = contents(&run, &File::fetch(request)).await.expect_err("refused");
    assert!(
        matches!(&error, Error::Unavailable(text) if text.contains("Check the secret")),
        "{error}"
    );

    let bad = contents(&run, &with_digest(&server.url("/abc"), "abc"))
        .await
        .expect_err("no digest");
    assert!(
        matches!(&bad, Error::Invalid(text) if text.contains("no digest of a file")),
        "{bad}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_a_private_file_is_for_those_who_have_the_secrets_value() {
    let engine = TestEngine::start();
    let token = random();
    let expected = format!("Bearer {token}");
    let server = HttpServer::start(move |asked| {
        if asked.header("authorization") == expected {
            Reply::file(asked, b"abc", "one")
        } else {
            Reply::status(401)
        }
    })
    .expect("a server");
    let request = |secret: SecretId| FetchRequest {
        digest: Some(OF_ABC.to_owned()),
        secrets: vec![FetchSecret::Bearer(secret)],
        ..FetchRequest::new(&server.url("/file"))
    };
    let run = engine.run();
    let file = File::fetch(request(secret(&run, engine.path(), "token", &token)));
    assert_eq!(contents(&run, &file).await.expect("the file"), "abc");
    assert_eq!(server.asked().len(), 1);
    let run = engine.run();
    let file = File::fetch(request(secret(&run, engine.path(), "token", &token)));
    assert_eq!(contents(&run, &file).await.expect("the file"), "abc");
    assert_eq!(
        server.asked().len(),
        1,
        "the same value as before needs no request"
    );
    // The same secret by name, with another value: whoever has that has not been given the file.
    let run = engine.run();
    let file = File::fetch(request(secret(&run, engine.path(), "token", &random())));
    assert!(contents(&run, &file).await.is_err());
    // Nobody else's either, though they know the digest.
    let public = with_digest(&server.url("/file"), OF_ABC);
    assert!(contents(&engine.run(), &public).await.is_err());
    let store = engine.store();
    let found = walk(&store).any(|bytes| {
        bytes
            .windows(token.len())
            .any(|window| window == token.as_bytes())
    });
    assert!(!found, "the token is in the store");
}

/// The bytes of all files below a directory.
fn walk(directory: &Path) -> impl Iterator<Item = Vec<u8>> {
    let mut left = vec![directory.to_owned()];
    let mut files = Vec::new();
    while let Some(path) = left.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => left.push(entry.path()),
                Ok(kind) if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.into_iter().filter_map(|path| std::fs::read(path).ok())
}

/// A tar archive with one entry.
fn archive(name: &str, link: Option<&str>, content: &str) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, if link.is_some() { "2" } else { "0" });
    put(157, link.unwrap_or_default());
    put(257, "ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(content.as_bytes());
    block.resize(block.len().next_multiple_of(512) + 1024, 0);
    block
}

#[tokio::test(flavor = "multi_thread")]
async fn b25_an_archive_is_unpacked_or_refused_and_nothing_is_written_outside() {
    let engine = TestEngine::start();
    let run = engine.run();
    let server = HttpServer::start(|asked| {
        Reply::whole(match asked.path.as_str() {
            "/good.tar" => archive("tool/README", None, "read me\n"),
            "/up.tar" => archive("../escaped", None, "x"),
            "/absolute.tar" => archive("/wharf-escaped", None, "x"),
            "/link.tar" => archive("out", Some("../../etc"), ""),
            _ => b"plain text".to_vec(),
        })
    })
    .expect("a server");
    let unpacked = |path: &str| File::fetch(FetchRequest::new(&server.url(path))).unpack();
    let good = unpacked("/good.tar");
    assert_eq!(names(&run, &good).await.expect("names"), ["tool/"]);
    assert_eq!(
        contents(&run, &good.file("tool/README")).await.expect("a file"),
        "read me\n"
    );
    for path in ["/up.tar", "/absolute.tar", "/link.tar"] {
        let error = names(&run, &unpacked(path)).await.expect_err("refused");
        assert!(
            matches!(&error, Error::Invalid(text) if text.contains("refused")),
            "{path}: {error}"
        );
    }
    let error = names(&run, &unpacked("/notes.txt"))
        .await
        .expect_err("no archive");
    assert!(
        error
            .to_string()
            .contains("notes.txt cannot be unpacked: it is no archive"),
        "{error}"
    );
    assert!(!Path::new("/wharf-escaped").exists());
}

fn at(url: &str) -> GitRepository {
    GitRepository::at(url, Access::Open, "")
}

fn readme(tree: &Directory) -> Container {
    script(
        &busybox().edit(Edit::copy_directory("/src", tree, CopyOptions::default())),
        "cat /src/README; ls -a /src",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_means_one_commit_a_run_and_a_known_commit_asks_nobody() {
    let engine = TestEngine::start();
    let source = Source::new(&engine.path().join("srv/app")).expect("a repository");
    let first = source.commit("README", "one\n").expect("a commit");
    source.git(&["tag", "v1.2.0"]).expect("a tag");
    let server = serve_git(&engine.path().join("srv"), |_| true).expect("a server");
    let url = server.url("/app/.git");
    let main = at(&url).reference(Reference::Branch("main".to_owned()));
    let tree = main.tree(Checkout::default());
    let run = engine.run();
    assert_eq!(
        run.stdout(&readme(&tree)).await.expect("a step"),
        "one\n.\n..\nREADME\n"
    );
    let second = source.commit("README", "two\n").expect("a commit");
    let commit = run.ask(tree.node(), Question::GitCommit).await.expect("a commit");
    assert_eq!(commit, Answer::Text(first.clone()), "for the whole run");

    let run = engine.run();
    assert_eq!(
        run.stdout(&readme(&tree)).await.expect("a step"),
        "two\n.\n..\nREADME\n"
    );
    let log = run.ask(tree.node(), Question::GitLog(5)).await.expect("a log");
    assert!(
        matches!(&log, Answer::Commits(commits) if commits.len() == 2 && commits[0].id == second),
        "{log:?}"
    );
    let asked = server.asked().len();
    let known = at(&url)
        .reference(Reference::Commit(first))
        .tree(Checkout::default());
    assert_eq!(
        run.stdout(&readme(&known)).await.expect("a step"),
        "one\n.\n..\nREADME\n"
    );
    assert_eq!(server.asked().len(), asked, "a known commit asks nobody");
    let latest = at(&url)
        .reference(Reference::LatestVersion)
        .tree(Checkout::default());
    assert_eq!(
        contents(&run, &latest.file("README")).await.expect("a file"),
        "one\n"
    );
    let tags = run
        .ask(latest.node(), Question::GitTags(vec!["v1.*".to_owned()]))
        .await
        .expect("tags");
    assert_eq!(tags, Answer::Names(vec!["v1.2.0".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_reference_that_does_not_exist_offers_others() {
    let engine = TestEngine::start();
    let source = Source::new(&engine.path().join("srv/app")).expect("a repository");
    source.commit("README", "one\n").expect("a commit");
    let server = serve_git(&engine.path().join("srv"), |_| true).expect("a server");
    let repository = at(&server.url("/app/.git"));
    let run = engine.run();
    let tree = repository
        .reference(Reference::Branch("mian".to_owned()))
        .tree(Checkout::default());
    let error = names(&run, &tree).await.expect_err("no such branch");
    assert!(
        matches!(&error, Error::NotFound(text) if text.contains("no branch mian; it has main")),
        "{error}"
    );
    let short = repository
        .reference(Reference::Commit("abc123".to_owned()))
        .tree(Checkout::default());
    let error = names(&run, &short).await.expect_err("a part of a commit");
    assert!(error.to_string().contains("40 hexadecimal digits"), "{error}");
    let none = at(&server.url("/none"))
        .reference(Reference::Head)
        .tree(Checkout::default());
    let error = names(&run, &none).await.expect_err("no repository");
    assert!(
        matches!(&error, Error::NotFound(text) if text.contains("no repository")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_a_private_repository_is_for_those_who_have_the_secrets_value() {
    let engine = TestEngine::start();
    let source = Source::new(&engine.path().join("srv/app")).expect("a repository");
    let commit = source.commit("README", "one\n").expect("a commit");
    let token = random();
    let own = token.clone();
    let admits = move |asked: &wharf_testkit::http::Asked| {
        let pair = asked
            .header("authorization")
            .strip_prefix("Basic ")
            .unwrap_or_default();
        decoded(pair) == format!("ann:{own}")
    };
    let server = serve_git(&engine.path().join("srv"), admits).expect("a server");
    let url = server.url("/app/.git");
    let tree = |secret: SecretId| {
        GitRepository::at(&url, Access::Password("ann".to_owned(), secret), "")
            .reference(Reference::Commit(commit.clone()))
            .tree(Checkout::default())
    };
    for (asks, value) in [(true, &token), (false, &token)] {
        let run = engine.run();
        let before = server.asked().len();
        let tree = tree(secret(&run, engine.path(), "token", value));
        assert_eq!(
            contents(&run, &tree.file("README")).await.expect("a file"),
            "one\n"
        );
        assert_eq!(server.asked().len() > before, asks);
    }
    let run = engine.run();
    let other = tree(secret(&run, engine.path(), "token", &random()));
    let error = contents(&run, &other.file("README")).await.expect_err("refused");
    assert!(
        matches!(&error, Error::Unavailable(text) if text.contains("user ann")),
        "{error}"
    );
    let nobody = at(&url)
        .reference(Reference::Commit(commit.clone()))
        .tree(Checkout::default());
    assert!(contents(&engine.run(), &nobody.file("README")).await.is_err());
}

fn decoded(base64: &str) -> String {
    let digits: Vec<u32> = base64
        .bytes()
        .filter_map(|byte| {
            let table = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            table.iter().position(|own| *own == byte).map(|at| at as u32)
        })
        .collect();
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let number = chunk.iter().fold(0, |number, digit| number << 6 | digit) << (6 * (4 - chunk.len()));
        number.to_be_bytes()[1..chunk.len()].to_vec()
    });
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_over_ssh_and_one_on_the_callers_disk() {
    let engine = TestEngine::start();
    let source = Source::new(&engine.path().join("app")).expect("a repository");
    source.commit("README", "one\n").expect("a commit");
    let server = SshServer::start().expect("an ssh server");
    let run = engine.run();
    let key = secret(&run, engine.path(), "key", &server.key().expect("a key"));
    let known = server.known_hosts().expect("its key");
    let tree = GitRepository::at(&server.url(source.path()), Access::Key(key), &known)
        .reference(Reference::Head)
        .tree(Checkout::default());
    assert_eq!(
        contents(&run, &tree.file("README")).await.expect("a file"),
        "one\n"
    );

    let directory = source.path().join(".git");
    let host = Directory::host(directory.to_str().expect("a path in UTF-8"), Filter::default());
    let kept = Checkout {
        keep_git_dir: true,
        depth: None,
    };
    let tree = GitRepository::of_directory(&host)
        .reference(Reference::Any("main".to_owned()))
        .tree(kept);
    assert_eq!(names(&run, &tree).await.expect("names"), [".git/", "README"]);
    let log = run.ask(tree.node(), Question::GitLog(3)).await.expect("a log");
    assert!(
        matches!(&log, Answer::Commits(commits) if commits.len() == 1),
        "{log:?}"
    );
}

#[test]
fn functions_and_flags_take_sources_from_elsewhere() {
    let world = World::new().expect("a world");
    let module = guests::sdk(&world);
    let call = |words: &[&str]| {
        let mut command = world.command(["call", "-q", "-m"]);
        command.arg(&module).args(words);
        Done::of(command)
    };
    let root = world.path("srv");
    let source = Source::new(&root.join("app")).expect("a repository");
    let commit = source.commit("docs/README", "one\n").expect("a commit");
    let git = serve_git(&root, |_| true).expect("a server");
    let files = HttpServer::start(|asked| match asked.path.as_str() {
        "/tool.tar" => Reply::file(asked, &archive("tool/README", None, "read me\n"), "one"),
        _ => Reply::status(404),
    })
    .expect("a server");
    let (url, tar) = (git.url("/app/.git"), files.url("/tool.tar"));

    let read = |source: &str, path: &str| call(&["read", "--source", source, "--path", path]);
    assert_eq!(read(&format!("git+{url}"), "docs/README").ok(), "one");
    assert_eq!(read(&format!("git+{url}#main:docs"), "README").ok(), "one");
    assert_eq!(
        read(
            &format!("git+file://{}#{commit}", source.path().display()),
            "docs/README"
        )
        .ok(),
        "one"
    );
    assert_eq!(read(&tar, "tool/README").ok(), "read me");
    read(&format!("git+{url}#mian"), "README")
        .exits(1)
        .says("no branch, tag or commit mian; it has main");
    read(&files.url("/none.tar"), "README")
        .exits(1)
        .says("there is nothing at");
    read(&url, "README")
        .exits(2)
        .says(&format!("a repository is written git+{url}"));
    assert!(call(&["read", "--help"]).ok().contains("git+https://"));

    assert_eq!(call(&["fetched", "--url", &tar, "entries"]).ok(), "tool/");
    let expected = format!("main\n{commit}\nAnn Author <ann@example.org>\none\n");
    let done = call(&[
        "of-git",
        "--url",
        &url,
        "--branch",
        "main",
        "--path",
        "docs/README",
    ]);
    assert_eq!(done.ok().trim_end(), expected.trim_end());
}
