//! Signatures, checked by the tools that others check them with: `minisign` and `gpg`.

use std::fs;
use std::io::{Cursor, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use shipway_artifacts::sign::{
    OpenPgpConfig, PublicKey, SignError, SignatureKind, Signatures, Signers, SigningConfig, checksum, verify,
};
use shipway_artifacts::{Secret, Stored};
use tempfile::TempDir;

use crate::fixtures::{MIB, content};

/// A file that is to be signed, and a folder for keys.
struct Desk {
    folder: TempDir,
    file: PathBuf,
    stored: Stored,
}

impl Desk {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("caddy");
        fs::File::create(&file).unwrap().write_all(&content(3 * MIB + 1, 1)).unwrap();
        let stored = shipway_artifacts::measure::measure(&file).await.unwrap().stored;
        Self { folder, file, stored }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, openpgp: Option<OpenPgpConfig>) -> SigningConfig {
        SigningConfig { minisign_key: self.path("state/minisign.key"), openpgp }
    }

    async fn sign(&self, signers: &Signers) -> Signatures {
        signers.sign(&self.file, "caddy", &self.stored).await.unwrap()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }
}

fn run(program: &str, words: &[&str], setup: impl FnOnce(&mut Command)) -> Output {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    setup(&mut command);
    command.output().unwrap()
}

#[track_caller]
fn done(output: Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    format!("{out}{err}")
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn minisign_itself_accepts_our_signatures() {
    let desk = Desk::new().await;
    let signers = Signers::open(&desk.config(None)).await.unwrap();
    let signature = desk.sign(&signers).await.minisign;
    let signed = desk.write("caddy.minisig", &signature);
    let (file, signed) = (text(&desk.file), text(&signed));
    let said = done(run("minisign", &["-V", "-m", &file, "-x", &signed, "-P", signers.minisign_public_key()], |_| {}));
    let comment = format!("file:caddy\tsize:{}\tsha256:{}", desk.stored.size_bytes, desk.stored.digest.hex());
    assert!(said.contains(&comment), "{said}");
    let public = text(&desk.path("state/minisign.key.pub"));
    done(run("minisign", &["-V", "-m", &file, "-x", &signed, "-p", &public], |_| {}));

    let content = fs::read(&desk.file).unwrap();
    assert_eq!(verify(signers.minisign_public_key(), &signature, Cursor::new(&content)).unwrap(), comment);
    let whole = fs::read_to_string(&public).unwrap();
    assert_eq!(verify(&whole, &signature, Cursor::new(&content)).unwrap(), comment);
    // Another byte, another comment, another key: not good.
    let forged = signature.replace("file:caddy", "file:other");
    assert!(verify(&whole, &forged, Cursor::new(&content)).is_err());
    assert!(verify(&whole, &signature, Cursor::new(&content[1..])).is_err());
    let other = SigningConfig { minisign_key: desk.path("other.key"), openpgp: None };
    let other = Signers::open(&other).await.unwrap();
    assert!(verify(other.minisign_public_key(), &signature, Cursor::new(&content)).is_err());
    for nonsense in [
        "",
        "x",
        "untrusted comment: \n\n\n\n",
        "untrusted comment: a\nRUQ=\ntrusted comment: b\nAAAA\n",
        &"é".repeat(9000),
    ] {
        assert!(verify(&whole, nonsense, Cursor::new(&content)).is_err());
        assert!(verify(nonsense, &signature, Cursor::new(&content)).is_err());
    }
}

const GOOD: &str = "untrusted comment: signature from shipway\n\
    RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
    trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
    wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// What claims to be a signature comes from strangers: nothing of it may stop the program.
    #[test]
    fn nothing_that_claims_to_be_a_signature_is_good_or_harmful(
        at in 0_usize..300, letter: char, length in 0_usize..12, noise in ".{0,200}"
    ) {
        let mut changed: Vec<char> = GOOD.chars().collect();
        let end = (at + length).min(changed.len());
        if at < changed.len() {
            changed.splice(at..end, [letter]);
        }
        let changed: String = changed.into_iter().collect();
        proptest::prop_assert!(verify(KEY, &changed, Cursor::new(b"other")).is_err());
        proptest::prop_assert!(verify(KEY, &noise, Cursor::new(b"test")).is_err());
        proptest::prop_assert!(verify(&noise, GOOD, Cursor::new(b"test")).is_err());
        let mut key: String = KEY.chars().take(at % 57).collect();
        key.push(letter);
        proptest::prop_assert!(key.trim() == KEY || verify(&key, GOOD, Cursor::new(b"test")).is_err());
    }
}

/// The example of minisign's own manual, so that the above is about something that is good.
#[test]
fn the_unchanged_one_is_good() {
    assert_eq!(verify(KEY, GOOD, Cursor::new(b"test")).unwrap(), "timestamp:1633700835\tfile:test\tprehashed");
}

#[tokio::test]
async fn we_accept_what_minisign_itself_signs() {
    let desk = Desk::new().await;
    let (secret, public) = (text(&desk.path("tool.key")), text(&desk.path("tool.pub")));
    done(run("minisign", &["-G", "-W", "-s", &secret, "-p", &public], |_| {}));
    let signed = text(&desk.path("tool.minisig"));
    done(run("minisign", &["-S", "-m", &text(&desk.file), "-s", &secret, "-x", &signed, "-t", "it is mine"], |_| {}));
    let signature = fs::read_to_string(&signed).unwrap();
    let whole = fs::read_to_string(&public).unwrap();
    assert_eq!(verify(&whole, &signature, fs::File::open(&desk.file).unwrap()).unwrap(), "it is mine");
    // We sign with a key that it has made.
    let config = SigningConfig { minisign_key: desk.path("tool.key"), openpgp: None };
    let signature = desk.sign(&Signers::open(&config).await.unwrap()).await.minisign;
    verify(&whole, &signature, fs::File::open(&desk.file).unwrap()).unwrap();
    // And it signs with the key that we have made.
    let signers = Signers::open(&desk.config(None)).await.unwrap();
    let ours = text(&desk.path("state/minisign.key"));
    done(run("minisign", &["-S", "-m", &text(&desk.file), "-s", &ours, "-x", &signed], |_| {}));
    let signature = fs::read_to_string(&signed).unwrap();
    verify(signers.minisign_public_key(), &signature, fs::File::open(&desk.file).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_start_at_once_have_one_key_that_only_they_can_read() {
    let desk = Desk::new().await;
    let config = desk.config(None);
    let opened = futures_util::future::join_all((0..16).map(|_| Signers::open(&config))).await;
    let keys: std::collections::BTreeSet<String> =
        opened.into_iter().map(|signers| signers.unwrap().minisign_public_key().to_owned()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let mode = |name: &str| fs::metadata(desk.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/minisign.key"), mode("state/minisign.key.pub")), (0o700, 0o600, 0o644));
    assert_eq!(fs::read_dir(desk.path("state")).unwrap().count(), 2, "something was left");
    let secret = fs::read_to_string(desk.path("state/minisign.key")).unwrap();
    let secret = secret.lines().nth(1).unwrap();
    let shown = format!("{:?}", Signers::open(&config).await.unwrap());
    assert!(!shown.contains(secret) && shown.len() < 400, "{shown}");
}

#[tokio::test]
async fn what_is_not_the_artifact_is_not_signed() {
    let desk = Desk::new().await;
    let signers = Signers::open(&desk.config(None)).await.unwrap();
    let other = desk.write("other", "something else");
    let error = signers.sign(&other, "caddy", &desk.stored).await.unwrap_err();
    assert!(matches!(error, SignError::Other(_)), "{error}");
    for name in ["", "a/b", "a\nb", "a\tb", &"x".repeat(256)] {
        let error = signers.sign(&desk.file, name, &desk.stored).await.unwrap_err();
        assert!(matches!(error, SignError::Name), "{error}");
    }
    let error = signers.sign(&desk.path("none"), "caddy", &desk.stored).await.unwrap_err();
    assert!(matches!(error, SignError::Read(_)), "{error}");
    desk.write("sums", &checksum(&desk.stored.digest, "caddy").unwrap());
    done(run("sha256sum", &["-c", "sums"], |command| {
        command.current_dir(desk.folder.path());
    }));
}

/// A home of `gpg`'s; its agent ends with this.
struct Gpg(TempDir);

impl Gpg {
    fn new() -> Self {
        // A socket's path is short.
        let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        fs::DirBuilder::new().mode(0o700).create(home.path().join("home")).unwrap();
        Self(home)
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    fn run(&self, words: &[&str]) -> Output {
        let all = [&["--batch", "--yes", "--no-tty", "--pinentry-mode", "loopback"], words].concat();
        run("gpg", &all, |command| {
            command.env("GNUPGHOME", self.home());
        })
    }

    /// Makes a key and exports it, with `how`.
    fn key(&self, how: &[&str], password: &str, export: &str) -> PathBuf {
        done(self.run(&[&["--passphrase", password], how].concat()));
        let path = self.0.path().join("key");
        done(self.run(&["--passphrase", password, "-o", &text(&path), export]));
        path
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let ended = run("gpgconf", &["--kill", "all"], |command| {
            command.env("GNUPGHOME", self.home());
        });
        assert!(ended.status.success() || std::thread::panicking());
    }
}

async fn open(desk: &Desk, key_file: &Path, password: Option<&str>) -> Result<Signers, SignError> {
    let key_password = password.map(|password| Secret::new(password.to_owned()));
    Signers::open(&desk.config(Some(OpenPgpConfig { key_file: key_file.to_owned(), key_password }))).await
}

#[track_caller]
fn named(error: Result<Signers, SignError>, wanted: &str) {
    let error = error.unwrap_err();
    let SignError::Key { setting, .. } = &error else { panic!("{error}") };
    assert_eq!(*setting, wanted, "{error}");
    assert!(!error.to_string().contains("wrong password"), "{error}");
}

#[tokio::test]
async fn gpg_itself_accepts_our_signatures_with_each_kind_of_key() {
    let desk = Desk::new().await;
    for (kind, password) in [("ed25519", "a pass word"), ("rsa2048", ""), ("nistp256", "p")] {
        let gpg = Gpg::new();
        let key = gpg.key(
            &["--quick-gen-key", "Farm <farm@example.com>", kind, "sign", "1d"],
            password,
            "--export-secret-keys",
        );
        let signers = open(&desk, &key, Some(password).filter(|password| !password.is_empty())).await.unwrap();
        let signature = desk.sign(&signers).await.openpgp.unwrap();
        assert!(signature.starts_with("-----BEGIN PGP SIGNATURE-----"));
        let signed = text(&desk.write("caddy.asc", &signature));
        done(gpg.run(&["--verify", &signed, &text(&desk.file)]));
        let bad = text(&desk.write("other", "something else"));
        assert!(!gpg.run(&["--verify", &signed, &bad]).status.success());
        // Somebody else, who has the public key that we show.
        let stranger = Gpg::new();
        let public = text(&desk.write("public.asc", signers.openpgp_public_key().unwrap()));
        done(stranger.run(&["--import", &public]));
        done(stranger.run(&["--verify", &signed, &text(&desk.file)]));
    }
}

#[tokio::test]
async fn a_subkey_signs_where_the_primary_key_is_elsewhere() {
    let desk = Desk::new().await;
    let gpg = Gpg::new();
    done(gpg.run(&["--passphrase", "p", "--quick-gen-key", "Farm <farm@example.com>", "ed25519", "cert", "1y"]));
    let listed = done(gpg.run(&["--with-colons", "--list-keys"]));
    let print = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    let key = gpg.key(&["--quick-add-key", &print, "ed25519", "sign", "1y"], "p", "--export-secret-subkeys");
    let signers = open(&desk, &key, Some("p")).await.unwrap();
    let signed = text(&desk.write("caddy.asc", &desk.sign(&signers).await.openpgp.unwrap()));
    done(gpg.run(&["--verify", &signed, &text(&desk.file)]));
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_found_out_at_the_start() {
    const FILE: &str = "worker.signing.key_file";
    const PASSWORD: &str = "worker.signing.key_password";
    let desk = Desk::new().await;
    named(open(&desk, &desk.path("none"), None).await, FILE);
    named(open(&desk, &desk.write("nonsense", "no key at all"), None).await, FILE);
    named(open(&desk, &desk.write("empty", ""), None).await, FILE);

    let gpg = Gpg::new();
    let make = ["--quick-gen-key", "Farm <farm@example.com>", "ed25519", "sign", "1d"];
    let key = gpg.key(&make, "right", "--export-secret-keys");
    named(open(&desk, &key, None).await, PASSWORD);
    named(open(&desk, &key, Some("wrong password")).await, PASSWORD);
    open(&desk, &key, Some("right")).await.unwrap();
    let public = gpg.0.path().join("public");
    done(gpg.run(&["-o", &text(&public), "--export"]));
    named(open(&desk, &public, None).await, FILE);
    let whole = fs::read(&key).unwrap();
    for cut in [1, 10, whole.len() / 2, whole.len() - 1] {
        let path = desk.path("cut");
        fs::File::create(&path).unwrap().write_all(&whole[..cut]).unwrap();
        assert!(open(&desk, &path, Some("right")).await.is_err(), "{cut}");
    }

    let gpg = Gpg::new();
    let expired = ["--faked-system-time", "20200101T000000", make[0], make[1], make[2], make[3], make[4]];
    named(open(&desk, &gpg.key(&expired, "", "--export-secret-keys"), None).await, FILE);
    let gpg = Gpg::new();
    let only_certifies = ["--quick-gen-key", "Farm <farm@example.com>", "ed25519", "cert", "1d"];
    named(open(&desk, &gpg.key(&only_certifies, "", "--export-secret-keys"), None).await, FILE);
}

fn good(key: &PublicKey, signature: &str, file: &Path) -> bool {
    key.verify(signature, fs::File::open(file).unwrap()).is_ok()
}

#[tokio::test]
async fn a_public_key_of_either_kind_tells_ours_from_everything_else() {
    let desk = Desk::new().await;
    let (gpg, stranger) = (Gpg::new(), Gpg::new());
    let make = ["--quick-gen-key", "Farm <farm@example.com>", "ed25519", "sign", "1d"];
    let secret = gpg.key(&make, "p", "--export-secret-keys");
    let signers = open(&desk, &secret, Some("p")).await.unwrap();
    let signatures = desk.sign(&signers).await;
    let minisign = PublicKey::parse(signers.minisign_public_key()).unwrap();
    let openpgp = PublicKey::parse(signers.openpgp_public_key().unwrap()).unwrap();
    let asc = signatures.openpgp.unwrap();
    assert_eq!((minisign.kind(), openpgp.kind()), (SignatureKind::Minisign, SignatureKind::OpenPgp));
    assert_eq!((SignatureKind::of(&signatures.minisign), SignatureKind::of(&asc)), (minisign.kind(), openpgp.kind()));
    assert_eq!(minisign.name(), signers.minisign_public_key());
    let whole = fs::read_to_string(desk.path("state/minisign.key.pub")).unwrap();
    assert_eq!(PublicKey::parse(&whole).unwrap().name(), minisign.name());

    let other = desk.write("other", "something else");
    assert!(good(&minisign, &signatures.minisign, &desk.file) && good(&openpgp, &asc, &desk.file));
    assert!(!good(&minisign, &signatures.minisign, &other) && !good(&openpgp, &asc, &other));
    assert!(!good(&minisign, &asc, &desk.file) && !good(&openpgp, &signatures.minisign, &desk.file));
    let secret = stranger.key(&make, "p", "--export-secret-keys");
    let theirs = open(&desk, &secret, Some("p")).await.unwrap();
    let theirs = PublicKey::parse(theirs.openpgp_public_key().unwrap()).unwrap();
    assert!(!good(&theirs, &asc, &desk.file));

    // What gpg itself signs, and what it signs too weakly.
    let signed = |words: &[&str]| {
        let to = text(&desk.path("gpg.asc"));
        let file = text(&desk.file);
        let all = [&["--passphrase", "p", "--armor", "-o", &to], words, &[&file]].concat();
        done(gpg.run(&all));
        fs::read_to_string(&to).unwrap()
    };
    assert!(good(&openpgp, &signed(&["--detach-sign"]), &desk.file));
    assert!(!good(
        &openpgp,
        &signed(&["--allow-weak-digest-algos", "--digest-algo", "SHA1", "--detach-sign"]),
        &desk.file
    ));
    assert!(!good(&openpgp, &signed(&["--textmode", "--detach-sign"]), &desk.file), "not of the bytes");
}

#[tokio::test]
async fn a_subkeys_signature_is_good_and_so_is_one_of_before_its_key_expired() {
    let desk = Desk::new().await;
    let gpg = Gpg::new();
    done(gpg.run(&["--passphrase", "p", "--quick-gen-key", "Farm <farm@example.com>", "ed25519", "cert", "1y"]));
    let listed = done(gpg.run(&["--with-colons", "--list-keys"]));
    let print = listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    let secret = gpg.key(&["--quick-add-key", &print, "ed25519", "sign", "1y"], "p", "--export-secret-subkeys");
    let signers = open(&desk, &secret, Some("p")).await.unwrap();
    let asc = desk.sign(&signers).await.openpgp.unwrap();
    let key = PublicKey::parse(signers.openpgp_public_key().unwrap()).unwrap();
    assert!(good(&key, &asc, &desk.file));
    assert_eq!(key.name().to_uppercase(), print, "people know the primary key");

    // Made in 2020 for a day, with a signature of today.
    let gpg = Gpg::new();
    let then = ["--faked-system-time", "20200101T000000"];
    done(gpg.run(
        &[&then[..], &["--passphrase", "", "--quick-gen-key", "Old <o@example.com>", "ed25519", "sign", "1d"]].concat(),
    ));
    let public = text(&desk.path("old.pub"));
    done(gpg.run(&["--armor", "-o", &public, "--export"]));
    let key = PublicKey::parse(&fs::read_to_string(&public).unwrap()).unwrap();
    let to = text(&desk.path("old.asc"));
    done(gpg.run(&[&then[..], &["--armor", "-o", &to, "--detach-sign", &text(&desk.file)]].concat()));
    assert!(good(&key, &fs::read_to_string(&to).unwrap(), &desk.file), "it was good when it was made");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_that_claims_to_be_a_key_or_armoured_is_harmful(noise in ".{0,300}", base64 in "[A-Za-z0-9+/]{0,300}") {
        let armoured = |kind: &str, text: &str| {
            format!("-----BEGIN PGP {kind}-----\n\n{text}\n-----END PGP {kind}-----\n")
        };
        let minisign = PublicKey::parse(KEY).unwrap();
        for text in [&noise, &base64] {
            proptest::prop_assert!(minisign.verify(&armoured("SIGNATURE", text), Cursor::new(b"test")).is_err());
            if let Ok(key) = PublicKey::parse(&armoured("PUBLIC KEY BLOCK", text)) {
                proptest::prop_assert!(key.verify(&armoured("SIGNATURE", text), Cursor::new(b"test")).is_err());
            }
        }
    }
}
