//! Conditional requests for one file (RFC 9110 §13).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::head::Head;

/// What tells one state of a file from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// Strong, with its quotes.
    pub etag: String,
    /// Whole seconds, never in the future.
    pub modified: SystemTime,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on; `range` says whether a Range header counts.
    Proceed {
        /// False when If-Range names another state.
        range: bool,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: the client meant another state.
    Failed,
}

/// Evaluates the conditions of a GET or HEAD in the order of RFC 9110 §13.2.2.
#[must_use]
pub fn evaluate(head: &Head, validators: &Validators) -> Verdict {
    if let Some(list) = head.list("if-match") {
        if !names(&list, &validators.etag, Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if date(head, "if-unmodified-since").is_some_and(|date| validators.modified > date) {
        return Verdict::Failed;
    }
    if let Some(list) = head.list("if-none-match") {
        if names(&list, &validators.etag, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if date(head, "if-modified-since").is_some_and(|date| validators.modified <= date) {
        return Verdict::NotModified;
    }
    Verdict::Proceed { range: range_counts(head, validators) }
}

/// RFC 9110 §13.1.5: an exact strong tag, or the exact date.
fn range_counts(head: &Head, validators: &Validators) -> bool {
    if head.all("if-range").next().is_none() {
        return true;
    }
    match head.only("if-range") {
        Some(tag) if tag.starts_with('"') => tag == validators.etag,
        Some(_) => date(head, "if-range") == Some(validators.modified),
        None => false,
    }
}

fn date(head: &Head, name: &str) -> Option<SystemTime> {
    httpdate::parse_http_date(head.only(name)?).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags names this one. A tag may contain a comma, so
/// the list is walked by its quotes.
fn names(list: &str, etag: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list;
    while let Some(start) = rest.find('"') {
        let is_weak = rest[..start].ends_with("W/");
        let Some(length) = rest[start + 1..].find('"') else {
            return false;
        };
        let end = start + length + 2;
        if rest[start..end] == *etag && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        rest = &rest[end..];
    }
    false
}

/// Cuts a file's time to the whole seconds a header can say, and to `now`: a
/// date in the future would make the client keep its copy for ever (§8.8.2.1).
#[must_use]
pub fn last_modified(modified: SystemTime, now: SystemTime) -> SystemTime {
    let seconds = modified.min(now).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head;

    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    #[track_caller]
    fn check(lines: &str, expected: Verdict) {
        let lines = lines.replace("$AT", AT).replace("$BEFORE", BEFORE);
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        let (head, _) = head::parse(text.as_bytes(), 0).unwrap().unwrap();
        let validators = Validators { etag: "\"a,b\"".to_owned(), modified: httpdate::parse_http_date(AT).unwrap() };
        assert_eq!(evaluate(&head, &validators), expected, "{lines}");
    }

    #[test]
    fn conditions_are_weighed_in_the_order_of_the_standard() {
        use Verdict::{Failed, NotModified};
        let whole = Verdict::Proceed { range: false };
        let ranged = Verdict::Proceed { range: true };
        check("X: 1", ranged);
        check("If-None-Match: \"a,b\"", NotModified);
        check("If-None-Match: W/\"a,b\"", NotModified);
        check("If-None-Match: \"x\", W/\"y\", \"a,b\"", NotModified);
        check("If-None-Match: *", NotModified);
        check("If-None-Match: \"x\"\r\nIf-Modified-Since: $AT", ranged);
        check("If-None-Match: \"a", ranged);
        check("If-Modified-Since: $AT", NotModified);
        check("If-Modified-Since: $BEFORE", ranged);
        check("If-Modified-Since: yesterday", ranged);
        check("If-Match: \"a,b\"", ranged);
        check("If-Match: *", ranged);
        check("If-Match: W/\"a,b\"", Failed);
        check("If-Match: \"x\"", Failed);
        check("If-Match: \"x\"\r\nIf-None-Match: \"a,b\"", Failed);
        check("If-Unmodified-Since: $AT", ranged);
        check("If-Unmodified-Since: $BEFORE", Failed);
        check("If-Match: \"a,b\"\r\nIf-Unmodified-Since: $BEFORE", ranged);
        check("If-Range: \"a,b\"", ranged);
        check("If-Range: W/\"a,b\"", whole);
        check("If-Range: $AT", ranged);
        check("If-Range: $BEFORE", whole);
        check("If-Range: \"a,b\"\r\nIf-Range: \"a,b\"", whole);
    }

    #[test]
    fn a_file_from_the_future_was_modified_now() {
        let now = UNIX_EPOCH + Duration::from_millis(1500);
        let later = now + Duration::from_secs(60);
        assert_eq!(last_modified(later, now), UNIX_EPOCH + Duration::from_secs(1));
    }
}
