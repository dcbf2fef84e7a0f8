//! Patches, changesets, searches and outputs as files: what is made of trees without a step, through a real engine.

use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script},
};
use wharf_graph::{
    Changeset, Container, Directory, Error, File,
    build::Edit,
    op::{Configure, FileEdit, Stream},
    read::{Answer, ChangeKind, Changes, Match, Question, Search, SearchOptions},
};

fn file(directory: Directory, path: &str, text: &str) -> Directory {
    directory.edit(Edit::new_file(path, text.as_bytes(), None, None))
}

fn source() -> Directory {
    let directory = file(Directory::empty(), "src/main.c", "int main() {\n  return 1;\n}\n");
    let directory = file(directory, "a b.txt", "one\ntwo\nthree\n");
    file(file(directory, "gone.txt", "old\n"), "kept", "kept\n")
}

async fn changes(run: &Run, before: &Directory, after: &Directory) -> Changes {
    let changes = Changeset::new(before, after);
    match run.ask(changes.node(), Question::Changes).await.unwrap() {
        Answer::Changes(changes) => changes,
        other => panic!("{other:?} are no changes"),
    }
}

async fn patch(run: &Run, before: &Directory, after: &Directory) -> String {
    let changes = Changeset::new(before, after);
    match run.ask(changes.node(), Question::AsPatch).await.unwrap() {
        Answer::Text(patch) => patch,
        other => panic!("{other:?} is no patch"),
    }
}

/// A tree with every kind of change to [`source`].
fn changed() -> Directory {
    let after = file(source(), "src/main.c", "int main() {\n  return 0;\n}\n");
    let after = file(after, "a b.txt", "one\ntwo\nthree\nfour");
    let after = file(after, "new/deep/file", "new\n").edit(Edit::remove(&["gone.txt".to_owned()]));
    after
        .edit(Edit::new_file("run.sh", b"#!/bin/sh\n", Some(0o755), None))
        .edit(Edit::symlink("src/main.c", "link"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changeset_says_what_changed_and_applies_elsewhere() {
    let engine = TestEngine::start();
    let run = engine.run();
    let (before, after) = (source(), changed());
    let all = changes(&run, &before, &after).await;
    assert_eq!(
        all,
        Changes {
            added: ["link", "new/", "new/deep/", "new/deep/file", "run.sh"]
                .map(str::to_owned)
                .to_vec(),
            modified: ["a b.txt", "src/main.c"].map(str::to_owned).to_vec(),
            removed: vec!["gone.txt".to_owned()],
        }
    );
    assert!(changes(&run, &before, &source()).await.is_empty());
    let stats = Changeset::new(&before, &after);
    let Answer::DiffStats(stats) = run.ask(stats.node(), Question::DiffStats).await.unwrap() else {
        panic!("no line counts");
    };
    let counted: Vec<_> = stats
        .iter()
        .map(|stat| {
            (
                stat.path.as_str(),
                stat.change,
                stat.added_lines,
                stat.removed_lines,
            )
        })
        .collect();
    assert_eq!(
        counted,
        [
            ("a b.txt", ChangeKind::Modified, 1, 0),
            ("gone.txt", ChangeKind::Removed, 0, 1),
            ("link", ChangeKind::Added, 1, 0),
            ("new/deep/file", ChangeKind::Added, 1, 0),
            ("run.sh", ChangeKind::Added, 1, 0),
            ("src/main.c", ChangeKind::Modified, 1, 1),
        ]
    );
    // On a tree that has more: what it has besides stays.
    let elsewhere = file(source(), "own.txt", "own\n");
    let applied = elsewhere.with_changes(&Changeset::new(&before, &after));
    let expected = file(changed(), "own.txt", "own\n");
    assert!(changes(&run, &expected, &applied).await.is_empty());
    assert!(!run.paths(&applied).await.contains(&"gone.txt".to_owned()));
    // A directory in a file's place.
    let turned = file(
        source().edit(Edit::remove(&["kept".to_owned()])),
        "kept/in",
        "in\n",
    );
    let applied = source().with_changes(&Changeset::new(&source(), &turned));
    assert!(changes(&run, &turned, &applied).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_says_all_that_changed_and_git_reads_it() {
    let engine = TestEngine::start();
    let run = engine.run();
    let made = patch(&run, &source(), &changed()).await;
    let applied = source().edit(Edit::patch(&made));
    assert_eq!(
        changes(&run, &applied, &changed()).await,
        Changes::default(),
        "{made}"
    );
    // git takes it, too, and makes the same of the same files.
    let place = tempfile::tempdir().unwrap();
    run.session
        .export_directory(source().node(), place.path())
        .await
        .unwrap();
    std::fs::write(place.path().join("all.patch"), &made).unwrap();
    let git = std::process::Command::new("git")
        .args(["apply", "all.patch"])
        .current_dir(place.path())
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(
        git.status.success(),
        "{}\n{made}",
        String::from_utf8_lossy(&git.stderr)
    );
    let read = |path: &str| std::fs::read_to_string(place.path().join(path)).unwrap();
    assert_eq!(read("a b.txt"), "one\ntwo\nthree\nfour");
    assert_eq!(read("src/main.c"), "int main() {\n  return 0;\n}\n");
    assert_eq!(read("new/deep/file"), "new\n");
    assert!(!place.path().join("gone.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn patches_of_diff_and_of_git_apply_or_say_why_not() {
    let engine = TestEngine::start();
    let run = engine.run();
    let plain =
        "--- src/main.c\n+++ src/main.c\n@@ -1,3 +1,3 @@\n int main() {\n-  return 1;\n+  return 2;\n }\n";
    let patched = source().edit(Edit::patch(plain)).file("src/main.c");
    assert_eq!(
        run.contents(&patched).await.unwrap(),
        "int main() {\n  return 2;\n}\n"
    );
    let renamed = "diff --git a/kept b/moved\nsimilarity index 100%\nrename from kept\nrename to moved\n";
    let renamed = source().edit(Edit::patch(renamed));
    assert_eq!(run.contents(&renamed.file("moved")).await.unwrap(), "kept\n");
    assert!(run.contents(&renamed.file("kept")).await.is_err());
    for (patch, says) in [
        (plain.replace("return 1", "return 7"), "does not fit src/main.c"),
        (
            plain.replace("src/main.c", "src/none.c"),
            "changes src/none.c, which is not there",
        ),
        (plain.replace("src/main.c", "../out"), "not below the directory"),
        (
            plain.replace("src/main.c", "/etc/passwd"),
            "not below the directory",
        ),
        (
            "--- /dev/null\n+++ b/kept\n@@ -0,0 +1 @@\n+x\n".to_owned(),
            "makes kept, which is there already",
        ),
        ("hello\n".to_owned(), "no unified diff"),
        (String::new(), "no unified diff"),
    ] {
        let refused = run
            .contents(&source().edit(Edit::patch(&patch)).file("kept"))
            .await;
        let error = refused.unwrap_err();
        assert!(
            matches!(error, Error::Invalid(_)) && error.to_string().contains(says),
            "{says}: {error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_replaced_where_it_is_once_or_everywhere_when_asked() {
    let engine = TestEngine::start();
    let run = engine.run();
    let original = File::new("notes.txt", b"one two one\n");
    let replaced = |text: &str, all| {
        original.edit(FileEdit::Replace {
            text: text.to_owned(),
            replacement: "1".to_owned(),
            all,
        })
    };
    assert_eq!(
        run.contents(&replaced("two", false)).await.unwrap(),
        "one 1 one\n"
    );
    assert_eq!(run.contents(&replaced("one", true)).await.unwrap(), "1 two 1\n");
    for (text, says) in [
        ("one", "notes.txt holds \"one\" in 2 places"),
        ("three", "notes.txt does not hold \"three\""),
        ("", "empty text"),
    ] {
        let error = run.contents(&replaced(text, false)).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_lines_by_place() {
    let engine = TestEngine::start();
    let run = engine.run();
    let directory = file(source(), "b.txt", "TWO twos\r\n\u{e9} two\n");
    let directory = directory.edit(Edit::new_file("binary", b"two\0two\n", None, None));
    let search = async |pattern: &str, options: SearchOptions| {
        let search = Search {
            pattern: pattern.to_owned(),
            options,
        };
        match run.ask(directory.node(), Question::Search(search)).await {
            Ok(Answer::Matches(found)) => Ok(found),
            Ok(other) => panic!("{other:?} are no lines"),
            Err(error) => Err(error),
        }
    };
    let found = search("two$", SearchOptions::default()).await.unwrap();
    let line = |path: &str, line, column, text: &str| Match {
        path: path.to_owned(),
        line,
        column,
        text: text.to_owned(),
    };
    assert_eq!(
        found,
        [line("a b.txt", 2, 1, "two"), line("b.txt", 2, 4, "\u{e9} two")]
    );
    let ignoring = SearchOptions {
        literal: true,
        ignore_case: true,
        include: vec!["b.*".to_owned()],
        limit: Some(1),
    };
    assert_eq!(
        search("two t", ignoring).await.unwrap(),
        [line("b.txt", 1, 1, "TWO twos")]
    );
    let error = search("(", SearchOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    // Too many to return at once, unless so many are wanted.
    let many = file(Directory::empty(), "many", &"line\n".repeat(10_001));
    let question = |limit| {
        Question::Search(Search {
            pattern: "line".to_owned(),
            options: SearchOptions {
                limit,
                ..SearchOptions::default()
            },
        })
    };
    let error = run.ask(many.node(), question(None)).await.unwrap_err();
    assert!(
        error.to_string().contains("more than 10000 lines match"),
        "{error}"
    );
    let found = run
        .ask(many.file("many").node(), question(Some(20_000)))
        .await
        .unwrap();
    assert!(matches!(found, Answer::Matches(found) if found.len() == 10_001));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_found_above() {
    let engine = TestEngine::start();
    let run = engine.run();
    let directory = file(file(source(), "a/b/c/x", ""), "a/Makefile", "");
    let find = async |name: &str, start: &str| {
        let question = Question::FindUp {
            name: name.to_owned(),
            start: start.to_owned(),
        };
        match run.ask(directory.node(), question).await.unwrap() {
            Answer::Found(path) => path,
            other => panic!("{other:?} is no path"),
        }
    };
    assert_eq!(find("Makefile", "a/b/c").await.as_deref(), Some("a/Makefile"));
    assert_eq!(find("kept", "/a/b").await.as_deref(), Some("kept"));
    assert_eq!(find("nothing", "a/b").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_prints_is_a_file_however_large() {
    let engine = TestEngine::start();
    let run = engine.run();
    let loud = script(
        &busybox(),
        "yes 0123456789abcde 2>/dev/null | head -c 20000000; echo short >&2",
    );
    let Err(Error::Invalid(message)) = run.stdout(&loud).await else {
        panic!("20 MB came as text");
    };
    assert!(message.contains("16 MiB"), "{message}");
    let out = loud.output_file(Stream::Stdout);
    assert_eq!(
        run.ask(out.node(), Question::Size).await.unwrap(),
        Answer::Size(20_000_000)
    );
    let range = Question::Range {
        offset: 19_999_984,
        length: 100,
    };
    assert_eq!(
        run.ask(out.node(), range).await.unwrap(),
        Answer::Bytes(b"0123456789abcde\n".to_vec())
    );
    assert_eq!(
        run.contents(&loud.output_file(Stream::Stderr)).await.unwrap(),
        "short\n"
    );
    // It goes on to other steps.
    let next = busybox().with_mounted_file("/out", &out, None);
    assert_eq!(
        run.stdout(&script(&next, "wc -c < /out")).await.unwrap().trim(),
        "20000000"
    );
    let error = run
        .contents(&busybox().output_file(Stream::Stdout))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("has run nothing"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containers_digest_is_of_its_files_and_configuration() {
    let engine = TestEngine::start();
    let digest = async |container: &Container| match engine
        .run()
        .ask(container.node(), Question::Digest)
        .await
        .unwrap()
    {
        Answer::Text(digest) => digest,
        other => panic!("{other:?} is no digest"),
    };
    let label = |value: &str| busybox().configure(Configure::Label("a".to_owned(), value.to_owned()));
    let plain = digest(&busybox()).await;
    assert_eq!(digest(&script(&busybox(), "true")).await, plain);
    assert_ne!(digest(&script(&busybox(), "touch /new")).await, plain);
    assert_eq!(digest(&label("1")).await, digest(&label("1")).await);
    assert_ne!(digest(&label("1")).await, digest(&label("2")).await);
    let annotation = Configure::Annotation("a".to_owned(), "1".to_owned());
    let annotated = busybox().configure(annotation);
    assert_ne!(digest(&annotated).await, plain);
    // The archive's manifest has it.
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("image.tar");
    engine
        .run()
        .session
        .export_container(annotated.node(), &archive)
        .await
        .unwrap();
    let bytes = std::fs::read(&archive).unwrap();
    let wanted = b"\"annotations\":{\"a\":\"1\"}";
    assert!(bytes.windows(wanted.len()).any(|window| window == wanted));
}
