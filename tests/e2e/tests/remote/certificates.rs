//! `wharf engine certs`, and what is wrong with what it is asked for.

use std::os::unix::fs::PermissionsExt;

use wharf_testkit::{World, world::Engine};

fn world() -> World {
    World::on(Engine::Local).expect("a world")
}

#[test]
fn certificates_are_made_once_and_keys_are_their_owners() {
    let world = world();
    let made = world.wharf([
        "engine",
        "certs",
        "certs",
        "--host",
        "localhost",
        "--client",
        "ann",
    ]);
    let files: Vec<_> = made.ok().lines().map(str::to_owned).collect();
    assert_eq!(files.len(), 7, "{files:?}");
    for file in &files {
        let mode = world
            .path("work")
            .join(file)
            .metadata()
            .expect("a file")
            .permissions()
            .mode();
        let wanted = if file.ends_with("key.pem") { 0o600 } else { 0o644 };
        assert_eq!(mode & 0o777, wanted, "{file}");
    }
    let before = std::fs::read(world.path("work/certs/clients/ann/client.pem")).expect("a file");
    for again in [
        &["engine", "certs", "certs", "--client", "ann"][..],
        &["engine", "certs", "certs", "--host", "localhost"],
        &["engine", "certs", "certs", "--client", "bob", "--client", "ann"],
    ] {
        world.wharf(again).exits(2).says("not overwritten").says("remove");
    }
    let after = std::fs::read(world.path("work/certs/clients/ann/client.pem")).expect("a file");
    assert_eq!(before, after);
    assert!(
        !world.path("work/certs/clients/bob").exists(),
        "nothing is half made"
    );
}

#[test]
fn what_cannot_be_made_is_said() {
    let world = world();
    for (args, said) in [
        (&["--host", "http://a"][..], "`http://a` is neither"),
        (&["--host", ""][..], "neither a host's name nor an address"),
        (&["--client", "../ann"][..], "cannot be called `../ann`"),
        (&["--client", "ann", "--client", "ann"][..], "asked for twice"),
        (&["--client", "ann", "--days", "0"][..], "not for 0"),
        (&["--client", "ann", "--days", "soon"][..], "invalid value 'soon'"),
    ] {
        let args = ["engine", "certs", "certs"].iter().chain(args);
        world.wharf(args).exits(2).says(said);
        assert!(!world.path("work/certs").exists(), "nothing is made");
    }
    world.write("file", "");
    world
        .wharf(["engine", "certs", "file", "--client", "ann"])
        .exits(2)
        .says("file");
    world.wharf(["engine", "certs", "certs"]).ok();
    world
        .wharf(["engine", "certs", "certs"])
        .exits(2)
        .says("nothing else was asked for")
        .says("--client NAME");
    std::fs::write(world.path("work/certs/ca-key.pem"), "no key").expect("a file");
    world
        .wharf(["engine", "certs", "certs", "--client", "ann"])
        .exits(2)
        .says("ca-key.pem: it is no private key");
    std::fs::remove_file(world.path("work/certs/ca-key.pem")).expect("it was there");
    world
        .wharf(["engine", "certs", "certs", "--client", "ann"])
        .exits(2)
        .says("an authority needs both");
}

#[test]
fn an_engine_without_certificates_listens_nowhere() {
    let world = world();
    let serve = ["engine", "serve", "--listen", "tcp://127.0.0.1:0", "--certs"];
    world
        .wharf(serve.iter().chain(&["none"]))
        .exits(2)
        .says("not listened on without certificates")
        .says("`wharf engine certs none --host 127.0.0.1 --client NAME`");
    world
        .wharf(["engine", "certs", "certs", "--host", "localhost"])
        .ok();
    let key = world.path("work/certs/server-key.pem");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    world
        .wharf(serve.iter().chain(&["certs"]))
        .exits(2)
        .says("can be read by others")
        .says("chmod 600");
    world
        .wharf(["engine", "serve", "--listen", "127.0.0.1:7420"])
        .exits(2)
        .says("write tcp://HOST:PORT");
    world
        .wharf(["engine", "serve", "--certs", "certs"])
        .exits(2)
        .says("--listen");
}
