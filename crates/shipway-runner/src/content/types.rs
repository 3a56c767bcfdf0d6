//! Which `Content-Type` a file gets.
//!
//! The type its origin declared, else the one its name suggests, else
//! `text/plain`. Text without a charset gets `utf-8` if that is what it is.

/// Endings and their types. Short on purpose: what is missing is served as text
/// or declared by its origin.
const BY_ENDING: [(&str, &str); 48] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("bmp", "image/bmp"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/x-icon"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("m4a", "audio/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown"),
    ("mjs", "text/javascript"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("rss", "application/rss+xml"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("xz", "application/x-xz"),
    ("zip", "application/zip"),
];

/// Decides a file's type. `is_utf8` is asked only when the answer matters.
pub fn decide(declared: Option<&str>, file_name: Option<&str>, is_utf8: impl FnOnce() -> bool) -> String {
    let by_name = || file_name.and_then(by_ending);
    let bare = declared.map(str::trim).filter(|text| !text.is_empty()).or_else(by_name).unwrap_or("text/plain");
    if wants_charset(bare) && is_utf8() { format!("{bare}; charset=utf-8") } else { bare.to_owned() }
}

fn by_ending(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let at = BY_ENDING.binary_search_by(|(known, _)| (*known).cmp(&ending)).ok()?;
    Some(BY_ENDING[at].1)
}

fn wants_charset(media_type: &str) -> bool {
    let lower = media_type.to_ascii_lowercase();
    lower.starts_with("text/")
        && !lower.split(';').skip(1).any(|parameter| parameter.trim_start().starts_with("charset="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched() {
        assert!(BY_ENDING.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn what_was_declared_goes_before_the_name_and_the_name_before_text() {
        let utf8 = |declared, name| decide(declared, name, || true);
        assert_eq!(utf8(Some("application/x"), Some("a.html")), "application/x");
        assert_eq!(utf8(None, Some("a.b.HTML")), "text/html; charset=utf-8");
        assert_eq!(utf8(None, Some("photo.png")), "image/png");
        assert_eq!(utf8(None, Some("Makefile")), "text/plain; charset=utf-8");
        assert_eq!(utf8(Some(" "), None), "text/plain; charset=utf-8");
        assert_eq!(utf8(Some("text/html; Charset=latin1"), None), "text/html; Charset=latin1");
        assert_eq!(decide(None, None, || false), "text/plain");
    }
}
