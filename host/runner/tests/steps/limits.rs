//! Limits hold, and what cannot be limited is refused.

use wharf_runner::{Error, Exit};

use crate::{
    with_both,
    world::{World, sh},
};

with_both!(
    b09_too_much_memory_is_said_by_name,
    b09_a_signal_under_a_memory_limit_is_a_signal,
    b09_processes_are_limited,
    b09_processors_are_limited,
    b09_what_a_step_used_is_known,
    b09_a_limit_that_cannot_be_held_is_refused,
    limits_of_the_specification_hold,
);

async fn b09_too_much_memory_is_said_by_name(world: World) {
    let mut wanted = sh("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo unreachable ${#x}");
    wanted.process.memory = Some(32 << 20);
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.step.exit, Exit::OutOfMemory, "{outcome:?}");
    assert!(!outcome.stdout.contains("unreachable"));
}

async fn b09_a_signal_under_a_memory_limit_is_a_signal(world: World) {
    let mut wanted = sh("sh -c 'kill -9 $$'; exit $?");
    wanted.process.memory = Some(32 << 20);
    assert_eq!(world.run(wanted).await.step.exit, Exit::Code(137));
}

async fn b09_processes_are_limited(world: World) {
    let mut wanted =
        sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 5 & done; echo all");
    wanted.process.pids = Some(10);
    let outcome = world.run(wanted).await;
    assert!(
        !outcome.stdout.contains("all") && outcome.stderr.contains("fork"),
        "{outcome:?}"
    );
}

async fn b09_processors_are_limited(world: World) {
    // Judged by what the kernel was told and did, not by time: the group's own count of periods in which it had to wait.
    let mut wanted =
        sh("i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done; cat /proc/self/cgroup > /dev/null");
    wanted.process.millicpus = Some(200);
    let name = format!("wharf-test-{}", std::process::id());
    let groups = [
        format!("/sys/fs/cgroup/cpu/{name}/1"),
        format!("/sys/fs/cgroup/{name}/1"),
    ];
    let read = |file: &str| {
        groups
            .iter()
            .find_map(|group| std::fs::read_to_string(format!("{group}/{file}")).ok())
    };
    let watched = async {
        for _ in 0..3000 {
            let throttled = read("cpu.stat").unwrap_or_default();
            let quota = read("cpu.cfs_quota_us")
                .or_else(|| read("cpu.max"))
                .unwrap_or_default();
            if throttled
                .lines()
                .any(|line| line.starts_with("nr_throttled ") && line != "nr_throttled 0")
            {
                return quota.split_whitespace().next().unwrap_or_default().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        String::new()
    };
    let (outcome, quota) = tokio::join!(world.run(wanted), watched);
    assert_eq!(outcome.step.exit, Exit::Code(0));
    assert_eq!(quota, "20000");
}

async fn b09_what_a_step_used_is_known(world: World) {
    let mut wanted = sh("x=$(head -c 5000000 /dev/zero | tr '\\0' x); echo ${#x}");
    wanted.process.memory = Some(256 << 20);
    let used = world.run(wanted).await.step;
    assert!(used.peak_memory.unwrap() > 5_000_000, "{used:?}");
    assert!(used.cpu_us.unwrap() > 0, "{used:?}");
}

async fn b09_a_limit_that_cannot_be_held_is_refused(world: World) {
    let mut wanted = sh("true");
    wanted.change = Some(|spec| {
        let mut value = serde_json::to_value(&*spec).unwrap();
        value["linux"]["resources"]["cpu"] = serde_json::json!({ "cpus": "0" });
        *spec = serde_json::from_value(value).unwrap();
    });
    let refused = world.try_run(wanted).await;
    assert!(matches!(refused, Err(Error::Limit("cpuset"))), "{refused:?}");
}

async fn limits_of_the_specification_hold(world: World) {
    let mut wanted = sh("ulimit -n; ulimit -f; umask; touch /x; cat /proc/self/oom_score_adj");
    wanted.change = Some(|spec| {
        let mut value = serde_json::to_value(&*spec).unwrap();
        value["process"]["rlimits"] = serde_json::json!([
            { "type": "RLIMIT_NOFILE", "soft": 77, "hard": 88 },
            { "type": "RLIMIT_FSIZE", "soft": 1024, "hard": 1024 },
        ]);
        value["process"]["user"]["umask"] = serde_json::json!(0o027);
        value["process"]["oomScoreAdj"] = serde_json::json!(300);
        value["root"]["readonly"] = serde_json::json!(true);
        *spec = serde_json::from_value(value).unwrap();
    });
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "77\n2\n0027\n300\n", "{outcome:?}");
    assert!(outcome.stderr.contains("Read-only file system"), "{outcome:?}");
}
