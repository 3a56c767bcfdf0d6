//! Semantic versions as Go reads them: `v1`, `v1.2`, `v1.2.3-rc.1+meta`, and their order.

use std::cmp::Ordering;

/// The parts of a version, as they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) major: &'a str,
    /// `None` in `v1`.
    pub(super) minor: Option<&'a str>,
    /// `None` in `v1` and `v1.2`.
    pub(super) patch: Option<&'a str>,
    /// Without its dash; empty for a release.
    pub(super) prerelease: &'a str,
    /// Without its plus; empty if there is none.
    pub(super) build: &'a str,
}

/// Takes a version apart; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<Parts<'_>> {
    let rest = text.strip_prefix('v')?;
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (core, prerelease) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let mut numbers = core.split('.');
    let parts = Parts {
        major: numbers.next()?,
        minor: numbers.next(),
        patch: numbers.next(),
        prerelease: prerelease.unwrap_or_default(),
        build: build.unwrap_or_default(),
    };
    let sound = numbers.next().is_none()
        && [Some(parts.major), parts.minor, parts.patch].into_iter().flatten().all(is_number)
        && (parts.patch.is_some() || (prerelease.is_none() && build.is_none()))
        && prerelease.is_none_or(|text| text.split('.').all(is_prerelease))
        && build.is_none_or(|text| text.split('.').all(is_identifier));
    sound.then_some(parts)
}

/// A number without leading zeros.
fn is_number(text: &str) -> bool {
    super::path::is_digits(text) && (text == "0" || !text.starts_with('0'))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_prerelease(text: &str) -> bool {
    is_identifier(text) && (!super::path::is_digits(text) || is_number(text))
}

/// Orders two versions by precedence; build metadata does not count. Numbers may be of any
/// length: they are compared as text.
pub(super) fn compare<'a>(a: &Parts<'a>, b: &Parts<'a>) -> Ordering {
    let numbers = |p: &Parts<'a>| [p.major, p.minor.unwrap_or("0"), p.patch.unwrap_or("0")];
    let (left, right) = (numbers(a), numbers(b));
    let core = left.iter().zip(&right).map(|(a, b)| compare_numbers(a, b)).find(|order| order.is_ne());
    core.unwrap_or_else(|| compare_prereleases(a.prerelease, b.prerelease))
}

fn compare_numbers(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

fn compare_prereleases(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            let (mut left, mut right) = (a.split('.'), b.split('.'));
            loop {
                match (left.next(), right.next()) {
                    (None, None) => return Ordering::Equal,
                    (None, Some(_)) => return Ordering::Less,
                    (Some(_), None) => return Ordering::Greater,
                    (Some(a), Some(b)) if a == b => {}
                    (Some(a), Some(b)) => return compare_identifiers(a, b),
                }
            }
        }
    }
}

/// Numbers come before words.
fn compare_identifiers(a: &str, b: &str) -> Ordering {
    match (super::path::is_digits(a), super::path::is_digits(b)) {
        (true, true) => compare_numbers(a, b),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}
