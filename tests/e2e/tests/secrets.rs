//! Behaviours 32 and 38 to 40: where secrets go, and where they do not.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use wharf_e2e::{
    TestEngine,
    engine::{Run, busybox, script, sh},
};
use wharf_graph::{
    Container, Error, Secret,
    op::{Configure, ExecOptions, SecretId, Stdin},
};

/// Secrets in files of the test's own.
struct Secrets(tempfile::TempDir);

impl Secrets {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn of(&self, name: &str, owner: &str, value: &[u8]) -> Secret {
        let path = self.0.path().join(name);
        fs::write(&path, value).unwrap();
        Secret {
            name: name.to_owned(),
            id: SecretId {
                owner: owner.to_owned(),
                uri: format!("file:{}", path.display()),
            },
        }
    }
}

/// A value that no other run has.
fn random(letters: usize) -> String {
    let mut bytes = vec![0; letters.div_ceil(2)];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..letters].to_owned()
}

fn variable(container: &Container, name: &str, secret: &Secret) -> Container {
    container.configure(Configure::SecretEnv(name.to_owned(), secret.id.clone()))
}

fn knows(run: &Run, secrets: &[&Secret]) {
    for secret in secrets {
        run.session.register_secret(secret.id.clone());
    }
}

/// The files below a directory that hold one of these.
fn holding(directory: &Path, needles: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return found;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(holding(&entry.path(), needles));
        } else if kind.is_file() && holds(&fs::read(entry.path()).unwrap_or_default(), needles) {
            found.push(entry.path());
        }
    }
    found
}

fn holds(bytes: &[u8], needles: &[Vec<u8>]) -> bool {
    needles.iter().any(|needle| {
        bytes
            .windows(needle.len())
            .any(|window| window == needle.as_slice())
    })
}

/// Processes whose arguments hold one of these, and those of the engine's whose environment does.
fn telling_processes(needles: &[Vec<u8>]) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let tell = |process: fs::DirEntry| {
        let arguments = fs::read(process.path().join("cmdline")).ok()?;
        let shown = || String::from_utf8_lossy(&arguments).replace('\0', " ");
        let is_engine = shown().contains("test-engine");
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let tells = holds(&arguments, needles) || is_engine && holds(&environment, needles);
        tells.then(shown)
    };
    processes.filter_map(tell).collect()
}

/// The forms in which a value could be found.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let encoded = std::process::Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), value.as_bytes())?;
            child.wait_with_output()
        })
        .unwrap();
    let base64 = String::from_utf8(encoded.stdout).unwrap();
    let base64 = base64.trim_end().trim_end_matches('=');
    let escaped = value.replace('/', "%2F").replace('+', "%2B").replace('&', "%26");
    [value, &base64[..base64.len() - 1], &escaped]
        .map(|form| form.as_bytes().to_vec())
        .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn b38_a_secret_is_in_nothing_that_a_run_leaves_behind() {
    let engine = TestEngine::start();
    let store = engine.store();
    let secrets = Secrets::new();
    let values = [random(40), random(40), random(40)].map(|value| format!("{value}/+&"));
    let needles: Vec<_> = values.iter().flat_map(|value| forms(value)).collect();
    let [first, second, third] = [0, 1, 2].map(|at| secrets.of(&at.to_string(), "me", values[at].as_bytes()));
    let container =
        variable(&busybox(), "TOKEN", &first).with_mounted_secret("/run/token", &second, None, None);
    let options = ExecOptions {
        stdin: Stdin::Secret(third.id.clone()),
        ..ExecOptions::default()
    };
    let say_all = "read input; echo \"$TOKEN\"; cat /run/token; echo; echo \"$input\"; echo -n \"$TOKEN\" | base64; \
         echo \"$TOKEN\" | sed 's,/,%2F,;s,+,%2B,;s,&,%26,'; ulimit -c; echo \"$input\" >&2; sleep 1; exit $CODE";
    let step = |code: &str| {
        let code = Configure::Env {
            name: "CODE".to_owned(),
            value: code.to_owned(),
            expand: false,
        };
        container.configure(code).with_exec(&sh(say_all), options.clone())
    };
    let mut run = engine.run();
    knows(&run, &[&first, &second, &third]);
    let watched = tokio::spawn({
        let needles = needles.clone();
        async move {
            let mut told = Vec::new();
            for _ in 0..20 {
                told.extend(telling_processes(&needles));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            told
        }
    });
    let shown = run.stdout(&step("0")).await.unwrap();
    assert_eq!(watched.await.unwrap(), Vec::<String>::new(), "a process tells");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines[..3], ["***"; 3], "{shown}");
    assert_eq!(lines.last(), Some(&"0"), "core dumps are off: {shown}");
    let failed = run.stdout(&step("3")).await.unwrap_err();
    assert!(!holds(format!("{failed:?}").as_bytes(), &needles), "{failed:?}");
    let Error::Exec(failure) = &failed else {
        panic!("{failed:?}");
    };
    assert!(!holds(&run.failed_log(&failure.log).await, &needles));
    assert!(!holds(&run.log().await, &needles), "the stream of events tells");
    // What the step leaves: an image of it, too.
    let archive = engine.path().join("image.tar");
    run.session
        .export_container(step("0").node(), &archive)
        .await
        .unwrap();
    drop(run);
    assert_eq!(holding(&store, &needles), Vec::<PathBuf>::new());
    assert!(!holds(&fs::read(&archive).unwrap(), &needles));
    assert!(
        !holds(engine.log_text().as_bytes(), &needles),
        "the engine's log tells"
    );
    assert_eq!(holding(Path::new("/dev/shm"), &needles), Vec::<PathBuf>::new());
    let elsewhere: Vec<_> = holding(Path::new("/run/wharf"), &needles);
    assert_eq!(elsewhere, Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn b39_output_is_scrubbed_as_it_streams() {
    let engine = TestEngine::start();
    let secrets = Secrets::new();
    let value = random(30);
    let lines: Vec<String> = (0..20).map(|_| random(64)).collect();
    let long = random(1024 * 1024);
    let token = secrets.of("token", "me", value.as_bytes());
    let key = secrets.of("key", "me", (lines.join("\n") + "\n").as_bytes());
    let huge = secrets.of("huge", "me", long.as_bytes());
    let mut run = engine.run();
    knows(&run, &[&token, &key, &huge]);
    let base = variable(&busybox(), "TOKEN", &token)
        .with_mounted_secret("/key", &key, None, None)
        .with_mounted_secret("/huge", &huge, None, None);
    let half = value.len() / 2;
    let say = format!(
        "printf '%.{half}s' \"$TOKEN\"; sleep 0.3; printf '%s\\n' \"${{TOKEN#$(printf '%.{half}s' \"$TOKEN\")}}\"; \
         echo -n \"user:$TOKEN\" | base64; cat /key; sed -n 7p /key; cat /huge; echo; base64 /huge; echo end"
    );
    let shown = run.stdout(&script(&base, &say)).await.unwrap();
    let log = String::from_utf8(run.log().await).unwrap();
    for text in [&shown, &log] {
        assert!(
            !text.contains(&value) && !text.contains(&value[2..]),
            "{text:.400}"
        );
        assert!(
            lines.iter().all(|line| !text.contains(line.as_str())),
            "{text:.400}"
        );
        assert!(
            text.len() < 400 && text.ends_with("end\n"),
            "{} bytes: {text:.400}",
            text.len()
        );
        assert!(text.starts_with("***\n"), "{text:.400}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b40_secrets_arrive_as_they_were_asked_for_and_leave_nothing() {
    let engine = TestEngine::start();
    let secrets = Secrets::new();
    let (empty, first, second) = (
        secrets.of("empty", "me", b""),
        secrets.of("first", "me", b"first value"),
        secrets.of("second", "me", b"the second value"),
    );
    let run = engine.run();
    knows(&run, &[&empty, &first, &second]);
    // Empty is a value.
    let with_empty = variable(&busybox(), "EMPTY", &empty).with_mounted_secret("/empty", &empty, None, None);
    let shown = script(&with_empty, "echo \"${EMPTY-unset}.\"; wc -c < /empty");
    assert_eq!(run.stdout(&shown).await.unwrap(), ".\n0\n");
    // The later override wins, among secrets and between secrets and plain variables.
    let plain = |container: &Container| {
        container.configure(Configure::Env {
            name: "V".to_owned(),
            value: "plain".to_owned(),
            expand: false,
        })
    };
    let both = variable(&variable(&busybox(), "V", &first), "V", &second);
    let count = "printf %s \"$V\" | wc -c";
    assert_eq!(run.stdout(&script(&both, count)).await.unwrap().trim(), "16");
    assert_eq!(
        run.stdout(&script(&plain(&both), count)).await.unwrap().trim(),
        "5"
    );
    assert_eq!(
        run.stdout(&script(&variable(&plain(&both), "V", &first), count))
            .await
            .unwrap()
            .trim(),
        "11"
    );
    let mounted = busybox()
        .with_mounted_secret("/token", &first, None, None)
        .with_mounted_secret("/token", &second, Some("daemon:1000"), Some(0o440));
    let stat = "stat -c '%u %g %a %s' /token; mount | grep -c ' /token .*tmpfs\\|tmpfs.* /token '; (echo x > /token) 2>/dev/null || echo refused";
    assert_eq!(
        run.stdout(&script(&mounted, stat)).await.unwrap(),
        "1 1000 440 16\n1\nrefused\n"
    );
    let default = busybox().with_mounted_secret("/token", &first, None, None);
    assert_eq!(
        run.stdout(&script(&default, "stat -c '%u %g %a' /token"))
            .await
            .unwrap(),
        "0 0 400\n"
    );
    // The mount is gone after the step: the next one sees at most an empty place.
    let after = script(&default, "cp /token /tmp/.size; wc -c < /token; rm /tmp/.size");
    let unmounted = after.configure(Configure::Unmount("/token".to_owned()));
    let looked = script(&unmounted, "cat /token 2>/dev/null | wc -c");
    assert_eq!(run.stdout(&looked).await.unwrap().trim(), "0");
    let read = run.text(&after, "/token").await;
    assert!(matches!(read, Err(Error::Invalid(_))), "{read:?}");
    let missing = Secret {
        name: "none".to_owned(),
        id: SecretId {
            owner: "me".to_owned(),
            uri: "cmd:echo said >&2; echo half; exit 3".to_owned(),
        },
    };
    knows(&run, &[&missing]);
    let error = run
        .stdout(&script(&variable(&busybox(), "X", &missing), "true"))
        .await
        .unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("exit status: 3") && error.contains("said") && !error.contains("half\n"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_values_change_no_key_and_others_share_no_result() {
    let engine = TestEngine::start();
    let secrets = Secrets::new();
    let ask = async |secret: &Secret| {
        let mut run = engine.run();
        knows(&run, &[secret]);
        let shown = run
            .stdout(&script(
                &variable(&busybox(), "T", secret),
                "printf %s \"$T\" | wc -c",
            ))
            .await
            .unwrap();
        (shown.trim().to_owned(), run.steps().await.0.len())
    };
    let mine = secrets.of("mine", "me", b"1234");
    assert_eq!(ask(&mine).await, ("4".to_owned(), 1));
    // The same secret with another value: remembered.
    assert_eq!(
        ask(&secrets.of("mine", "me", b"123456")).await,
        ("4".to_owned(), 0)
    );
    let others = Secret {
        id: SecretId {
            owner: "you".to_owned(),
            ..mine.id.clone()
        },
        ..mine.clone()
    };
    assert_eq!(ask(&others).await, ("6".to_owned(), 1));
    // A value that a module holds is told from others by itself, and by whose it is.
    let held = async |owner: &str, value: &str| {
        let mut run = engine.run();
        let id = run
            .session
            .hold_secret(owner, zeroize::Zeroizing::new(value.as_bytes().to_vec()));
        let secret = Secret {
            name: "made".to_owned(),
            id,
        };
        let shown = run
            .stdout(&script(
                &variable(&busybox(), "T", &secret),
                "printf %s \"$T\" | wc -c",
            ))
            .await
            .unwrap();
        (shown.trim().to_owned(), run.steps().await.0.len())
    };
    let value = random(20);
    assert_eq!(held("me", &value).await, ("20".to_owned(), 1));
    assert_eq!(held("me", &value).await, ("20".to_owned(), 0), "in another run");
    assert_eq!(held("you", &value).await, ("20".to_owned(), 1));
    assert_eq!(held("me", &random(22)).await, ("22".to_owned(), 1));
}
