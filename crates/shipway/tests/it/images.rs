//! A root file system from elsewhere, imported and run: busybox's own web server in it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use shipway_testkit::{Output, wait_until};

use crate::world::{SOON, World};

/// A static program with a shell and a web server in it.
const BUSYBOX: &str = "/bin/busybox";

fn text(path: &Path, text: &str) {
    shipway_stdx::fs::write_atomic(path, text.as_bytes(), 0o644, shipway_stdx::fs::Durability::Process).unwrap();
}

/// A root file system: busybox, a page, and the usual things nobody can use.
pub(crate) fn root_file_system(at: &Path, page: &str) {
    for folder in ["bin", "dev", "etc", "proc", "tmp", "www/cgi-bin"] {
        std::fs::create_dir_all(at.join(folder)).unwrap();
    }
    std::fs::copy(BUSYBOX, at.join("bin/busybox")).unwrap();
    for name in ["sh", "httpd", "cat", "id"] {
        std::os::unix::fs::symlink("busybox", at.join("bin").join(name)).unwrap();
    }
    text(&at.join("www/index.html"), page);
    text(&at.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    rustix::fs::chmod(at.join("bin/busybox"), rustix::fs::Mode::from_raw_mode(0o4755)).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn cli(world: &World, words: &[&str]) -> Output {
    world.platform.cli(words).unwrap()
}

#[track_caller]
fn done(world: &World, words: &[&str]) -> String {
    world.ok(words).stdout
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The trees on disk, and what is done to make the housekeeper think that they are old.
struct Trees(std::path::PathBuf);

impl Trees {
    fn count(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }

    fn are_old(&self) {
        let then = std::time::SystemTime::now() - Duration::from_secs(48 * 3600);
        for entry in std::fs::read_dir(&self.0).unwrap() {
            std::fs::File::open(entry.unwrap().path()).unwrap().set_modified(then).unwrap();
        }
    }
}

#[test]
fn an_imported_image_runs_a_command_until_nobody_needs_it() {
    let world = World::with(&[("SHIPWAY_JANITOR_EVERY_SECONDS", "1")]);
    let trees = Trees(world.platform.state_dir().join("layers/sha256"));
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    root_file_system(&home.path().join("one"), "first\n");
    root_file_system(&home.path().join("two"), "second\n");
    run(Command::new("tar").args(["-czf", &path("one.tar.gz"), "-C", &path("one"), "."]));

    // The same tree is the same image, as an archive or as a directory.
    let archive = json(&done(&world, &["image", "import", "box", &path("one.tar.gz"), "--json"]));
    let directory = json(&done(&world, &["image", "import", "team/box:1.0", &path("one"), "--json"]));
    assert_eq!(archive["digest"], directory["digest"]);
    assert_eq!((&archive["name"], &archive["set_id_dropped"]), (&"box:latest".into(), &1.into()));
    let listed = done(&world, &["image", "ls"]);
    assert!(listed.contains("box:latest") && listed.contains("team/box:1.0"), "{listed}");

    // A command is deployed, visited, entered.
    let deploy = ["deploy", "--image", "box", "--port", "8000", "--name", "web", "--env", "COLOUR=blue", "--"];
    let serve = ["httpd", "-f", "-v", "-p", "8000", "-h", "/www"];
    done(&world, &[&deploy[..], &serve[..]].concat());
    assert_eq!(world.visit("web"), "first\n");
    let inside =
        done(&world, &["exec", "web", "--", "sh", "-c", "id -u; echo $COLOUR; echo x > /www/new; cat /www/new"]);
    assert_eq!(inside, "0\nblue\nx\n");
    assert_eq!(world.platform.visit("web", "/nothing").unwrap().status, 404);

    // Another import under the name changes nothing that runs; a deploy takes it.
    done(&world, &["image", "import", "box", &path("two")]);
    assert_eq!(world.visit("web"), "first\n");
    done(&world, &[&deploy[..], &serve[..]].concat());
    assert_eq!(world.visit("web"), "second\n");
    let diff = done(&world, &["diff", "web", "1", "2"]);
    assert!(diff.contains("root") && !diff.contains("command"), "{diff}");
    done(&world, &["rollback", "web"]);
    assert_eq!(world.visit("web"), "first\n");

    // Needed by a release, live or not, an image stays.
    for name in ["box", "team/box:1.0"] {
        let kept = cli(&world, &["image", "rm", name]);
        assert!(kept.code == 1 && kept.stderr.contains("service `web` has a release on this image"), "{kept:?}");
    }
    assert_eq!(json(&done(&world, &["image", "inspect", "box"]))["services"], serde_json::json!(["web"]));
    // Its tree too, however old: only one that nothing needs goes, and not at once.
    text(&home.path().join("two/decoy"), "");
    done(&world, &["image", "import", "decoy", &path("two")]);
    done(&world, &["image", "rm", "decoy"]);
    assert_eq!(trees.count(), 3);
    trees.are_old();
    wait_until("the decoy is gone", SOON, || (trees.count() == 2).then_some(()));
    done(&world, &["rollback", "web", "2"]);
    assert_eq!(world.visit("web"), "second\n");

    done(&world, &["rm", "web", "--yes"]);
    done(&world, &["image", "rm", "box", "team/box:1.0"]);
    assert_eq!(cli(&world, &["image", "inspect", "box"]).code, 3);
    trees.are_old();
    wait_until("no tree is left", SOON, || (trees.count() == 0).then_some(()));
}

#[test]
fn what_cannot_be_imported_or_run_says_why_and_leaves_nothing() {
    let world = World::new();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    root_file_system(&home.path().join("tree"), "page\n");
    run(Command::new("tar").args(["-P", "-cf", &path("absolute.tar"), "/etc/hostname"]));
    run(Command::new("tar").args(["-cf", &path("whole.tar"), "-C", &path("tree"), "."]));
    let whole = std::fs::read(path("whole.tar")).unwrap();
    text(&home.path().join("text.tar"), "hello");
    let half = std::fs::File::create(path("half.tar")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&half, &whole[..whole.len() / 2], 0).unwrap();
    run(Command::new("mkfifo").arg(path("tree/pipe")));
    for (file, rule) in
        [("absolute.tar", "absolute"), ("text.tar", "truncated"), ("half.tar", "truncated"), ("tree", "special")]
    {
        let refused = cli(&world, &["image", "import", "bad", &path(file)]);
        let says = format!("refused by rule `{rule}`");
        assert!(refused.code == 1 && refused.stderr.contains(&says), "{file}: {refused:?}");
    }
    assert_eq!(cli(&world, &["image", "import", "Bad Name", &path("whole.tar")]).code, 2);
    assert_eq!(json(&done(&world, &["image", "ls", "--json"])), serde_json::json!([]));
    for folder in ["layers/sha256", "layers/tmp"] {
        assert_eq!(std::fs::read_dir(world.platform.state_dir().join(folder)).unwrap().count(), 0, "{folder}");
    }

    // A command that is not there, ends, or listens elsewhere: the probe says what it saw.
    let missing = cli(&world, &["deploy", "--image", "box", "--port", "8000", "--", "httpd"]);
    assert!(missing.code == 3 && missing.stderr.contains("there is no image `box:latest`"), "{missing:?}");
    done(&world, &["image", "import", "box", &path("whole.tar")]);
    let deploy = ["deploy", "--image", "box", "--port", "8000", "--ready-within", "1s", "--"];
    for (command, saw) in [
        (&["nothing"][..], "nothing"),
        (&["sh", "-c", "echo oh no; exit 3"][..], "exit status 3"),
        (&["httpd", "-f", "-p", "9000"][..], "its port"),
    ] {
        let refused = cli(&world, &[&deploy[..], command].concat());
        assert!(refused.code == 1 && refused.stderr.contains(saw), "{command:?}: {refused:?}");
    }
    // Only failed releases are on it: it can go.
    done(&world, &["image", "rm", "box"]);
}
