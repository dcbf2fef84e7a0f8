//! What Docker is asked for when the engine's container is to have GPUs: the exact request, as it arrives at the daemon's
//! socket. No daemon here has GPUs, so a recorder stands at the other end of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use wharf_docker::{DockerOptions, GpuDriver, reach};

/// A daemon that says of itself what it is told to, and notes what containers it is asked to make.
struct Recorder {
    info: Value,
    made: Mutex<Vec<Value>>,
    /// Where the engine of a container listens, and what listens there once one was started.
    engine: PathBuf,
    listening: Mutex<Option<UnixListener>>,
}

impl Recorder {
    fn start(socket: &Path, engine: PathBuf, info: Value) -> Arc<Self> {
        let listener = UnixListener::bind(socket).unwrap();
        let recorder = Arc::new(Self {
            info,
            made: Mutex::default(),
            engine,
            listening: Mutex::default(),
        });
        let served = Arc::clone(&recorder);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let recorder = Arc::clone(&served);
                thread::spawn(move || serve(stream, &recorder));
            }
        });
        recorder
    }

    fn made(&self) -> Value {
        self.made.lock().unwrap().pop().expect("a container was made")
    }
}

/// Answers the requests of one connection.
fn serve(stream: UnixStream, recorder: &Recorder) {
    let mut answers = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let request = head.lines().next().unwrap_or_default();
        let (status, answer) = if request.contains("/version ") {
            (
                200,
                json!({ "ApiVersion": "1.47", "Version": "27.0", "MinAPIVersion": "1.24" }),
            )
        } else if request.contains("/info ") {
            (200, recorder.info.clone())
        } else if request.contains("/images/") {
            (200, json!({ "Id": "sha256:00" }))
        } else if request.starts_with("POST") && request.contains("/containers/create") {
            let wanted = serde_json::from_slice(&body).unwrap();
            recorder.made.lock().unwrap().push(wanted);
            (201, json!({ "Id": "made", "Warnings": [] }))
        } else if request.contains("/start") {
            let engine = UnixListener::bind(&recorder.engine).unwrap();
            recorder.listening.lock().unwrap().replace(engine);
            (204, Value::Null)
        } else {
            (404, json!({ "message": "there is none" }))
        };
        let text = if answer.is_null() {
            String::new()
        } else {
            answer.to_string()
        };
        write!(
            answers,
            "HTTP/1.1 {status} Answer\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        )
        .unwrap();
    }
}

/// What the engine's container is made of by a daemon that says this of itself.
async fn made(gpus: bool, info: Value) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let run = directory.path().join("run");
    let recorder = Recorder::start(&socket, run.join("engine.sock"), info);
    let options = DockerOptions {
        host: Some(format!("unix://{}", socket.display())),
        program: std::env::current_exe().unwrap(),
        run,
        name: "test".to_owned(),
        args: Vec::new(),
        ca_bundle: None,
        gpus,
        steps: wharf_docker::Steps::InEngine,
    };
    let daemon = reach(&options).await.unwrap();
    wharf_docker::start(&daemon, &options).await.unwrap();
    recorder.made()
}

fn with_toolkit() -> Value {
    json!({ "Runtimes": { "runc": { "path": "runc" }, "nvidia": { "path": "nvidia-container-runtime" } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn all_gpus_are_asked_for_by_the_toolkit_s_runtime() {
    let made = made(true, with_toolkit()).await;
    let host = &made["HostConfig"];
    assert_eq!(
        host["DeviceRequests"],
        json!([{ "Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]] }])
    );
    let binds = host["Binds"].as_array().unwrap();
    for directory in ["/etc/cdi:/etc/cdi:ro", "/var/run/cdi:/var/run/cdi:ro"] {
        assert!(binds.contains(&json!(directory)), "{binds:?}");
    }
    let env = made["Env"].as_array().unwrap();
    assert!(env.contains(&json!("NVIDIA_DRIVER_CAPABILITIES=all")), "{env:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_gpus_are_asked_for_by_specification_where_there_is_no_toolkit() {
    let info = json!({
        "Runtimes": { "runc": { "path": "runc" } },
        "DiscoveredDevices": [{ "Source": "cdi", "ID": "nvidia.com/gpu=0" }],
    });
    assert_eq!(
        made(true, info).await["HostConfig"]["DeviceRequests"],
        json!([{ "Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"] }])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_gpu_is_asked_for_unless_there_are_some_and_they_are_wanted() {
    let without = json!({ "Runtimes": { "runc": { "path": "runc" } } });
    for (gpus, info) in [(false, with_toolkit()), (true, without)] {
        let made = made(gpus, info).await;
        assert_eq!(made["HostConfig"]["DeviceRequests"], Value::Null);
        assert_eq!(made["Env"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_says_how_it_gives_gpus() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let _recorder = Recorder::start(&socket, directory.path().join("none"), with_toolkit());
    let daemon = wharf_docker::reach_at(Some(&format!("unix://{}", socket.display())))
        .await
        .unwrap();
    assert_eq!(daemon.gpus().await.unwrap(), Some(GpuDriver::Toolkit));
}
