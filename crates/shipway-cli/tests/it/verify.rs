//! Whether a file is what it claims to be, at the command line: with real signatures, of a real server.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::typed::{Typed, typed, typed_at};
use crate::world::World;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A binary that the world has made, and its papers, on a desk.
struct Desk {
    world: World,
    folder: TempDir,
    key: String,
}

impl Desk {
    async fn new() -> Self {
        let desk = Self { world: World::start().await, folder: tempfile::tempdir().unwrap(), key: String::new() };
        let line = "caddy build --with example.com/good --os linux --arch amd64 -o";
        let built = typed(&desk.world, &format!("{line} {}", desk.path("caddy").display())).await;
        assert_eq!(built.code, 0, "{built:?}");
        let report = desk.json("").await;
        let signed = report["checks"].as_array().unwrap().iter().find(|check| check["key"].is_string()).unwrap();
        Self { key: signed["key"].as_str().unwrap().to_owned(), ..desk }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        write(&self.path(name), text.as_bytes());
        self.path(name)
    }

    async fn verify(&self, rest: &str) -> Typed {
        typed(&self.world, &format!("verify {} {rest}", self.path("caddy").display())).await
    }

    /// The same without any server.
    async fn alone(&self, rest: &str) -> Typed {
        typed_at(NOWHERE, &format!("verify {} {rest}", self.path("caddy").display()), b"").await
    }

    async fn json(&self, rest: &str) -> Value {
        serde_json::from_str(&self.verify(&format!("--json {rest}")).await.out).unwrap()
    }

    /// What the server has beside the binary, put beside the file.
    async fn fetch(&self, document: &str, suffix: &str) -> String {
        let listed: Value = serde_json::from_str(&typed(&self.world, "builds --json").await.out).unwrap();
        let id = listed[0]["id"].as_str().unwrap();
        let text = self.world.root().artifact_document(id, document).await.unwrap();
        self.write(&format!("caddy{suffix}"), &text);
        text
    }
}

fn write(path: &Path, bytes: &[u8]) {
    shipway_stdx::fs::write_atomic(path, bytes, 0o644, shipway_stdx::fs::Durability::Process).unwrap();
}

#[track_caller]
fn refused(typed: &Typed, says: &str) {
    assert_eq!(typed.code, 1, "{typed:?}");
    assert!(typed.err.contains("is not verified") && typed.err.contains(says), "{typed:?} does not say {says:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_is_verified_and_told_of() {
    let desk = Desk::new().await;
    let verified = desk.verify("").await;
    assert_eq!(verified.code, 0, "{verified:?}");
    for says in [
        "signature: good (minisign, the server)",
        &desk.key,
        "file:caddy",
        "not signed itself",
        "v2.11.9",
        "with      example.com/good@",
        "urn:shipway:installation:world",
        "1.26.8",
        "has 2 modules",
    ] {
        assert!(verified.out.contains(says), "{verified:?} does not say {says:?}");
    }
    assert!(verified.err.contains("this trusts the server"), "{verified:?}");
    let pinned = desk.verify(&format!("--key {}", desk.key)).await;
    assert!(pinned.code == 0 && !pinned.err.contains("trusts the server"), "{pinned:?}");
    let report = desk.json(&format!("--key {}", desk.key)).await;
    assert_eq!(report["is_verified"], json!(true));
    assert_eq!((&report["trusts"], &report["provenance"]["recipe"]), (&json!("keys given"), &json!("caddy")));
    assert_eq!(desk.verify("-q").await.out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_or_another_key_is_not_verified() {
    let desk = Desk::new().await;
    desk.fetch("minisig", ".minisig").await;
    let other = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    refused(&desk.verify(&format!("--key {other}")).await, "signature of");
    let report = desk.json(&format!("--key {other}")).await;
    assert_eq!(report["is_verified"], json!(false));
    let whole = std::fs::read(desk.path("caddy")).unwrap();
    let mut changed = whole.clone();
    changed[70_000] ^= 1;
    for bytes in [&changed[..], &whole[..whole.len() - 1], &[whole.clone(), b"x".to_vec()].concat(), b""] {
        write(&desk.path("caddy"), bytes);
        refused(&desk.verify("").await, "signature of");
    }
    std::fs::remove_file(desk.path("caddy.minisig")).unwrap();
    refused(&desk.verify("").await, "nobody has a signature of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_what_is_beside_the_file_is_enough() {
    let desk = Desk::new().await;
    let unreached = desk.alone("").await;
    assert_eq!(unreached.code, 5, "{unreached:?}");
    refused(&desk.alone("--offline").await, "nobody has a signature of it");
    let minisig = desk.fetch("minisig", ".minisig").await;
    refused(&desk.alone("--offline").await, "no key");
    let by_key = desk.alone(&format!("--key {}", desk.key)).await;
    assert_eq!(by_key.code, 0, "{by_key:?}");
    assert!(by_key.err.contains("could not be asked for what is not here"), "{by_key:?}");
    for (document, suffix) in [("provenance", ".provenance.json"), ("sbom", ".sbom.json"), ("sha256", ".sha256")] {
        desk.fetch(document, suffix).await;
    }
    let file = desk.write("farm.pub", &format!("untrusted comment: the farm's\n{}\n", desk.key));
    let whole = desk.alone(&format!("--key {} --offline", file.display())).await;
    assert_eq!(whole.code, 0, "{whole:?}");
    assert!(whole.out.contains("checksum: good") && whole.out.contains("sbom: good"), "{whole:?}");
    assert!(!whole.err.contains("server"), "{whole:?}");
    // A signature that is somewhere else, and one that nothing here can check.
    std::fs::rename(desk.path("caddy.minisig"), desk.path("elsewhere")).unwrap();
    let named = format!("--key {} --offline --signature {}", desk.key, desk.path("elsewhere").display());
    assert_eq!(desk.alone(&named).await.code, 0);
    let asc = desk.write("x.asc", "-----BEGIN PGP SIGNATURE-----\n");
    refused(&desk.alone(&format!("{named} --signature {}", asc.display())).await, "no OpenPGP key");
    desk.write("caddy.minisig", &minisig);
    desk.write("caddy.asc", "-----BEGIN PGP SIGNATURE-----\n");
    let both = desk.alone(&format!("--key {} --offline", desk.key)).await;
    assert!(both.code == 0 && both.out.contains("signature: not checked (OpenPGP, "), "{both:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn papers_of_another_file_or_of_no_form_are_no_proof() {
    let desk = Desk::new().await;
    let provenance = desk.fetch("provenance", ".provenance.json").await;
    let report = desk.json("").await;
    let hex = report["digest"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    let zeros = "0".repeat(64);
    for (name, texts) in [
        ("caddy.provenance.json", vec![provenance.replace(&hex, &zeros), "{}".to_owned(), "[".repeat(100_000)]),
        ("caddy.sbom.json", vec!["{\"bomFormat\":\"CycloneDX\"}".to_owned(), "nothing".to_owned()]),
        ("caddy.sha256", vec![format!("{zeros}  caddy\n"), String::new()]),
        ("caddy.minisig", vec![String::new(), "\u{1b}[2J".repeat(50)]),
        ("caddy.asc", vec!["x".to_owned()]),
    ] {
        for text in texts {
            desk.write(name, &text);
            let typed = desk.verify("").await;
            let what = name.split('.').nth(1).unwrap();
            let what = match what {
                "minisig" | "asc" => "signature",
                "sha256" => "checksum",
                what => what,
            };
            refused(&typed, &format!("{what} of"));
            assert!(!typed.out.contains('\u{1b}') && !typed.err.contains('\u{1b}'), "{typed:?}");
        }
        std::fs::remove_file(desk.path(name)).unwrap();
    }
    // A statement that is true of the file may still be written for a terminal.
    desk.write("caddy.provenance.json", &provenance.replace("installation:world", "\\u001b[2J\\nverified"));
    let typed = desk.verify("").await;
    assert!(typed.code == 0 && !typed.out.contains('\u{1b}') && !typed.out.contains("\nverified"), "{typed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_command_line_says_so() {
    let desk = Desk::new().await;
    let typed = desk.verify("--key nonsense").await;
    assert!(typed.code == 2 && typed.err.contains("--key nonsense"), "{typed:?}");
    let missing = typed_at(NOWHERE, "verify /nowhere/caddy", b"").await;
    assert!(missing.code == 1 && missing.err.contains("/nowhere/caddy"), "{missing:?}");
    let missing = desk.verify("--signature /nowhere/x").await;
    assert!(missing.code == 1 && missing.err.contains("/nowhere/x"), "{missing:?}");
}
