//! Links in Markdown that lead nowhere, and crates that the map forgot.

use std::fs;
use std::path::Path;

use crate::sh;

/// Returns every relative link whose file is missing.
pub(super) fn check(files: &[String]) -> anyhow::Result<Vec<String>> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        let text = fs::read_to_string(sh::root().join(file))?;
        let folder = Path::new(file).parent().unwrap_or_else(|| Path::new(""));
        let dead = targets(&text).into_iter().filter(|target| !sh::root().join(folder).join(target).exists());
        findings.extend(dead.map(|target| format!("{file}: the link to {target} leads nowhere")));
    }
    let map = fs::read_to_string(sh::root().join("ARCHITECTURE.md"))?;
    for entry in fs::read_dir(sh::root().join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !map.contains(&format!("`{name}`")) {
            findings.push(format!("ARCHITECTURE.md does not name the crate `{name}`"));
        }
    }
    Ok(findings)
}

/// The relative targets of inline links, without their fragments.
fn targets(text: &str) -> Vec<&str> {
    let candidates = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    candidates
        .map(|target| target.split_once('#').map_or(target, |(path, _)| path))
        .filter(|target| !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_links_are_checked() {
        let text = "[a](x.md) [b](https://example.org) [c](#here) [d](y/z.md#part)";
        assert_eq!(targets(text), ["x.md", "y/z.md"]);
    }
}
