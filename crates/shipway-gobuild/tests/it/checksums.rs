//! The checksum database and what is trusted on its word: a database of the tests' own.

use std::io::Cursor;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::{Digest as _, Sha256};
use shipway_gobuild::checksums::{ChecksumError, Database, DatabaseKey, content, passed_on};
use shipway_gobuild::proxy::Question;
use shipway_gobuild::testing::{ModuleProxy, archive};
use shipway_gobuild::toolchain::{Toolchain, ToolchainError, Trust, fetch};
use shipway_gobuild::zip::Archive;
use shipway_gobuild::{GoVersion, ModulePath, Version};

use crate::server::{Answer, Server};
use crate::support::proxies;

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());
const NAME: &str = "sum.test";

type Hash = [u8; 32];

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The hash of a tree, straight from the RFC.
fn root(leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return *leaf;
    }
    let half = leaves.len().next_power_of_two() / 2;
    node(&root(&leaves[..half]), &root(&leaves[half..]))
}

fn key_text() -> (String, [u8; 4]) {
    let key = [&[1], KEY.public_key().as_ref()].concat();
    let hash: Hash = Sha256::new().chain_update(NAME).chain_update("\n").chain_update(&key).finalize().into();
    let hex: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    (format!("{NAME}+{hex}+{}", STANDARD.encode(&key)), hash[..4].try_into().unwrap())
}

fn record(number: usize, digest: &str) -> String {
    format!("x.test/a v1.0.{number} {digest}\nx.test/a v1.0.{number}/go.mod h1:other=\n")
}

/// Files of a database of so many records, one of which has this digest: `(path, content)`.
fn database(size: usize, number: usize, digest: &str) -> Vec<(String, Vec<u8>)> {
    let text = |at: usize| record(at, if at == number { digest } else { "h1:filler=" });
    let leaves: Vec<Hash> =
        (0..size).map(|at| Sha256::new().chain_update([0]).chain_update(text(at)).finalize().into()).collect();
    let mut files = Vec::new();
    let (mut level, mut hashes) = (0, leaves.clone());
    while !hashes.is_empty() {
        for (tile, chunk) in hashes.chunks(256).enumerate() {
            let part = if chunk.len() < 256 { format!(".p/{}", chunk.len()) } else { String::new() };
            files.push((format!("tile/8/{level}/{tile:03}{part}"), chunk.concat()));
        }
        hashes = hashes.chunks_exact(256).map(root).collect();
        level += 1;
    }
    let head = format!("go.sum database tree\n{size}\n{}\n", STANDARD.encode(root(&leaves)));
    let signature = [&key_text().1[..], KEY.sign(head.as_bytes()).as_ref()].concat();
    let note = format!("{head}\n— {NAME} {}\n", STANDARD.encode(signature));
    let answer = format!("{number}\n{}\n{note}", text(number));
    files.push((format!("lookup/x.test/a@v1.0.{number}"), answer.into_bytes()));
    files
}

/// A server that passes the database on, with one file changed.
async fn passing_on(files: &[(String, Vec<u8>)], change: impl Fn(&str, &mut Vec<u8>)) -> Server {
    let changed = files.iter().map(|(path, content)| {
        let mut content = content.clone();
        change(path, &mut content);
        (format!("/sumdb/{NAME}/{path}"), Answer::Is(200, content))
    });
    let changed: Vec<(String, Answer)> = changed.collect();
    let answers: Vec<(&str, Answer)> = changed.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
    Server::start(&answers, Answer::Is(404, b"not found".to_vec())).await
}

async fn expected(server: &Server, number: usize) -> Result<String, ChecksumError> {
    let database = Database::new(DatabaseKey::parse(&key_text().0).unwrap(), proxies(&server.url()), None);
    let version = Version::parse(&format!("v1.0.{number}")).unwrap();
    database.expected(&ModulePath::parse("x.test/a").unwrap(), &version).await
}

#[tokio::test]
async fn a_record_is_believed_if_it_is_in_the_signed_tree() {
    for (size, number) in [(1, 0), (2, 1), (5, 4), (256, 255), (257, 256), (1000, 3), (1000, 999), (66_000, 65_535)] {
        let server = passing_on(&database(size, number, "h1:right="), |_, _| ()).await;
        assert_eq!(expected(&server, number).await, Ok("h1:right=".to_owned()), "{number} of {size}");
    }
}

#[tokio::test]
async fn nothing_that_is_changed_is_believed() {
    let files = database(1000, 700, "h1:right=");
    let lookup = |path: &str| path.starts_with("lookup");
    let replaced = |content: &mut Vec<u8>, from: &str, to: &str| {
        *content = String::from_utf8(content.clone()).unwrap().replace(from, to).into_bytes();
    };
    let proves_nothing = async |server: Server| {
        let answer = expected(&server, 700).await;
        assert!(matches!(answer, Err(ChecksumError::Unproved(_))), "{answer:?}");
    };
    // The record, its number, the head, the signature, the signer, a tile, a tile's length.
    let on_lookup = async |from: &str, to: &str| {
        proves_nothing(
            passing_on(&files, |path, content| {
                if lookup(path) {
                    replaced(content, from, to);
                }
            })
            .await,
        )
        .await;
    };
    on_lookup("h1:right=", "h1:wrong=").await;
    on_lookup("700\n", "701\n").await;
    on_lookup("\n1000\n", "\n1001\n").await;
    on_lookup("— sum.test ", "— sum.test A").await;
    on_lookup("— sum.test ", "— other.test ").await;
    on_lookup("x.test/a", "x.test/b").await;
    proves_nothing(
        passing_on(&files, |path, content| {
            if path.starts_with("tile/8/0/002") {
                content[5] ^= 1;
            }
        })
        .await,
    )
    .await;
    let shortened = |path: &str, content: &mut Vec<u8>| {
        if path.starts_with("tile/8/0") {
            content.truncate(32);
        }
    };
    proves_nothing(passing_on(&files, shortened).await).await;
    proves_nothing(passing_on(&files, |_, content| content.clear()).await).await;
}

#[tokio::test]
async fn what_the_database_does_not_know_is_not_trusted() {
    let server = passing_on(&database(5, 2, "h1:right="), |_, _| ()).await;
    assert!(matches!(expected(&server, 3).await, Err(ChecksumError::Unknown { .. })));
    let trouble = Server::start(&[], Answer::Is(502, Vec::new())).await;
    assert!(matches!(expected(&trouble, 3).await, Err(ChecksumError::Away(_))));
}

#[tokio::test]
async fn where_no_proxy_passes_it_on_it_is_asked_itself() {
    let files = database(5, 2, "h1:right=");
    let answers: Vec<(String, Answer)> =
        files.iter().map(|(path, content)| (format!("/{path}"), Answer::Is(200, content.clone()))).collect();
    let latest = ("/latest".to_owned(), Answer::Is(200, b"a head of the tree".to_vec()));
    let answers: Vec<(String, Answer)> = answers.into_iter().chain([latest]).collect();
    let answers: Vec<(&str, Answer)> = answers.iter().map(|(path, answer)| (path.as_str(), answer.clone())).collect();
    let itself = Server::start(&answers, Answer::Is(404, Vec::new())).await;
    let ask = async |status: u16| {
        let through = Server::start(&[], Answer::Is(status, Vec::new())).await;
        let key = DatabaseKey::parse(&key_text().0).unwrap();
        let database = Database::new(key, proxies(&through.url()), Some(proxies(&itself.url())));
        database.expected(&ModulePath::parse("x.test/a").unwrap(), &Version::parse("v1.0.2").unwrap()).await
    };
    assert_eq!(ask(404).await, Ok("h1:right=".to_owned()));
    assert!(matches!(ask(403).await, Err(ChecksumError::Away(_))), "a refusal is not gone round");
    // What the go command asks first: a proxy that passes the database on says 200.
    let through = Server::start(&[], Answer::Is(404, Vec::new())).await;
    let supported = Question::parse(&format!("sumdb/{NAME}/supported")).unwrap();
    let (through, itself) = (proxies(&through.url()), proxies(&itself.url()));
    assert!(passed_on(&supported, &through, None).await.is_err());
    assert!(passed_on(&supported, &through, Some(&itself)).await.is_ok());
    let other = Question::parse("x.test/a/@v/list").unwrap();
    assert!(passed_on(&other, &through, Some(&itself)).await.is_err(), "a module is not asked of it");
}

/// A module proxy with a tool chain of a few files, and its digest.
fn toolchain_proxy() -> (ModuleProxy, String) {
    let proxy = ModuleProxy::new();
    let files = [
        ("VERSION", "go1.30.1\ntime 2026-01-01\n"),
        ("bin/go", "#!/bin/sh\n"),
        ("pkg/tool/linux_amd64/compile", "x"),
        ("src/_go.mod", "module std\n"),
        ("src/a.go", "package a\n"),
        ("lib/wasm/go_js_wasm_exec", "x"),
    ];
    let version = "v0.0.1-go1.30.1.linux-amd64";
    proxy.add("golang.org/toolchain", version, &files);
    let zip = std::fs::read(proxy.of("golang.org/toolchain").join(format!("@v/{version}.zip"))).unwrap();
    let digest = content(&mut Archive::open(Cursor::new(zip)).unwrap()).unwrap();
    (proxy, digest)
}

#[tokio::test]
async fn a_toolchain_is_fetched_if_its_digest_is_right() {
    let (proxy, digest) = toolchain_proxy();
    let directory = tempfile::tempdir().unwrap();
    let version = GoVersion::parse("1.30.1").unwrap();
    let get = async |digest: &str| {
        fetch(&proxies(&proxy.url()), &version, "amd64", Trust::Operator(digest), directory.path()).await
    };
    let wrong = get("h1:wrong=").await.unwrap_err();
    assert!(matches!(wrong, ToolchainError::Checksum(ChecksumError::Mismatch { .. })), "{wrong}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    // What somebody who was killed left is removed once it is old; what is young may be at work.
    for (name, age) in [(".toolchain-old", 2 * 60 * 60), (".toolchain-young", 60)] {
        let half = directory.path().join(name);
        std::fs::create_dir(&half).unwrap();
        let since = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        std::fs::File::open(&half).unwrap().set_modified(since).unwrap();
    }
    let toolchain = get(&digest).await.unwrap();
    let mut left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".toolchain-young", "go1.30.1"]);
    assert_eq!(toolchain.version, version);
    let mode = |path: &str| {
        let about = std::fs::metadata(toolchain.root.join(path)).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777
    };
    assert_eq!([mode("bin/go"), mode("pkg/tool/linux_amd64/compile"), mode("lib/wasm/go_js_wasm_exec")], [0o755; 3]);
    assert_eq!([mode("src/a.go"), mode("src/go.mod"), mode("VERSION")], [0o644; 3]);
    assert_eq!(Toolchain::at(&toolchain.root).unwrap(), toolchain);
    std::fs::remove_dir_all(proxy.directory().join("golang.org")).unwrap();
    assert_eq!(get("h1:unasked=").await.unwrap(), toolchain, "one that is there is not fetched again");
}

#[test]
fn archives_with_names_that_lead_elsewhere_are_refused() {
    for name in ["../x", "/etc/x", "a/../../x", "a\\b", "a//b", "./a", "a\nb", ""] {
        let bytes = archive(vec![(name.to_owned(), b"x".to_vec())]);
        assert!(Archive::open(Cursor::new(bytes)).is_err(), "{name:?}");
    }
    let twice = archive(vec![("a".to_owned(), b"x".to_vec()), ("a".to_owned(), b"y".to_vec())]);
    assert!(Archive::open(Cursor::new(twice)).is_err());
    let mut link = archive(vec![("a".to_owned(), b"/etc".to_vec())]);
    let at = link.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    link[at + 38..at + 42].copy_from_slice(&(0o12_0777_u32 << 16).to_le_bytes());
    assert!(Archive::open(Cursor::new(link)).is_err());
}

#[test]
fn an_archive_that_promises_too_much_is_not_digested() {
    let mut bytes = archive(vec![("a".to_owned(), b"x".to_vec())]);
    let list = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[list + 24..list + 28].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = content(&mut Archive::open(Cursor::new(bytes)).unwrap()).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}
