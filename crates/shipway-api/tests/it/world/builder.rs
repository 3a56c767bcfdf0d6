//! What makes builds: a module proxy on disk, a place for artifacts, a key that signs, and a
//! worker that makes of each build a file instead of a program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use shipway_api::{BuildParts, PublicKeys};
use shipway_artifacts::provenance::Provenance;
use shipway_artifacts::sign::{Signers, SigningConfig};
use shipway_artifacts::{Artifacts, ArtifactsConfig};
use shipway_gobuild::request::parse_plugin;
use shipway_gobuild::resolve::Resolver;
use shipway_gobuild::testing::ModuleProxy;
use shipway_gobuild::{Proxies, ProxiesConfig, ProxyList, Recipe, Spec};
use shipway_model::task::BUILDS;
use shipway_model::{Build, Digest, Document, EventKind, Failure, FailureCode, Made, Outcome};
use shipway_store::{Lease, Store};

/// The Go of the world.
pub(crate) const GO: &str = "1.26.8";
/// Newest Caddy there is.
pub(crate) const CADDY: &str = "v2.11.9";
const HOUR: Duration = Duration::from_secs(3600);

/// A package that registers something.
const PLUGIN: &str = "package a\n\nfunc init() { caddy.RegisterModule(&T{}) }\n\n// T does something.\ntype T struct{}\n\n\
    func (*T) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: \"http.handlers.t\", New: nil} }\n";
/// One whose id nobody can read.
const SILENT: &str = "package b\n\nfunc init() { caddy.RegisterModule(T{}) }\n";

/// What builds are made with.
#[derive(Clone)]
pub(super) struct Workshop {
    artifacts: Artifacts,
    signers: Signers,
    folder: PathBuf,
}

/// A module proxy with Caddy, k6 and a few plugins; see `shipway_gobuild::testing`.
pub(super) fn proxy() -> ModuleProxy {
    let proxy = ModuleProxy::with_examples();
    let caddy = |path: &str| format!("module {path}\n\ngo 1.25.0\n");
    for version in ["v2.10.0", CADDY] {
        let path = "github.com/caddyserver/caddy/v2";
        proxy.add(path, version, &[("go.mod", &caddy(path)), ("caddy.go", "package caddy\n")]);
    }
    for module in ["example.com/listed", "example.com/told"] {
        proxy.add(
            module,
            "v1.0.0",
            &[("go.mod", &caddy(module)), ("a.go", PLUGIN), ("sub/a.go", PLUGIN), ("b/b.go", SILENT)],
        );
    }
    proxy.add("go.k6.io/k6", "v1.8.1", &[("go.mod", &caddy("go.k6.io/k6")), ("k6.go", "package k6\n")]);
    proxy
}

impl Workshop {
    pub(super) async fn open(folder: &Path) -> Self {
        let config = ArtifactsConfig::Directory(folder.join("artifacts"));
        let signing = SigningConfig { minisign_key: folder.join("keys/minisign.key"), openpgp: None };
        Self {
            artifacts: Artifacts::open(&config).await.unwrap(),
            signers: Signers::open(&signing).await.unwrap(),
            folder: folder.to_owned(),
        }
    }

    pub(super) fn parts(&self, proxy: &ModuleProxy) -> BuildParts {
        let list = ProxyList::parse(&proxy.url()).unwrap();
        let limits = shipway_gobuild::proxy::ProxyLimits::default();
        let proxies = Proxies::open(ProxiesConfig { list, ca_file: None, limits }).unwrap();
        let minisign = Some(self.signers.minisign_public_key().to_owned());
        BuildParts {
            resolver: Resolver::new(proxies, Duration::from_secs(30)),
            recipes: vec![Recipe::caddy(), Recipe::k6()],
            artifacts: self.artifacts.clone(),
            plugins_max: 100,
            go: Some(GO.to_owned()),
            packages: vec![parse_plugin("example.com/told@v1").unwrap(), parse_plugin("example.com/nowhere").unwrap()],
            scratch: self.folder.join("scratch"),
            keys: PublicKeys { minisign, openpgp: None },
        }
    }

    /// What a worker that makes builds offers.
    pub(super) fn labels() -> BTreeSet<String> {
        BTreeSet::from([BUILDS.to_owned(), format!("go={GO}"), "go=1.30.0".to_owned()])
    }

    pub(super) async fn carry_out(&self, store: &Store, lease: &Lease) {
        let build = store.begin_build(lease, "world", HOUR).await.unwrap();
        let spec = Spec::parse(&build.spec).unwrap();
        let tell = async |kind: EventKind| store.append_event(lease, &kind).await.unwrap();
        let step = |ended: Option<&str>| EventKind::BuildStep {
            step: "compile".to_owned(),
            ended: ended.map(str::to_owned),
            took_ms: ended.map(|_| 5),
        };
        tell(step(None)).await;
        let has = |path: &str| spec.resolved.plugins.iter().any(|plugin| plugin.package.as_str() == path);
        let said = if has("example.com/broken") { "broken.go:3:1: syntax error" } else { "go: building" };
        let lines = vec![said.to_owned(), "and so on".to_owned()];
        tell(EventKind::BuildOutput { step: "compile".to_owned(), lines: lines.clone() }).await;
        if has("example.com/broken") {
            tell(step(Some("failed"))).await;
            return fail(store, lease, FailureCode::CompileFailed, "it does not compile", lines).await;
        }
        if has("example.com/hostile") && build.generation == 1 {
            return fail(store, lease, FailureCode::EngineUnavailable, "no room on this machine", Vec::new()).await;
        }
        tell(step(Some("done"))).await;
        let made = self.make(&build, &spec).await;
        store.publish_build(lease, &made).await.unwrap();
    }

    async fn make(&self, build: &Build, spec: &Spec) -> Made {
        let file = self.folder.join(build.id.to_string());
        let durability = shipway_stdx::fs::Durability::Process;
        shipway_stdx::fs::write_atomic(&file, &bytes_of(&build.key), 0o600, durability).unwrap();
        let stored = self.artifacts.put(&file).await.unwrap();
        let file_name = spec.resolved.platform.file_name(&build.recipe);
        let signed = self.signers.sign(&file, &file_name, &stored).await.unwrap();
        std::fs::remove_file(&file).unwrap();
        let documents = BTreeMap::from([
            (Document::Minisig, signed.minisign),
            (Document::Asc, "-----BEGIN PGP SIGNATURE-----\n".to_owned()),
            (Document::Provenance, provenance(build, spec, &stored.digest, &file_name)),
            (Document::Sbom, sbom(&stored.digest)),
        ]);
        let (digest, size_bytes, chunks) = (stored.digest, stored.size_bytes, Some(stored.chunks));
        Made { digest, size_bytes, file_name, chunks, documents }
    }
}

fn provenance(build: &Build, spec: &Spec, digest: &Digest, file_name: &str) -> String {
    let plugins: Vec<String> =
        spec.resolved.plugins.iter().map(|plugin| format!("{}@{}", plugin.package, plugin.version)).collect();
    let outside = [("program", json!(spec.resolved.program.to_string())), ("plugins", json!(plugins))];
    let inside = [("go", json!(spec.go)), ("recipe", json!(spec.recipe))];
    let owned = |(name, value): (&str, Value)| (name.to_owned(), value);
    Provenance {
        name: file_name.to_owned(),
        subject: digest.clone(),
        build_type: "urn:shipway:go-build:v1".to_owned(),
        external_parameters: outside.map(owned).into(),
        internal_parameters: inside.map(owned).into(),
        resolved_dependencies: Vec::new(),
        builder_id: "urn:shipway:installation:world".to_owned(),
        builder_version: BTreeMap::new(),
        invocation_id: build.id.to_string(),
        started_at: 0,
        finished_at: 1,
    }
    .to_json()
}

fn sbom(digest: &Digest) -> String {
    let hashes = json!([{"alg": "SHA-256", "content": digest.hex()}]);
    json!({"bomFormat": "CycloneDX", "metadata": {"component": {"hashes": hashes}}, "components": [{}, {}]}).to_string()
}

/// What the world makes of a key: some bytes, always the same.
pub(crate) fn bytes_of(key: &str) -> Vec<u8> {
    let mut bytes = b"\x7fELF".to_vec();
    bytes.extend(key.as_bytes().iter().cycle().take(100_000));
    bytes
}

async fn fail(store: &Store, lease: &Lease, code: FailureCode, detail: &str, log_tail: Vec<String>) {
    let failure = Failure { code, detail: detail.to_owned(), hint: None, log_tail };
    store.finish(lease, &Outcome::Failed(failure)).await.unwrap();
}
