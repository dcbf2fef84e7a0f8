//! Modules in git repositories: fetched by an engine, kept by their commit, built in steps.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use wharf_e2e::components::Component;
use wharf_testkit::{
    World, fixtures,
    git::{GitRepository, serve_git},
    http::HttpServer,
    registry::Registry,
    world::Done,
};

const TOOL: &str =
    "[module]\nname = \"acme:tool\"\nversion = \"1.0.0\"\nsdk = \"none\"\ncomponent = \"tool.wasm\"\n";
const APP: &str = "# Ours.\n[module]\nname = \"my:app\"\nversion = \"0.1.0\"\nsdk = \"none\"\ncomponent = \"app.wasm\"\n";

/// A repository with modules, a server of it, and a module of our own beside it.
struct Project {
    world: World,
    repository: GitRepository,
    server: HttpServer,
}

impl Project {
    /// The repository has `acme:tool` in `modules/tool`, as a component.
    fn new() -> Self {
        let world = World::new().expect("a world");
        let root = world.path("repositories");
        let repository = GitRepository::new(&root.join("tools")).expect("a repository");
        let server = serve_git(&root, |_| true).expect("a server");
        let project = Self {
            world,
            repository,
            server,
        };
        project.put("modules/tool/wharf.toml", TOOL);
        project.put_tool(1);
        project.commit();
        project.repository.git(&["tag", "v1"]).expect("a tag");
        project.world.write("app/wharf.toml", APP);
        let app = Component::new("my:app", "0.1.0", 7).bytes();
        project.world.write("app/app.wasm", app);
        project
    }

    fn put(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.repository.path().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path
    }

    /// The tool, whose `count` returns this.
    fn put_tool(&self, count: u32) {
        let bytes = Component::new("acme:tool", "1.0.0", count).bytes();
        self.put("modules/tool/tool.wasm", bytes);
    }

    fn commit(&self) -> String {
        let git = |words: &[&str]| self.repository.git(words).expect("git succeeds");
        git(&["add", "--all", "--force"]);
        git(&["commit", "-q", "-m", "Change the tools"]);
        git(&["rev-parse", "HEAD"])
    }

    fn url(&self) -> String {
        self.server.url("/tools/.git")
    }

    fn run(&self, words: &[&str]) -> Done {
        let mut command = self.world.command(words);
        command.current_dir(self.world.path("work/app"));
        Done::of(command)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.world.path("work/app").join(name)).unwrap_or_default()
    }

    fn depend(&self, line: &str) {
        let text = format!("{APP}\n[dependencies]\n\"acme:tool\" = {line}\n");
        self.world.write("app/wharf.toml", text);
    }
}

#[test]
fn a_module_of_a_repository_is_added_and_stays_at_its_commit() {
    let project = Project::new();
    let url = project.url();
    let tag = ["--tag", "v1", "--directory", "./modules/tool/"];
    project
        .run(&[&["add", "-q", &url], &tag[..]].concat())
        .exits(0)
        .says("acme:tool is added");
    assert_eq!(
        project.file("wharf.toml"),
        format!(
            "{APP}\n[dependencies]\n\"acme:tool\" = {{ git = \"{url}\", tag = \"v1\", directory = \"modules/tool\" }}\n"
        )
    );
    let first = project.repository.git(&["rev-parse", "v1"]).expect("a commit");
    let pin = |commit: &str| format!("[pins]\n\"{url}#refs/tags/v1\" = \"{commit}\"\n");
    assert!(project.file("wharf.lock").contains(&pin(&first)), "{}", project.file("wharf.lock"));
    assert_eq!(project.run(&["call", "-q", "count"]).ok(), "7");
    // The tag moves, and nothing changes until that is asked for.
    project.put_tool(2);
    let second = project.commit();
    project.repository.git(&["tag", "--force", "v1"]).expect("a tag");
    let asked = project.server.asked().len();
    project.run(&["call", "-q", "--locked", "--offline", "count"]).ok();
    project.run(&["inspect"]).says("acme:tool 1.0.0").says("modules/tool");
    assert_eq!(project.server.asked().len(), asked, "nobody was asked");
    project
        .run(&["update", "acme:tool"])
        .exits(0)
        .says(&format!("{first} → {second}"));
    assert!(project.file("wharf.lock").contains(&pin(&second)), "{}", project.file("wharf.lock"));
    project.run(&["update", "acme:tol"]).exits(2).says("did you mean acme:tool?");
    project
        .run(&["publish", "--dry-run", "127.0.0.1:1/my/app"])
        .exits(2)
        .says("it calls acme:tool, which is in the repository");
    project.run(&["remove", "acme:tool"]).exits(0);
    assert_eq!(project.file("wharf.toml"), APP);
}

#[test]
fn what_cannot_be_had_of_a_repository_is_said() {
    let project = Project::new();
    let url = project.url();
    let call = |line: &str, options: &[&str]| {
        project.depend(line);
        project.run(&[&["call", "-q"], options, &["count"]].concat())
    };
    let tool = |more: &str| format!("{{ git = \"{url}\"{more} }}");
    call(&tool(""), &[])
        .exits(2)
        .says("has no wharf.toml at its root at its commit")
        .says("`directory` says where the module is");
    call(&tool(", directory = \"modules/tol\""), &[])
        .exits(2)
        .says("has no wharf.toml in modules/tol");
    call(&tool(", directory = \"../../..\""), &[])
        .exits(2)
        .says("has no wharf.toml in ../../..");
    call(&tool(", commit = \"0123abcd\""), &[])
        .exits(2)
        .says("\"0123abcd\" is not the whole name of a commit");
    call(&tool(", tag = \"v9\", directory = \"modules/tool\""), &[])
        .exits(1)
        .says("v9");
    fs::remove_file(project.world.path("work/app/wharf.lock")).expect("a lock");
    call(&tool(", tag = \"v1\", directory = \"modules/tool\""), &["--locked"])
        .exits(2)
        .says("wharf.lock does not say which commit")
        .says("refs/tags/v1");
    let nowhere = "{ git = \"http://127.0.0.1:1/tools.git\" }";
    call(nowhere, &["--offline"]).exits(2).says("nothing was to be fetched");
    call(nowhere, &[]).exits(1).says("127.0.0.1:1");
    project
        .run(&["add", "acme:tool", "--tag", "v1"])
        .exits(2)
        .says("--tag goes with the address of a git repository");
}

#[test]
fn a_repository_cannot_lead_out_of_itself() {
    let project = Project::new();
    let url = project.url();
    let outside = project.world.write("outside/secret.wasm", Component::new("acme:tool", "1.0.0", 9).bytes());
    let kept = project.world.path("work/outside/made");
    fs::create_dir_all(&kept).expect("a directory");
    let base = project.repository.path().join("modules/tool");
    // What Wharf would write beside the module, and what the manifest names, are links to files of ours.
    symlink(&kept, base.join(".wharf")).expect("a link");
    fs::remove_file(base.join("tool.wasm")).expect("a file");
    symlink(&outside, base.join("tool.wasm")).expect("a link");
    project.commit();
    project.depend(&format!("{{ git = \"{url}\", directory = \"modules/tool\" }}"));
    project
        .run(&["call", "-q", "count"])
        .says("tool.wasm");
    let made: Vec<_> = fs::read_dir(&kept).expect("a directory").collect();
    assert!(made.is_empty(), "{made:?}");
    // A component and a dependency by a path that leads out.
    fs::remove_file(base.join("tool.wasm")).expect("a link");
    project.put(
        "modules/tool/wharf.toml",
        TOOL.replace("tool.wasm", outside.to_str().expect("a path")),
    );
    project.commit();
    project.run(&["update", "acme:tool"]).exits(0);
    project
        .run(&["call", "-q", "count"])
        .exits(2)
        .says("outside of the repository");
    let app = project.world.path("work/app");
    project.put(
        "modules/tool/wharf.toml",
        format!("{TOOL}\n[dependencies]\n\"my:app\" = {{ path = \"{}\" }}\n", app.display()),
    );
    project.put_tool(1);
    project.commit();
    project
        .run(&["update", "acme:tool"])
        .exits(2)
        .says("leads out of the repository");
}

#[test]
fn a_module_of_a_repository_is_built_in_a_step_and_called() {
    let mut project = Project::new();
    let registry = Registry::start(&project.world.path("images")).expect("a registry");
    let image = fixtures::rust().expect("an image with cargo");
    registry.push(&image, "library/rust", "1-slim").expect("a push");
    let image = format!("{}/library/rust:1-slim", registry.address());
    project.world.set("WHARF_BUILD_IMAGE", &image);
    // A module as `wharf init` writes it, in a directory of the repository.
    let greeter = project.repository.path().join("greeter");
    let mut init = project.world.command(["init", "-q", "--name", "acme:greeter"]);
    init.arg(&greeter);
    Done::of(init).ok();
    project.put(
        "greeter/src/lib.rs",
        "//! Greets.\n\n/// Greets.\n#[wharf_sdk::module]\nmod greeter {\n    use wharf_sdk::prelude::*;\n\n    \
         /// A greeting.\n    pub async fn greeting(name: String) -> String {\n        format!(\"Ahoy, {name}\")\n    }\n}\n",
    );
    fs::remove_dir_all(greeter.join(".wharf")).expect("what init put beside it");
    project.commit();
    // A module of ours that calls it.
    let mut init = project.world.command(["init", "-q", "--name", "my:caller", "caller"]);
    init.current_dir(project.world.path("work"));
    Done::of(init).ok();
    project.world.write(
        "caller/src/lib.rs",
        "//! Calls.\n\n/// Calls.\n#[wharf_sdk::module]\nmod caller {\n    use wharf_sdk::prelude::*;\n\n    \
         /// What the greeter says.\n    pub async fn greet() -> Result<String> {\n        \
         acme_greeter::greeting(\"Ann\").await\n    }\n}\n",
    );
    let run = |words: &[&str]| {
        let mut command = project.world.command(words);
        command.current_dir(project.world.path("work/caller"));
        Done::of(command)
    };
    run(&["add", "-q", &project.url(), "--directory", "greeter"]).exits(0);
    let first = run(&["call", "--progress", "plain", "greet"]);
    assert_eq!(first.ok(), "Ahoy, Ann");
    first.says("build a module of");
    // It was built where it can do no harm: this machine's cargo has made nothing of it.
    assert!(!greeter.join(".wharf").exists());
    // What was built is there, and needs no engine.
    let again = run(&["call", "--progress", "plain", "--locked", "--offline", "greet"]);
    assert_eq!(again.ok(), "Ahoy, Ann");
    assert!(!again.text().contains("build a module"), "{}", again.text());
    // What does not compile says so, with the compiler's words.
    project.put("greeter/src/lib.rs", "fn broken( {}\n");
    project.commit();
    run(&["update", "acme:greeter"]).exits(0);
    run(&["call", "-q", "greet"])
        .exits(1)
        .says("acme:greeter cannot be built")
        .says("this file contains an unclosed delimiter");
}
