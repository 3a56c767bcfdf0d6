//! One record of a log, from bytes.

use super::{Cursor, LogLine, Source};

/// Reads a record without its line feed; `None` for what is no record.
pub(super) fn parse(record: &[u8], cursor: Cursor) -> Option<LogLine> {
    let mut parts = record.splitn(4, |byte| *byte == b' ');
    let at = time(std::str::from_utf8(parts.next()?).ok()?)?;
    let source = match parts.next()? {
        b"stdout" => Source::Stdout,
        b"stderr" => Source::Stderr,
        _ => return None,
    };
    let partial = match parts.next()? {
        b"F" => false,
        b"P" => true,
        // Later versions may add further tags, separated by colons.
        tags => tags.split(|byte| *byte == b':').next()? == b"P",
    };
    let text = String::from_utf8_lossy(parts.next()?).into_owned();
    Some(LogLine { at, source, partial, text, cursor })
}

/// Reads an RFC 3339 time in UTC as microseconds since the epoch.
fn time(text: &str) -> Option<i64> {
    let (date, rest) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let mut clock = clock.splitn(3, ':').map(str::parse::<i64>);
    let (hour, minute, second) = (clock.next()?.ok()?, clock.next()?.ok()?, clock.next()?.ok()?);
    let possible = (0..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !possible {
        return None;
    }
    let seconds = ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    Some(seconds * 1_000_000 + micros)
}

/// Days from the epoch to a date (Howard Hinnant's `days_from_civil`).
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(record: &[u8], expected: &str) {
        let cursor = Cursor { segment: 0, offset: 0 };
        let said = parse(record, cursor).map_or_else(
            || "nothing".to_owned(),
            |line| {
                let part = if line.partial { "part" } else { "full" };
                let time = shipway_stdx::clock::rfc3339(line.at);
                format!("{time} {:?} {part} [{}]", line.source, line.text)
            },
        );
        assert_eq!(said, expected);
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        check(
            b"2026-11-22T05:47:25.123456789Z stdout F hello  world",
            "2026-11-22T05:47:25.123456Z Stdout full [hello  world]",
        );
        check(b"2000-02-29T00:00:00Z stderr P ", "2000-02-29T00:00:00.000000Z Stderr part []");
        check(b"1970-01-01T00:00:00.5Z stdout P:x \xff\x00", "1970-01-01T00:00:00.500000Z Stdout part [\u{fffd}\0]");
    }

    #[test]
    fn what_is_no_record_is_nothing() {
        for text in [
            "",
            "hello",
            "2026-11-22T05:47:25Z stdout F",
            "2026-11-22T05:47:25Z stdin F x",
            "2026-13-22T05:47:25Z stdout F x",
            "2026-11-22 05:47:25Z stdout F x",
            "2026-11-22T05:47:25.1é345678Z stdout F x",
            "99999999999999999999-01-01T00:00:00Z stdout F x",
        ] {
            check(text.as_bytes(), "nothing");
        }
    }
}
