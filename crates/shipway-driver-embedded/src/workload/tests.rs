//! From a workload to a container, as text a person can read.

use std::collections::BTreeMap;
use std::path::Path;

use shipway_driver::{DriverError, ExecSpec, Ingress, Program, Workload};
use shipway_model::{ContainerId, ContentKind, Digest, Limits, RootFs, Runner};

use super::{Places, exec, spec};

fn workload(kind: ContentKind) -> Workload {
    let digest = Digest::from_sha256([0xab; 32]);
    Workload {
        container: ContainerId(uuid::Uuid::from_u128(7)),
        root: RootFs::HostImage { digest: digest.clone() },
        program: Program::Runner {
            runner: Runner::Native,
            kind,
            digest,
            content_type: Some("text/html".to_owned()),
            file_name: Some("--kind".to_owned()),
        },
        env: BTreeMap::from([("LANG".to_owned(), "de_DE".to_owned())]),
        limits: Limits::default(),
        ingress: Ingress::Listener,
        egress: shipway_model::Egress::None,
        labels: BTreeMap::new(),
    }
}

/// Any file that everybody may read.
fn places() -> Places<'static> {
    Places {
        root: Path::new("/images/tree"),
        runner: Path::new("/bin/runner"),
        content: Some(Path::new("/etc/hostname")),
    }
}

#[test]
fn a_script_gets_a_runner_and_nothing_else() {
    let spec = spec(&workload(ContentKind::Script), &places()).unwrap();
    spec.check().unwrap();
    let argv = spec.process.argv.join(" ");
    assert_eq!(
        argv,
        format!(
            "/.shipway/runner serve --kind script --content /srv/content --digest sha256:{} \
             --content-type text/html --file-name --kind --timeout-ms 30000 \
             --output-bytes 67108864 --concurrency 32",
            "ab".repeat(32)
        )
    );
    assert_eq!(
        spec.process.env.join(" "),
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
         TMPDIR=/tmp HOME=/tmp LANG=de_DE"
    );
    let (uid, capabilities) = (spec.process.uid, spec.process.capabilities);
    assert_eq!((uid, capabilities), (1000, 0), "nobody in particular");
    let binds: Vec<String> =
        spec.binds.iter().map(|b| format!("{} {} {}", b.target.display(), b.writable, b.executable)).collect();
    assert_eq!(binds, ["/.shipway/runner false true", "/srv/content false true"]);
}

fn of_nginx(kind: ContentKind) -> Workload {
    let mut workload = workload(kind);
    if let Program::Runner { runner, .. } = &mut workload.program {
        *runner = Runner::Nginx;
    }
    workload
}

/// Nothing is looked for but the two programs, so a folder with them is root enough.
fn root_with_nginx() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("usr/sbin")).unwrap();
    for name in ["nginx", "fcgiwrap"] {
        std::fs::File::create(root.path().join("usr/sbin").join(name)).unwrap();
    }
    root
}

#[test]
fn nginx_is_told_by_its_environment() {
    let root = root_with_nginx();
    let places = Places { root: root.path(), ..places() };
    let script = spec(&of_nginx(ContentKind::Script), &places).unwrap();
    script.check().unwrap();
    assert_eq!(script.process.argv, ["/.shipway/runner", "nginx"]);
    let env = script.process.env.join(" ");
    assert!(
        env.contains("LANG=de_DE SHIPWAY_KIND=script SHIPWAY_CONTENT=/srv/content SHIPWAY_DIGEST=sha256:"),
        "{env}"
    );
    assert!(env.ends_with("SHIPWAY_CONCURRENCY=32 SHIPWAY_HOME=/run/shipway SHIPWAY_DATA=/data"), "{env}");
    let process = &script.process;
    assert_eq!((process.uid, process.capabilities, process.groups.as_slice()), (0, 0b1110_0000, &[1000, 1001][..]));
    // Nobody is to be kept from anybody where no code of the user's runs.
    let file = spec(&of_nginx(ContentKind::Static), &places).unwrap();
    assert_eq!((file.process.uid, file.process.capabilities, file.process.groups.len()), (1000, 0, 0));

    let mut small = of_nginx(ContentKind::Script);
    small.limits.pids = 12;
    let env = spec(&small, &places).unwrap().process.env.join(" ");
    assert!(env.contains("SHIPWAY_CONCURRENCY=2 "), "three processes for each script: {env}");
    small.limits.pids = 6;
    assert!(spec(&small, &places).unwrap_err().to_string().contains("limits.pids of at least 7"));
    small.limits.pids = 12;
    small.env.insert("SHIPWAY_KIND".to_owned(), "static".to_owned());
    assert!(spec(&small, &places).unwrap_err().to_string().contains("names that begin with SHIPWAY_"));
}

#[test]
fn static_content_cannot_be_executed() {
    let spec = spec(&workload(ContentKind::Static), &places()).unwrap();
    assert!(!spec.binds[1].executable);
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Workload), content: Option<&Path>, expected: &str) {
    let mut workload = workload(ContentKind::Script);
    change(&mut workload);
    let places = Places { content, ..places() };
    let said = spec(&workload, &places).unwrap_err();
    assert!(said.to_string().contains(expected), "{said}");
}

#[test]
fn what_cannot_work_is_refused() {
    let good = places().content;
    refused(|w| w.limits.pids = 1, good, "pids must be between");
    for name in ["", "A=B", "A\0"] {
        let change = |w: &mut Workload| {
            w.env.insert(name.to_owned(), "secret".to_owned());
        };
        refused(change, good, "a name without `=`");
    }
    refused(|_| {}, None, "a runner needs content");
    refused(|_| {}, Some(Path::new("/nowhere")), "No such file");
    refused(|_| {}, Some(Path::new("/etc")), "not a file that everybody may read");
    refused(|_| {}, Some(Path::new("/etc/shadow")), "not a file that everybody may read");
}

#[test]
fn a_terminal_has_a_type() {
    let spec = |terminal, env| {
        let spec = ExecSpec { argv: vec!["sh".to_owned()], env, terminal };
        exec(spec).map(|spec| spec.env.join(" "))
    };
    assert_eq!(spec(None, Vec::new()).unwrap(), "");
    assert_eq!(spec(Some((80, 24)), Vec::new()).unwrap(), "TERM=xterm");
    let dumb = vec![("TERM".to_owned(), "dumb".to_owned())];
    assert_eq!(spec(Some((80, 24)), dumb).unwrap(), "TERM=dumb");
    let bad = vec![("A=B".to_owned(), String::new())];
    assert!(matches!(spec(None, bad), Err(DriverError::Invalid(_))));
}
