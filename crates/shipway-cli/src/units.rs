//! Values as people write them: sizes, durations, pairs.

use std::str::FromStr;

/// A size in bytes: `64M`, `1G`, `1048576`. Units are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A time in milliseconds: `500ms`, `5s`, `2m`, `1h`, `30d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(pub u64);

/// `KEY=VALUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Before the first `=`.
    pub key: String,
    /// After it.
    pub value: String,
}

/// Splits a number from its unit and multiplies.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("", 1), ("b", 1), ("k", 1 << 10), ("kb", 1 << 10), ("m", 1 << 20), ("mb", 1 << 20), ("g", 1 << 30), ("gb", 1 << 30)];
        scaled(text, &units).map(Self).ok_or_else(|| "a size such as 64M or 1G is expected".to_owned())
    }
}

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        scaled(text, &units).map(Self).ok_or_else(|| "a time such as 500ms, 5s or 2m is expected".to_owned())
    }
}

impl FromStr for KeyValue {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err("KEY=VALUE is expected".to_owned()),
        }
    }
}

/// Processors as thousandths: `0.5` is 500.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked just before")]
pub(crate) fn cpus(text: &str) -> Result<u32, String> {
    match text.parse::<f64>() {
        Ok(cpus) if (0.01..=256.0).contains(&cpus) => Ok((cpus * 1000.0).round() as u32),
        _ => Err("a number of processors from 0.01 to 256 is expected".to_owned()),
    }
}

/// A size for people, with three digits that matter.
#[expect(clippy::cast_precision_loss, reason = "for people's eyes")]
pub(crate) fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {}", units[unit]),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_units() {
        assert_eq!("64M".parse(), Ok(Size(64 << 20)));
        assert_eq!("1048576".parse(), Ok(Size(1 << 20)));
        assert_eq!("2gb".parse(), Ok(Size(2 << 30)));
        assert_eq!("500ms".parse(), Ok(Duration(500)));
        assert_eq!("2m".parse(), Ok(Duration(120_000)));
        assert_eq!(cpus("0.5"), Ok(500));
        for text in ["", "M", "1X", "-1", "99999999999999999999"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["", "5", "5 s", "s"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }

    #[test]
    fn people_read_units() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(1536), "1.50 KiB");
        assert_eq!(size(64 << 20), "64.0 MiB");
    }
}
