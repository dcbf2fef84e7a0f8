//! Snapshots of repositories of a hub.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use wharf_testkit::{Hub, World, process, python, world::Done};

use crate::{content, engines, module, random};

/// What hangs is a defect.
const PATIENCE: Duration = Duration::from_secs(120);

/// `wharf call -m modules/huggingface FUNCTION --endpoint HUB --repository REPOSITORY WORDS`.
fn call(world: &World, hub: &Hub, repository: &str, words: &[&str]) -> Done {
    Done::of(command(world, hub, repository, words))
}

fn command(world: &World, hub: &Hub, repository: &str, words: &[&str]) -> Command {
    let mut command = world.command(["call", "-q", "-m"]);
    let (function, rest) = words.split_first().expect("a function");
    command.arg(module("huggingface")).arg(function);
    command.args(["--endpoint", &hub.url(), "--repository", repository]);
    command.args(rest);
    command
}

/// A model's files: a large one, small ones, and one in a directory with a name that needs escapes.
fn model(world: &World, name: &str, seed: u32) -> std::path::PathBuf {
    world.write(format!("{name}/model.safetensors"), content(3_000_000, 1));
    world.write(format!("{name}/config.json"), format!("{{\"seed\": {seed}}}\n"));
    world.write(format!("{name}/empty.txt"), "");
    world.write(format!("{name}/1_Pooling/a file #1.json"), "[]\n");
    world.write(format!("{name}/onnx/model.onnx"), content(2_000_000, 2));
    world.path("work").join(name)
}

fn same(one: &Path, other: &Path) {
    process::run(Command::new("diff").arg("-r").arg(one).arg(other))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_hubs_own_client_takes_the_hub_of_these_tests_for_one() {
    let world = World::new().expect("a world");
    let hub = Hub::start().expect("a hub");
    let token = random();
    let files = model(&world, "model", 1);
    let commit = hub.commit("acme/model", &["main"], &files).expect("a commit");
    hub.close("acme/model", &token);
    let python = python::with("huggingface-hub", &["huggingface_hub==0.36.0"]).expect("its client");
    let fetch = |token: &str| {
        let script = "import sys, huggingface_hub as hub\n\
             print(hub.HfApi().model_info('acme/model', files_metadata=True).siblings[0].size)\n\
             print(len(list(hub.HfApi().list_repo_tree('acme/model', recursive=True))))\n\
             print(hub.snapshot_download('acme/model', revision='main', local_dir=sys.argv[1]))";
        let mut command = Command::new(&python);
        command.args(["-c", script]).arg(world.path("work/theirs"));
        command
            .env("HF_ENDPOINT", hub.url())
            .env("HF_HOME", world.path("hf"));
        command
            .env("HF_TOKEN", token)
            .env("HF_HUB_DISABLE_XET", "1")
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
        command.stdin(Stdio::null()).output().expect("python runs")
    };
    let refused = fetch(&random());
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("RepositoryNotFoundError"),
        "{refused:?}"
    );
    let fetched = fetch(&token);
    assert!(
        fetched.status.success(),
        "{}",
        String::from_utf8_lossy(&fetched.stderr)
    );
    let said = String::from_utf8(fetched.stdout).expect("text");
    assert!(said.starts_with("3\n5\n"), "{said}");
    // Its own notes.
    fs::remove_dir_all(world.path("work/theirs/.cache")).expect("the notes go");
    same(&files, &world.path("work/theirs"));
    // And ours has the same.
    let mut world = world;
    world.set("HF_TOKEN", &token);
    let words = [
        "snapshot",
        "--revision",
        &commit,
        "--token",
        "env:HF_TOKEN",
        "-o",
        "ours",
    ];
    call(&world, &hub, "acme/model", &words).ok();
    same(&files, &world.path("work/ours"));
}

#[test]
fn what_is_there_is_not_fetched_again_whatever_it_came_with() {
    let world = World::new().expect("a world");
    let hub = Hub::start().expect("a hub");
    let first = model(&world, "first", 1);
    let commit = hub
        .commit("acme/model", &["main", "refs/pr/1"], &first)
        .expect("a commit");
    let take = |repository: &str, words: &[&str]| {
        call(
            &world,
            &hub,
            repository,
            &[&["snapshot", "-o", "out"], words].concat(),
        )
        .ok();
        hub.files_asked()
    };
    // Each once, and not the empty one: its digest says what is in it.
    assert_eq!(take("acme/model", &[]), 4);
    same(&first, &world.path("work/out"));
    let sent = hub.sent();
    assert_eq!(sent, 5_000_000);
    assert_eq!(take("acme/model", &[]), 4, "nothing is asked for again");
    assert_eq!(take("acme/model", &["--revision", "refs/pr/1"]), 4);
    // Another revision with one small file that is another, and another repository with the same weights.
    let second = model(&world, "second", 2);
    hub.commit("acme/model", &["main"], &second).expect("a commit");
    assert_eq!(take("acme/model", &[]), 5);
    hub.commit("other/model", &["main"], &second).expect("a commit");
    assert_eq!(take("other/model", &[]), 5);
    assert_eq!(hub.sent(), sent, "no large file came twice");
    let told = call(&world, &hub, "acme/model", &["commit", "--revision", "refs/pr/1"]);
    assert_eq!(told.ok(), commit);
    let chosen = [
        "snapshot",
        "--include",
        "*.json",
        "--exclude",
        "config*",
        "entries",
    ];
    assert_eq!(call(&world, &hub, "acme/model", &chosen).ok(), "1_Pooling/");
}

#[test]
fn a_private_repository_takes_its_token_and_shares_with_those_who_have_it() {
    let mut world = World::new().expect("a world");
    let hub = Hub::start().expect("a hub");
    let token = random();
    let files = model(&world, "model", 1);
    for repository in ["acme/model", "acme/fork"] {
        hub.commit(repository, &["main"], &files).expect("a commit");
        hub.close(repository, &token);
    }
    world.set("HF_TOKEN", &token);
    world.set("WRONG", random());
    let take = |repository: &str, words: &[&str]| {
        call(
            &world,
            &hub,
            repository,
            &[&["snapshot", "-o", "out"], words].concat(),
        )
    };
    take("acme/model", &[])
        .exits(4)
        .says("there is none, or it is one that needs a token");
    take("acme/model", &["--token", "env:WRONG"])
        .exits(4)
        .says("the token may not see it");
    take("acme/model", &["--token", "env:HF_TOKEN"]).ok();
    same(&files, &world.path("work/out"));
    let sent = hub.sent();
    take("acme/fork", &["--token", "env:HF_TOKEN"]).ok();
    assert_eq!(hub.sent(), sent, "the same content with the same token");
    take("acme/fork", &["--token", "env:WRONG"]).exits(4);
    let asked = hub.asked();
    assert!(asked.iter().all(|asked| !asked.path.contains(&token)));
}

#[test]
fn what_is_wrong_is_said() {
    let world = World::new().expect("a world");
    let hub = Hub::start().expect("a hub");
    let files = model(&world, "model", 1);
    hub.commit("acme/model", &["main"], &files).expect("a commit");
    let take = |repository: &str, words: &[&str]| {
        call(
            &world,
            &hub,
            repository,
            &[&["snapshot", "-o", "out"], words].concat(),
        )
    };
    take("acme/model", &["--revision", "none"])
        .exits(1)
        .says("has no model repository acme/model with a revision none");
    take("acme/model", &["--include", "*.bin"])
        .exits(1)
        .says("no file of the repository is wanted; it has 1_Pooling/a file #1.json, config.json");
    take("acme/../model", &[]).exits(1).says("is no model repository");
    // Other bytes than the hub has published, once it has said which they are.
    fs::write(files.join("model.safetensors"), content(3_000_000, 9)).expect("the file is written");
    take("acme/model", &[])
        .exits(1)
        .says("is not what was asked for: its digest is sha256:");
    fs::write(files.join("model.safetensors"), content(3_000_000, 1)).expect("the file is written");
    // The same of a small one, of another commit, as the first is remembered.
    let config = |seed: u32| fs::write(files.join("config.json"), format!("{{\"seed\": {seed}}}\n"));
    config(8).expect("the file is written");
    hub.commit("acme/model", &["main"], &files).expect("a commit");
    config(7).expect("the file is written");
    take("acme/model", &[])
        .exits(1)
        .says("its digest is gitoid:blob:sha1:");
}

/// How many bytes of files that are being fetched the store has.
fn kept(world: &World) -> u64 {
    let below = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let files = below(&world.path("wharf/store/partial"))
        .into_iter()
        .flat_map(|part| below(&part));
    let progress = files.filter_map(|file| fs::read(file.join("progress")).ok());
    let sum = |bytes: Vec<u8>| {
        let numbers = bytes
            .chunks_exact(8)
            .skip(2)
            .map(|number| u64::from_le_bytes(number.try_into().expect("8 bytes")));
        numbers.sum::<u64>()
    };
    progress.map(sum).sum()
}

#[test]
fn a_download_that_was_cut_and_killed_goes_on_and_nothing_comes_twice() {
    let world = World::new().expect("a world");
    let hub = Hub::start().expect("a hub");
    let size = (42 << 20) + 12_345;
    world.write("model/model.safetensors", content(size, 3));
    let files = world.path("work/model");
    hub.commit("acme/large", &["main"], &files).expect("a commit");
    let mut asked_before = 0;
    // Three connections are cut, then all that there are stand still, and the engine is killed; after that without cuts.
    for cuts in [3, 0] {
        let (answers, held, promised) = (
            AtomicUsize::default(),
            Arc::new(AtomicUsize::default()),
            Arc::new(AtomicU64::default()),
        );
        let (holding, promising) = (Arc::clone(&held), Arc::clone(&promised));
        let before = hub.sent();
        hub.fail(move |_, reply| {
            let reply = if answers.fetch_add(1, Ordering::SeqCst) < cuts {
                reply.cut_after(1_000_000)
            } else {
                holding.fetch_add(1, Ordering::SeqCst);
                reply.held_after(2_000_000)
            };
            promising.fetch_add(reply.length(), Ordering::SeqCst);
            reply
        });
        let mut command = command(&world, &hub, "acme/large", &["snapshot", "-o", "out"]);
        let mut call = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let stand_still = process::wait_for(PATIENCE, || {
            let sent = hub.sent();
            let all_is_kept = sent == before + promised.load(Ordering::SeqCst) && kept(&world) == sent;
            (held.load(Ordering::SeqCst) >= 4 && all_is_kept).then_some(())
        });
        let (sent, kept) = (hub.sent(), kept(&world));
        assert!(stand_still.is_some(), "{sent} bytes were sent, {kept} are kept");
        for pid in engines(&world) {
            process::kill(pid);
        }
        assert!(!call.wait().expect("it ends").success(), "its engine was killed");
        assert!(hub.asked().len() > asked_before + cuts);
        asked_before = hub.asked().len();
    }
    hub.heal();
    call(&world, &hub, "acme/large", &["snapshot", "-o", "out"]).ok();
    same(&files, &world.path("work/out"));
    assert_eq!(hub.sent(), size as u64, "each byte was sent once");
    assert_eq!(kept(&world), 0, "what is whole is no part any more");
    let asked = hub.files_asked();
    call(&world, &hub, "acme/large", &["snapshot", "-o", "out"]).ok();
    assert_eq!(hub.files_asked(), asked);
}
