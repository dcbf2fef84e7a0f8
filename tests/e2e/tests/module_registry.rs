//! Modules in a real registry: published, inspected, pulled, and read by other tools.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use wharf_e2e::{components::Component, guests};
use wharf_testkit::{World, layout::edit_config, process, registry::Registry, world::Done};

/// A world and an empty registry in it.
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

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address())
    }

    fn publish(&self, module: &Path, words: &[&str]) -> Done {
        let mut command = self.world.command(["publish", "-m"]);
        command.arg(module).args(words);
        Done::of(command)
    }

    /// Publishes a component; returns its reference with its digest.
    fn published(&self, component: &Component, to: &str) -> String {
        let to = self.name(to);
        let done = self.publish(&component.write(&self.world), &[&to]);
        done.ok().to_owned()
    }

    /// Says which registry has which modules.
    fn map(&self, namespace: &str) {
        let settings = self.world.path("wharf/config/registries.toml");
        fs::create_dir_all(settings.parent().expect("a directory")).expect("a directory");
        let text = format!(
            "[namespace_registries]\n{namespace} = \"{}\"\n",
            self.registry.address()
        );
        fs::write(settings, text).expect("a file");
    }

    /// How often something was asked for whose path holds this.
    fn asked(&self, part: &str) -> usize {
        let requests = self.registry.requests();
        requests
            .iter()
            .filter(|request| request.path.contains(part))
            .count()
    }

    /// The file in which the registry keeps a blob.
    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let all = self.world.path("registry/docker/registry/v2/blobs/sha256");
        all.join(&hex[..2]).join(hex).join("data")
    }

    fn inspected(&self, reference: &str) -> Value {
        let done = self.world.wharf(["inspect", "--json", reference]);
        serde_json::from_str(done.ok()).expect("JSON")
    }
}

fn tool() -> Component {
    Component::new("acme:tool", "0.2.0", 7)
}

/// All files below a directory that hold exactly these bytes.
fn holding(directory: &Path, bytes: &[u8]) -> usize {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let count = |path: PathBuf| {
        if path.is_dir() {
            holding(&path, bytes)
        } else {
            usize::from(fs::read(&path).is_ok_and(|found| found == bytes))
        }
    };
    entries.map(|entry| count(entry.path())).sum()
}

#[test]
fn b48_a_published_module_is_byte_identical_on_another_store_and_fetched_once() {
    let docks = Docks::new();
    let reference = docks.published(&tool(), "acme/tool");
    let other = World::new().expect("another world");
    let call = || other.wharf(["call", "-q", "-m", &reference, "count"]);
    assert_eq!(call().ok(), "7");
    assert_eq!(holding(&other.path("wharf/cache/registry"), &tool().bytes()), 1);
    let before = docks.registry.requests().len();
    assert_eq!(call().ok(), "7");
    let functions = other.wharf(["functions", "--offline", "-m", &reference]);
    assert!(functions.ok().contains("How many there are."));
    assert_eq!(
        docks.registry.requests().len(),
        before,
        "a digest is asked for once"
    );
}

#[test]
fn b48_a_tampered_component_is_refused() {
    let docks = Docks::new();
    let reference = docks.published(&tool(), "acme/tool");
    let component = docks.inspected(&reference)["component"]["digest"]
        .as_str()
        .expect("a digest")
        .to_owned();
    let whole = tool().bytes();
    let blob = docks.blob(&component);
    let mut tampered = whole.clone();
    let at = tampered.len() / 2;
    tampered[at] ^= 1;
    fs::write(&blob, &tampered).expect("the blob is written");
    let call = || docks.world.wharf(["call", "-q", "-m", &reference, "count"]);
    call().exits(1).says("damaged").says(&component);
    assert_eq!(
        holding(&docks.world.path("wharf/cache"), &tampered),
        0,
        "nothing of it is kept"
    );
    fs::write(&blob, &whole).expect("the blob is written");
    assert_eq!(call().ok(), "7");
    // On this machine's own disk it is found, and fetched again.
    let hex = component.strip_prefix("sha256:").expect("a digest");
    let kept = docks.world.path("wharf/cache/registry/sha256").join(hex);
    fs::write(&kept, &tampered).expect("the cache is written");
    assert_eq!(call().ok(), "7");
    assert_eq!(fs::read(&kept).expect("it is there again"), whole);
}

#[test]
fn b48_what_may_move_is_refused_when_locked() {
    let docks = Docks::new();
    let reference = docks.published(&tool(), "acme/tool");
    let tag = docks.name("acme/tool:0.2.0");
    let call = |module: &str| {
        docks
            .world
            .wharf(["call", "-q", "--locked", "-m", module, "count"])
    };
    call(&tag)
        .exits(2)
        .says("may be another tomorrow")
        .says("wharf inspect");
    assert_eq!(call(&reference).ok(), "7");
    // The tag moves, as only others do it: the digest stays what it was.
    let moved = Component::new("acme:tool", "0.2.0", 8);
    docks.published(&moved, "elsewhere/tool");
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("docker://{}", docks.name("elsewhere/tool:0.2.0")),
        &format!("docker://{tag}"),
    ]);
    assert_eq!(docks.world.wharf(["call", "-q", "-m", &tag, "count"]).ok(), "8");
    let digest = reference.split_once('@').expect("a digest").1;
    assert_eq!(call(&format!("{tag}@{digest}")).ok(), "7");
}

#[test]
fn a_published_version_is_never_replaced() {
    let docks = Docks::new();
    let first = docks.published(&tool(), "acme/tool");
    let again = docks.publish(&tool().write(&docks.world), &[&docks.name("acme/tool")]);
    assert_eq!(again.ok(), first);
    again.says("is there already, and is the same");
    let other = Component::new("acme:tool", "0.2.0", 8).write(&docks.world);
    docks
        .publish(&other, &[&docks.name("acme/tool")])
        .exits(1)
        .says("is published already")
        .says("Raise `version`");
    assert_eq!(
        docks.inspected(&docks.name("acme/tool:0.2.0"))["reference"],
        first.as_str()
    );
    // A tag that is no version follows.
    let next = Component::new("acme:tool", "0.3.0", 8).write(&docks.world);
    for module in [&tool().write(&docks.world), &next] {
        docks
            .publish(module, &[&docks.name("acme/tool"), "--tag", "latest"])
            .ok();
    }
    assert_eq!(
        docks.inspected(&docks.name("acme/tool:latest"))["version"],
        "0.3.0"
    );
    docks
        .publish(&next, &[&docks.name("acme/tool"), "--tag", "0.2.0"])
        .exits(2)
        .says("versions do not move");
}

#[test]
fn what_would_be_published_is_shown_and_nothing_is_sent() {
    let docks = Docks::new();
    let shown = docks.publish(
        &tool().write(&docks.world),
        &[&docks.name("acme/tool"), "--dry-run"],
    );
    for part in [
        "acme/tool:0.2.0",
        "Counts for tests.",
        "How many there are.",
        "it can only compute",
    ] {
        assert!(shown.ok().contains(part), "{}", shown.text());
    }
    shown.says("nothing was published");
    assert!(docks.registry.requests().is_empty());
    let json = docks.publish(
        &tool().write(&docks.world),
        &[&docks.name("acme/tool"), "--dry-run", "--json"],
    );
    let json: Value = serde_json::from_str(json.ok()).expect("JSON");
    let published = docks.published(&tool(), "acme/tool");
    assert!(
        published.ends_with(json["digest"].as_str().expect("a digest")),
        "it is what was shown"
    );
}

#[test]
fn a_module_is_described_before_it_is_pulled() {
    let docks = Docks::new();
    let module = guests::sdk(&docks.world);
    let to = docks.name("tests/behaviours");
    let reference = docks.publish(&module, &[&to]).ok().to_owned();
    let text = docks.world.wharf(["inspect", &reference]);
    for part in [
        "wharf-tests:behaviours",
        "0.1.0",
        "panics",
        "run steps and read what they made",
        "its registry says",
    ] {
        assert!(text.ok().contains(part), "{part}: {}", text.text());
    }
    let wit = docks.world.wharf(["inspect", "--wit", &reference]);
    assert!(wit.ok().contains("panics: "), "{}", wit.text());
    let component = docks.inspected(&reference)["component"]["digest"].clone();
    let component = component.as_str().expect("a digest");
    let of_publishing = docks.registry.requests();
    let fetched = of_publishing
        .iter()
        .filter(|request| request.method == "GET" && request.path.contains(component))
        .count();
    assert_eq!(fetched, 0, "the component is not asked for");
    let called = docks
        .world
        .wharf(["call", "-q", "-m", &reference, "text", "--bytes", "3"]);
    assert_eq!(called.ok(), "xxx");
    // Nobody has granted it anything of this machine.
    let asks = [
        "ask-host",
        "--image",
        "busybox:latest",
        "--port",
        "1",
        "--line",
        "x",
    ];
    let call = |more: &[&str]| {
        docks.world.wharf(
            ["call", "-q"]
                .iter()
                .chain(more)
                .chain(&["-m", &reference])
                .chain(&asks),
        )
    };
    call(&[])
        .exits(3)
        .says("may not use tunnels")
        .says("--allow tunnels");
}

/// A copy of a published artifact in a directory, changed, and put under another tag.
fn published_otherwise(docks: &Docks, from: &str, to: &str, change: impl Fn(&mut Value)) {
    let layout = docks.world.path("layout");
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{from}"),
        &format!("oci:{}:it", layout.display()),
    ]);
    edit_config(&layout, change).expect("a layout");
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        &format!("oci:{}:it", layout.display()),
        &format!("docker://{to}"),
    ]);
    fs::remove_dir_all(layout).expect("the copy goes");
}

#[test]
fn what_is_said_of_a_component_has_to_be_so() {
    let docks = Docks::new();
    let from = docks.published(&tool(), "acme/tool");
    let lies: [(&str, fn(&mut Value)); 4] = [
        ("documentation", |config| {
            config["wharf"]["docs"]["functions"][0]["docs"] = "Nothing.".into()
        }),
        ("imports", |config| {
            config["component"]["imports"] = serde_json::json!(["wharf:pipeline/reveal@0.1.0"])
        }),
        ("interface", |config| {
            config["wharf"]["wit"] = "package root:component;\n\nworld root {\n}\n".into()
        }),
        ("manifest", |config| {
            config["wharf"]["manifest"]["module"]["version"] = "0.9.0".into()
        }),
    ];
    for (part, lie) in lies {
        let to = docks.name(&format!("lies/{part}:1.0.0"));
        published_otherwise(&docks, &from, &to, lie);
        let call = || docks.world.wharf(["call", "-q", "-m", &to, "count"]);
        call()
            .exits(1)
            .says("is not what its registry says of it")
            .says(part);
        // Its component is here now; it is no less a lie.
        call().exits(1).says(part);
    }
    let to = docks.name("other/form:1.0.0");
    published_otherwise(&docks, &from, &to, |config| {
        config["wharf"] = serde_json::json!({ "format": 99, "manifest": null, "docs": null, "wit": null });
    });
    assert_eq!(docks.world.wharf(["call", "-q", "-m", &to, "count"]).ok(), "7");
}

#[test]
fn a_module_is_shown_although_what_it_calls_cannot_be_had() {
    let docks = Docks::new();
    docks.map("acme");
    let tool = Component::new("acme:tool", "0.2.0", 7).calling(&[("acme:gone", "1")]);
    let reference = docks.published(&tool, "acme/tool");
    let shown = docks.world.wharf(["inspect", &reference]);
    assert!(shown.ok().contains("Counts for tests."), "{}", shown.text());
    shown.says("acme:gone").says("cannot be told");
    let said = docks.inspected(&reference);
    assert!(said["dependencies"].is_null(), "{said}");
    assert!(said["unresolved"].as_str().is_some_and(|why| why.contains("acme:gone")), "{said}");
}

#[test]
fn names_are_mapped_to_registries_and_versions_chosen() {
    let docks = Docks::new();
    let inspect = |name: &str| docks.world.wharf(["inspect", "--json", name]);
    inspect("acme:tool")
        .exits(2)
        .says("no setting says which registry has acme:tool");
    docks.map("acme");
    for (version, count) in [("0.1.0", 1), ("0.2.0", 2), ("0.2.9", 3), ("1.0.0-rc.1", 4)] {
        let module = Component::new("acme:tool", version, count).write(&docks.world);
        let published = docks.publish(&module, &[]);
        assert!(
            published.ok().starts_with(&docks.name("acme/tool@sha256:")),
            "{}",
            published.text()
        );
    }
    let count = |name: &str| {
        let called = docks.world.wharf(["call", "-q", "-m", name, "count"]);
        called.ok().to_owned()
    };
    assert_eq!(count("acme:tool"), "3", "a pre-release is not the newest");
    assert_eq!(count("acme:tool@0.1"), "1");
    assert_eq!(count("acme:tool@0.2.0"), "2");
    assert_eq!(count("acme:tool@1.0.0-rc.1"), "4");
    assert_eq!(count(&docks.name("acme/tool")), "3");
    let call = |name: &str| docks.world.wharf(["call", "-q", "-m", name, "count"]);
    call("acme:tool@2")
        .exits(1)
        .says("has no acme:tool ^2; it has 1.0.0-rc.1, 0.2.9, 0.2.0, 0.1.0");
    call("acme:tool@0.3.0")
        .exits(1)
        .says("acme/tool:0.3.0")
        .says("it has 1.0.0-rc.1");
    call("acme:tol").exits(1).says("has no acme:tol");
    call("acme:tool@soon").exits(2).says("\"soon\"");
    call(&docks.name("acme/tool:soon"))
        .exits(1)
        .says("it has 1.0.0-rc.1");
}

#[test]
fn what_is_no_module_says_what_it_is() {
    let docks = Docks::new();
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("docker://{}", base_image()),
        &format!("docker://{}", docks.name("images/busybox:1")),
    ]);
    let call = |name: &str| docks.world.wharf(["call", "-q", "-m", name, "count"]);
    call(&docks.name("images/busybox:1"))
        .exits(1)
        .says("not a module");
    call("no/such/place")
        .exits(2)
        .says("there is no module at no/such/place");
    call("127.0.0.1:1/acme/tool:1.0.0").exits(4).says("127.0.0.1:1");
    let offline = docks.name("acme/tool:1.0.0");
    docks
        .world
        .wharf(["call", "-q", "--offline", "-m", &offline, "count"])
        .exits(1)
        .says("--offline");
    let core = docks
        .world
        .write("core.wasm", wat::parse_str("(module)").expect("a module"));
    docks
        .publish(&core, &[&docks.name("a/b:1.0.0")])
        .exits(2)
        .says("no WebAssembly component");
}

/// The small base image, as the run's mirror has it.
fn base_image() -> String {
    let mirror = wharf_testkit::fixtures::mirror().expect("a mirror");
    let setting = mirror.setting();
    // The registry has to live as long as the test process.
    std::mem::forget(mirror);
    let address = setting.split_once("http://").expect("an address").1.to_owned();
    format!(
        "{}/library/busybox:latest",
        address.split(',').next().unwrap_or(&address)
    )
}

fn skopeo(args: &[&str]) {
    let mut command = Command::new(process::require("skopeo", "skopeo").expect("the tool"));
    command.arg("--insecure-policy").args(args);
    process::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn skopeo_copies_a_module() {
    let docks = Docks::new();
    let from = docks.published(&tool(), "acme/tool");
    let copied = docks.name("copied/tool:0.2.0");
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        &format!("docker://{from}"),
        &format!("docker://{copied}"),
    ]);
    let digest = from.split_once('@').expect("a digest").1;
    let inspected = docks.inspected(&copied);
    assert_eq!(inspected["digest"], digest);
    assert_eq!(
        docks.world.wharf(["call", "-q", "-m", &copied, "count"]).ok(),
        "7"
    );
}

/// wkg, when it is installed; where everything has to be, it is.
#[allow(clippy::print_stderr, reason = "a test that was skipped says so")]
fn wkg(docks: &Docks) -> Option<Command> {
    let Ok(program) = process::require("wkg", "wkg") else {
        assert!(std::env::var_os("CI").is_none(), "CI installs wkg");
        eprintln!("skipped: wkg is not installed (cargo install --locked wkg)");
        return None;
    };
    let config = docks.world.path("wkg.toml");
    let address = docks.registry.address();
    let text = format!(
        "[namespace_registries]\nacme = \"{address}\"\n[registry.\"{address}\".oci]\nprotocol = \"http\"\n"
    );
    fs::write(&config, text).expect("a file");
    let mut command = Command::new(program);
    command
        .env("HOME", docks.world.path("home"))
        .env("WKG_CONFIG_FILE", config)
        .env("WKG_CACHE_DIR", docks.world.path("wkg-cache"))
        .current_dir(docks.world.path("work"));
    Some(command)
}

#[test]
fn wkg_pulls_what_is_published_and_we_pull_what_it_pushes() {
    let docks = Docks::new();
    docks.map("acme");
    let Some(mut get) = wkg(&docks) else { return };
    docks.published(&tool(), "acme/tool");
    let to = docks.world.path("work/from-wkg.wasm");
    get.args(["get", "acme:tool@0.2.0", "--format", "wasm", "--output"])
        .arg(&to);
    process::run(&mut get).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(fs::read(&to).expect("the component"), tool().bytes());

    // `wkg publish` wants a version in the component's own WIT; this is the same layout without a name.
    let other = Component::new("acme:other", "1.0.0", 9).write(&docks.world);
    let mut push = wkg(&docks).expect("it was there");
    push.args(["oci", "push", "--insecure", docks.registry.address()])
        .arg(docks.name("acme/other:1.0.0"))
        .arg(other);
    process::run(&mut push).unwrap_or_else(|error| panic!("{error}"));
    let inspected = docks.world.wharf(["inspect", "acme:other"]);
    assert!(
        inspected.ok().contains("it was not published by Wharf"),
        "{}",
        inspected.text()
    );
    assert_eq!(
        docks
            .world
            .wharf(["call", "-q", "-m", "acme:other@1", "count"])
            .ok(),
        "9"
    );
    assert!(docks.asked("acme/other/manifests/1.0.0") > 0);
}

/// A private key and its public key, as openssl makes them.
fn key(docks: &Docks, name: &str, algorithm: &[&str]) -> (PathBuf, PathBuf) {
    let (private, public) = (
        docks.world.path(format!("{name}.pem")),
        docks.world.path(format!("{name}.pub")),
    );
    let openssl = || Command::new(process::require("openssl", "openssl").expect("the tool"));
    let mut make = openssl();
    make.arg("genpkey").args(algorithm).arg("-out").arg(&private);
    process::run(&mut make).unwrap_or_else(|error| panic!("{error}"));
    let mut show = openssl();
    show.arg("pkey")
        .arg("-pubout")
        .arg("-in")
        .arg(&private)
        .arg("-out")
        .arg(&public);
    process::run(&mut show).unwrap_or_else(|error| panic!("{error}"));
    (private, public)
}

#[test]
fn a_policy_says_whose_signature_a_module_needs() {
    let docks = Docks::new();
    docks.map("acme");
    let (ours, our_public) = key(
        &docks,
        "ours",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    );
    let (theirs, their_public) = key(&docks, "theirs", &["-algorithm", "ED25519"]);
    let policy = |public: &Path| {
        let text = format!("[signatures]\nacme = [\"{}\"]\n", public.display());
        fs::write(docks.world.path("wharf/config/policy.toml"), text).expect("a file");
    };
    let module = tool().write(&docks.world);
    let publish = |words: &[&str]| docks.publish(&module, words);
    let call = || {
        docks
            .world
            .wharf(["call", "-q", "-m", "acme:tool@0.2.0", "count"])
    };
    let inspected = |part: &str| {
        let done = docks.world.wharf(["inspect", "acme:tool@0.2.0"]);
        assert!(done.ok().contains(part), "{part}: {}", done.text());
    };
    publish(&[]).ok();
    assert_eq!(call().ok(), "7");
    policy(&our_public);
    call()
        .exits(1)
        .says("it is not signed")
        .says("policy.toml wants one for acme");
    inspected("nobody");
    publish(&["--sign-key", theirs.to_str().expect("text")])
        .exits(0)
        .says("signed by the key sha256:");
    call().exits(1).says("none of its signatures is by such a key");
    inspected("a key that no policy of yours names");
    publish(&["--sign-key", ours.to_str().expect("text")])
        .exits(0)
        .says("nothing was sent");
    assert_eq!(call().ok(), "7");
    inspected("ours.pub");
    // Both have signed it now, and what was seen once needs no registry.
    policy(&their_public);
    assert_eq!(call().ok(), "7");
    let digest = docks.inspected("acme:tool@0.2.0")["reference"]
        .as_str()
        .expect("a reference")
        .to_owned();
    let before = docks.registry.requests().len();
    let offline = docks
        .world
        .wharf(["call", "-q", "--offline", "-m", &digest, "count"]);
    assert_eq!(offline.ok(), "7");
    assert_eq!(docks.registry.requests().len(), before);
    // By another name it is no less one of the namespace.
    let other = Component::new("acme:tool", "0.9.0", 1);
    let reference = docks.published(&other, "elsewhere/x");
    docks
        .world
        .wharf(["call", "-q", "-m", &reference, "count"])
        .exits(1)
        .says("it is not signed");
    fs::write(docks.world.path("wharf/config/policy.toml"), "[signature]\n").expect("a file");
    call().exits(2).says("policy.toml");
}

#[test]
fn signatures_have_the_form_that_cosign_reads() {
    let docks = Docks::new();
    let (private, _) = key(
        &docks,
        "ours",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    );
    let reference = docks
        .publish(
            &tool().write(&docks.world),
            &[
                &docks.name("acme/tool"),
                "--sign-key",
                private.to_str().expect("text"),
            ],
        )
        .ok()
        .to_owned();
    // The text that cosign signs, the tag under which it looks, and openssl's word that the signature holds.
    let digest = reference.split_once('@').expect("a digest").1;
    let layout = docks.world.path("signature");
    let tag = format!("{}.sig", digest.replace(':', "-"));
    let from = format!("docker://{}", docks.name(&format!("acme/tool:{tag}")));
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &from,
        &format!("dir:{}", layout.display()),
    ]);
    let manifest: Value =
        serde_json::from_slice(&fs::read(layout.join("manifest.json")).expect("a file")).expect("JSON");
    let layer = &manifest["layers"][0];
    assert_eq!(
        layer["mediaType"],
        "application/vnd.dev.cosign.simplesigning.v1+json"
    );
    let hex = layer["digest"]
        .as_str()
        .and_then(|digest| digest.strip_prefix("sha256:"))
        .expect("a digest");
    let payload: Value = serde_json::from_slice(&fs::read(layout.join(hex)).expect("a file")).expect("JSON");
    assert_eq!(payload["critical"]["image"]["docker-manifest-digest"], digest);
    assert_eq!(payload["critical"]["type"], "cosign container image signature");
    let signature = docks.world.write(
        "signature.base64",
        layer["annotations"]["dev.cosignproject.cosign/signature"]
            .as_str()
            .expect("text"),
    );
    let script = format!(
        "base64 -d {} > sig && openssl pkey -in {} -pubout -out pub && openssl dgst -sha256 -verify pub -signature sig {}",
        signature.display(),
        private.display(),
        layout.join(hex).display()
    );
    let mut verify = Command::new("sh");
    verify.args(["-c", &script]).current_dir(docks.world.path("work"));
    process::run(&mut verify).unwrap_or_else(|error| panic!("{error}"));
}
