//! What a step's process is given: arguments, user, environment, rights; and what it cannot see.

use wharf_runner::Exit;

use crate::{
    with_both,
    world::{World, run, sh},
};

with_both!(
    arguments_environment_and_standard_input_arrive_as_they_are,
    nothing_of_the_hosts_environment_arrives,
    b06_users_by_name_and_number_have_their_groups,
    b06_a_missing_working_directory_is_made,
    b08_a_step_sees_its_own_processes_only,
    b08_orphans_are_reaped,
    b08_descriptors_mounts_and_sockets_of_the_host_stay_outside,
    rights_are_dockers,
    dangerous_calls_are_refused,
    what_docker_masks_is_masked,
    devices_are_dockers,
    other_devices_cannot_be_opened,
);

async fn arguments_environment_and_standard_input_arrive_as_they_are(world: World) {
    let mut wanted = run(&[
        "sh",
        "-c",
        "printf '%s|' \"$0\" \"$@\" \"$EMPTY\" \"$ODD\"; cat",
        "a b",
        "",
        "ä\n'\"$",
    ]);
    wanted
        .process
        .env
        .extend(["EMPTY=".to_owned(), "ODD=x = y".to_owned()]);
    wanted.stdin = "what is read";
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "a b||ä\n'\"$||x = y|what is read");
    let outcome = world.run(sh("echo out; echo err >&2")).await;
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("out\n", "err\n")
    );
}

async fn nothing_of_the_hosts_environment_arrives(world: World) {
    let mut wanted = run(&["env"]);
    // runc sets this one where nobody else does.
    wanted.process.env.push("HOME=/home".to_owned());
    let seen = world.output(wanted).await;
    assert_eq!(
        seen,
        format!("PATH={}\nHOME=/home", wharf_runner::spec::default_path())
    );
}

async fn b06_users_by_name_and_number_have_their_groups(world: World) {
    for (user, ids) in [
        ("", "uid=0(root) gid=0(root)"),
        ("app", "uid=1000(app) gid=1000(app)"),
        ("1000", "uid=1000(app) gid=1000(app)"),
        ("app:audio", "uid=1000(app) gid=29(audio)"),
        ("4242:77", "uid=4242 gid=77"),
    ] {
        let mut wanted = run(&["id"]);
        wanted.process.user = world.user(user);
        let seen = world.output(wanted).await;
        assert!(seen.starts_with(ids), "{user}: {seen}");
        let has_groups = seen.contains("(staff)");
        assert_eq!(has_groups, matches!(user, "app" | "1000"), "{user}: {seen}");
    }
}

async fn b06_a_missing_working_directory_is_made(world: World) {
    let mut wanted = sh("pwd; stat -c '%a %u %g' . ..");
    wanted.process.cwd = "/work/deep".into();
    wanted.process.user = world.user("app");
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "/work/deep\n755 0 0\n755 0 0\n");
    assert_eq!(crate::world::tree(&outcome.upper), ["d work", "d work/deep"]);
}

async fn b08_a_step_sees_its_own_processes_only(world: World) {
    let seen = world
        .output(sh(
            "for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done",
        ))
        .await;
    assert!(!seen.contains("steps-"), "the test's own process is seen: {seen}");
    assert!(seen.lines().count() <= 4, "{seen}");
    assert_eq!(world.output(run(&["hostname"])).await, "step");
}

async fn b08_orphans_are_reaped(world: World) {
    // A child whose parent ends first, and that ends while the step still runs.
    let script = "for i in 1 2 3 4 5; do sh -c 'sleep 0 & exit'; done; sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z ' ";
    assert_eq!(world.run(sh(script)).await.stdout.trim(), "0");
}

async fn b08_descriptors_mounts_and_sockets_of_the_host_stay_outside(world: World) {
    let open = world.output(sh("ls /proc/self/fd | tr '\\n' ' '")).await;
    // The fourth is the listing's own.
    assert_eq!(open.trim(), "0 1 2 3");
    let mounts = world.output(sh("cut -d' ' -f5 /proc/self/mountinfo")).await;
    for mount in mounts.lines() {
        let own = ["/proc", "/dev", "/sys", "/etc/"]
            .iter()
            .any(|path| mount.starts_with(path))
            || mount == "/";
        assert!(own, "{mounts}");
    }
    assert_eq!(
        world.output(sh("wc -l < /proc/net/unix")).await,
        "1",
        "there is more than the heading"
    );
}

async fn rights_are_dockers(world: World) {
    let status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'";
    let docker = "00000000a80425fb";
    assert_eq!(
        world.output(sh(status)).await.lines().collect::<Vec<_>>(),
        [
            "CapInh:0000000000000000".to_owned(),
            format!("CapPrm:{docker}"),
            format!("CapEff:{docker}"),
            format!("CapBnd:{docker}"),
            "CapAmb:0000000000000000".to_owned(),
            "NoNewPrivs:0".to_owned(),
            "Seccomp:2".to_owned(),
        ]
    );
    let mut wanted = sh(status);
    wanted.process.user = world.user("app");
    let seen = world.output(wanted).await;
    assert!(
        seen.contains("CapPrm:0000000000000000") && seen.contains(&format!("CapBnd:{docker}")),
        "{seen}"
    );
    assert_eq!(world.output(sh("umask; ulimit -c")).await, "0022\n0");
}

async fn dangerous_calls_are_refused(world: World) {
    for attempt in [
        "mount -t tmpfs none /mnt",
        "unshare -m true",
        "unshare -U true",
        "hostname other",
        "echo 1 > /proc/sys/kernel/hostname",
        "echo b > /proc/sysrq-trigger",
        "mkdir /sys/fs/cgroup/mine",
    ] {
        let outcome = world.run(sh(attempt)).await;
        assert_ne!(outcome.step.exit, Exit::Code(0), "{attempt}: {outcome:?}");
    }
}

async fn what_docker_masks_is_masked(world: World) {
    let script = "wc -c < /proc/keys; wc -c < /proc/interrupts; ls /sys/firmware | wc -l; touch /sys/x /proc/sys/x 2>&1 | wc -l";
    assert_eq!(world.output(sh(script)).await, "0\n0\n0\n2");
}

async fn devices_are_dockers(world: World) {
    let script = "for d in null zero full random urandom tty; do stat -c '%n %a %t:%T' /dev/$d; done
        for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; stat -c %a /dev/shm
        echo x > /dev/null && head -c 2 /dev/zero | wc -c && test -c /dev/pts/ptmx && touch /dev/shm/x && ls -d /dev/mqueue";
    assert_eq!(
        world.output(sh(script)).await.lines().collect::<Vec<_>>(),
        [
            "/dev/null 666 1:3",
            "/dev/zero 666 1:5",
            "/dev/full 666 1:7",
            "/dev/random 666 1:8",
            "/dev/urandom 666 1:9",
            "/dev/tty 666 5:0",
            "/proc/self/fd",
            "/proc/self/fd/0",
            "/proc/self/fd/1",
            "/proc/self/fd/2",
            "pts/ptmx",
            "1777",
            "2",
            "/dev/mqueue",
        ]
    );
}

async fn other_devices_cannot_be_opened(world: World) {
    // Making the node is a right that Docker gives; opening it is not. 1:1 is the machine's memory.
    let outcome = world
        .run(sh(
            "mknod /memory c 1 1 && mknod /kmsg c 1 11 && cat /memory || head -c 1 /kmsg",
        ))
        .await;
    assert_ne!(outcome.step.exit, Exit::Code(0));
    assert_eq!(
        outcome.stderr.matches("Operation not permitted").count(),
        2,
        "{outcome:?}"
    );
}
