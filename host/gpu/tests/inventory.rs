//! What there is, by a library with the functions of NVIDIA's; and how a container gets at it, by specifications.

use std::{fs, path::Path};

use wharf_gpu::{
    GpuOptions, Gpus, LeaseError, Request, Sharing, Use, WhenBusy,
    cdi::{Edits, Mount, Node, NodeKind},
};
use wharf_testkit::gpus::{FakeGpu, FakeGpus};

const ONE: Request = Request {
    count: 1,
    minimum_memory: 0,
    sharing: Sharing::Exclusive,
    when_busy: WhenBusy::Wait,
};

fn options(fake: &FakeGpus) -> GpuOptions {
    GpuOptions {
        library: Some(fake.library()),
        cdi_directories: vec![fake.cdi()],
    }
}

#[tokio::test]
async fn the_inventory_is_what_the_library_says() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeGpus::of(directory.path(), &[FakeGpu::new(0, 16), FakeGpu::new(1, 80)]).unwrap();
    let gpus = Gpus::new(options(&fake));
    let inventory = gpus.look();
    assert_eq!(inventory.why_none, None);
    let lines: Vec<_> = inventory.devices.iter().map(|device| device.describe()).collect();
    assert_eq!(
        lines,
        [
            "NVIDIA Test 16, 12.0 GiB of 16.0 GiB free, compute capability 8.9, driver 570.86.10, 17% busy",
            "NVIDIA Test 80, 60.0 GiB of 80.0 GiB free, compute capability 8.9, driver 570.86.10",
        ]
    );
    assert_eq!(
        inventory.devices[1].uuid,
        "GPU-00000000-0000-4000-8000-000000000001"
    );
    assert_eq!(inventory.devices[1].cdi.as_deref(), Some("nvidia.com/gpu=1"));
    // The hook whose work is done in another way is no lack.
    let [note] = &inventory.notes[..] else {
        panic!("{:?}", inventory.notes)
    };
    assert!(
        note.ends_with("the createContainer hook `/usr/bin/nvidia-cdi-hook enable-cuda-compat` is not run"),
        "{note}"
    );
    let granted = gpus.lease(ONE).await.unwrap();
    assert_eq!(gpus.look().devices[0].used, Use::Exclusive);
    drop(granted);
    assert_eq!(gpus.look().devices[0].used, Use::Free);
}

#[tokio::test]
async fn without_a_library_there_are_no_gpus_and_it_is_said_why() {
    let directory = tempfile::tempdir().unwrap();
    let missing = Gpus::new(GpuOptions {
        library: Some(directory.path().join("none.so")),
        ..GpuOptions::default()
    });
    let why = missing.look().why_none.expect("a reason");
    assert!(why.contains("none.so cannot be loaded: "), "{why}");
    let refused = missing.lease(ONE).await.unwrap_err();
    assert!(
        matches!(&refused, LeaseError::Never(said) if said.contains("none.so cannot be loaded")),
        "{refused}"
    );
    // One that is a library, and another one.
    let other = Path::new("/lib/x86_64-linux-gnu/libc.so.6");
    if other.exists() {
        let other = Gpus::new(GpuOptions {
            library: Some(other.to_owned()),
            ..GpuOptions::default()
        });
        let why = other.look().why_none.expect("a reason");
        assert!(why.contains("is not NVIDIA's management library"), "{why}");
    }
    // Its driver is not there.
    let fake = FakeGpus::without_specification(directory.path(), &[FakeGpu::new(0, 16)], 9).unwrap();
    let why = Gpus::new(options(&fake)).look().why_none.expect("a reason");
    assert!(
        why.ends_with("does not start: NVIDIA driver is not loaded"),
        "{why}"
    );
}

#[tokio::test]
async fn a_device_that_is_lost_or_not_specified_is_noted_and_not_given() {
    let directory = tempfile::tempdir().unwrap();
    let lost = FakeGpu {
        is_lost: true,
        ..FakeGpu::new(0, 16)
    };
    let fake = FakeGpus::of(directory.path(), &[lost, FakeGpu::new(1, 16)]).unwrap();
    let gpus = Gpus::new(options(&fake));
    let inventory = gpus.look();
    assert_eq!(inventory.devices.len(), 1);
    assert!(
        inventory
            .notes
            .iter()
            .any(|note| note.starts_with("the GPU of number 0 cannot be used: ")),
        "{inventory:?}"
    );
    assert!(gpus.lease(ONE).await.is_ok());
    fs::remove_file(fake.cdi().join("nvidia.yaml")).unwrap();
    let note = &gpus.look().notes[0];
    assert!(
        note.contains("in no CDI specification") || gpus.look().notes[1].contains("in no CDI specification"),
        "{note}"
    );
    let refused = gpus.lease(ONE).await.unwrap_err().to_string();
    assert!(
        refused.contains("those that are here can be given to no step"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_lease_says_how_its_device_is_got_at() {
    let directory = tempfile::tempdir().unwrap();
    let fake = FakeGpus::equal(directory.path(), 2).unwrap();
    let gpus = Gpus::new(options(&fake));
    let _first = gpus.lease(ONE).await.unwrap();
    let second = gpus.lease(ONE).await.unwrap();
    let node = |path: &str, (major, minor): (u32, u32), access: &str| Node {
        path: path.to_owned(),
        kind: NodeKind::Character,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        access: access.to_owned(),
    };
    let mount = |source: &str, destination: &str| Mount {
        source: directory.path().join(source).display().to_string(),
        destination: destination.to_owned(),
        writable: false,
    };
    let expected = Edits {
        env: vec!["FAKE_DRIVER=570.86.10".to_owned(), "FAKE_GPU_1=yes".to_owned()],
        nodes: vec![
            node("/dev/fakectl", (1, 3), "rwm"),
            node("/dev/fake1", FakeGpus::node(1), "rw"),
        ],
        mounts: vec![
            mount("libfake.so.570.86.10", "/usr/lib/fake/libfake.so.570.86.10"),
            // Programs look for the library by its short name.
            mount("libfake.so.570.86.10", "/usr/lib/fake/libfake.so.1"),
            mount("marker1", "/run/fake/1"),
        ],
        groups: Vec::new(),
        library_directories: vec!["/usr/lib/fake".to_owned()],
    };
    assert_eq!(second.edits, expected);
}

#[tokio::test]
async fn specifications_are_read_as_they_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let gpu = FakeGpu::new(0, 16);
    let fake = FakeGpus::without_specification(directory.path(), std::slice::from_ref(&gpu), 0).unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // By UUID is surer than by number; the device is looked up on the host; another vendor's kinds are not ours.
    write("cdi/broken.json", "{");
    write(
        "cdi/net.json",
        r#"{"kind": "vendor.com/net", "devices": [{"name": "0", "containerEdits": {}}]}"#,
    );
    write("cdi/readme.txt", "no specification");
    let specification = format!(
        r#"{{"cdiVersion": "0.7.0", "kind": "nvidia.com/gpu", "devices": [
            {{"name": "0", "containerEdits": {{"env": ["BY=number"]}}}},
            {{"name": "{}", "containerEdits": {{"env": ["BY=uuid"], "additionalGids": [44, 44],
              "deviceNodes": [{{"path": "/dev/zero-of-it", "hostPath": "/dev/zero"}}],
              "intelRdt": {{"closID": "x"}}}}}}]}}"#,
        gpu.uuid
    );
    write("cdi/nvidia.json", &specification);
    let gpus = Gpus::new(options(&fake));
    let notes = gpus.look().notes.join("\n");
    assert!(
        notes.contains("broken.json: not a CDI specification")
            && notes.contains("intelRdt is not understood"),
        "{notes}"
    );
    let granted = gpus.lease(ONE).await.unwrap();
    assert_eq!(
        (&granted.edits.env[..], &granted.edits.groups[..]),
        (&["BY=uuid".to_owned()][..], &[44][..])
    );
    assert_eq!(
        (granted.edits.nodes[0].major, granted.edits.nodes[0].minor),
        (1, 5)
    );
    drop(granted);
    // A stronger directory's specification of the same device; what it names is not there.
    write(
        "stronger/nvidia.yml",
        "kind: nvidia.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    deviceNodes:\n    - path: /dev/none-such\n",
    );
    fs::remove_file(fake.cdi().join("nvidia.json")).unwrap();
    let gpus = Gpus::new(GpuOptions {
        cdi_directories: vec![fake.cdi(), directory.path().join("stronger")],
        ..options(&fake)
    });
    let refused = gpus.lease(ONE).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "a CDI specification: the device node /dev/none-such of nvidia.com/gpu=0: No such file or directory (os error 2)"
    );
    assert_eq!(gpus.look().devices[0].used, Use::Free);
}
