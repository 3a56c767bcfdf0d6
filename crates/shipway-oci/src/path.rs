//! Where an entry may go: a path of an archive, taken apart.

use crate::rule::{Rule, UnpackError, broken_at};

/// Longest path, as the kernel has it (`PATH_MAX` without its zero).
pub(crate) const PATH_MAX: usize = 4095;
/// Longest name (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// A path below the root: names joined by single slashes, none of them `.` or `..`.
/// Empty for the root itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InnerPath(Vec<u8>);

impl InnerPath {
    pub(crate) const fn root() -> Self {
        Self(Vec::new())
    }

    /// Checks a path as an archive writes it.
    pub(crate) fn of(raw: &[u8], depth_max: usize) -> Result<Self, UnpackError> {
        let refuse = |rule| Err(broken_at(rule, raw));
        if raw.is_empty() || raw.len() > PATH_MAX || raw.contains(&0) {
            return refuse(Rule::Name);
        }
        if raw[0] == b'/' {
            return refuse(Rule::Absolute);
        }
        let mut path = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for name in raw.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => continue,
                b".." => return refuse(Rule::Parent),
                name if name.len() > NAME_MAX => return refuse(Rule::Name),
                name => {
                    depth += 1;
                    if depth > 1 {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                }
            }
        }
        if depth > depth_max {
            return refuse(Rule::Depth);
        }
        Ok(Self(path))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The folder that holds it, and its name there; `None` for the root.
    pub(crate) fn split(&self) -> Option<(Self, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|byte| *byte == b'/') {
            None => Some((Self(Vec::new()), &self.0)),
            Some(slash) => Some((Self(self.0[..slash].to_vec()), &self.0[slash + 1..])),
        }
    }

    /// Every folder above it, the topmost first, without the root.
    pub(crate) fn folders(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.map(|(at, _)| Self(self.0[..at].to_vec()))
    }

    /// Whether it is below the root's `dev`.
    pub(crate) fn is_a_device_place(&self) -> bool {
        self.0.starts_with(b"dev/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(raw: &str, expected: &str) {
        let told = match InnerPath::of(raw.as_bytes(), 5) {
            Ok(path) => String::from_utf8(path.0).unwrap(),
            Err(error) => format!("!{}", error.rule().unwrap().word()),
        };
        assert_eq!(told, expected, "{raw:?}");
    }

    #[test]
    fn paths_are_taken_apart_and_kept_inside() {
        check("./", "");
        check("a", "a");
        check("./a//b/./c/", "a/b/c");
        check("...", "...");
        check("", "!name");
        check("/", "!absolute");
        check("//etc/passwd", "!absolute");
        check("..", "!parent");
        check("a/../b", "!parent");
        check("a/..", "!parent");
        check("a\0b", "!name");
        check(&"n".repeat(256), "!name");
        check(&"d/".repeat(3000), "!name");
        check("1/2/3/4/5", "1/2/3/4/5");
        check("1/2/3/4/5/6", "!depth");
    }

    #[test]
    fn folders_come_from_the_top() {
        let path = InnerPath::of(b"a/b/c", 9).unwrap();
        let folders: Vec<_> = path.folders().map(|folder| String::from_utf8(folder.0).unwrap()).collect();
        assert_eq!(folders, ["a", "a/b"]);
        let (folder, name) = path.split().unwrap();
        assert_eq!((folder.bytes(), name), (&b"a/b"[..], &b"c"[..]));
    }

    proptest! {
        #[test]
        fn whatever_is_taken_stays_below(raw in proptest::collection::vec(
            prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..40)) {
            if let Ok(path) = InnerPath::of(&raw, 100) {
                prop_assert!(!path.0.starts_with(b"/"));
                prop_assert!(path.is_root() || path.0.split(|byte| *byte == b'/').all(
                    |name| !matches!(name, b"" | b"." | b"..") && !name.contains(&0)));
                prop_assert_eq!(path.is_root(), path.split().is_none());
            }
        }
    }
}
