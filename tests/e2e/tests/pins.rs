//! What images mean by wharf.lock, whatever their tags mean elsewhere.

use std::fs;

use wharf_e2e::guests;
use wharf_testkit::{World, registry::Registry, world::Done};

/// A module that is called from its directory, and an image in a registry whose tag moves.
struct Project {
    world: World,
    image: String,
    _registry: Registry,
}

impl Project {
    fn new() -> Self {
        let world = World::new().expect("a world");
        let registry = Registry::start(&world.path("registry")).expect("a registry");
        let image = format!("{}/acme/app:1", registry.address());
        let component = guests::sdk(&world);
        let manifest =
            "[module]\nname = \"my:app\"\nversion = \"0.1.0\"\nsdk = \"none\"\ncomponent = \"app.wasm\"\n";
        world.write("app/wharf.toml", manifest);
        fs::copy(component, world.path("work/app/app.wasm")).expect("the component is copied");
        Self {
            world,
            image,
            _registry: registry,
        }
    }

    fn run(&self, words: &[&str]) -> Done {
        let mut command = self.world.command(words);
        command.current_dir(self.world.path("work/app"));
        Done::of(command)
    }

    /// Publishes an image that says this under the tag.
    fn publish(&self, word: &str) {
        let script = format!("echo {word} > /word");
        let made = [
            "call",
            "-q",
            "made",
            "--image",
            "busybox",
            "--args",
            "sh",
            "--args=-c",
            "--args",
            &script,
        ];
        self.run(&[&made[..], &["publish", "--reference", &self.image]].concat())
            .ok();
    }

    /// What the image says that the tag means.
    fn word(&self, options: &[&str]) -> Done {
        let call = ["made", "--image", &self.image, "--args", "cat", "--args", "/word"];
        self.run(&[&["call", "-q"], options, &call[..]].concat())
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.world.path("work/app/wharf.lock")).unwrap_or_default()
    }
}

#[test]
fn b14_a_pinned_tag_means_what_it_meant() {
    let project = Project::new();
    project.publish("one");
    assert_eq!(project.word(&[]).ok(), "one");
    assert_eq!(project.lock(), "", "nothing is pinned unless it was asked for");
    let pinned = project.word(&["--pin"]);
    assert_eq!(pinned.ok(), "one");
    pinned.says(&format!("pinned {} to sha256:", project.image));
    assert!(
        project
            .lock()
            .contains(&format!("\"{}\" = \"sha256:", project.image)),
        "{}",
        project.lock()
    );
    project.publish("two");
    assert_eq!(project.word(&[]).ok(), "one");
    assert_eq!(project.word(&["--locked"]).ok(), "one");
    let before = project.lock();
    project.word(&["--pin"]).says("wharf.lock has all references");
    assert_eq!(project.lock(), before);
    project
        .run(&["update", &project.image])
        .says("is not pinned any more");
    assert_eq!(project.word(&[]).ok(), "two");
}

#[test]
fn b14_what_is_not_pinned_is_refused_when_locked() {
    let project = Project::new();
    let call = [
        "call", "-q", "--locked", "made", "--image", "busybox", "--args", "true",
    ];
    project
        .run(&call)
        .exits(1)
        .says("wharf.lock does not say which image busybox is")
        .says("`wharf call --pin` notes it");
    let pin = [
        "call", "-q", "--pin", "made", "--image", "busybox", "--args", "true",
    ];
    project.run(&pin).ok();
    project.run(&call).ok();
    // What is named by its digest means one thing.
    project
        .run(&["update", "never-heard-of"])
        .exits(2)
        .says("does not depend on never-heard-of");
}

#[test]
fn pins_that_could_not_be_kept_are_refused_before_anything_runs() {
    let world = World::new().expect("a world");
    let component = guests::sdk(&world);
    let mut command = world.command(["call", "-q", "--pin", "-m"]);
    command.arg(component).args(["made", "--image", "busybox"]);
    Done::of(command)
        .exits(2)
        .says("--pin is for a module that is called from its source");
    assert!(world.processes().is_empty(), "no engine was started");
}
