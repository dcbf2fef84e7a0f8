//! What we publish, other tools read; what they push, we read; and who a registry lets in.

use std::{
    io::{Seek, Write},
    process::{Command, Output},
};

use wharf_e2e::guests;
use wharf_testkit::{Podman, World, docker::Daemon, process, registry::Registry, world::Done};

/// A secret of this run alone.
fn secret() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel's");
    text.trim().to_owned()
}

/// A world, an empty registry in it, and a module that makes containers.
struct Docks {
    world: World,
    registry: Registry,
}

impl Docks {
    fn new() -> Self {
        let world = World::new().expect("a world");
        let registry = Registry::start(&world.path("registry")).expect("a registry");
        Self { world, registry }
    }

    fn closed(user: &str, password: &str) -> Self {
        let world = World::new().expect("a world");
        let registry = Registry::start_for(&world.path("registry"), user, password).expect("a registry");
        Self { world, registry }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    /// `wharf call made --image IMAGE --args … WORDS`.
    fn call(&self, image: &str, script: &str, words: &[&str]) -> Done {
        let module = guests::sdk(&self.world);
        let mut command = self.world.command(["call", "-q", "-m"]);
        command.arg(module).args(["made", "--image", image]);
        for arg in ["sh", "-c", script] {
            command.arg(format!("--args={arg}"));
        }
        command.args(words);
        Done::of(command)
    }

    /// `wharf login`, with the password on standard input.
    fn login(&self, user: &str, password: &str) -> Done {
        let mut input = tempfile::tempfile().expect("a file");
        writeln!(input, "{password}").expect("the file is written");
        input.rewind().expect("the file is read");
        let mut command = self.world.command([
            "login",
            "--username",
            user,
            "--password-stdin",
            self.registry.address(),
        ]);
        command.stdin(input);
        Done::of(command)
    }

    /// Publishes a small application; returns its reference with its digest.
    fn publish(&self, name: &str, options: &[&str]) -> String {
        let to = self.name(name);
        let words: Vec<&str> = ["publish", "--reference", &to]
            .into_iter()
            .chain(options.iter().copied())
            .collect();
        let published = self.call(
            "busybox:latest",
            "echo from wharf > /greeting && rm /bin/vi",
            &words,
        );
        published.ok().to_owned()
    }
}

fn tool(program: &str) -> Command {
    Command::new(process::require(program, program).expect("the tool"))
}

fn run(command: &mut Command) -> Output {
    process::run(command).unwrap_or_else(|error| panic!("{error}"))
}

fn text(output: Output) -> String {
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

#[test]
fn b17_skopeo_reads_what_is_published_and_we_read_what_it_copies() {
    let docks = Docks::new();
    // The last one is zstd: skopeo sends a layer again as it was sent before, which Docker's own format does not know of zstd.
    for compression in ["gzip", "uncompressed", "zstd"] {
        let reference = docks.publish("app:1", &["--compression", compression, "--tag", "again"]);
        let digest = reference.split_once('@').expect("a digest").1;
        let inspected = run(tool("skopeo")
            .args(["inspect", "--tls-verify=false", "--format", "{{.Digest}}"])
            .arg(format!("docker://{}", docks.name("app:again"))));
        assert_eq!(text(inspected), digest);
        let layout = format!("oci:{}:app", docks.world.path(compression).display());
        run(tool("skopeo")
            .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
            .arg(format!("docker://{reference}"))
            .arg(&layout));
        let format = if compression == "zstd" { "oci" } else { "v2s2" };
        run(tool("skopeo")
            .args([
                "--insecure-policy",
                "copy",
                "--dest-tls-verify=false",
                "--format",
                format,
            ])
            .arg(&layout)
            .arg(format!("docker://{}", docks.name("copied:1"))));
        let seen = docks.call(
            &docks.name("copied:1"),
            "cat /greeting; test -e /bin/vi || echo gone",
            &["stdout"],
        );
        assert_eq!(seen.ok(), "from wharf\ngone", "{compression}");
    }
}

#[test]
fn umoci_unpacks_what_is_published() {
    let docks = Docks::new();
    let reference = docks.publish("app:1", &[]);
    let layout = docks.world.path("layout");
    run(tool("skopeo")
        .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
        .arg(format!("docker://{reference}"))
        .arg(format!("oci:{}:app", layout.display())));
    let bundle = docks.world.path("bundle");
    run(tool("umoci")
        .args(["unpack", "--image"])
        .arg(format!("{}:app", layout.display()))
        .arg(&bundle));
    let greeting = std::fs::read_to_string(bundle.join("rootfs/greeting")).expect("the file");
    assert_eq!(greeting, "from wharf\n");
    assert!(!bundle.join("rootfs/bin/vi").exists());
    assert!(bundle.join("rootfs/bin/sh").exists());
}

#[test]
fn podman_runs_what_is_published_and_we_read_what_it_pushes() {
    let docks = Docks::new();
    let reference = docks.publish("app:1", &["--compression", "zstd"]);
    let podman = Podman::new().expect("podman");
    run(podman
        .command()
        .args(["pull", "--quiet", "--tls-verify=false", &reference]));
    let said = run(&mut podman.run_command(&["--rm", &reference, "cat", "/greeting"]));
    assert_eq!(text(said), "from wharf");
    let name = docks.name("from-podman:1");
    run(podman.command().args(["tag", &reference, &name]));
    run(podman
        .command()
        .args(["push", "--quiet", "--tls-verify=false", &name]));
    assert_eq!(docks.call(&name, "cat /greeting", &["stdout"]).ok(), "from wharf");
}

#[test]
fn docker_runs_what_is_published_and_we_read_what_it_pushes() {
    let docks = Docks::new();
    let daemon = Daemon::existing_or_start().expect("a Docker daemon");
    let docker = |args: &[&str]| text(daemon.run(args).unwrap_or_else(|error| panic!("{error}")));
    // Docker learned zstd with version 23; these two it has always known.
    for compression in ["gzip", "uncompressed"] {
        let reference = docks.publish("app:1", &["--compression", compression]);
        docker(&["pull", "--quiet", &reference]);
        let script = "cat /greeting; test -e /bin/vi || echo gone";
        let ran = ["run", "--rm", "--network=none", &reference, "sh", "-c", script];
        assert_eq!(docker(&ran), "from wharf\ngone", "{compression}");
        // A layer of Docker's own on top, which hides one of ours.
        let name = docks.name(&format!("from-docker-{compression}:1"));
        let script = "echo from docker > /more && rm /greeting";
        let container = docker(&["create", "--network=none", &reference, "sh", "-c", script]);
        docker(&["start", "--attach", &container]);
        docker(&["commit", &container, &name]);
        docker(&["push", "--quiet", &name]);
        let seen = docks.call(&name, "cat /more; test -e /greeting || echo gone", &["stdout"]);
        assert_eq!(seen.ok(), "from docker\ngone", "{compression}");
        docker(&["rm", &container]);
        docker(&["image", "rm", "--force", &reference, &name]);
    }
}

#[test]
fn b15_a_login_opens_a_registry_and_is_forgotten() {
    let password = secret();
    let docks = Docks::closed("ann", &password);
    let to = docks.name("app:1");
    let publish = || {
        docks.call(
            "busybox:latest",
            "echo one > /one",
            &["publish", "--reference", &to],
        )
    };
    // Nobody.
    publish()
        .exits(4)
        .says(docks.registry.address())
        .says("wharf login");
    let wrong = secret();
    let refused = docks.login("ann", &wrong);
    refused.exits(1).says(docks.registry.address()).says("ann");
    assert!(!refused.stderr.contains(&wrong));
    assert!(
        !docks.world.path("home/.docker/config.json").exists(),
        "what is refused is not kept"
    );
    docks.login("ann", &password).exits(0).says("config.json");
    let reference = publish().ok().to_owned();
    let seen = docks.call(&reference, "cat /one", &["stdout"]);
    assert_eq!(seen.ok(), "one");
    let logout = || docks.world.wharf(["logout", docks.registry.address()]);
    logout().exits(0).says("forgotten");
    logout().exits(0).says("no login");
    publish().exits(4);
}

#[test]
fn b15_a_login_of_the_pipelines_own_is_a_secret() {
    let password = secret();
    let mut docks = Docks::closed("bot", &password);
    docks.world.set("TOKEN", &password);
    let to = docks.name("app:1");
    let words = [
        "publish",
        "--reference",
        &to,
        "--user",
        "bot",
        "--password",
        "env:TOKEN",
    ];
    docks.call("busybox:latest", "echo one > /one", &words).ok();
    let wrong = secret();
    docks.world.set("TOKEN", &wrong);
    let refused = docks.call("busybox:latest", "echo two > /one", &words);
    refused.exits(4).says(docks.registry.address()).says("bot");
    assert!(!refused.stderr.contains(&wrong));
    docks
        .call("busybox:latest", "true", &words[..5])
        .exits(1)
        .says("--user and --password go together");
}

#[test]
fn a_credential_helper_keeps_and_gives_logins() {
    let password = secret();
    let mut docks = Docks::closed("ann", &password);
    let helper = docks.world.write(
        "bin/docker-credential-tests",
        "#!/bin/sh\ndir=\"$(dirname \"$0\")\"\ncase \"$1\" in\n\
         store) cat > \"$dir/kept\" ;;\n\
         get) test -e \"$dir/kept\" || { echo 'credentials not found in native keychain'; exit 1; }; cat \"$dir/kept\" ;;\n\
         erase) rm \"$dir/kept\" ;;\nesac\n",
    );
    std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let bin = helper.parent().expect("a directory").to_owned();
    let mut path = bin.clone().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    docks.world.set("PATH", path);
    let config = docks.world.path("home/.docker/config.json");
    std::fs::create_dir_all(config.parent().expect("a directory")).expect("a directory");
    std::fs::write(&config, r#"{ "credsStore": "tests" }"#).expect("a file");
    docks
        .login("ann", &password)
        .exits(0)
        .says("docker-credential-tests");
    assert!(bin.join("kept").exists());
    assert!(
        !std::fs::read_to_string(&config)
            .expect("the file")
            .contains(&password)
    );
    let to = docks.name("app:1");
    docks
        .call("busybox:latest", "true", &["publish", "--reference", &to])
        .ok();
    docks
        .world
        .wharf(["logout", docks.registry.address()])
        .exits(0)
        .says("forgotten");
    assert!(!bin.join("kept").exists());
}
