//! Byte ranges (RFC 9110 §14).

/// Most ranges answered as ranges. More is either an attack (many small ones cost
/// the server more than the file) or a client better served by the file.
const RANGES_MAX: usize = 16;

/// A part of a file: first byte and first byte after it; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// First byte.
    pub start: u64,
    /// First byte that is not part of it.
    pub end: u64,
}

/// What a Range header comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The header does not count: answer the whole file.
    Whole,
    /// 206 with these, sorted as asked for, one or more.
    Parts(Vec<Part>),
    /// 416.
    Unsatisfiable,
}

/// Reads a Range header for a file of `size` bytes.
///
/// A header that is malformed, of another unit, overlapping or of more than 16
/// ranges is ignored, as §14.2 allows.
#[must_use]
pub fn parse(header: Option<&str>, size: u64) -> Wanted {
    let Some(specs) = header.and_then(strip_unit) else {
        return Wanted::Whole;
    };
    let mut parts = Vec::new();
    for spec in specs.split(',').map(str::trim) {
        if spec.is_empty() {
            continue;
        }
        match parse_spec(spec, size) {
            Err(()) => return Wanted::Whole,
            Ok(None) => {}
            Ok(Some(part)) => parts.push(part),
        }
        if parts.len() > RANGES_MAX {
            return Wanted::Whole;
        }
    }
    match parts.len() {
        0 if specs.trim_matches([',', ' ', '\t']).is_empty() => Wanted::Whole,
        0 => Wanted::Unsatisfiable,
        _ if overlap(&parts) => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

fn strip_unit(header: &str) -> Option<&str> {
    let (unit, specs) = header.split_once('=')?;
    unit.trim().eq_ignore_ascii_case("bytes").then_some(specs)
}

/// `Ok(None)` is a well-formed range of which the file has no byte.
fn parse_spec(spec: &str, size: u64) -> Result<Option<Part>, ()> {
    let (first, last) = spec.split_once('-').ok_or(())?;
    let (start, end) = match (number(first)?, number(last)?) {
        (None, None) => return Err(()),
        (None, Some(suffix)) => (size.saturating_sub(suffix), size),
        (Some(first), None) => (first, size),
        (Some(first), Some(last)) if last < first => return Err(()),
        (Some(first), Some(last)) => (first, last.saturating_add(1).min(size)),
    };
    Ok((start < end).then_some(Part { start, end }))
}

fn number(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    // More digits than a u64 holds are past the end of any file.
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

fn overlap(parts: &[Part]) -> bool {
    let mut sorted = parts.to_vec();
    sorted.sort_by_key(|part| part.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, size: u64, expected: &str) {
        let seen = match parse(Some(header), size) {
            Wanted::Whole => "whole".to_owned(),
            Wanted::Unsatisfiable => "unsatisfiable".to_owned(),
            Wanted::Parts(parts) => {
                parts.iter().map(|part| format!("{}..{}", part.start, part.end)).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(seen, expected, "{header} of {size}");
    }

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        check("bytes=0-0", 10, "0..1");
        check("bytes=0-499", 10, "0..10");
        check("bytes=-3", 10, "7..10");
        check("bytes=-30", 10, "0..10");
        check("bytes=9-", 10, "9..10");
        check("Bytes = 1-2", 10, "1..3");
        check("bytes=5-6, 0-1,,8-", 10, "5..7 0..2 8..10");
        check("bytes=0-1, 20-30", 10, "0..2");
        check("bytes=0-99999999999999999999999", 10, "0..10");
    }

    #[test]
    fn what_cannot_be_satisfied_is_said_so() {
        check("bytes=10-", 10, "unsatisfiable");
        check("bytes=-0", 10, "unsatisfiable");
        check("bytes=0-", 0, "unsatisfiable");
        check("bytes=-5", 0, "unsatisfiable");
        check("bytes=99999999999999999999999-", 10, "unsatisfiable");
    }

    #[test]
    fn what_makes_no_sense_or_costs_too_much_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=a-b",
            "bytes=5-1",
            "bytes=-",
            "bytes=1",
            "lines=0-1",
            "bytes=+1-2",
            "bytes=0-5,3-7",
            "bytes=0-,0-,0-",
        ] {
            check(header, 10, "whole");
        }
        let many: Vec<String> = (0..17).map(|n| format!("{}-{}", n * 2, n * 2)).collect();
        check(&format!("bytes={}", many.join(",")), 100, "whole");
        assert_eq!(parse(None, 10), Wanted::Whole);
    }
}
