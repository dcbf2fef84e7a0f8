//! Behaviours 19, 26 and 37: files that change while they are read, what is large or many, and a full disk.

use std::{
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use wharf_e2e::{
    Footprint, TestEngine,
    engine::{Run, busybox, script},
};
use wharf_graph::{
    Container, Directory, Error,
    build::Edit,
    op::{CopyOptions, Filter},
    read::{Answer, Question},
};

/// Bytes of each file that changes under an upload's eyes.
const CHANGING: usize = 512 * 1024;

/// How many there are.
const FILES: usize = 8;

/// Files whose content is of one letter each, which changes in place again and again, without being cut to nothing first:
/// a reader may see half of a change, and every whole state has the full length.
struct Changing {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn write_all(directory: &Path, letter: u8) {
    for at in 0..FILES {
        let mut file = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(directory.join(at.to_string()))
            .expect("a file");
        file.write_all(&vec![letter; CHANGING])
            .expect("a file is written");
    }
}

impl Changing {
    fn start(directory: &Path) -> Self {
        write_all(directory, b'a');
        let (directory, stop) = (directory.to_owned(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let letters = (b'a'..=b'z').cycle();
            for letter in letters.take_while(|_| !told.load(Ordering::Relaxed)) {
                write_all(&directory, letter);
                // Long enough that some reads come through.
                std::thread::sleep(std::time::Duration::from_millis(u64::from(letter % 5) * 4));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Changing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

/// Whether an error says that the disk is full: the engine's words or a program's.
fn says_full(error: &Error) -> bool {
    match error {
        Error::Exec(failure) => failure.stderr_tail.contains("No space left on device"),
        other => other
            .to_string()
            .contains("the disk that holds the store is full"),
    }
}

fn host(path: &Path) -> Directory {
    Directory::host(path.to_str().expect("a path in UTF-8"), Filter::default())
}

async fn contents(run: &Run, directory: &Directory, path: &str) -> Result<Vec<u8>, Error> {
    match run.ask(directory.file(path).node(), Question::Contents).await? {
        Answer::Bytes(bytes) => Ok(bytes),
        other => panic!("{other:?} are no contents"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b19_a_file_that_changes_while_it_is_sent_is_never_torn() {
    let engine = TestEngine::start();
    let source = engine.path().join("source");
    std::fs::create_dir(&source).unwrap();
    let changing = Changing::start(&source);
    let (mut whole, mut refused) = (0, 0);
    for _ in 0..12 {
        let run = engine.run();
        let directory = host(&source);
        for at in 0..FILES {
            match contents(&run, &directory, &at.to_string()).await {
                Ok(bytes) => {
                    let is_one = bytes.len() == CHANGING && bytes.iter().all(|byte| *byte == bytes[0]);
                    assert!(is_one, "file {at} is torn: {} bytes", bytes.len());
                    whole += 1;
                }
                Err(error) => {
                    let said = error.to_string();
                    let is_clear = ["changed while it was sent", "changes all the time"];
                    assert!(is_clear.iter().any(|words| said.contains(words)), "{said}");
                    refused += 1;
                }
            }
        }
    }
    drop(changing);
    assert_eq!(whole + refused, 12 * FILES);
    // When it is quiet again, it works.
    write_all(&source, b'z');
    let run = engine.run();
    assert_eq!(
        contents(&run, &host(&source), "0").await.unwrap(),
        vec![b'z'; CHANGING]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b26_a_hundred_thousand_files_in_a_directory() {
    let engine = TestEngine::start();
    let run = engine.run();
    let many = script(
        &busybox(),
        "mkdir /many && cd /many && seq 1 100000 | xargs touch",
    );
    assert_eq!(run.entries(&many, "/many").await.unwrap().len(), 100_000);
    let copied = busybox().edit(Edit::copy_directory(
        "/copy",
        &many.directory("/many"),
        CopyOptions::default(),
    ));
    assert_eq!(
        run.stdout(&script(&copied, "ls /copy | wc -l"))
            .await
            .unwrap()
            .trim(),
        "100000"
    );
    let fewer = script(&copied, "rm /copy/*1 && ls /copy | wc -l");
    assert_eq!(run.stdout(&fewer).await.unwrap().trim(), "90000");
}

#[tokio::test(flavor = "multi_thread")]
async fn b26_a_file_of_ten_gigabytes() {
    let engine = TestEngine::start();
    let run = engine.run();
    // Of holes, but for its end: what counts is that sizes and offsets are right, and that nobody reads all of it.
    let large = script(
        &busybox(),
        "printf end | dd of=/large bs=1 seek=10737418240 2>/dev/null",
    );
    let size = script(&large, "stat -c '%s %b' /large");
    let stat = run.stdout(&size).await.unwrap();
    let (size, blocks) = stat.trim().split_once(' ').unwrap();
    assert_eq!(size, "10737418243");
    assert!(
        blocks.parse::<u64>().unwrap() < 1000,
        "the holes were filled: {blocks} blocks"
    );
    let end = Question::Range {
        offset: 10_737_418_240,
        length: 10,
    };
    match run.ask(large.file("/large").node(), end).await.unwrap() {
        Answer::Bytes(bytes) => assert_eq!(bytes, b"end"),
        other => panic!("{other:?} are no bytes"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b26_five_hundred_layers() {
    let engine = TestEngine::start();
    engine.run().stdout(&script(&busybox(), "true")).await.unwrap();
    let before = Footprint::settled(&engine).await;
    let mut container: Container = busybox();
    for layer in 0..500 {
        let undo = if layer % 7 == 3 {
            format!("rm /l/{}; ", layer - 1)
        } else {
            String::new()
        };
        container = script(
            &container,
            &format!("mkdir -p /l; {undo}echo {layer} > /l/{layer}"),
        );
    }
    let run = engine.run();
    let left = run
        .stdout(&script(&container, "ls /l | wc -l; cat /l/499 /l/0"))
        .await
        .unwrap();
    assert_eq!(left, "429\n499\n0\n");
    assert_eq!(run.text(&container, "/l/250").await.unwrap(), "250\n");
    assert!(
        run.text(&container, "/l/2").await.is_err(),
        "what a layer removed stays removed"
    );
    drop(run);
    before.is_left_by(&engine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b37_a_full_disk_is_said_and_harms_nothing() {
    let engine = TestEngine::with_small_disk(96);
    let write = |name: &str, mebibytes: u32| {
        script(
            &busybox(),
            &format!("dd if=/dev/urandom of=/{name} bs=1M count={mebibytes} && sha256sum < /{name}"),
        )
    };
    let kept = write("kept", 20);
    let mut run = engine.run();
    let sum = run.stdout(&kept).await.unwrap();

    // A step finds the disk full.
    let error = run
        .stdout(&write("step", 500))
        .await
        .expect_err("there is no room");
    assert!(says_full(&error), "{error}");
    // The engine finds it full while it takes in the user's files.
    let source = engine.path().join("source");
    std::fs::create_dir(&source).unwrap();
    for at in 0..40_u8 {
        // Unlike each other, or they would be one.
        let bytes: Vec<u8> = (0..4 << 20_u32)
            .map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 13) as u8 ^ at)
            .collect();
        std::fs::write(source.join(at.to_string()), bytes).unwrap();
    }
    let directory = host(&source);
    let error = run
        .ask(directory.node(), Question::Sync)
        .await
        .expect_err("there is no room");
    assert!(says_full(&error), "{error}");

    // What was reported is there, and what fits can be made.
    let (_, _) = run.steps().await;
    let mut again = engine.run();
    assert_eq!(again.stdout(&kept).await.unwrap(), sum, "{}", engine.log_text());
    let (ran, hit) = again.steps().await;
    assert_eq!((ran.len(), hit.len()), (0, 1), "{ran:?}");
    let checked = script(&kept, "sha256sum < /kept");
    assert_eq!(engine.run().stdout(&checked).await.unwrap(), sum);
    assert_eq!(
        engine
            .run()
            .stdout(&script(&busybox(), "echo fits"))
            .await
            .unwrap(),
        "fits\n"
    );
}
