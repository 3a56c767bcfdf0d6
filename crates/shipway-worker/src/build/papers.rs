//! The texts that go with an artifact: who signed it, what it was made from and by whom.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shipway_artifacts::provenance::{Dependency, Provenance};
use shipway_artifacts::sign::Signatures;
use shipway_gobuild::buildinfo::{BuildInfo, Module};
use shipway_gobuild::{Spec, sbom};
use shipway_model::{Build, Document, Micros};

use super::{Binary, Farming};

/// Names the form of the parameters below.
const BUILD_TYPE: &str = "urn:shipway:go-build:v1";

pub(super) fn all(
    farming: &Farming,
    build: &Build,
    spec: &Spec,
    binary: &Binary<'_>,
    signatures: Signatures,
    ended_at: Micros,
) -> BTreeMap<Document, String> {
    let provenance = provenance(farming, build, spec, binary, ended_at).to_json();
    let mut documents = BTreeMap::from([(Document::Minisig, signatures.minisign), (Document::Provenance, provenance)]);
    documents.extend(signatures.openpgp.map(|text| (Document::Asc, text)));
    let parts = |info: &BuildInfo| sbom::cyclonedx(info, &spec.resolved, &binary.stored.digest.hex());
    documents.extend(binary.info.map(|info| (Document::Sbom, parts(info))));
    documents
}

fn provenance(farming: &Farming, build: &Build, spec: &Spec, binary: &Binary<'_>, ended_at: Micros) -> Provenance {
    Provenance {
        name: spec.resolved.platform.file_name(&spec.recipe.name),
        subject: binary.stored.digest.clone(),
        build_type: BUILD_TYPE.to_owned(),
        external_parameters: parameters(spec),
        internal_parameters: BTreeMap::from([
            ("go".to_owned(), json!(spec.go)),
            ("key".to_owned(), json!(build.key)),
            ("recipe".to_owned(), json!(spec.recipe)),
        ]),
        resolved_dependencies: binary.info.map_or_else(|| asked(spec), dependencies),
        builder_id: farming.builder.clone(),
        builder_version: BTreeMap::from([("shipway".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        invocation_id: build.id.to_string(),
        started_at: binary.began_at,
        finished_at: ended_at,
    }
}

fn parameters(spec: &Spec) -> BTreeMap<String, Value> {
    let resolved = &spec.resolved;
    let plugins: Vec<String> =
        resolved.plugins.iter().map(|plugin| format!("{}@{}", plugin.package, plugin.version)).collect();
    let replacements: Vec<String> =
        resolved.replacements.iter().map(|it| format!("{}={}@{}", it.old, it.new, it.version)).collect();
    BTreeMap::from([
        ("program".to_owned(), json!(resolved.program.to_string())),
        ("plugins".to_owned(), json!(plugins)),
        ("replacements".to_owned(), json!(replacements)),
        ("platform".to_owned(), json!(resolved.platform.to_string())),
    ])
}

/// Every module in the binary, by the digest that it was checked against.
fn dependencies(info: &BuildInfo) -> Vec<Dependency> {
    let modules = info.modules.iter().map(|module| module.replaced_by.as_deref().unwrap_or(module));
    let digest = |sum: &str| (!sum.is_empty()).then(|| ("dirHash1".to_owned(), sum.to_owned()));
    let dependency = |module: &Module| Dependency {
        uri: uri(&module.path, &module.version),
        digest: digest(&module.sum).into_iter().collect(),
    };
    modules.map(dependency).collect()
}

/// What was asked for, of a binary that does not tell its modules.
fn asked(spec: &Spec) -> Vec<Dependency> {
    let resolved = &spec.resolved;
    let program = (&resolved.program.module, &resolved.program.version);
    let plugins = resolved.plugins.iter().map(|plugin| (&plugin.module, &plugin.version));
    let replacements = resolved.replacements.iter().map(|it| (&it.new, &it.version));
    let all = std::iter::once(program).chain(plugins).chain(replacements);
    all.map(|(path, version)| Dependency { uri: uri(path.as_str(), version.as_str()), digest: BTreeMap::new() })
        .collect()
}

fn uri(path: &str, version: &str) -> String {
    format!("pkg:golang/{path}@{version}")
}
