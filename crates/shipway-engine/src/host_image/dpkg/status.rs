//! Which packages are installed, and what they need.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::HostImageError;

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name, without an architecture.
    pub(crate) name: String,
    /// Its version, as Debian writes it.
    pub(crate) version: String,
    /// `amd64`, `all`, …
    pub(crate) architecture: String,
    /// `None` when it is installed and ready; else the state dpkg left it in.
    pub(crate) unfinished: Option<String>,
    /// Depends and Pre-Depends: of each group, one name is enough.
    pub(crate) depends: Vec<Vec<String>>,
    /// Virtual packages it stands for.
    provides: Vec<String>,
}

/// All installed packages of the host's own architecture.
#[derive(Debug, Default)]
pub(crate) struct Packages {
    by_name: BTreeMap<String, Package>,
    providers: BTreeMap<String, Vec<String>>,
}

impl Packages {
    /// Reads the database below `host_root`.
    pub(crate) fn read(host_root: &Path) -> Result<Self, HostImageError> {
        let path = host_root.join(super::FOLDER).join("status");
        match super::read(&path)? {
            None => Err(HostImageError::NotDebian(path)),
            Some(text) => Ok(Self::parse(&text)),
        }
    }

    /// Reads paragraphs of `Field: value` lines, parted by empty lines.
    pub(crate) fn parse(status: &str) -> Self {
        let all: Vec<Package> = status.split("\n\n").filter_map(parse_package).collect();
        // The host's architecture is that of the program that installs for it.
        let native = all.iter().find(|package| package.name == "dpkg");
        let native = native.map(|dpkg| dpkg.architecture.clone());
        let is_ours = |package: &Package| {
            let own = native.as_ref().is_none_or(|own| *own == package.architecture);
            own || package.architecture == "all"
        };
        let mut packages = Self::default();
        for package in all.into_iter().filter(is_ours) {
            for name in &package.provides {
                let providers = packages.providers.entry(name.clone()).or_default();
                providers.push(package.name.clone());
            }
            packages.by_name.insert(package.name.clone(), package);
        }
        for providers in packages.providers.values_mut() {
            providers.sort();
        }
        packages
    }

    /// The package of this very name.
    pub(crate) fn find(&self, name: &str) -> Option<&Package> {
        self.by_name.get(name)
    }

    /// Who stands for a virtual package, in the order of their names.
    pub(crate) fn providers(&self, name: &str) -> impl Iterator<Item = &Package> {
        let names = self.providers.get(name).into_iter().flatten();
        names.filter_map(|name| self.find(name))
    }
}

fn parse_package(paragraph: &str) -> Option<Package> {
    let fields = fields_of(paragraph);
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    // Wanted, flag, state: `install ok installed`.
    let state = field("Status").split_ascii_whitespace().nth(2)?;
    let unfinished = match state {
        "installed" | "triggers-pending" | "triggers-awaited" => None,
        "not-installed" | "config-files" => return None,
        other => Some(other.to_owned()),
    };
    let depends = [field("Pre-Depends"), field("Depends")];
    let depends = depends.into_iter().flat_map(parse_relations).collect();
    let provides = parse_relations(field("Provides")).into_iter().flatten();
    Some(Package {
        name: fields.get("Package")?.clone(),
        version: field("Version").to_owned(),
        architecture: field("Architecture").to_owned(),
        unfinished,
        depends,
        provides: provides.collect(),
    })
}

/// The fields we use; a line that begins with a blank continues the one before.
fn fields_of(paragraph: &str) -> BTreeMap<&str, String> {
    const USED: [&str; 7] = ["Package", "Status", "Version", "Architecture", "Pre-Depends", "Depends", "Provides"];
    let mut fields: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = None;
    for line in paragraph.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = current.and_then(|name| fields.get_mut(name)) {
                value.push_str(line);
            }
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        current = USED.contains(&name).then_some(name);
        if current.is_some() {
            fields.insert(name, value.trim().to_owned());
        }
    }
    fields
}

/// `a (>= 1), b:any | c` → `[[a], [b, c]]`. Versions are left out: dpkg checked
/// them when it installed the packages, and what is installed is all there is.
fn parse_relations(field: &str) -> Vec<Vec<String>> {
    let name = |relation: &str| {
        let end = relation.find([' ', '(', ':', '[', '<', '\t']);
        let name = &relation[..end.unwrap_or(relation.len())];
        (!name.is_empty()).then(|| name.to_owned())
    };
    field
        .split(',')
        .map(|group| group.split('|').map(str::trim).filter_map(name).collect())
        .filter(|group: &Vec<String>| !group.is_empty())
        .collect()
}
