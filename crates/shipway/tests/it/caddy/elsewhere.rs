//! A place where the download page of the `caddy` command is ours: a network with nothing in it
//! but a loopback, names of its own, and a certificate authority that nobody else believes.
//!
//! Threads are moved there, one for each command, so the test and its platform stay where they are.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use nix::sched::{CloneFlags, setns, unshare};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use shipway_stdx::fs::{Durability, write_atomic};
use tempfile::TempDir;

/// Where the `caddy` command looks for new binaries: it knows no other.
pub(crate) const PAGE: &str = "caddyserver.com";

/// What the front of the page shows.
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) struct Elsewhere {
    folder: TempDir,
    network: File,
    pub(crate) identity: Identity,
}

impl Elsewhere {
    /// Makes it, with a listener at the page's address.
    pub(crate) fn new() -> (Self, TcpListener) {
        let folder = tempfile::tempdir().unwrap();
        let make = || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ran(Command::new("ip").args(["link", "set", "lo", "up"]));
            (File::open("/proc/thread-self/ns/net").unwrap(), TcpListener::bind("127.0.0.1:443").unwrap())
        };
        let (network, listener) = std::thread::spawn(make).join().unwrap();
        write(&folder.path().join("hosts"), &format!("127.0.0.1 localhost {PAGE}\n"));
        let (authority, identity) = certify();
        write(&folder.path().join("authority.pem"), &authority);
        (Self { folder, network, identity }, listener)
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Runs a program there, with nothing of our environment.
    pub(crate) fn run(&self, program: &Path, words: &[&str]) -> Output {
        let there = || {
            setns(&self.network, CloneFlags::CLONE_NEWNET).unwrap();
            unshare(CloneFlags::CLONE_NEWNS).unwrap();
            ran(Command::new("mount").args(["--make-rprivate", "/"]));
            ran(Command::new("mount").arg("--bind").arg(self.folder.path().join("hosts")).arg("/etc/hosts"));
            let mut command = Command::new(program);
            command.args(words).env_clear().env("HOME", self.folder.path()).env("SSL_CERT_FILE", self.authority());
            command.output().unwrap()
        };
        std::thread::scope(|scope| scope.spawn(there).join().unwrap())
    }
}

fn write(path: &Path, text: &str) {
    write_atomic(path, text.as_bytes(), 0o644, Durability::Process).unwrap();
}

fn ran(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// An authority, as PEM, and what it says of the page.
fn certify() -> (String, Identity) {
    let (own, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&own).unwrap();
    let issuer = Issuer::new(params, own);
    let page = CertificateParams::new([PAGE.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let identity = Identity { certificate: page.der().to_vec(), key: key.serialize_der() };
    (pem(authority.der()), identity)
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}
