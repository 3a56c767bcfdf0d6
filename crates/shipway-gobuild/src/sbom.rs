//! The list of a binary's parts as `CycloneDX` 1.6 JSON, for tools that look for known holes.
//!
//! Deterministic: the same binary gives the same document, so it may be stored by its digest.
//! There is no time in it, and its serial number is made of the binary's digest.

use serde_json::{Value, json};

use crate::buildinfo::{BuildInfo, Module};
use crate::resolved::Resolved;

/// Writes the document of a binary whose SHA-256, in hex, is `sha256`.
#[must_use]
pub fn cyclonedx(info: &BuildInfo, resolved: &Resolved, sha256: &str) -> String {
    let program = &resolved.program;
    let own = format!("{}@{}#{sha256}", resolved.recipe, program.version);
    let mut parts: Vec<Value> = info.modules.iter().map(component).collect();
    let std = info.go.strip_prefix("go").unwrap_or(&info.go);
    parts.push(library("std", std, &format!("pkg:golang/std@{std}")));
    parts.sort_by_key(|part| part["bom-ref"].as_str().map(str::to_owned));
    parts.dedup_by_key(|part| part["bom-ref"].as_str().map(str::to_owned));
    let depends_on: Vec<&Value> = parts.iter().map(|part| &part["bom-ref"]).collect();
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial(sha256),
        "version": 1,
        "metadata": {
            "tools": { "components": [{ "type": "application", "name": "shipway" }] },
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": resolved.recipe,
                "version": program.version.as_str(),
                "purl": purl(program.module.as_str(), program.version.as_str()),
                "hashes": [{ "alg": "SHA-256", "content": sha256 }],
                "properties": [{ "name": "shipway:platform", "value": resolved.platform.to_string() }],
            },
        },
        "components": parts,
        "dependencies": [{ "ref": own, "dependsOn": depends_on }],
    });
    serde_json::to_string_pretty(&document).expect("texts only")
}

/// A module as a part; of a replaced one, what took its place, since that is what is in there.
fn component(module: &Module) -> Value {
    let real = module.replaced_by.as_deref().unwrap_or(module);
    let mut part = library(&real.path, &real.version, &purl(&real.path, &real.version));
    let mut properties = Vec::new();
    if !real.sum.is_empty() {
        properties.push(json!({ "name": "go:sum", "value": real.sum }));
    }
    if module.replaced_by.is_some() {
        properties.push(json!({ "name": "go:replaces", "value": format!("{}@{}", module.path, module.version) }));
    }
    part["properties"] = Value::Array(properties);
    part
}

fn library(name: &str, version: &str, purl: &str) -> Value {
    json!({ "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl })
}

/// A package URL; its kind for Go wants small letters.
fn purl(path: &str, version: &str) -> String {
    let encoded = version.replace('+', "%2B").replace(['(', ')'], "");
    format!("pkg:golang/{}@{encoded}", path.to_ascii_lowercase())
}

/// A UUID (version 8, "made by whoever") of a digest's first half.
fn serial(sha256: &str) -> String {
    let digits: String =
        sha256.chars().filter(char::is_ascii_hexdigit).chain(std::iter::repeat('0')).take(32).collect();
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[13..16],
        &digits[17..20],
        &digits[20..32]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::{ModulePath, Version};
    use crate::platform::Platform;
    use crate::resolved::Settled;

    #[test]
    fn a_binary_has_always_the_same_document() {
        let text = "/out/app: go1.26.8\n\tpath\tapp\n\tmod\tapp\t(devel)\t\n\tdep\texample.com/app\tv1.0.0\th1:abc=\n\
            \tdep\texample.com/Old\tv2.0.0+incompatible\n\t=>\texample.com/new\tv1.2.0\th1:def=\n";
        let resolved = Resolved {
            recipe: "app".into(),
            program: Settled {
                module: ModulePath::parse("example.com/app").unwrap(),
                version: Version::parse("v1.0.0").unwrap(),
            },
            plugins: Vec::new(),
            replacements: Vec::new(),
            platform: Platform::parse("linux", "arm", None).unwrap(),
            go: "1.21".into(),
        };
        let digest = "0123456789abcdef".repeat(4);
        insta::assert_snapshot!(cyclonedx(&BuildInfo::parse(text).unwrap(), &resolved, &digest));
    }
}
