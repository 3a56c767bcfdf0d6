//! Source folders laid out as a module proxy, for tests.
//!
//! What a real proxy serves, as files: `list`, `.info`, `.mod`, `.zip`, with a module's path and
//! version escaped, so that the go command and this crate read it by a `file://` URL. Behind the
//! feature `testing`; no part of what is shipped.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::module::{ModulePath, Version, escape};
use crate::recipe::Recipe;

/// A directory that is a module proxy.
#[derive(Debug)]
pub struct ModuleProxy {
    directory: tempfile::TempDir,
}

impl ModuleProxy {
    /// Makes an empty one, removed with the value.
    ///
    /// # Panics
    ///
    /// This and all else here panics where a test should fail.
    #[must_use]
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// One with a small program, `example.com/app` ([`recipe`]), and plugins for it: `good` (two
    /// versions), `major/v2`, `deep` (the package is `deep/sub/pkg`), `retracted` (v1.0.1),
    /// `gone` (all), `broken` (does not compile), `future` (wants another Go), `hostile` (its
    /// `init` ends the program in v1.0.0 and hangs in v1.1.0), `plain` (no plugin at all).
    #[must_use]
    pub fn with_examples() -> Self {
        let proxy = Self::new();
        proxy.add_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxy"));
        proxy
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its `file://` URL, a `GOPROXY` by itself.
    #[must_use]
    pub fn url(&self) -> String {
        format!("file://{}", self.directory.path().display())
    }

    /// Adds a version of a module with these files: `(path in the module, content)`. Without a
    /// `go.mod` among them one is made up, as proxies do.
    pub fn add(&self, module: &str, version: &str, files: &[(&str, &str)]) -> &Self {
        let owned = files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect();
        self.put(module, version, owned, true)
    }

    /// As [`Self::add`], but not in the list: a commit's version, or a tag nobody lists.
    pub fn add_unlisted(&self, module: &str, version: &str, files: &[(&str, &str)]) -> &Self {
        let owned = files.iter().map(|(name, content)| ((*name).to_owned(), content.as_bytes().to_vec())).collect();
        self.put(module, version, owned, false)
    }

    /// Adds a version of a module from a folder of sources.
    pub fn add_folder(&self, module: &str, version: &str, folder: &Path) -> &Self {
        let mut files = Vec::new();
        collect(folder, folder, &mut files);
        files.sort();
        self.put(module, version, files, true)
    }

    /// Adds every folder of `root`: its path is the module's path, its last part `@version` cut
    /// off; nested ones too.
    pub fn add_tree(&self, root: &Path) -> &Self {
        for (module, version, folder) in modules(root, root) {
            self.add_folder(&module, &version, &folder);
        }
        self
    }

    /// Says what `@latest` is, or what a branch is: `name` is `@latest`, or `@v/main.info`.
    pub fn say(&self, module: &str, name: &str, version: &str) -> &Self {
        write(&self.of(module).join(name), info(version).as_bytes());
        self
    }

    /// The folder of a module's versions is `@v` in here.
    #[must_use]
    pub fn of(&self, module: &str) -> PathBuf {
        self.directory.path().join(escape::path(&ModulePath::parse(module).expect("a module path")))
    }

    fn put(&self, module: &str, version: &str, files: Vec<(String, Vec<u8>)>, listed: bool) -> &Self {
        let versions = self.of(module).join("@v");
        let escaped = escape::version(&Version::parse(version).expect("a version"));
        let own = files.iter().find(|(name, _)| name == "go.mod").map(|(_, content)| content.clone());
        write(&versions.join(format!("{escaped}.info")), info(version).as_bytes());
        let made_up = || format!("module {module}\n").into_bytes();
        write(&versions.join(format!("{escaped}.mod")), &own.unwrap_or_else(made_up));
        let named = files.into_iter().map(|(name, content)| (format!("{module}@{version}/{name}"), content));
        write(&versions.join(format!("{escaped}.zip")), &archive(named.collect()));
        let list = versions.join("list");
        let mut lines = fs::read_to_string(&list).unwrap_or_default();
        if listed {
            lines = format!("{lines}{version}\n");
        }
        write(&list, lines.as_bytes());
        self
    }
}

impl Default for ModuleProxy {
    fn default() -> Self {
        Self::new()
    }
}

/// The recipe of `example.com/app`.
#[must_use]
pub fn recipe() -> Recipe {
    Recipe::parse(include_str!("../tests/recipe.json")).expect("a recipe")
}

/// Packs files into an archive as modules have them.
#[must_use]
pub fn archive(files: Vec<(String, Vec<u8>)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut list = Vec::new();
    let count = u16::try_from(files.len()).expect("few files");
    for (name, content) in files {
        let offset = size32(out.len());
        let mut crc = flate2::Crc::new();
        crc.update(&content);
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&content).expect("in memory");
        let packed = packer.finish().expect("in memory");
        let mut common = vec![20, 0, 0, 0, 8, 0, 0, 0, 0x21, 0x50];
        common.extend(crc.sum().to_le_bytes());
        common.extend(size32(packed.len()).to_le_bytes());
        common.extend(size32(content.len()).to_le_bytes());
        common.extend(u16::try_from(name.len()).expect("a short name").to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(packed);
        list.extend(b"PK\x01\x02\x14\x03");
        list.extend(&common);
        list.extend([0; 6]);
        list.extend((0o10_0644_u32 << 16).to_le_bytes());
        list.extend(offset.to_le_bytes());
        list.extend(name.as_bytes());
    }
    let offset = size32(out.len());
    out.extend(&list);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count.to_le_bytes(), count.to_le_bytes()].concat());
    out.extend(size32(list.len()).to_le_bytes());
    out.extend(offset.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn size32(size: usize) -> u32 {
    u32::try_from(size).expect("a small archive")
}

fn info(version: &str) -> String {
    format!("{{\"Version\":\"{version}\",\"Time\":\"2026-01-02T03:04:05Z\"}}")
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder is made");
    let mut file = fs::File::create(path).expect("a file is made");
    file.write_all(content).expect("a file is written");
}

/// Folders named `…@version`, wherever they are.
fn modules(root: &Path, folder: &Path) -> Vec<(String, String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder is read").map(|entry| entry.expect("an entry is read").path()) {
        let name = entry.strip_prefix(root).expect("beneath it").to_str().expect("a plain name").to_owned();
        match name.rsplit_once('@') {
            _ if !entry.is_dir() => {}
            Some((module, version)) => found.push((module.to_owned(), version.to_owned(), entry)),
            None => found.extend(modules(root, &entry)),
        }
    }
    found.sort();
    found
}

/// Files of a folder; one that ends in `.txt` loses it, so that a `go.mod` or a broken source
/// can rest in a repository without being taken for one.
fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder is read").map(|entry| entry.expect("an entry is read").path()) {
        if entry.is_dir() {
            collect(root, &entry, files);
            continue;
        }
        let name = entry.strip_prefix(root).expect("beneath it").to_str().expect("a plain name").to_owned();
        let content = fs::read(&entry).expect("a file is read");
        files.push((name.strip_suffix(".txt").unwrap_or(&name).to_owned(), content));
    }
}
