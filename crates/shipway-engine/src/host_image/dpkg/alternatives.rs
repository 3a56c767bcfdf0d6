//! Who is `awk` today.
//!
//! An alternative is a link of links: `/usr/bin/awk` → `/etc/alternatives/awk` →
//! `/usr/bin/mawk`. Its *followers* (manual pages, `nawk`) move along with it.

use std::path::{Path, PathBuf};

use super::super::HostImageError;

/// One alternative and everything that could stand behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    /// Itself first, then its followers.
    pub(crate) links: Vec<Link>,
    /// What could stand behind it.
    pub(crate) choices: Vec<Choice>,
}

/// A name that an alternative gives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// In `/etc/alternatives`.
    pub(crate) name: String,
    /// What people call: `/usr/bin/awk`.
    pub(crate) path: PathBuf,
}

/// Something that can stand behind an alternative.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The highest is taken where nobody chose.
    pub(crate) priority: i64,
    /// One for each of the links, in their order; `None` where it has none.
    pub(crate) targets: Vec<Option<PathBuf>>,
}

/// Reads all alternatives below `host_root`, in the order of their names.
pub(crate) fn read_all(host_root: &Path) -> Result<Vec<Alternative>, HostImageError> {
    let folder = host_root.join(super::FOLDER).join("alternatives");
    let mut names = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries
            .and_then(|entries| {
                let names = entries.map(|entry| Ok(entry?.file_name()));
                names.collect::<std::io::Result<Vec<_>>>()
            })
            .map_err(HostImageError::io("list", &folder))?,
    };
    names.sort();
    let mut alternatives = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let name = name.to_string_lossy();
        // Temporary files of update-alternatives end in `.dpkg-tmp`.
        let Some(text) = super::read(&path)?.filter(|_| !name.ends_with(".dpkg-tmp")) else {
            continue;
        };
        let alternative = parse(&name, &text)
            .ok_or_else(|| HostImageError::Database { path, what: "it does not read as an alternative".to_owned() })?;
        alternatives.push(alternative);
    }
    Ok(alternatives)
}

/// Reads one file: `auto` or `manual`; the link; name and link of each follower,
/// an empty line; then for each choice its path, its priority and one line for
/// each follower (empty where it has none); an empty line at the end.
pub(crate) fn parse(name: &str, text: &str) -> Option<Alternative> {
    let mut lines = text.lines();
    lines.next().filter(|mode| ["auto", "manual"].contains(mode))?;
    let mut links = vec![Link { name: name.to_owned(), path: PathBuf::from(lines.next()?) }];
    loop {
        match lines.next()? {
            "" => break,
            follower => links.push(Link { name: follower.to_owned(), path: PathBuf::from(lines.next()?) }),
        }
    }
    let mut choices = Vec::new();
    while let Some(path) = lines.next().filter(|line| !line.is_empty()) {
        let priority = lines.next()?.trim().parse().ok()?;
        let mut targets = vec![Some(PathBuf::from(path))];
        for _ in 1..links.len() {
            let target = lines.next()?;
            targets.push((!target.is_empty()).then(|| PathBuf::from(target)));
        }
        choices.push(Choice { priority, targets });
    }
    let is_plain = |link: &Link| !link.name.is_empty() && !link.name.contains('/');
    links.iter().all(is_plain).then_some(Alternative { links, choices })
}
