//! Sizes, times and variables, as people type and read them.

use std::str::FromStr;
use std::time::Duration;

/// Reads `256M`, `1.5G`, `1000`.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size, as 256M, not `{text}`");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = decimal(digits, 3).ok_or_else(wrong)?;
    let unit = 1_u64 << shift;
    whole.checked_mul(unit).and_then(|bytes| bytes.checked_add(unit * fraction / 1000)).ok_or_else(wrong)
}

/// Reads `0.5` processors as thousandths.
pub(crate) fn cpus(text: &str) -> Result<u32, String> {
    let wrong = || format!("expected a number of processors, as 0.5, not `{text}`");
    let (whole, fraction) = decimal(text, 3).ok_or_else(wrong)?;
    let millis = whole.checked_mul(1000).and_then(|millis| millis.checked_add(fraction));
    millis.and_then(|millis| u32::try_from(millis).ok()).ok_or_else(wrong)
}

/// Reads `30s`, `500ms`, `15m`, `2h`, `30d`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time, as 30s, not `{text}`");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let millis = match &text[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

/// `KEY=VALUE`, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// Before the first `=`; not empty.
    pub key: String,
    /// After it.
    pub value: String,
}

impl FromStr for KeyValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            _ => Err(format!("expected KEY=VALUE, not `{text}`")),
        }
    }
}

/// Whole part and `places` digits of the fraction.
fn decimal(text: &str, places: usize) -> Option<(u64, u64)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > places {
        return None;
    }
    Some((whole.parse().ok()?, format!("{fraction:0<places$}").parse().ok()?))
}

/// Writes a size.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    match (unit, tenths) {
        (0, _) => format!("{bytes} B"),
        (_, 0..1000) => format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]),
        _ => format!("{} {}", tenths / 10, UNITS[unit]),
    }
}

/// Writes how long ago an RFC 3339 time of the API was.
pub(crate) fn age(at: &str, now_seconds: i64) -> String {
    let Some(then) = epoch_seconds(at) else {
        return at.to_owned();
    };
    match (now_seconds - then).max(0) {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m", seconds / 60),
        seconds @ 3600..172_800 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Reads a time as the API writes it: `2026-11-22T10:00:00.000000Z`.
fn epoch_seconds(at: &str) -> Option<i64> {
    let field = |from: usize, to: usize| at.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    // Howard Hinnant's days-from-civil.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = (month + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, expected) in [("0", 0), ("1000", 1000), ("256M", 256 << 20), ("1.5G", 3 << 29), ("64kib", 64 << 10)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "M", "1.M", "-1M", "1T", "99999999999G", "1,5G", "é"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors_and_times_are_read() {
        assert_eq!(cpus("0.5"), Ok(500));
        assert_eq!(cpus("2"), Ok(2000));
        assert!(cpus("half").is_err());
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        assert!(duration("1w").is_err());
        assert!(duration("-1s").is_err());
    }

    #[test]
    fn sizes_are_written_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (256 << 20, "256 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn ages_are_told() {
        let now = epoch_seconds("2026-11-22T10:00:00.000000Z").unwrap();
        assert_eq!(now, 1_795_341_600);
        for (at, text) in [
            ("2026-11-22T09:59:30.000000Z", "30s"),
            ("2026-11-22T09:30:00.000000Z", "30m"),
            ("2026-11-21T10:00:00.000000Z", "24h"),
            ("2026-11-12T10:00:00.000000Z", "10d"),
            ("2027-01-01T00:00:00.000000Z", "0s"),
            ("noise", "noise"),
        ] {
            assert_eq!(age(at, now), text);
        }
    }
}
