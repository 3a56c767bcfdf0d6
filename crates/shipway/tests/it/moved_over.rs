//! Moving over from the Caddy build server: its configuration file, as it is, with its own
//! environment. After a change of what is said of it: `UPDATE_GOLDEN=1 cargo test -p shipway --test it
//! moved_over`, then read `tests/caddy-build-server.check.txt`.

use std::path::{Path, PathBuf};
use std::process::Command;

use shipway_testkit::{Platform, Postgres, Settings, http};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// A folder that looks like a tool chain of this version, so that what is said does not depend on
/// the machine.
fn tool_chain(folder: &Path) -> PathBuf {
    let root = folder.join("go");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::File::create(root.join("bin/go")).unwrap();
    let version = b"go1.26.8\n";
    shipway_stdx::fs::write_atomic(&root.join("VERSION"), version, 0o644, shipway_stdx::fs::Durability::Process)
        .unwrap();
    root
}

/// What `config check` says of everything that somebody has set, without the help.
fn check(folder: &Path, environment: &[(&str, &str)]) -> String {
    let go = tool_chain(folder);
    let output = Command::new(env!("CARGO_BIN_EXE_shipway"))
        .args(["config", "check", "--set", &format!("builds.go={}", go.display())])
        .env_clear()
        .env("CONFIG_PATH", tests().join("caddy-build-server.yml"))
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let here = folder.canonicalize().unwrap();
    let text = text.replace(&*here.to_string_lossy(), "HERE").replace(&*tests().to_string_lossy(), "TESTS");
    let mut kept = String::new();
    let mut keeps = false;
    for line in text.lines() {
        if !line.starts_with(' ') {
            keeps = !line.ends_with(" default");
        }
        if keeps && (!line.starts_with(' ') || line.trim_start().starts_with("note: ")) {
            kept.push_str(&format!("{}\n", line.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    kept
}

#[test]
fn config_check_explains_the_old_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [
        ("DATABASE_HOST", "db.example.org"),
        ("API_HOST", "0.0.0.0"),
        ("API_PORT", "8234"),
        ("GOPROXY", "https://proxy.example.org,direct"),
        ("DOCKER_HOST", "unix:///var/run/docker.sock"),
        ("DOCKER_IMAGE", "golang:1.25"),
        ("SIGNING_KEY_PASSWORD", "hunter2"),
    ];
    let found = check(folder.path(), &environment);
    assert!(!found.contains("hunter2"), "{found}");
    let golden = tests().join("caddy-build-server.check.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let durability = shipway_stdx::fs::Durability::Process;
        shipway_stdx::fs::write_atomic(&golden, found.as_bytes(), 0o644, durability).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn shipway_starts_with_the_old_configuration_and_its_environment() {
    let server = Postgres::start().unwrap();
    let database = server.create(None).unwrap();
    let url = server.url(&database);
    let file = tests().join("caddy-build-server.yml");
    let environment = [
        ("CONFIG_PATH", file.to_str().unwrap()),
        // The address of this test's server is not the file's to know.
        ("SHIPWAY_DATABASE_URL", &url),
        ("SHIPWAY_DATABASE_HOST", ""),
        ("API_HOST", "127.0.0.1"),
        ("API_PORT", "0"),
        ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
        ("DOCKER_IMAGE", "golang:1.25"),
        // What the tests' platform says would count more than the file.
        ("SHIPWAY_LISTEN", ""),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let settings = Settings { environment, roles: None };
    let platform = Platform::start(Path::new(env!("CARGO_BIN_EXE_shipway")), settings).unwrap();
    assert_eq!(platform.address().ip().to_string(), "127.0.0.1");
    let health = http::get(platform.address(), "127.0.0.1", "/health").unwrap();
    assert_eq!(health.status, 200, "{}", health.text());
    assert!(health.text().contains("\"healthy\""), "{}", health.text());
    assert!(!platform.state_dir().join("shipway.sqlite").exists());
}

#[test]
fn one_role_in_a_word_is_serve_with_that_role() {
    let folder = tempfile::tempdir().unwrap();
    let said = |words: &[&str]| {
        let state = format!("state_dir={}", folder.path().display());
        let output = Command::new(env!("CARGO_BIN_EXE_shipway"))
            .args(words)
            .args(["--set", &state])
            .env_clear()
            .current_dir(folder.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for role in ["worker", "janitor"] {
        let (code, words) = said(&[role, "--set", "roles=all"]);
        assert_eq!(code, Some(1), "{words}");
        // One role alone cannot work on SQLite, which is how the role shows without a server.
        assert!(words.contains(&format!("`roles: {role}` needs PostgreSQL")), "{words}");
        assert_eq!((code, words), said(&["serve", "--roles", role]));
    }
}
