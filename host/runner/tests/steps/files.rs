//! File systems of steps, and what is in their layers afterwards.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use wharf_runner::{OverlayMount, spec::Bind};

use crate::{
    with_both,
    world::{World, run, sh, tree},
};

with_both!(
    a_layer_holds_what_the_process_wrote_and_nothing_else,
    mount_points_in_linked_directories_leave_no_trace,
    what_the_process_puts_beside_a_mount_point_stays,
    what_is_written_to_a_mount_is_not_in_the_layer,
    mounts_within_mounts_are_all_seen,
    binds_are_read_only_unless_asked,
    temporary_directories_have_size_and_mode,
    system_files_say_what_the_runner_knows,
    whiteouts_are_whiteouts,
    many_layers_with_long_names_are_one_tree,
    a_root_without_layers_is_empty,
);

async fn a_layer_holds_what_the_process_wrote_and_nothing_else(world: World) {
    let outcome = world.run(sh("true")).await;
    assert!(tree(&outcome.upper).is_empty(), "{:?}", tree(&outcome.upper));
    let outcome = world
        .run(sh(
            "echo x > /new; echo y > /root/file; mkdir /empty; chmod 700 /home/app",
        ))
        .await;
    assert_eq!(
        tree(&outcome.upper),
        [
            "d empty",
            "d home",
            "d home/app",
            "d root",
            "f new",
            "f root/file"
        ]
    );
}

async fn mount_points_in_linked_directories_leave_no_trace(world: World) {
    // As in images whose /etc is a link, and where a mount's parent is.
    let layer = world.directory("layer");
    fs::create_dir_all(layer.join("usr/settings")).unwrap();
    fs::rename(world.root.join("etc/passwd"), layer.join("usr/settings/passwd")).unwrap();
    fs::remove_dir_all(world.root.join("etc")).unwrap();
    symlink("usr/settings", world.root.join("etc")).unwrap();
    symlink("../usr", layer.join("usr/around")).unwrap();
    let (overlay, _) = world.overlay(vec![]);
    let mut wanted = sh("cat /etc/hostname /usr/settings/hostname; echo x > /usr/around/there/here/x");
    wanted.layers = vec![layer];
    wanted.mounts = vec![OverlayMount {
        destination: "/usr/around/there/here".to_owned(),
        overlay,
    }];
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "step\nstep\n", "{outcome:?}");
    assert!(tree(&outcome.upper).is_empty(), "{:?}", tree(&outcome.upper));
}

async fn what_the_process_puts_beside_a_mount_point_stays(world: World) {
    let mut wanted = sh("echo x > /made/beside; chmod 711 /own; echo y > /etc/new");
    for destination in ["/made/for/mount", "/own/mount"] {
        let (overlay, _) = world.overlay(vec![]);
        wanted.mounts.push(OverlayMount {
            destination: destination.to_owned(),
            overlay,
        });
    }
    let outcome = world.run(wanted).await;
    assert_eq!(
        tree(&outcome.upper),
        ["d etc", "d made", "d own", "f etc/new", "f made/beside"]
    );
    assert_eq!(
        fs::metadata(outcome.upper.join("own"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o711
    );
}

async fn what_is_written_to_a_mount_is_not_in_the_layer(world: World) {
    let source = world.directory("source");
    fs::write(source.join("given"), "given").unwrap();
    let (overlay, upper) = world.overlay(vec![source.clone()]);
    let mut wanted = sh("cat /src/given; echo changed > /src/given; echo new > /src/new");
    wanted.mounts = vec![OverlayMount {
        destination: "/src".to_owned(),
        overlay,
    }];
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "given");
    assert!(tree(&outcome.upper).is_empty());
    assert_eq!(tree(&upper), ["f given", "f new"]);
    assert_eq!(fs::read_to_string(source.join("given")).unwrap(), "given");
}

async fn mounts_within_mounts_are_all_seen(world: World) {
    let mut wanted = sh("cat /a/b/c/name /a/b/name /a/name; ls /a/b/t");
    // Inner ones are said first.
    for destination in ["/a/b/c", "/a/b", "/a"] {
        let source = world.directory("source");
        fs::write(source.join("name"), format!("{destination} ")).unwrap();
        let (overlay, _) = world.overlay(vec![source]);
        wanted.mounts.push(OverlayMount {
            destination: destination.to_owned(),
            overlay,
        });
    }
    wanted.process.temporary.push(("/a/b/t".to_owned(), None, 0o755));
    assert_eq!(world.output(wanted).await, "/a/b/c /a/b /a");
}

async fn binds_are_read_only_unless_asked(world: World) {
    let (directory, file) = (world.directory("shared"), world.directory("files").join("file"));
    fs::write(&file, "secret").unwrap();
    fs::write(directory.join("kept"), "kept").unwrap();
    let bind = |source: &std::path::Path, destination: &str, writable| Bind {
        source: source.to_str().unwrap().to_owned(),
        destination: destination.to_owned(),
        writable,
    };
    let mut wanted = sh("cat /run/secrets/file /ro/kept; touch /ro/x; echo > /run/secrets/file; touch /rw/x");
    wanted.process.binds = vec![
        bind(&directory, "/ro", false),
        bind(&directory, "/rw", true),
        bind(&file, "/run/secrets/file", false),
    ];
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "secretkept");
    assert_eq!(
        outcome.stderr.matches("Read-only file system").count(),
        2,
        "{outcome:?}"
    );
    assert_eq!(tree(&directory), ["f kept", "f x"]);
    assert!(tree(&outcome.upper).is_empty());
}

async fn temporary_directories_have_size_and_mode(world: World) {
    let mut wanted = sh("stat -c %a /t; head -c 2000000 /dev/zero > /t/x 2> /dev/null; wc -c < /t/x");
    wanted.process.temporary = vec![("/t".to_owned(), Some(1 << 20), 0o1777)];
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "1777\n1048576\n");
    assert!(tree(&outcome.upper).is_empty());
}

async fn system_files_say_what_the_runner_knows(world: World) {
    let mut wanted = sh(
        "cat /etc/hostname; grep database /etc/hosts; grep -c localhost /etc/hosts; wc -c < /etc/resolv.conf",
    );
    wanted.hosts = vec![("database".to_owned(), "10.1.2.3".parse().unwrap())];
    assert_eq!(world.output(wanted).await, "step\n10.1.2.3\tdatabase\n2\n0");
}

async fn whiteouts_are_whiteouts(world: World) {
    let outcome = world.run(sh("rm /etc/group && rm -r /home && mkdir /home")).await;
    let kinds: Vec<_> = tree(&outcome.upper);
    assert_eq!(kinds, ["c etc/group", "d etc", "d home"]);
    let opaque = xattr::get(outcome.upper.join("home"), "trusted.overlay.opaque").unwrap();
    assert_eq!(opaque.as_deref(), Some(&b"y"[..]));
}

async fn many_layers_with_long_names_are_one_tree(world: World) {
    let deep = world
        .directory("deep")
        .join("d".repeat(200))
        .join("e".repeat(200));
    let mut wanted = run(&["sh", "-c", "ls /numbers | wc -l; cat /top"]);
    for number in 0..300 {
        let layer = deep.join(format!("{number}:,\\"));
        fs::create_dir_all(layer.join("numbers")).unwrap();
        fs::write(layer.join("numbers").join(number.to_string()), "").unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
        wanted.layers.push(layer);
    }
    assert_eq!(world.output(wanted).await, "300\n0");
}

async fn a_root_without_layers_is_empty(mut world: World) {
    // The program has to come from somewhere.
    let program = world.directory("program");
    fs::copy(world.root.join("bin/busybox"), program.join("busybox")).unwrap();
    let mut wanted = run(&["/program/busybox", "ls", "/"]);
    let (overlay, _) = world.overlay(vec![program]);
    wanted.mounts = vec![OverlayMount {
        destination: "/program".to_owned(),
        overlay,
    }];
    world.root = world.directory("nothing");
    let outcome = world.run(wanted).await;
    assert_eq!(outcome.stdout, "dev\netc\nproc\nprogram\nsys\n", "{outcome:?}");
    assert!(tree(&outcome.upper).is_empty(), "{:?}", tree(&outcome.upper));
}
