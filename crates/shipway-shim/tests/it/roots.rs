//! Overlay roots, on this kernel and as on the oldest that is supported.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use shipway_shim::protocol::{Launch, Root, Tmpfs, Upper};

use crate::world::{World, put};

const TMPFS: Upper = Upper::Tmpfs(Tmpfs { size_bytes: 16 << 20, inodes: 2000 });

fn overlay(world: &World, launch: &mut Launch, upper: Upper) {
    let top = world.folder.path().join("top");
    fs::create_dir_all(top.join("opt/of-the-top")).unwrap();
    put(&top.join("etc-note"), b"from the top\n");
    launch.root = Root::Overlay { lowers: vec![top, world.root()], upper };
}

#[track_caller]
fn check_overlay(world: &World) {
    let script = "cat /etc-note; ls /opt; echo mine > /etc-note; cat /etc-note; rm /bin/wc; ls /bin/wc 2>/dev/null; \
        mkdir -p /new/dir; echo x > /new/dir/x; rm -r /new; mkdir /new; ls /new; stat -c %u:%g:%a / /etc-note; \
        dd if=/dev/zero of=/big bs=1M count=100 2>&1 | grep -c 'No space'; rm /big; \
        mkdir /many; for n in $(seq 3000); do echo > /many/$n || break; done 2>&1 | grep -c 'No space'; rm -r /many; \
        rm -r /opt; mkdir /opt; ls /opt; cat /etc/hostname";
    let mut launch = world.launch(script);
    overlay(world, &mut launch, TMPFS);
    let (text, exit) = world.run(&launch);
    assert_eq!(text, "from the top\nof-the-top\nmine\n0:0:755\n0:0:644\n1\n1\ninside");
    assert_eq!(exit.code, Some(0));
    assert_eq!(fs::read_to_string(world.folder.path().join("top/etc-note")).unwrap(), "from the top\n");
    assert!(world.root().join("bin/wc").symlink_metadata().is_ok());
}

#[test]
fn an_overlay_on_a_tmpfs_is_writable_and_bounded() {
    check_overlay(&World::new());
}

#[test]
fn an_overlay_works_as_on_the_oldest_kernel() {
    check_overlay(&World::with(&["--tests-only-as-kernel=6.1"], Some(&crate::world::filter())));
}

#[track_caller]
fn check_directory(world: &World) {
    let path = world.folder.path().join("upper-of-it");
    for name in ["upper", "work"] {
        fs::create_dir_all(path.join(name)).unwrap();
    }
    let mut launch = world.launch("echo kept >> /kept; cat /kept; mkdir -p /a/b; rm -r /opt; mkdir /opt; ls /opt");
    overlay(world, &mut launch, Upper::Directory { path: path.clone() });
    assert_eq!(world.run(&launch).0, "kept");
    // Another range of ids: what is on disk is as the host's root wrote it.
    launch.id_base += 1 << 20;
    assert!(world.run(&launch).0.ends_with("kept\nkept"));
    let kept = fs::metadata(path.join("upper/kept")).unwrap();
    assert_eq!((kept.uid(), kept.gid()), (0, 0));
    assert!(!Path::new(&path.join("upper/etc-note")).exists());
}

#[test]
fn an_overlay_in_a_directory_lasts() {
    check_directory(&World::new());
}

#[test]
fn an_overlay_in_a_directory_lasts_as_on_the_oldest_kernel() {
    check_directory(&World::with(&["--tests-only-as-kernel=6.1"], Some(&crate::world::filter())));
}

#[test]
fn many_layers_are_stacked_in_order() {
    for arguments in [[].as_slice(), &["--tests-only-as-kernel=6.1"]] {
        let world = World::with(arguments, Some(&crate::world::filter()));
        let mut lowers = Vec::new();
        for number in 0..100 {
            let layer = world.folder.path().join(format!("layer-{number}"));
            fs::create_dir(&layer).unwrap();
            put(&layer.join("which"), format!("{number}\n").as_bytes());
            put(&layer.join(format!("only-{number}")), b"");
            lowers.push(layer);
        }
        lowers.push(world.root());
        let mut launch = world.launch("cat /which; ls / | grep -c only-");
        launch.root = Root::Overlay { lowers, upper: TMPFS };
        assert_eq!(world.run(&launch).0, "0\n100");
    }
}

#[test]
fn an_image_without_the_usual_folders_gets_them() {
    let world = World::new();
    let bare = world.folder.path().join("bare");
    fs::create_dir_all(bare.join("bin")).unwrap();
    fs::copy(world.root().join("bin/busybox"), bare.join("bin/sh")).unwrap();
    let mut launch = world.launch("echo $(echo /*)");
    launch.root = Root::Overlay { lowers: vec![bare], upper: TMPFS };
    assert_eq!(world.run(&launch).0, "/bin /dev /etc /proc /sys");
}

#[test]
fn an_image_whose_folders_are_links_gains_nothing() {
    let world = World::new();
    let hostile = world.folder.path().join("hostile");
    fs::create_dir_all(hostile.join("real")).unwrap();
    for name in ["proc", "sys", "dev", "etc"] {
        std::os::unix::fs::symlink("/real", hostile.join(name)).unwrap();
    }
    let mut launch = world.launch("true");
    launch.root = Root::Overlay { lowers: vec![hostile, world.root()], upper: TMPFS };
    let answer = world.try_start(&launch, None);
    let text = format!("{answer:?}");
    assert!(text.contains("Failed"), "{text}");
}
