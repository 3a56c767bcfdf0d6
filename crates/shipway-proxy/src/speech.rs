//! The same request in the words of HTTP/1.1 and of HTTP/2.
//!
//! What a service speaks is known only when a request has found its endpoint, and may
//! be something else at the next try, so a request is put into either form as it
//! goes out.

use http::header::{CONNECTION, HOST, TE, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri};

use crate::wire::Protocol;

/// Puts `request` into the words of `protocol`.
pub(crate) fn put_into<B>(protocol: Protocol, request: &mut Request<B>) {
    match protocol {
        Protocol::Http1 => http1(request),
        Protocol::H2c => h2c(request),
    }
}

/// The authority is a pseudo-header, and nothing is said of the connection (RFC 9113
/// §8.2.2); `te: trailers` stays.
fn h2c<B>(request: &mut Request<B>) {
    request.headers_mut().remove(CONNECTION);
    request.headers_mut().remove(UPGRADE);
    let host = request.headers().get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(authority) = host else { return };
    let mut parts = request.uri().clone().into_parts();
    (parts.scheme, parts.authority) = (Some(Scheme::HTTP), Some(authority));
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
        request.headers_mut().remove(HOST);
    }
}

/// Back again.
fn http1<B>(request: &mut Request<B>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(HOST, host);
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    if request.headers().contains_key(TE) && !request.headers().contains_key(CONNECTION) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> Request<()> {
        let host = "hello.localhost:8080";
        let request = Request::get(target).header(HOST, host).header(TE, "trailers").header(CONNECTION, "te");
        request.body(()).unwrap()
    }

    #[test]
    fn there_and_back_is_the_same() {
        for target in ["/", "/a/b?c=d&e=%20", "*"] {
            let before = request(target);
            let mut now = request(target);
            put_into(Protocol::H2c, &mut now);
            assert_eq!(now.uri().authority().unwrap(), "hello.localhost:8080");
            assert_eq!(now.uri().path_and_query(), before.uri().path_and_query());
            assert_eq!(now.headers().len(), 1, "{now:?}");
            put_into(Protocol::Http1, &mut now);
            assert_eq!((now.uri(), now.headers()), (before.uri(), before.headers()));
        }
    }

    #[test]
    fn an_upgrade_is_not_asked_of_http2() {
        let mut request =
            Request::get("/").header(HOST, "a").header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
        let mut request = std::mem::take(&mut request).body(()).unwrap();
        put_into(Protocol::H2c, &mut request);
        assert!(request.headers().is_empty(), "{request:?}");
    }
}
