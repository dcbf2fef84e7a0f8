//! The engine in Docker as users handle it: started once however many ask, looked at, replaced, ended.

use wharf_e2e::guests;
use wharf_testkit::{
    World,
    git::{GitRepository, serve_git_on},
    world::{Done, Engine},
};

/// A world on the run's Docker daemon; what it leaves there is removed at the end.
struct OnDocker(World);

impl OnDocker {
    fn new() -> Self {
        Self(World::on(Engine::Docker).expect("a Docker daemon"))
    }

    /// What Docker prints.
    fn docker(&self, args: &[&str]) -> String {
        let output = self.0.daemon().expect("a daemon").run(args).expect("docker");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn name(&self) -> String {
        let directory = self.0.path("wharf/run/docker");
        wharf_digest::Digest::of(directory.as_os_str().as_encoded_bytes()).to_hex()[..12].to_owned()
    }

    /// The containers' ids: one, or none.
    fn containers(&self) -> String {
        let filter = format!("name=wharf-engine-{}", self.name());
        self.docker(&["ps", "--quiet", "--no-trunc", "--filter", &filter])
    }

    fn greet(&self, options: &[&str]) -> Done {
        let module = guests::by_hand(&self.0.path("work"));
        let mut command = self.0.command(["call", "-q"]);
        command
            .args(options)
            .arg("-m")
            .arg(module)
            .args(["greeting", "--image", "busybox:latest"]);
        Done::of(command)
    }
}

impl Drop for OnDocker {
    fn drop(&mut self) {
        self.0.wharf(["engine", "stop"]);
        let volume = format!("wharf-store-{}", self.name());
        let _ = self
            .0
            .daemon()
            .map(|daemon| daemon.run(["volume", "rm", "--force", &volume]));
    }
}

#[test]
fn an_engine_in_docker_is_started_once_looked_at_and_ended() {
    let world = OnDocker::new();
    assert_eq!(world.0.wharf(["engine", "status"]).ok(), "no engine is running");
    std::thread::scope(|scope| {
        let starts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| world.0.wharf(["engine", "start"])))
            .collect();
        for start in starts {
            start.join().expect("a start").exits(0);
        }
    });
    let first = world.containers();
    assert_eq!(first.lines().count(), 1, "{first:?}");
    assert!(
        world
            .0
            .wharf(["engine", "status"])
            .ok()
            .contains("/var/lib/wharf")
    );
    assert!(world.0.wharf(["engine", "logs"]).ok().contains("listens on"));
    assert_eq!(world.greet(&[]).ok(), "hello from wat");
    assert_eq!(world.containers(), first, "it is found again");
    assert_eq!(world.0.wharf(["engine", "stop"]).ok(), "the engine has ended");
    assert_eq!(world.containers(), "");
    assert_eq!(world.0.wharf(["engine", "stop"]).ok(), "no engine was running");
}

#[test]
fn images_go_to_docker_and_come_from_it() {
    let world = OnDocker::new();
    let module = guests::sdk(&world.0);
    let call = |words: &[&str]| {
        let mut command = world.0.command(["call", "-q", "-m"]);
        command.arg(&module).args(words);
        Done::of(command)
    };
    let name = format!("wharf-test-{}:made", world.name());
    let made = [
        "made",
        "--image",
        "busybox:latest",
        "--args=sh",
        "--args=-c",
        "--args=echo from wharf > /greeting",
    ];
    let id = call(&[&made[..], &["load", "--name", &name]].concat())
        .ok()
        .to_owned();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(
        world.docker(&["run", "--rm", &name, "cat", "/greeting"]),
        "from wharf"
    );
    let said = call(&[
        "said-in-docker",
        "--name",
        &name,
        "--args=cat",
        "--args=/greeting",
    ]);
    assert_eq!(said.ok(), "from wharf");
    world.docker(&["rmi", &name]);
    call(&["said-in-docker", "--name", &name, "--args=cat"])
        .exits(1)
        .says(&name);
}

#[test]
fn an_engine_in_docker_reads_repositories_with_this_machines_git() {
    let world = OnDocker::new();
    let repository = GitRepository::new(&world.0.path("work/repository")).expect("a repository");
    repository
        .commit("docs/README", "from a commit")
        .expect("a commit");
    let module = guests::sdk(&world.0);
    let read = |source: &str, path: &str| {
        let mut command = world.0.command(["call", "-q", "-m"]);
        command
            .arg(&module)
            .args(["read", "--source", source, "--path", path]);
        Done::of(command)
    };
    // By git's own way from a directory of this machine.
    let directory = format!("git+file://{}", repository.path().display());
    assert_eq!(read(&directory, "docs/README").ok(), "from a commit");
    // From a server of the web.
    let daemon = world.0.daemon().expect("a daemon");
    let gateway = daemon.gateway().expect("an address");
    let server = serve_git_on(gateway, &world.0.path("work"), |_| true).expect("a server");
    let url = server.url("/repository/.git");
    assert_eq!(
        read(&format!("git+{url}#main:docs"), "README").ok(),
        "from a commit"
    );
    // By ssh: there is no server, and it is ssh that says so.
    let ssh = "GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes";
    let address = format!("ssh://git@{gateway}:1/app.git");
    let refused = daemon
        .run([
            "exec",
            "--env",
            ssh,
            &world.containers(),
            "git",
            "ls-remote",
            &address,
        ])
        .expect_err("nobody listens")
        .to_string();
    assert!(refused.contains("port 1: Connection refused"), "{refused}");
}

#[test]
fn an_engine_in_docker_is_replaced_when_its_settings_change_and_remembers() {
    let mut world = OnDocker::new();
    assert_eq!(world.greet(&[]).ok(), "hello from wat");
    let first = world.containers();
    // Other certificates are another setting.
    let bundle = std::fs::read("/etc/ssl/certs/ca-certificates.crt").expect("the host's certificates");
    let copy = world.0.write("certificates.crt", bundle);
    world.0.set("WHARF_CA_CERT", copy);
    world.0.wharf(["engine", "start"]).exits(0);
    let second = world.containers();
    assert!(second != first && second.lines().count() == 1, "{first} {second}");
    // The volume is the same, so nothing has to run again.
    let mut command = world.0.command(["call", "--progress", "plain", "-m"]);
    command
        .arg(guests::by_hand(&world.0.path("work")))
        .args(["greeting", "--image", "busybox:latest"]);
    Done::of(command).exits(0).says("1 remembered, 0 run");
    world
        .greet(&["--runtime", "runc"])
        .exits(4)
        .says("--engine local");
}

#[test]
fn images_of_replaced_programs_go_unless_a_container_uses_them() {
    let world = OnDocker::new();
    // Two images as earlier programs left them: an archive of nothing is a root of nothing.
    let root = world.0.write("empty.tar", [0; 1024]);
    let root = root.to_str().expect("a path in UTF-8");
    let label = "LABEL org.opencontainers.image.title=wharf-engine";
    for tag in ["replaced", "used"] {
        let name = format!("wharf-engine:{tag}");
        world.docker(&["import", "--change", label, root, &name]);
    }
    world.docker(&["tag", "wharf-engine:used", "someone-elses:image"]);
    let uses = world.docker(&["create", "wharf-engine:used", "/wharf"]);
    // A program of which the daemon has no image: this one and a byte that nobody reads.
    let start = world.0.command(["engine", "start"]);
    let mut program = std::fs::read(start.get_program()).expect("the program");
    program.push(0);
    let program = world.0.write("wharf", program);
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("a program");
    let mut other = std::process::Command::new(&program);
    other.args(start.get_args()).env_clear();
    other.envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Done::of(other).exits(0);
    let names = world.docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
    let has = |name: &str| names.lines().any(|line| line == name);
    assert!(!has("wharf-engine:replaced"), "{names}");
    assert!(has("wharf-engine:used") && has("someone-elses:image"), "{names}");
    world.docker(&["rm", &uses]);
    world.docker(&["rmi", "wharf-engine:used", "someone-elses:image"]);
}
