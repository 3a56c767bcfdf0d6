//! Services that nginx serves, on this host's packages and in an image.

use std::fs;
use std::path::Path;
use std::process::Command;

use shipway_testkit::http;

use crate::world::World;

#[track_caller]
fn deploy(world: &World, name: &str, kind: &str, content: &str) -> String {
    let url = world.files.put(&format!("/{name}"), content);
    world.ok(&["deploy", &url, kind, "--runner", "nginx", "--name", name]).stdout
}

#[test]
fn a_file_and_a_script_are_served_redeployed_and_rolled_back() {
    let world = World::new();
    deploy(&world, "page", "--static", "<h1>hello</h1>");
    let answer = world.platform.visit("page", "/").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "<h1>hello</h1>"));
    assert_eq!(answer.header("server"), Some("nginx"), "{answer:?}");
    assert_eq!(world.platform.visit("page", "/other").unwrap().status, 404);

    deploy(&world, "greeter", "--script", "#!/bin/sh\necho \"one $REQUEST_METHOD $PATH_INFO $QUERY_STRING\"\n");
    assert_eq!(world.platform.visit("greeter", "/a?b=c").unwrap().text(), "one GET /a b=c\n");
    deploy(&world, "greeter", "--script", "#!/bin/sh\necho two\n");
    assert_eq!(world.visit("greeter"), "two\n");
    let again = deploy(&world, "greeter", "--script", "#!/bin/sh\necho two\n");
    assert!(again.contains("unchanged"), "{again}");
    world.ok(&["rollback", "greeter", "1"]);
    assert!(world.visit("greeter").starts_with("one "));
    world.ok(&["restart", "greeter"]);
    assert!(world.visit("greeter").starts_with("one "));

    // Another runner is another release; what it serves is the same.
    let url = world.files.put("/greeter", "#!/bin/sh\necho two\n");
    world.ok(&["deploy", &url, "--script", "--name", "greeter"]);
    assert_eq!(world.visit("greeter"), "two\n");
    let diff = world.ok(&["diff", "greeter", "2", "3"]).stdout;
    assert!(diff.contains("runner") && !diff.contains("source"), "{diff}");
    world.ok(&["rollback", "greeter", "2"]);
    assert_eq!(world.visit("greeter"), "two\n");
}

#[test]
fn a_script_that_fails_or_is_too_slow_is_told_as_ever() {
    let world = World::new();
    let url = world.files.put("/moody", "case $PATH_INFO in /fail) exit 3;; /slow) sleep 60;; *) echo fine;; esac\n");
    world.ok(&["deploy", &url, "--script", "--runner", "nginx", "--name", "moody", "--timeout", "300ms"]);
    let failed = world.platform.visit("moody", "/fail").unwrap();
    assert_eq!((failed.status, failed.text().as_str()), (502, "the script failed: exit status 3\n"));
    let slow = world.platform.visit("moody", "/slow").unwrap();
    assert_eq!(slow.status, 502);
    assert!(slow.text().contains("longer than its limit of 300 ms"), "{}", slow.text());
    assert_eq!(world.visit("moody"), "fine\n");
    // An interpreter that is not there is known before anybody visits.
    let url = world.files.put("/moody", "#!/no/such/thing\n");
    let words = ["deploy", &url, "--script", "--runner", "nginx", "--name", "moody", "--ready-within", "2s"];
    let refused = world.platform.cli(&words).unwrap();
    assert!(refused.code == 1 && refused.stderr.contains("/no/such/thing cannot be executed"), "{refused:?}");
    assert_eq!(world.visit("moody"), "fine\n");
}

/// Copies a program of this host's with the libraries it is linked with.
fn bring(tree: &Path, program: &str) {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    for file in std::iter::once(program).chain(libraries) {
        let target = tree.join(file.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn nginx_comes_from_an_image_that_has_it() {
    let world = World::new();
    let home = tempfile::tempdir().unwrap();
    let tree = home.path().join("tree");
    for folder in ["bin", "dev", "etc", "proc", "run", "srv", "tmp"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", tree.join("bin/sh")).unwrap();
    let import = |name: &str| world.ok(&["image", "import", name, tree.to_str().unwrap()]);
    import("bare");
    for program in ["/usr/sbin/nginx", "/usr/sbin/fcgiwrap"] {
        bring(&tree, program);
    }
    import("nginx:own");

    let url = world.files.put("/hello", "#!/bin/sh\necho hello from $(busybox id -u)\n");
    let words = ["deploy", &url, "--script", "--runner", "nginx", "--name", "hello", "--runner-image"];
    world.ok(&[&words[..], &["nginx:own"]].concat());
    assert_eq!(world.visit("hello"), "hello from 1000\n");
    let refused = world.platform.cli(&[&words[..], &["bare"]].concat()).unwrap();
    assert!(refused.code == 1 && refused.stderr.contains("images/nginx"), "{refused:?}");
    assert_eq!(world.visit("hello"), "hello from 1000\n");
    let missing = world.platform.cli(&[&words[..], &["other"]].concat()).unwrap();
    assert!(missing.stderr.contains("there is no image `other:latest`"), "{missing:?}");
}

#[test]
fn a_runner_that_cannot_be_is_refused_by_name() {
    let world = World::new();
    let url = world.files.put("/page", "hello");
    let put = |body: serde_json::Value| {
        let (address, type_) = (world.platform.address(), [("content-type", "application/json")]);
        http::request(address, "PUT", "localhost", "/v1/services/a", &type_, body.to_string().as_bytes()).unwrap()
    };
    let answer = put(serde_json::json!({"url": url, "runner": "apache"}));
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, &problem["errors"][0]["pointer"]), (400, &"#/runner".into()), "{problem}");
    let detail = problem["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("native") && detail.contains("nginx"), "{detail}");
    let answer = put(serde_json::json!({"image": "a", "command": ["b"], "port": 1, "runner": "nginx"}));
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("a command serves itself"), "{}", answer.text());
    let wrong = world.platform.cli(&["deploy", &url, "--runner", "apache"]).unwrap();
    assert!(wrong.code == 2 && wrong.stderr.contains("native, nginx"), "{wrong:?}");
    let both = ["deploy", "--image", "a", "--port", "1", "--runner", "nginx", "--", "b"];
    assert_eq!(world.platform.cli(&both).unwrap().code, 2);
}
