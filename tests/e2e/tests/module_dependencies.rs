//! What modules call: `wharf add`, `remove`, `update`, and what wharf.lock holds.

use std::{fs, path::Path};

use wharf_e2e::components::Component;
use wharf_testkit::{World, registry::Registry, world::Done};

const MANIFEST: &str = "# Ours.\n[module]\nname = \"my:app\" # the name\nversion = \"0.1.0\"\n";

/// A world with a registry that has the modules of acme, and a module of our own.
struct Shelf {
    world: World,
    registry: Registry,
}

impl Shelf {
    /// Publishes modules: name, version, and what each calls.
    fn with(modules: &[(&str, &str, &[(&str, &str)])]) -> Self {
        let world = World::new().expect("a world");
        let registry = Registry::start(&world.path("registry")).expect("a registry");
        let settings = world.path("wharf/config/registries.toml");
        fs::create_dir_all(settings.parent().expect("a directory")).expect("a directory");
        let text = format!("[namespace_registries]\nacme = \"{}\"\n", registry.address());
        fs::write(settings, text).expect("a file");
        world.write("app/wharf.toml", MANIFEST);
        world.write(
            "app/Cargo.toml",
            "[package]\nname = \"app\"\nversion = \"0.1.0\"\n",
        );
        let shelf = Self { world, registry };
        for (name, version, calls) in modules {
            shelf.publish(name, version, calls, 1);
        }
        shelf
    }

    fn publish(&self, name: &str, version: &str, calls: &[(&str, &str)], count: u32) {
        let module = Component::new(name, version, count)
            .calling(calls)
            .write(&self.world);
        let mut command = self.world.command(["publish", "-q", "-m"]);
        command.arg(module);
        Done::of(command).ok();
    }

    fn run(&self, words: &[&str]) -> Done {
        let mut command = self.world.command(words);
        command.current_dir(self.world.path("work/app"));
        Done::of(command)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.world.path("work/app").join(name)).unwrap_or_default()
    }

    /// `name version` of each module in the lock.
    fn locked(&self) -> Vec<String> {
        let lock = self.file("wharf.lock");
        let field = |block: &str, key: &str| {
            let line = block
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{key} = ")));
            line.expect("a field").trim_matches('"').to_owned()
        };
        let blocks = lock.split("[[module]]\n").skip(1);
        blocks
            .map(|block| format!("{} {}", field(block, "name"), field(block, "version")))
            .collect()
    }

    fn asked(&self) -> usize {
        self.registry.requests().len()
    }
}

#[test]
fn what_is_added_is_resolved_and_locked() {
    let shelf = Shelf::with(&[
        ("acme:base", "1.0.0", &[]),
        ("acme:base", "1.1.0", &[]),
        ("acme:base", "2.0.0", &[]),
        ("acme:tool", "0.3.0", &[("acme:base", "1")]),
    ]);
    shelf
        .run(&["add", "acme:tool"])
        .exits(0)
        .says("acme:tool is added");
    assert_eq!(
        shelf.file("wharf.toml"),
        format!("{MANIFEST}\n[dependencies]\n\"acme:tool\" = \"0.3.0\"\n")
    );
    assert_eq!(shelf.locked(), ["acme:base 1.1.0", "acme:tool 0.3.0"]);
    shelf.run(&["add", "acme:base@1.0"]).exits(0);
    assert_eq!(shelf.locked(), ["acme:base 1.1.0", "acme:tool 0.3.0"]);
    assert!(shelf.file("wharf.toml").contains("\"acme:base\" = \"1.0\"\n"));
    shelf
        .run(&["add", "acme:base@1.0"])
        .exits(0)
        .says("there already");
    let by_place = format!("{}/acme/tool:0.3.0", shelf.registry.address());
    shelf.run(&["remove", "acme:tool"]).exits(0);
    assert_eq!(shelf.locked(), ["acme:base 1.1.0"]);
    shelf.run(&["add", &by_place]).exits(0);
    let line = format!(
        "\"acme:tool\" = {{ oci = \"{}/acme/tool\", version = \"0.3.0\" }}",
        shelf.registry.address()
    );
    assert!(
        shelf.file("wharf.toml").contains(&line),
        "{}",
        shelf.file("wharf.toml")
    );
    shelf.run(&["remove", "acme:tool", "acme:base"]).exits(0);
    assert_eq!(shelf.file("wharf.toml"), MANIFEST);
    assert!(shelf.locked().is_empty());
}

#[test]
fn what_is_locked_stays_until_it_is_updated() {
    let shelf = Shelf::with(&[
        ("acme:base", "1.0.0", &[]),
        ("acme:tool", "1.0.0", &[("acme:base", "1")]),
    ]);
    shelf.run(&["add", "acme:tool@1"]).exits(0);
    shelf.publish("acme:base", "1.1.0", &[], 2);
    shelf.publish("acme:tool", "1.1.0", &[("acme:base", "1")], 2);
    shelf.publish("acme:new", "1.0.0", &[], 2);
    shelf.run(&["add", "acme:new"]).exits(0);
    assert_eq!(
        shelf.locked(),
        ["acme:base 1.0.0", "acme:new 1.0.0", "acme:tool 1.0.0"]
    );
    shelf
        .run(&["update", "acme:base"])
        .exits(0)
        .says("acme:base 1.0.0 → 1.1.0");
    assert_eq!(
        shelf.locked(),
        ["acme:base 1.1.0", "acme:new 1.0.0", "acme:tool 1.0.0"]
    );
    shelf.run(&["update"]).exits(0).says("acme:tool 1.0.0 → 1.1.0");
    shelf
        .run(&["update"])
        .exits(0)
        .says("as new as wharf.toml allows");
    shelf
        .run(&["update", "acme:bse"])
        .exits(2)
        .says("did you mean acme:base?");
    shelf
        .run(&["remove", "acme:tol"])
        .exits(2)
        .says("did you mean acme:tool?");
}

#[test]
fn a_conflict_names_who_wants_what() {
    let shelf = Shelf::with(&[
        ("acme:base", "1.0.0", &[]),
        ("acme:base", "2.0.0", &[]),
        ("acme:a", "1.0.0", &[("acme:base", "1")]),
        ("acme:b", "1.0.0", &[("acme:base", "2")]),
    ]);
    shelf.run(&["add", "acme:a"]).exits(0);
    let (manifest, lock) = (shelf.file("wharf.toml"), shelf.file("wharf.lock"));
    shelf
        .run(&["add", "acme:b"])
        .exits(2)
        .says("no version of acme:base suits all")
        .says("my:app → acme:a 1.0.0 wants acme:base ^1")
        .says("my:app → acme:b 1.0.0 wants acme:base ^2")
        .says("it has 2.0.0, 1.0.0");
    assert_eq!(
        (shelf.file("wharf.toml"), shelf.file("wharf.lock")),
        (manifest, lock),
        "nothing is written"
    );
}

#[test]
fn what_a_module_calls_and_nobody_has_is_told_with_its_chain() {
    let shelf = Shelf::with(&[("acme:tool", "1.0.0", &[("acme:gone", "1")])]);
    shelf
        .run(&["add", "acme:tool"])
        .exits(2)
        .says("acme:gone")
        .says("my:app → acme:tool 1.0.0 wants acme:gone ^1")
        .says("there is none of it");
    shelf.run(&["add", "acme:tol"]).exits(1).says("has no acme:tol");
    shelf
        .run(&["add", "other:tool"])
        .exits(2)
        .says("no setting says which registry");
}

#[test]
fn b48_a_version_that_was_replaced_is_refused() {
    let shelf = Shelf::with(&[("acme:tool", "1.0.0", &[])]);
    shelf.run(&["add", "acme:tool"]).exits(0);
    // Somebody else overwrites the tag, as registries let them.
    let tags = shelf
        .world
        .path("registry/docker/registry/v2/repositories/acme/tool/_manifests/tags");
    fs::remove_dir_all(tags.join("1.0.0")).expect("the tag goes");
    shelf.publish("acme:tool", "1.0.0", &[], 2);
    shelf
        .run(&["update"])
        .exits(1)
        .says("acme:tool 1.0.0 was sha256:")
        .says("has been replaced there");
}

#[test]
fn modules_of_this_machine_have_their_share() {
    let shelf = Shelf::with(&[("acme:base", "1.0.0", &[])]);
    let near = "[module]\nname = \"my:near\"\nversion = \"0.1.0\"\n\n[dependencies]\n\"acme:base\" = \"1\"\n";
    shelf.world.write("near/wharf.toml", near);
    shelf.world.write(
        "near/Cargo.toml",
        "[package]\nname = \"near\"\nversion = \"0.1.0\"\n",
    );
    shelf.run(&["add", "../near"]).exits(0);
    assert!(
        shelf
            .file("wharf.toml")
            .contains("\"my:near\" = { path = \"../near\" }"),
        "{}",
        shelf.file("wharf.toml")
    );
    assert_eq!(shelf.locked(), ["acme:base 1.0.0"]);
    shelf.run(&["remove", "my:near"]).exits(0);
    assert!(shelf.locked().is_empty());
    assert!(!Path::new(&shelf.world.path("work/near/wharf.lock")).exists());
}

#[test]
fn what_is_locked_asks_no_registry() {
    let shelf = Shelf::with(&[
        ("acme:base", "1.0.0", &[]),
        ("acme:tool", "1.0.0", &[("acme:base", "1")]),
    ]);
    shelf.run(&["add", "acme:tool"]).exits(0);
    let before = shelf.asked();
    shelf.run(&["remove", "acme:tool"]).exits(0);
    assert_eq!(shelf.asked(), before);
}

#[test]
fn b48_what_is_called_from_registries_is_loaded_as_the_lock_says() {
    let shelf = Shelf::with(&[
        ("acme:base", "1.0.0", &[]),
        ("acme:tool", "1.0.0", &[("acme:base", "1")]),
    ]);
    let own = "[module]\nname = \"my:own\"\nversion = \"0.1.0\"\nsdk = \"none\"\ncomponent = \"own.wasm\"\n\n[dependencies]\n\"acme:tool\" = \"1\"\n";
    shelf.world.write("own/wharf.toml", own);
    shelf
        .world
        .write("own/own.wasm", Component::new("my:own", "0.1.0", 5).bytes());
    let lock = shelf.world.path("work/own/wharf.lock");
    let call = |more: &[&str]| {
        let words = ["call", "-q", "-m", "own"];
        shelf.world.wharf(words.iter().chain(more).chain(&["count"]))
    };
    call(&["--locked"])
        .exits(2)
        .says("acme:tool is not in it")
        .says("wharf update");
    assert_eq!(call(&[]).ok(), "5");
    let text = fs::read_to_string(&lock).expect("a lock");
    assert!(text.contains("acme:base") && text.contains("acme:tool"), "{text}");
    let before = shelf.asked();
    assert_eq!(call(&["--locked", "--offline"]).ok(), "5");
    assert_eq!(shelf.asked(), before, "what is locked and here asks nobody");
    let inspected = shelf.world.wharf(["inspect", "own"]);
    assert!(
        inspected.ok().contains("acme:tool 1.0.0") && inspected.text().contains("acme:base 1.0.0"),
        "{}",
        inspected.text()
    );
    // One of a registry is called with what it calls, too.
    assert_eq!(
        shelf
            .world
            .wharf(["call", "-q", "-m", "acme:tool@1", "count"])
            .ok(),
        "1"
    );
    // The registry loses what is locked, and so does this machine.
    let base = shelf
        .world
        .path("registry/docker/registry/v2/repositories/acme/base/_manifests");
    fs::remove_dir_all(&base).expect("the module goes");
    assert_eq!(call(&["--locked"]).ok(), "5", "it is here still");
    fs::remove_dir_all(shelf.world.path("wharf/cache/registry")).expect("the cache goes");
    call(&["--locked"])
        .exits(1)
        .says("no longer has acme:base 1.0.0 (sha256:")
        .says("called by wharf.toml → acme:tool → acme:base")
        .says("wharf update acme:base");
}
