//! What a script says before its output (RFC 3875 §6).
//!
//! A block of header lines counts only if it is valid from its first byte to the
//! empty line that ends it and names at least one of Content-Type, Location and
//! Status (§6.3). Anything else is output: a script that just prints is shown as
//! plain text, `Note: like this` included.

use crate::http::answer;

/// Longest block; a script that says more is taken at its output.
pub const BLOCK_BYTES_MAX: usize = 32 * 1024;

/// Most header lines in a block.
const LINES_MAX: usize = 100;

/// The type of output that does not say what it is.
pub const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

/// Headers a script does not set: they belong to the connection, not to it.
const NOT_PASSED: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What a script's header block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// 200 to 599.
    pub status: u16,
    /// As given, or empty.
    pub reason: String,
    /// To be sent, Content-Type and Location included, in the order given.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Content-Length, if a valid one was given.
    pub length: Option<u64>,
    /// The path to be answered in its place (§6.2.2), if that is what it says.
    pub local_redirect: Option<String>,
}

impl Block {
    /// The block of output that has none.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            status: 200,
            reason: String::new(),
            headers: vec![("Content-Type".to_owned(), PLAIN_TEXT.into())],
            length: None,
            local_redirect: None,
        }
    }

    /// Whether an answer with this status has a body at all (RFC 9110 §6.4.1).
    #[must_use]
    pub const fn has_body(&self) -> bool {
        has_body(self.status)
    }
}

const fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

/// Reads the block at the beginning of `output`: what it says, and where the
/// body begins. Output without a valid one is plain text from its first byte.
#[must_use]
pub fn split(output: &[u8]) -> (Block, usize) {
    parse(output).unwrap_or_else(|| (Block::plain(), 0))
}

fn parse(output: &[u8]) -> Option<(Block, usize)> {
    let mut fields = Fields::default();
    let mut at = 0;
    for _ in 0..=LINES_MAX {
        let window = &output[at..output.len().min(BLOCK_BYTES_MAX)];
        let end = window.iter().position(|byte| *byte == b'\n')?;
        let line = &window[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        at += end + 1;
        if line.is_empty() {
            return Some((fields.into_block()?, at));
        }
        fields.take(line)?;
    }
    None
}

/// The lines so far.
#[derive(Default)]
struct Fields {
    status: Option<(u16, String)>,
    content_type: bool,
    location: Option<String>,
    length: Option<u64>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Fields {
    /// Takes one line; `None` when it is no header line, or repeats one that may
    /// not be repeated.
    fn take(&mut self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?;
        let value = line[colon + 1..].trim_ascii();
        if !is_token(name) || !is_value(value) {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "status" => return set(&mut self.status, parse_status(value)?),
            "location" => set(&mut self.location, parse_location(value)?)?,
            "content-length" => self.length = std::str::from_utf8(value).ok()?.parse().ok(),
            "content-type" if self.content_type || value.is_empty() => return None,
            "content-type" => self.content_type = true,
            _ => {}
        }
        if !NOT_PASSED.contains(&lower.as_str()) {
            self.headers.push((name.to_owned(), value.to_vec()));
        }
        Some(())
    }

    fn into_block(mut self) -> Option<Block> {
        if self.status.is_none() && !self.content_type && self.location.is_none() {
            return None;
        }
        // What other servers do too: a path with a Status is for the client.
        let local_redirect = match (&self.status, self.location) {
            (None, Some(path)) if path.starts_with('/') && !path.starts_with("//") => Some(path),
            (None, Some(_)) => {
                self.status = Some((302, String::new()));
                None
            }
            _ => None,
        };
        let (status, reason) = self.status.unwrap_or((200, String::new()));
        if !self.content_type && has_body(status) {
            let plain = ("Content-Type".to_owned(), PLAIN_TEXT.into());
            self.headers.push(plain);
        }
        Some(Block { status, reason, headers: self.headers, length: self.length, local_redirect })
    }
}

fn set<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

/// `404` or `404 Not here`. A 1xx is not a script's to send.
fn parse_status(value: &[u8]) -> Option<(u16, String)> {
    let text = std::str::from_utf8(value).ok()?;
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let is_code = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let code: u16 = code.parse().ok().filter(|code| (200..600).contains(code))?;
    let reason = reason.trim();
    let reason = if reason == answer::phrase(code) { "" } else { reason };
    is_code.then(|| (code, reason.to_owned()))
}

fn parse_location(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let is_fine = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    is_fine.then(|| text.to_owned())
}

/// RFC 9110 §5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// RFC 9110 §5.5: no control characters, so that no line can be smuggled in.
fn is_value(value: &[u8]) -> bool {
    value.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows a block as `status reason|Name: value|…|body`.
    #[track_caller]
    fn check(output: &str, expected: &str) {
        let (block, at) = split(output.as_bytes());
        let mut shown = vec![format!("{} {}", block.status, block.reason).trim().to_owned()];
        for (name, value) in &block.headers {
            shown.push(format!("{name}: {}", String::from_utf8_lossy(value)));
        }
        shown.extend(block.local_redirect.map(|path| format!("→ {path}")));
        shown.push(output[at..].to_owned());
        assert_eq!(shown.join("|"), expected, "{output:?}");
    }

    #[test]
    fn a_valid_block_is_obeyed() {
        check("Content-Type: a/b\n\nhi", "200|Content-Type: a/b|hi");
        check("content-type:a/b\r\nX-Y: z\r\n\r\nhi", "200|content-type: a/b|X-Y: z|hi");
        check("Status: 404 Not Found\n\n", "404|Content-Type: text/plain; charset=utf-8|");
        check("Status: 418 Teapot\nContent-Type: a/b\n\nx", "418 Teapot|Content-Type: a/b|x");
        check(
            "Content-Type: a/b\nSet-Cookie: a\nSet-Cookie: b\n\n",
            "200|Content-Type: a/b|Set-Cookie: a|Set-Cookie: b|",
        );
        check(
            "Content-Type: a/b\nConnection: close\nTransfer-Encoding: chunked\nContent-Length: 7\n\n",
            "200|Content-Type: a/b|",
        );
    }

    #[test]
    fn redirects_are_local_or_the_clients() {
        let text = "Content-Type: text/plain; charset=utf-8";
        check("Location: /there?x\n\n", &format!("200|Location: /there?x|{text}|→ /there?x|"));
        check("Location: http://a/\n\n", &format!("302|Location: http://a/|{text}|"));
        check("Location: //a/\n\n", &format!("302|Location: //a/|{text}|"));
        check("Status: 301\nLocation: /there\n\n", &format!("301|Location: /there|{text}|"));
    }

    #[test]
    fn everything_else_is_plain_text() {
        for output in [
            "",
            "hello\n",
            "\nContent-Type: a/b\n\n",
            "Note: just text\n\nmore",
            "Content-Type: a/b\n",
            "Content-Type: a/b\nnot a header\n\n",
            "Content-Type: a/b\nContent-Type: c/d\n\n",
            "Content-Type: a/b\n folded\n\n",
            "Content-Type : a/b\n\n",
            "Content-Type:\n\n",
            "Status: abc\n\n",
            "Status: 099\n\n",
            "Status: 100\n\n",
            "Status: 600\n\n",
            "Status: +20\n\n",
            "Location: /a b\n\n",
            "Content-Type: a\rX: y\n\n",
            "HTTP/1.1 200 OK\nContent-Type: a/b\n\n",
        ] {
            check(output, &format!("200|Content-Type: text/plain; charset=utf-8|{output}"));
        }
        let endless = format!("Content-Type: a/b\nX: {}\n\n", "a".repeat(BLOCK_BYTES_MAX));
        assert_eq!(split(endless.as_bytes()).1, 0);
    }
}
