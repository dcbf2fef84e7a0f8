//! What servers let one client have is not another's: private images, files by URL, commits.

use std::path::{Path, PathBuf};

use wharf_e2e::engine::{Run, busybox, script};
use wharf_graph::{
    Container, File,
    build::GitRepository,
    op::SecretId,
    publish::{Login, Publish, PublishOptions},
    source::{Checkout, FetchRequest, Reference},
};
use wharf_testkit::{
    HttpServer, Registry,
    git::{GitRepository as Source, serve_git},
    http::Reply,
};

use crate::{Server, random};

/// A login whose password is in a file of the test's.
fn login(server: &Server, run: &Run, file: &str, password: &str) -> Login {
    let path = server.world.path(file);
    std::fs::write(&path, password).expect("a file");
    let password = SecretId {
        owner: "team".to_owned(),
        uri: format!("file:{}", path.display()),
    };
    run.session.register_secret(password.clone());
    Login {
        user: "ann".to_owned(),
        password,
    }
}

/// Publishes an image with a file in it; its reference with its digest.
async fn publish(run: &Run, name: &str, login: Login, text: &str) -> String {
    let image = script(&busybox(), &format!("echo {text} > /private"));
    let options = PublishOptions {
        login: Some(login),
        ..PublishOptions::default()
    };
    let publish = Publish::new(&image, name, &options);
    let published = run.session.publish(&[image.node().clone()], &publish).await;
    published.expect("it is let in")
}

fn read(reference: &str, login: Option<Login>) -> Container {
    script(&Container::image_as(reference, None, login), "cat /private")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_image_is_for_those_whom_the_registry_lets_in() {
    let server = Server::start();
    let (password, text) = (random(), random());
    let registry = Registry::start_for(&server.world.path("registry"), "ann", &password).expect("a registry");
    let name = format!("{}/team/private:1", registry.address());
    let ann = server.run("ann");
    let own = login(&server, &ann, "password", &password);
    let pinned = publish(&ann, &name, own.clone(), &text).await;
    let ann = server.run("ann");
    ann.session.register_secret(own.password.clone());
    for reference in [&name, &pinned] {
        let said = ann.stdout(&read(reference, Some(own.clone()))).await;
        assert_eq!(said.expect("it runs").trim_end(), text);
    }
    // Bob knows its name, its digest and what was made of it.
    let bob = server.run("bob");
    for reference in [&name, &pinned] {
        let refused = bob.stdout(&read(reference, None)).await;
        assert!(refused.is_err(), "{reference}: {refused:?}");
        let wrong = login(&server, &bob, "guess", &random());
        let refused = bob.stdout(&read(reference, Some(wrong))).await;
        assert!(refused.is_err(), "{reference}: {refused:?}");
    }
    // Whom the registry lets in has it, and what was made of it.
    let mut bob = server.run("bob");
    let right = login(&server, &bob, "password", &password);
    let said = bob.stdout(&read(&pinned, Some(right))).await.expect("a hit");
    assert_eq!(said.trim_end(), text);
    assert_eq!(bob.steps().await.0.len(), 0);
}

/// A copy of a registry's directory without its layers.
fn without_layers(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            std::fs::create_dir_all(&copy).expect("a directory");
            without_layers(&path, &copy);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        // Manifests and configurations are JSON, layers are not.
        let is_layer = path.ends_with("data") && serde_json::from_slice::<serde_json::Value>(&bytes).is_err();
        let kept = if is_layer { Vec::new() } else { bytes };
        std::fs::write(&copy, kept).expect("a copy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_on_a_server_of_ones_own_gives_no_layers() {
    let server = Server::start();
    let (password, text) = (random(), random());
    let storage: PathBuf = server.world.path("registry");
    let registry = Registry::start_for(&storage, "ann", &password).expect("a registry");
    let name = format!("{}/team/private:1", registry.address());
    let ann = server.run("ann");
    let own = login(&server, &ann, "password", &password);
    let pinned = publish(&ann, &name, own.clone(), &text).await;
    let said = ann.stdout(&read(&pinned, Some(own))).await.expect("it runs");
    assert_eq!(said.trim_end(), text);
    // Bob has found the manifest and the configuration, which say which layers there are, and serves them himself.
    let copied = server.world.path("copy");
    std::fs::create_dir(&copied).expect("a directory");
    without_layers(&storage, &copied);
    let of_bob = Registry::start(&copied).expect("a registry");
    let (_, digest) = pinned.split_once('@').expect("a digest");
    let reference = format!("{}/team/private@{digest}", of_bob.address());
    let given = server.run("bob").stdout(&read(&reference, None)).await;
    assert!(given.is_err(), "bob was given ann's layers: {given:?}");
    // That is for want of the layers: the manifest was given.
    let asked = of_bob.requests();
    let manifest = asked
        .iter()
        .any(|request| request.path.contains("/manifests/") && request.status == 200);
    assert!(manifest, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_alone_gives_no_file_of_a_url() {
    let server = Server::start();
    let (text, path) = (random(), format!("/{}", random()));
    let (body, own) = (text.clone(), path.clone());
    let web = HttpServer::start(move |asked| {
        if asked.path == own {
            Reply::file(asked, body.as_bytes(), "one")
        } else {
            Reply::status(404)
        }
    })
    .expect("a server");
    let digest = format!("blake3:{}", wharf_digest::Digest::of(text.as_bytes()).to_hex());
    let file = |path: &str| {
        File::fetch(FetchRequest {
            digest: Some(digest.clone()),
            ..FetchRequest::new(&web.url(path))
        })
    };
    // The last part is a file's name, which bob may know.
    let other = format!("/elsewhere{path}");
    assert_eq!(
        server.run("ann").contents(&file(&path)).await.expect("the file"),
        text
    );
    assert_eq!(
        server.run("ann").contents(&file(&path)).await.expect("the file"),
        text
    );
    assert_eq!(web.asked().len(), 1, "ann was given it once");
    let error = server
        .run("bob")
        .contents(&file(&other))
        .await
        .expect_err("bob has its digest alone");
    assert!(
        error.to_string().contains("404") || error.to_string().contains("not"),
        "{error}"
    );
    assert_eq!(
        server.run("bob").contents(&file(&path)).await.expect("the file"),
        text
    );
    assert_eq!(web.asked().len(), 3, "the server itself gave it to bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_alone_gives_no_repository() {
    let server = Server::start();
    let source = Source::new(&server.world.path("srv/app")).expect("a repository");
    let text = random();
    let commit = source.commit("README", &text).expect("a commit");
    let admits = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let open = std::sync::Arc::clone(&admits);
    let web = serve_git(&server.world.path("srv"), move |_| {
        open.load(std::sync::atomic::Ordering::SeqCst)
    })
    .expect("a server");
    let repository = GitRepository::at(&web.url("/app/.git"), wharf_graph::source::Access::Open, "");
    let tree = repository
        .reference(Reference::Commit(commit))
        .tree(Checkout::default());
    let file = tree.file("README");
    assert_eq!(server.run("ann").contents(&file).await.expect("the file"), text);
    // The repository is open no longer.
    admits.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(
        server.run("bob").contents(&file).await.is_err(),
        "the server has never let bob in"
    );
    assert_eq!(
        server.run("ann").contents(&file).await.expect("ann was given it"),
        text
    );
}
