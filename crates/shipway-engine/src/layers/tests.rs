//! Layers on a real file system. Root is assumed: owners are part of a layer.

#![expect(
    clippy::disallowed_methods,
    reason = "a test's files need not survive a crash, and some must keep their inode"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode};

use super::manifest::{Kind, Manifest};
use super::*;

/// A source to import and a place for layers, both gone when dropped.
struct World {
    dir: tempfile::TempDir,
    layers: Layers,
}

impl World {
    fn new() -> Self {
        Self::with_limits(TreeLimits::default())
    }

    fn with_limits(limits: TreeLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("source")).unwrap();
        let layers = Layers::open(&dir.path().join("layers"), limits).unwrap();
        Self { dir, layers }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.source().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn special(&self, name: &str, kind: FileType) {
        let mode = Mode::from_raw_mode(0o600);
        // /dev/null's number, which every kernel knows.
        let device = rustix::fs::makedev(1, 3);
        rustix::fs::mknodat(CWD, self.source().join(name), kind, mode, device).unwrap();
    }

    async fn import(&self) -> Digest {
        self.layers.import_directory(&self.source()).await.unwrap()
    }

    /// Imports what must be refused, and returns why it was.
    async fn refusal(&self) -> String {
        let error = self.layers.import_directory(&self.source()).await.unwrap_err();
        assert_eq!(self.layers.list().unwrap(), [], "nothing is kept");
        assert_eq!(drafts(&self.layers), 0, "nothing is left");
        match error {
            LayerError::Tree { source, .. } => source.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

fn drafts(layers: &Layers) -> usize {
    std::fs::read_dir(layers.shelf.dir().join("tmp")).unwrap().count()
}

#[tokio::test]
async fn a_tree_comes_back_as_it_went_in() {
    let world = World::new();
    world.write("usr/bin/tool", "#!/bin/sh\n", 0o755);
    world.write("etc/odd\nname\t\\", "x", 0o640);
    world.write("tmp/sticky", "", 0o600);
    let source = world.source();
    std::fs::set_permissions(source.join("tmp"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("/etc/passwd", source.join("absolute")).unwrap();
    symlink("../../../outside", source.join("outside")).unwrap();
    chown(source.join("etc"), Some(33), Some(65_535)).unwrap();
    lchown(source.join("absolute"), Some(7), Some(8)).unwrap();

    let digest = world.import().await;
    let tree = world.layers.path_of(&digest).unwrap();
    let limits = TreeLimits::default();
    let (from, to) = (Manifest::scan(&source, limits), Manifest::scan(&tree, limits));
    let manifest = to.unwrap();
    assert_eq!(from.unwrap(), manifest);
    assert_eq!(manifest.digest(), digest);
    let kept = std::fs::read(tree.parent().unwrap().join("manifest")).unwrap();
    assert_eq!(Manifest::parse(&kept).unwrap(), manifest);
    let times = [&source, &tree].map(|at| std::fs::metadata(at.join("usr/bin/tool")).unwrap().mtime_nsec());
    assert_eq!(times[0], times[1]);
    assert_eq!(world.import().await, digest, "the same tree is the same layer");
    assert_eq!(world.layers.list().unwrap(), [digest]);
}

#[tokio::test]
async fn a_layer_shares_no_inode_with_its_source() {
    let world = World::new();
    world.write("one", "same", 0o644);
    std::fs::hard_link(world.source().join("one"), world.source().join("two")).unwrap();
    let digest = world.import().await;
    let tree = world.layers.path_of(&digest).unwrap();
    let inode = |path: PathBuf| std::fs::metadata(path).unwrap().ino();
    let mut inodes = vec![inode(world.source().join("one"))];
    inodes.extend(["one", "two"].map(|name| inode(tree.join(name))));
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), 3);
    std::fs::write(world.source().join("one"), "changed").unwrap();
    assert_eq!(std::fs::read_to_string(tree.join("two")).unwrap(), "same");
}

#[tokio::test]
async fn set_id_bits_do_not_come_along() {
    let world = World::new();
    world.write("su", "", 0o6755);
    let digest = world.import().await;
    let tree = world.layers.path_of(&digest).unwrap();
    assert_eq!(std::fs::metadata(tree.join("su")).unwrap().mode() & 0o7777, 0o755);
}

#[tokio::test]
async fn what_no_layer_may_hold_is_refused_by_name() {
    for (kind, words) in [
        (FileType::CharacterDevice, "a device"),
        (FileType::BlockDevice, "a device"),
        (FileType::Fifo, "a named pipe"),
        (FileType::Socket, "a socket"),
    ] {
        let world = World::new();
        world.special("thing", kind);
        let expected = format!("thing is {words}; only directories, files and symlinks can be kept");
        assert_eq!(world.refusal().await, expected);
    }
    let world = World::new();
    world.write("a/file", "", 0o644);
    chown(world.source().join("a/file"), Some(70_000), Some(0)).unwrap();
    assert_eq!(world.refusal().await, "a/file belongs to 70000:0; ids end at 65535");
}

#[tokio::test]
async fn a_tree_past_a_limit_is_refused() {
    let limits = TreeLimits { entries_max: 5, bytes_max: 10, depth_max: 2 };
    let world = World::with_limits(limits);
    world.write("a/b/c/d", "", 0o644);
    assert_eq!(world.refusal().await, "the tree has more than 2 levels of directories");
    let world = World::with_limits(limits);
    world.write("a", "12345", 0o644);
    world.write("b", "678901", 0o644);
    assert_eq!(world.refusal().await, "the tree has more than 10 bytes");
    let world = World::with_limits(limits);
    for name in ["a", "b", "c", "d", "e", "f"] {
        world.write(name, "", 0o644);
    }
    assert_eq!(world.refusal().await, "the tree has more than 5 entries");
}

#[tokio::test]
async fn a_source_that_is_a_symlink_is_not_followed() {
    let world = World::new();
    let link = world.dir.path().join("link");
    symlink(world.source(), &link).unwrap();
    let error = world.layers.import_directory(&link).await.unwrap_err();
    assert!(matches!(error, LayerError::Tree { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pinned_layer_stays() {
    let world = World::new();
    world.write("file", "", 0o644);
    let digest = world.import().await;
    for holder in ["container-a", "container-b", "container-a"] {
        world.layers.pin(&digest, holder).await.unwrap();
    }
    world.layers.unpin(&digest, "container-b").await.unwrap();
    // Pins outlive whoever made them.
    let layers = Layers::open(&world.dir.path().join("layers"), TreeLimits::default()).unwrap();
    let error = layers.remove(&digest).await.unwrap_err();
    assert!(error.to_string().ends_with("is used by container-a"), "{error}");
    assert_eq!(world.import().await, digest);
    layers.unpin(&digest, "container-a").await.unwrap();
    layers.unpin(&digest, "container-a").await.unwrap();
    layers.remove(&digest).await.unwrap();
    let gone = [
        layers.path_of(&digest).unwrap_err(),
        layers.pin(&digest, "late").await.unwrap_err(),
        layers.remove(&digest).await.unwrap_err(),
    ];
    assert!(gone.iter().all(|error| matches!(error, LayerError::Missing(_))), "{gone:?}");
    assert_eq!(drafts(&layers), 0);
}

#[tokio::test]
async fn a_holders_name_cannot_lead_elsewhere() {
    let world = World::new();
    let digest = world.import().await;
    let long = "x".repeat(129);
    for holder in ["", ".", "..", "../../lock", "a/b", "a b", "ü", &long] {
        let error = world.layers.pin(&digest, holder).await.unwrap_err();
        assert!(matches!(error, LayerError::HolderName(_)), "{holder}: {error:?}");
    }
}

#[tokio::test]
async fn drafts_of_the_dead_are_swept_and_those_of_the_living_are_not() {
    let world = World::new();
    let dir = world.dir.path().join("layers");
    let lock = world.layers.shelf.try_lock().unwrap().unwrap();
    let draft = world.layers.shelf.draft(&lock).unwrap();
    std::fs::create_dir_all(draft.tree().join("half/made")).unwrap();
    Layers::open(&dir, TreeLimits::default()).unwrap();
    assert!(draft.tree().join("half").exists(), "somebody holds the lock");
    drop(lock);
    Layers::open(&dir, TreeLimits::default()).unwrap();
    assert!(!draft.tree().exists());
}

#[test]
fn a_manifest_reads_as_documented() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::set_permissions(root.join("empty"), std::fs::Permissions::from_mode(0o644)).unwrap();
    symlink("usr/bin", root.join("bin")).unwrap();
    let manifest = Manifest::scan(root, TreeLimits::default()).unwrap();
    let expected = "shipway tree 1\n.\td\t0755\t0:0\nbin\tl\t0777\t0:0\tusr/bin\nempty\tf\t0644\t0:0\t\
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
    assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), expected);
    assert!(matches!(manifest.entries()[2].kind, Kind::File { .. }));
}

#[test]
fn a_strange_manifest_is_refused_with_its_line() {
    for (text, expected) in [
        ("", "line 1 of the manifest: `shipway tree 1` was expected"),
        ("shipway tree 2\n", "line 1 of the manifest: `shipway tree 1` was expected"),
        ("shipway tree 1\nx\n", "line 2 of the manifest: four or five fields were expected"),
        ("shipway tree 1\nx\td\t0755\t0\n", "line 2 of the manifest: an owner like `0:0` was expected"),
        ("shipway tree 1\nx\td\t9\t0:0\n", "line 2 of the manifest: an octal mode was expected"),
        ("shipway tree 1\nx\tf\t0644\t0:0\tab\n", "line 2 of the manifest: 64 hexadecimal digits were expected"),
        ("shipway tree 1\nx\tz\t0644\t0:0\n", "line 2 of the manifest: a kind of `d`, `f` or `l` was expected"),
        ("shipway tree 1\n\\q\td\t0755\t0:0\n", "line 2 of the manifest: a backslash is followed by `\\`, `t` or `n`"),
    ] {
        assert_eq!(Manifest::parse(text.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn work_on_every_core_keeps_its_order_and_stops_at_an_error() {
    let squares = manifest::parallel(1000, |at| Ok::<_, ()>(at * at)).unwrap();
    assert!(squares.iter().enumerate().all(|(at, square)| at * at == *square));
    assert_eq!(manifest::parallel(0, |_| Err::<(), _>("never called")), Ok(Vec::new()));
    let result = manifest::parallel(1000, |at| if at == 500 { Err(at) } else { Ok(at) });
    assert_eq!(result, Err(500));
}

/// Makes a layer look as if nobody had touched it for so long.
fn age(world: &World, digest: &Digest, hours: u64) -> SystemTime {
    let then = SystemTime::now() - std::time::Duration::from_secs(hours * 3600);
    let home = world.dir.path().join("layers/sha256").join(digest.hex());
    std::fs::File::open(home).unwrap().set_modified(then).unwrap();
    then + std::time::Duration::from_secs(60)
}

#[tokio::test]
async fn an_untouched_layer_is_removed_and_one_that_came_again_or_is_pinned_is_not() {
    let world = World::new();
    world.write("a", "hello", 0o644);
    let digest = world.import().await;
    let long_ago = age(&world, &digest, 2);
    assert_eq!(world.layers.bytes(&digest), 5);
    assert_eq!(world.import().await, digest, "again: the same");
    assert!(world.layers.touched_at(&digest).unwrap() > long_ago);
    assert!(!world.layers.remove_untouched(&digest, long_ago).await.unwrap());
    world.layers.pin(&digest, "me").await.unwrap();
    let long_ago = age(&world, &digest, 2);
    assert!(!world.layers.remove_untouched(&digest, long_ago).await.unwrap(), "pinned");
    world.layers.unpin(&digest, "me").await.unwrap();
    let long_ago = age(&world, &digest, 2);
    assert!(world.layers.remove_untouched(&digest, long_ago).await.unwrap());
    assert!(!world.layers.remove_untouched(&digest, long_ago).await.unwrap(), "nobody removes it twice");
    assert_eq!((world.layers.list().unwrap(), drafts(&world.layers)), (vec![], 0));
}

#[tokio::test]
async fn whoever_has_touched_a_tree_has_it_however_close_the_removal() {
    let world = World::new();
    world.write("a", "contended", 0o644);
    // As another process has them open.
    let others = Layers::open(&world.dir.path().join("layers"), TreeLimits::default()).unwrap();
    for round in 0..50 {
        let digest = world.import().await;
        let long_ago = age(&world, &digest, 2);
        let (shelf, wanted) = (others.shelf.clone(), digest.clone());
        let start = Arc::new(std::sync::Barrier::new(2));
        let other = Arc::clone(&start);
        let toucher = tokio::task::spawn_blocking(move || {
            other.wait();
            shelf.touch(&wanted).unwrap().is_some()
        });
        let lock = world.layers.lock().await.unwrap();
        start.wait();
        let removed = world.layers.shelf.remove_untouched(&lock, &digest, long_ago).unwrap();
        let touched = toucher.await.unwrap();
        assert!(touched != removed, "round {round}: one of the two, never both");
        assert_eq!(world.layers.path_of(&digest).is_ok(), touched);
    }
}

#[test]
fn a_copy_is_bounded_by_the_size_that_was_seen() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("from"), "0123456789").unwrap();
    let mut from = std::fs::File::open(path("from")).unwrap();
    let mut to = std::fs::File::create(path("to")).unwrap();
    // Where the file system shares blocks, it shares all of them.
    let copied = fill_from(&mut to, &mut from, 4).unwrap();
    assert!(copied == 4 || copied == 10, "{copied}");
    let inside = manifest::open_root(dir.path()).unwrap();
    assert!(create_file(&inside, Path::new("../outside"), 0o644).is_err());
    symlink(dir.path(), path("loop")).unwrap();
    assert!(create_file(&inside, Path::new("loop/file"), 0o644).is_err());
}
