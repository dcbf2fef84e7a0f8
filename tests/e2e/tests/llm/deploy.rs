//! From a hub to a registry, with real weights.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;
use wharf_testkit::{
    Hub, World, models, process,
    registry::{Registry, Request},
    world::Done,
};

use crate::{gpu, module, pulled, random};

const REPOSITORY: &str = "acme/minilm";
pub(crate) const SENTENCES: &str =
    r#"{"sentences": ["A harbour for ships.", "Boats lie in the port.", "The tax return is due."]}"#;
/// What quantizing, trying, packaging and fetching are called.
const COMPUTED: [&str; 4] = ["quantize", "evaluate", "install", "/resolve/"];

/// A world with a GPU and a copy of the example, a hub that has the model for whoever has the token, and a registry for whoever has
/// the password.
pub(crate) struct Setting {
    pub(crate) world: World,
    hub: Hub,
    pub(crate) registry: Registry,
    pub(crate) secrets: [String; 2],
}

impl Setting {
    fn new() -> Self {
        let mut world = World::new().expect("a world");
        let secrets = [random(), random()];
        let hub = Hub::start().expect("a hub");
        let model = models::minilm().expect("the model");
        hub.commit(REPOSITORY, &["main"], &model).expect("a commit");
        hub.close(REPOSITORY, &secrets[0]);
        let registry = Registry::start_for(&world.path("registry"), "ann", &secrets[1]).expect("a registry");
        world.set("HF_TOKEN", &secrets[0]);
        world.set("REGISTRY_PASSWORD", &secrets[1]);
        models::copy_pipeline(&world.path("work/llm-deploy"), "127.0.0.1").expect("a copy");
        gpu::give(&mut world);
        Self {
            world,
            hub,
            registry,
            secrets,
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    pub(crate) fn deploy(&self, to: &str, words: &[&str]) -> Done {
        let mut command = self
            .world
            .command(["call", "--progress", "plain", "-m", "llm-deploy", "deploy"]);
        command.args([
            "--to",
            &self.name(to),
            "--repository",
            REPOSITORY,
            "--endpoint",
            &self.hub.url(),
        ]);
        command.args([
            "--token",
            "env:HF_TOKEN",
            "--user",
            "ann",
            "--password",
            "env:REGISTRY_PASSWORD",
        ]);
        command.args(gpu::PACKAGE).args(words);
        Done::of(command)
    }

    /// What the registry was asked since, of what changes it.
    fn sent(&self, since: usize) -> Vec<Request> {
        let requests = self.registry.requests().into_iter().skip(since);
        let changes = |request: &Request| {
            matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") && request.status < 400
        };
        requests.filter(changes).collect()
    }

    fn layers(&self, name: &str) -> Vec<String> {
        let mut command = Command::new(process::require("skopeo", "skopeo").expect("skopeo"));
        command.args([
            "inspect",
            "--tls-verify=false",
            "--creds",
            &format!("ann:{}", self.secrets[1]),
        ]);
        command
            .args(["--format", "{{range .Layers}}{{.}} {{end}}"])
            .arg(format!("docker://{}", self.name(name)));
        let output = process::run(&mut command).expect("skopeo inspects");
        let text = String::from_utf8(output.stdout).expect("text");
        text.split_whitespace().map(str::to_owned).collect()
    }
}

/// How many steps were remembered and how many ran, as a run's last line has them.
fn counts(done: &Done) -> (usize, usize) {
    let before = |line: &str, word: &str| {
        let (before, _) = line.split_once(word)?;
        before
            .rsplit(|letter: char| !letter.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    };
    let mut lines = done.stderr.lines().rev();
    lines
        .find_map(|line| Some((before(line, " remembered")?, before(line, " run").unwrap_or(0))))
        .unwrap_or_else(|| panic!("no counts in {}", done.stderr))
}

/// Lines that say that a step ran whose title has this.
pub(crate) fn ran(done: &Done, title: &str) -> usize {
    let lines = done.stderr.lines();
    lines
        .filter(|line| line.contains(title) && !line.contains("remembered"))
        .count()
}

#[test]
fn a_model_is_deployed_with_real_weights() {
    let setting = Setting::new();
    let Setting { world, hub, .. } = &setting;
    let first = setting.deploy("search/minilm:1", &[]);
    let reference = first.ok().to_owned();
    assert!(
        reference.starts_with(&setting.name("search/minilm@sha256:")),
        "{reference}"
    );
    for level in ["original", "fp16", "int8", "int4"] {
        assert!(first.stderr.contains(level), "{level}: {}", first.stderr);
    }
    gpu::had_it(&first);
    let model = models::minilm().expect("the model");
    let weights = fs::metadata(model.join("model.safetensors"))
        .expect("a file")
        .len();
    assert_eq!(hub.sent(), weights, "each byte was sent once");

    // Again: nothing is fetched, run or sent.
    let (asked, before) = (hub.files_asked(), setting.registry.requests().len());
    let again = setting.deploy("search/minilm:1", &[]);
    assert_eq!(again.ok(), reference);
    assert_eq!(counts(&again).1, 0, "{}", again.stderr);
    assert_eq!((hub.sent(), hub.files_asked()), (weights, asked));
    assert!(setting.sent(before).is_empty(), "{:?}", setting.sent(before));

    another_application_sends_its_layer_alone(&setting);
    another_threshold_runs_nothing_but_the_choice(&setting);
    gpu::is_left_to_who_has_it(&setting);
    let by_docker = pulled::by_docker(&setting, &reference);
    let by_podman = pulled::by_podman(&setting, &reference);
    let ours = {
        let mut command = world.command(["call", "-q", "-m"]);
        command.arg(module("serve"));
        command.args(["smoke", "--image", &reference, "--request", SENTENCES]);
        // The caller's own login: the module gets no secret for it.
        let mut login = world.command([
            "login",
            "--username",
            "ann",
            "--password-stdin",
            setting.registry.address(),
        ]);
        let password = world.write("password", &setting.secrets[1]);
        login.stdin(fs::File::open(&password).expect("the file"));
        Done::of(login).ok();
        fs::remove_file(password).expect("the file goes");
        let done = Done::of(command);
        Done::of(world.command(["logout", setting.registry.address()])).ok();
        serde_json::from_str::<Value>(done.ok()).expect("JSON")
    };
    assert_eq!(by_docker, ours, "the same vectors in Docker");
    assert_eq!(by_podman, ours, "the same vectors in Podman");
    nothing_tells(&setting);
}

/// A new version of the application changes one layer, and nothing before it is made again.
fn another_application_sends_its_layer_alone(setting: &Setting) {
    let path = setting.world.path("work/llm-deploy/app/handler.py");
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text.replace("between 1 and", "from 1 to")).expect("the file is written");
    let (sent, before) = (setting.hub.sent(), setting.registry.requests().len());
    let done = setting.deploy("search/minilm:2", &[]);
    done.ok();
    for title in COMPUTED {
        assert_eq!(ran(&done, title), 0, "{title}: {}", done.stderr);
    }
    assert_eq!(setting.hub.sent(), sent);
    let (first, second) = (
        setting.layers("search/minilm:1"),
        setting.layers("search/minilm:2"),
    );
    assert_eq!(first.len(), second.len());
    assert_eq!(first[..first.len() - 1], second[..second.len() - 1]);
    assert_ne!(first.last(), second.last());
    // The layer and the configuration, each begun and ended.
    let requests = setting.sent(before);
    let uploads = requests.iter().filter(|request| request.method == "POST").count();
    assert_eq!(uploads, 2, "{requests:#?}");
}

/// A threshold decides what is packaged, not what is computed; one that nothing reaches ends the run.
fn another_threshold_runs_nothing_but_the_choice(setting: &Setting) {
    let before = setting.registry.requests().len();
    let high = setting.deploy("search/minilm:3", &["--threshold", "0.999"]);
    high.exits(1).says("no level reaches 0.999").says("int4");
    assert_eq!(counts(&high).1, 0, "{}", high.stderr);
    assert_eq!(setting.sent(before), []);
    let low = setting.deploy("search/minilm:3", &["--threshold=-1"]);
    low.ok();
    for title in COMPUTED {
        assert_eq!(ran(&low, title), 0, "{title}: {}", low.stderr);
    }
    assert!(low.stderr.contains("Int4"), "the smallest: {}", low.stderr);
}

/// Neither the token nor the password is in anything that the runs left behind.
fn nothing_tells(setting: &Setting) {
    let needles = setting.world.path("needles");
    let forms: Vec<_> = setting.secrets.iter().flat_map(|secret| forms(secret)).collect();
    fs::write(&needles, forms.join("\n")).expect("the file is written");
    let places = ["wharf", "home", "registry/docker", "work"].map(|part| setting.world.path(part));
    let processes = setting.world.processes().into_iter();
    let processes = processes
        .flat_map(|pid| ["cmdline", "environ"].map(|file| PathBuf::from(format!("/proc/{pid}/{file}"))));
    let mut search = Command::new("grep");
    search.args([
        "--recursive",
        "--text",
        "--fixed-strings",
        "--files-with-matches",
        "--file",
    ]);
    let output = search
        .arg(&needles)
        .args(places)
        .args(processes)
        .output()
        .expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "these tell");
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The value, and the part of it that is the same in base64 whatever stands before it, for each place where it could begin.
fn forms(value: &str) -> Vec<String> {
    let encoded = |text: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "printf %s \"$1\" | base64 -w0", "sh", text]);
        let output = process::run(&mut command).expect("base64 runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text[..20].to_owned()
    };
    vec![
        value.to_owned(),
        encoded(value),
        encoded(&value[1..]),
        encoded(&value[2..]),
    ]
}

#[test]
fn a_model_is_described_by_its_header() {
    let world = World::new().expect("a world");
    let weights = models::minilm().expect("the model");
    fs::create_dir(world.path("work/model")).expect("a directory");
    fs::copy(
        weights.join("model.safetensors"),
        world.path("work/model/model.safetensors"),
    )
    .expect("a copy");
    let describe = |directory: &str| {
        let mut command = world.command(["call", "-q", "-m"]);
        command
            .arg(module("model"))
            .args(["describe", "--model", directory, "--json"]);
        Done::of(command)
    };
    let told: Value = serde_json::from_str(describe("model").ok()).expect("JSON");
    let size = fs::metadata(weights.join("model.safetensors"))
        .expect("a file")
        .len();
    let bytes = told["bytes"].as_u64().expect("a number");
    assert!(bytes < size && size - bytes < 100_000, "{told}");
    // Its weights, and the 512 positions that it keeps as whole numbers.
    let types: Vec<_> = told["types"].as_array().expect("types").iter().collect();
    let of = |dtype: &str| types.iter().find(|one| one["dtype"] == dtype).expect("a type");
    let count = |one: &Value| one["parameters"].as_u64().expect("a number");
    assert_eq!(count(of("I64")), 512, "{told}");
    assert_eq!(count(of("F32")) * 4 + 512 * 8, bytes, "{told}");
    assert_eq!(count(&told), count(of("F32")) + 512, "{told}");
    assert_eq!(told["types"][0]["dtype"], "F32", "{told}");
    // One byte less is said, and so is what is no model at all.
    let whole = fs::read(weights.join("model.safetensors")).expect("the file");
    world.write("short/model.safetensors", &whole[..whole.len() - 1]);
    describe("short")
        .exits(1)
        .says("is no whole safetensors file: its tensors have");
    world.write("none/readme.md", "no weights");
    describe("none")
        .exits(1)
        .says("the model has no safetensors file");
}
