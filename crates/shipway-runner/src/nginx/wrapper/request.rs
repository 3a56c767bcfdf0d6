//! What nginx and fcgiwrap say of a request, as the head it once was.
//!
//! The head is written down and read by the parser that the native runner has, so that
//! a script is told the same by both, and what one refuses the other refuses.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::config::Variable;
use crate::http::head::{self, Head, Refusal};

/// Makes the head from the variables of one request. Of those that begin with `HTTP_`
/// each is a header; a name is in the list once for each time it was sent.
///
/// # Errors
///
/// What is wrong with the request.
pub fn head(variables: &[Variable]) -> Result<Head, Refusal> {
    let find =
        |name: &str| variables.iter().find(|(known, _)| known == name).map_or(&b""[..], |(_, value)| bytes(value));
    let mut text = [find("REQUEST_METHOD"), find("REQUEST_URI"), find("SERVER_PROTOCOL")].join(&b' ');
    text.extend_from_slice(b"\r\n");
    for (name, value) in variables {
        let Some(name) = bytes(name).strip_prefix(b"HTTP_") else {
            continue;
        };
        // nginx lets no underscore through, so each was a hyphen.
        text.extend(name.iter().map(|byte| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }));
        text.extend_from_slice(b": ");
        text.extend_from_slice(bytes(value));
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    match head::parse(&text, 0)? {
        Some((head, used)) if used == text.len() => Ok(head),
        _ => Err(Refusal { status: 400, reason: "the request's head is malformed" }),
    }
}

fn bytes(text: &OsStr) -> &[u8] {
    text.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Framing, Target};

    fn variables(text: &str) -> Vec<Variable> {
        text.lines().filter_map(|line| line.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect()
    }

    #[test]
    fn a_head_is_what_it_was() {
        let head = head(&variables(
            "REQUEST_METHOD=POST\nREQUEST_URI=/a%20b?x=1\nSERVER_PROTOCOL=HTTP/1.1\nHTTP_HOST=a:1\n\
             HTTP_CONTENT_LENGTH=3\nHTTP_X_A=1\nHTTP_X_A=2\nCONTENT_TYPE=not/this\nFCGI_ROLE=RESPONDER",
        ))
        .unwrap();
        assert_eq!((head.method.as_str(), head.host.as_str(), head.framing), ("POST", "a:1", Framing::Length(3)));
        assert_eq!(head.target, Target::Path { path: "/a%20b".to_owned(), query: Some("x=1".to_owned()) });
        assert_eq!(head.list("x-a").as_deref(), Some("1, 2"));
        assert_eq!(head.all("content-type").count(), 0);
    }

    #[test]
    fn nothing_can_be_smuggled_in() {
        let common = "SERVER_PROTOCOL=HTTP/1.1\nHTTP_HOST=a\nREQUEST_METHOD=GET";
        for (more, status) in [
            ("REQUEST_URI=/ HTTP/1.1", 400),
            ("REQUEST_URI=", 400),
            ("REQUEST_URI=/\nHTTP_HOST=b", 400),
            ("REQUEST_URI=/\nHTTP_X\u{1}=b", 400),
        ] {
            let refused = head(&variables(&format!("{common}\n{more}"))).unwrap_err();
            assert_eq!(refused.status, status, "{more}");
        }
        let mut with_line = variables(&format!("{common}\nREQUEST_URI=/"));
        with_line.push(("HTTP_A".into(), "b\r\n\r\nGET /x HTTP/1.1".into()));
        assert_eq!(head(&with_line).unwrap_err().status, 400);
    }
}
