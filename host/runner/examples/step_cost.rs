//! What a step costs beside its own command: `cargo run --release -p wharf-runner --example step_cost -- ROOT [STEPS]`, as
//! root, with the root file system of an image that has `/bin/true`.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;
use wharf_runner::{Exit, NetworkMode, Overlay, Runner, RunnerConfig, Runtime, Step, StepIo, spec};

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next().ok_or("usage: step_cost ROOT [STEPS]")?;
    let root = PathBuf::from(first);
    let steps: u32 = arguments.next().map_or(Ok(100), |steps| steps.parse())?;
    let scratch = tempfile::tempdir_in(root.parent().unwrap_or(&root))?;
    let helper = std::env::current_exe()?
        .with_file_name("../wharf-runner-helper")
        .canonicalize()?;
    for runtime in [Runtime::BuiltIn, Runtime::Binary("runc".into())] {
        let config = RunnerConfig {
            runtime: runtime.clone(),
            helper: (helper.clone(), Vec::new()),
            state: Path::new("/dev/shm").join(format!("wharf-step-cost-{}", std::process::id())),
            name: format!("wharf-step-cost-{}", std::process::id()),
            ground: scratch.path().join("ground"),
            resolv_conf: "nameserver 192.0.2.53\n".to_owned(),
        };
        let state = config.state.clone();
        let runner = Runner::start(config).await?;
        for (label, network, limits) in [
            ("no network", NetworkMode::None, false),
            ("no network, limits", NetworkMode::None, true),
            ("network", NetworkMode::Bridged, true),
        ] {
            let mut times = Vec::new();
            for number in 0..steps {
                times.push(one(&runner, &root, scratch.path(), (network, limits), number).await?);
            }
            times.sort();
            let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1000.0;
            let line = format!(
                "{runtime}, {label}: median {:.2} ms, 95th percentile {:.2} ms",
                at(50),
                at(95)
            );
            std::io::Write::write_all(&mut std::io::stdout(), format!("{line}\n").as_bytes())?;
        }
        runner.shutdown().await;
        std::fs::remove_dir_all(state)?;
    }
    Ok(())
}

async fn one(
    runner: &Runner,
    root: &Path,
    scratch: &Path,
    (network, limits): (NetworkMode, bool),
    number: u32,
) -> Result<Duration, Failure> {
    let [upper, work] = ["upper", "work"].map(|name| scratch.join(format!("{name}{number}")));
    for directory in [&upper, &work] {
        std::fs::create_dir_all(directory)?;
    }
    let process = spec::Process {
        args: vec!["/bin/true".to_owned()],
        env: vec![format!("PATH={}", spec::default_path())],
        cwd: "/".to_owned(),
        hostname: "step".to_owned(),
        memory: limits.then_some(256 << 20),
        pids: limits.then_some(100),
        ..spec::Process::default()
    };
    let null = || {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
    };
    let begun = Instant::now();
    let step = Step {
        spec: spec::docker_like(&process)?,
        root: Overlay {
            lowers: vec![root.to_owned()],
            upper: Some((upper.clone(), work.clone())),
        },
        mounts: Vec::new(),
        network,
        hosts: Vec::new(),
        timeout: None,
        private: Vec::new(),
    };
    let io = StepIo {
        stdin: null()?.into(),
        stdout: null()?.into(),
        stderr: null()?.into(),
    };
    let outcome = runner.run(step, io, CancellationToken::new()).await?;
    let took = begun.elapsed();
    if outcome.exit != Exit::Code(0) {
        return Err(format!("the step ended with {:?}", outcome.exit).into());
    }
    for directory in [&upper, &work] {
        std::fs::remove_dir_all(directory)?;
    }
    Ok(took)
}
