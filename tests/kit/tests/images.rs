//! The base images are real ones, and the registry serves them as the public one would.

use wharf_testkit::fixtures::{self, Mirror};
use wharf_testkit::{Registry, image};

#[test]
fn the_mirror_serves_both_images_by_index_manifest_and_layers() {
    let mirror = Mirror::start().unwrap();
    for image in fixtures::all().unwrap() {
        let (name, tag) = image.name.split_once(':').unwrap();
        let url = format!("{}/v2/library/{name}", mirror.url());
        let accept = [image::INDEX, image::MANIFEST].join(", ");
        let mut answer = ureq::get(format!("{url}/manifests/{tag}"))
            .header("accept", &accept)
            .call()
            .unwrap();
        assert_eq!(answer.headers()["content-type"], image::INDEX);
        let index: serde_json::Value =
            serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
        assert_eq!(
            index["manifests"][0]["platform"]["architecture"],
            image::architecture()
        );
        for layer in image.layers().unwrap() {
            let mut answer = ureq::get(format!("{url}/blobs/{}", layer.digest)).call().unwrap();
            assert_eq!(
                image::sha256(answer.body_mut().as_reader()).unwrap(),
                layer.digest
            );
        }
    }
    let requests = mirror.registry().unwrap().requests();
    let manifests = requests
        .iter()
        .filter(|request| request.path.contains("/manifests/"))
        .count();
    assert_eq!(manifests, 2, "{requests:?}");
}

#[test]
fn a_push_sends_only_what_the_registry_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::start(dir.path()).unwrap();
    let image = fixtures::busybox().unwrap();
    let uploads = || {
        registry
            .requests()
            .iter()
            .filter(|request| request.method == "POST")
            .count()
    };
    registry.push(&image, "some/where", "1").unwrap();
    assert_eq!(uploads(), 3, "two layers and the configuration");
    registry
        .push_oci_layout(&image.layout, "some/where", "2")
        .unwrap();
    assert_eq!(uploads(), 3);
}

#[test]
fn the_python_image_has_what_the_official_one_promises() {
    let image = fixtures::base_image().unwrap();
    assert!(image.layers().unwrap().len() >= 3);
    let root = tempfile::tempdir().unwrap();
    image.unpack(root.path()).unwrap();
    for name in [
        "usr/local/bin/python",
        "usr/local/bin/pip",
        "etc/ssl/certs/ca-certificates.crt",
    ] {
        assert!(root.path().join(name).symlink_metadata().is_ok(), "{name}");
    }
    let marker = root.path().join("usr/lib/python3.11/EXTERNALLY-MANAGED");
    assert!(!marker.exists() || marker.metadata().unwrap().len() == 0);
    assert_eq!(
        std::fs::read_dir(root.path().join("dev")).unwrap().count(),
        0,
        "a container brings its own"
    );
}
