//! Times that clients write: RFC 3339, or how long ago.

use shipway_model::Micros;

use crate::reply::Reject;

/// Reads `?since=`.
pub(crate) fn since(text: &str, now: Micros) -> Result<Micros, Reject> {
    parse(text, now).ok_or_else(|| {
        Reject::parameter(
            "query:since",
            format!("expected a time as 2026-11-22T10:00:00Z, or an age as 15m, not `{text}`"),
        )
    })
}

fn parse(text: &str, now: Micros) -> Option<Micros> {
    if !text.is_ascii() {
        return None;
    }
    match age(text) {
        Some(age) => now.checked_sub(age),
        None => rfc3339(text),
    }
}

fn age(text: &str) -> Option<Micros> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let number: u32 = number.parse().ok()?;
    i64::from(number).checked_mul(seconds * 1_000_000)
}

/// `YYYY-MM-DDTHH:MM:SS[.f…](Z|±HH:MM)`.
fn rfc3339(text: &str) -> Option<Micros> {
    let date_time = text.get(..19)?;
    let mark = |at: usize, wanted: &[u8]| wanted.contains(&date_time.as_bytes()[at]);
    if !(mark(4, b"-") && mark(7, b"-") && mark(10, b"Tt ") && mark(13, b":") && mark(16, b":")) {
        return None;
    }
    let field = |from: usize, to: usize| number(date_time.get(from..to)?);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let sane = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    if !sane {
        return None;
    }
    let (micros, zone) = fraction(text.get(19..)?)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    Some((seconds - offset(zone)?) * 1_000_000 + micros)
}

fn number(digits: &str) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Splits `.123Z` into microseconds and `Z`.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(rest) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let digits = &rest[..end.min(6)];
    let micros = number(digits)? * 10_i64.pow(6 - u32::try_from(digits.len()).ok()?);
    Some((micros, &rest[end..]))
}

/// Seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    Some(sign * (number(hours)? * 3600 + number(minutes)? * 60))
}

/// Days since 1970-01-01 (Howard Hinnant's days-from-civil).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use shipway_stdx::clock;

    use super::*;

    #[test]
    fn what_the_clock_writes_is_read_back() {
        for micros in [0, -1, 951_782_400_000_001, 1_795_305_600_123_456] {
            assert_eq!(rfc3339(&clock::rfc3339(micros)), Some(micros));
        }
        assert_eq!(rfc3339("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(rfc3339("1969-12-31T23:30:00-00:30"), Some(0));
        assert_eq!(rfc3339("1970-01-01T00:00:00.1234567Z"), Some(123_456));
    }

    #[test]
    fn ages_count_back_from_now() {
        assert_eq!(parse("90s", 100_000_000), Some(10_000_000));
        assert_eq!(parse("1d", 0), Some(-86_400_000_000));
    }

    #[test]
    fn noise_is_no_time() {
        for text in [
            "",
            "s",
            "-1s",
            "1w",
            "now",
            "1970-01-01",
            "1970-13-01T00:00:00Z",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+1:00",
            "1970-01-01T24:00:00Z",
            "9999999999999d",
            "１９７０-01-01T00:00:00Z",
            "é",
        ] {
            assert_eq!(parse(text, 0), None, "{text}");
        }
    }
}
