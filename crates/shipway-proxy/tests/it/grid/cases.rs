//! The requests of the grid, made of the ways in which servers are known to differ.
//! Where one of them has a body, a request is hidden in it.

const HOST: &str = "Host: hello.localhost\r\n";
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: hello.localhost\r\n\r\n";

/// Every case.
pub(super) fn all() -> Vec<Vec<u8>> {
    let mut cases: Vec<String> = Vec::new();
    cases.extend(encodings());
    cases.extend(lengths());
    cases.extend(line_ends());
    cases.extend(chunks());
    cases.extend(request_lines());
    cases.extend(hosts());
    cases.extend(nominations());
    cases.extend(bodies());
    assert!(cases.len() >= 200, "{} cases", cases.len());
    // Bytes, not characters: 0x80 and above stand for themselves.
    cases.iter().map(|case| case.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()).collect()
}

/// A POST with these header lines, and a body that ends at once if it is read in
/// chunks, or hides a request if it is not.
fn post(lines: &str) -> String {
    format!("POST /post HTTP/1.1\r\n{HOST}{lines}\r\n0\r\n\r\n{HIDDEN}")
}

/// Spellings of Transfer-Encoding: alone, and beside a length.
fn encodings() -> Vec<String> {
    let spellings = [
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding:chunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \u{c}chunked",
        "Transfer-Encoding: \0chunked",
        "Transfer-Encoding: \u{a0}chunked",
        "Transfer-Encoding: chunked\u{85}",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: x\r\n\tchunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "X: y\r\r\nTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer\u{ad}-Encoding: chunked",
        "X-Transfer-Encoding: chunked",
        "Content-Encoding: chunked",
    ];
    let beside = |spelling: &str| post(&format!("Content-Length: {}\r\n{spelling}\r\n", 5 + HIDDEN.len()));
    let alone = |spelling: &str| post(&format!("{spelling}\r\n"));
    spellings.iter().flat_map(|spelling| [beside(spelling), alone(spelling)]).collect()
}

fn lengths() -> Vec<String> {
    let body = 5 + HIDDEN.len();
    let values = [
        format!("{body}"),
        format!("+{body}"),
        format!("-{body}"),
        format!("0{body}"),
        format!("000000000000000000000000{body}"),
        format!("{body}.0"),
        format!("{body},{body}"),
        format!("{body}, 0"),
        format!("0, {body}"),
        format!("{body} 0"),
        format!("{body};"),
        format!("{body}\t"),
        format!("\u{b}{body}"),
        format!("{body}\0"),
        format!("\"{body}\""),
        format!("0x{body:x}"),
        "1e1".to_owned(),
        "1_0".to_owned(),
        "5\u{b2}".to_owned(),
        String::new(),
        " ".to_owned(),
        "18446744073709551616".to_owned(),
        "18446744073709551621".to_owned(),
        "99999999999999999999999999".to_owned(),
        format!("{body}\r\nContent-Length: {body}"),
        format!("{body}\r\nContent-Length: 0"),
        format!("0\r\nContent-Length: {body}"),
        format!("{body}\r\nContent_Length: 0"),
        format!("\r\n {body}"),
    ];
    let names = ["Content-Length :", "Content_Length:", "Content-Length\0:", " Content-Length:", "Content-Length\t:"];
    let named = names.iter().map(|name| post(&format!("{name} {body}\r\n")));
    values.iter().map(|value| post(&format!("Content-Length: {value}\r\n"))).chain(named).collect()
}

fn line_ends() -> Vec<String> {
    let mut cases = Vec::new();
    for end in ["\n", "\r", "\r\r\n", "\n\r", "\u{b}", "\0\r\n", " \r\n", "\r\n "] {
        cases.push(format!("GET /line HTTP/1.1{end}{HOST}\r\n{HIDDEN}"));
        cases.push(format!("GET /line HTTP/1.1\r\nHost: hello.localhost{end}\r\n{HIDDEN}"));
        cases.push(format!("GET /line HTTP/1.1\r\n{HOST}X: y{end}Z: 1\r\n\r\n{HIDDEN}"));
        cases.push(format!("GET /line HTTP/1.1\r\n{HOST}{end}{HIDDEN}"));
    }
    cases
}

fn chunks() -> Vec<String> {
    let head = format!("POST /chunks HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n");
    let bodies = [
        "5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\rhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "05\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5;\nhello\r\n0\r\n\r\n",
        "5;a\nx\r\nhello\r\n0\r\n\r\n",
        "5 ;a\r\nhello\r\n0\r\n\r\n",
        "5,5\r\nhello\r\n0\r\n\r\n",
        "5\0\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "6\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFB\r\nhello\r\n0\r\n\r\n",
        "G\r\nhello\r\n0\r\n\r\n",
        "00000\r\n\r\n",
        "0;a=b\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "0\r\nContent-Length: 50\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ];
    bodies.iter().map(|body| format!("{head}{body}{HIDDEN}")).collect()
}

fn request_lines() -> Vec<String> {
    let lines = [
        "GET /plain HTTP/1.1",
        "GET /old HTTP/1.0",
        "GET /oldest",
        "GET / HTTP/0.9",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / HTTP/1.1 HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/01.1",
        "GET / HTTP/1.10",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        " GET / HTTP/1.1",
        "get /lower HTTP/1.1",
        "G\0ET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /a\0b HTTP/1.1",
        "GET /a\u{e4} HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://hello.localhost/absolute HTTP/1.1",
        "GET http://other.localhost/absolute HTTP/1.1",
        "GET http://user@hello.localhost/ HTTP/1.1",
        "GET //hello.localhost/ HTTP/1.1",
        "GET /%0d%0aX:%20y HTTP/1.1",
        "GET /..%2f..%2f HTTP/1.1",
        "CONNECT hello.localhost:80 HTTP/1.1",
        "TRACE / HTTP/1.1",
        "PRI * HTTP/2.0",
    ];
    lines.iter().map(|line| format!("{line}\r\n{HOST}\r\n")).collect()
}

fn hosts() -> Vec<String> {
    [
        "",
        "Host:\r\n",
        "Host: hello.localhost\r\nHost: hello.localhost\r\n",
        "Host: hello.localhost\r\nHost: other.localhost\r\n",
        "Host: hello.localhost, other.localhost\r\n",
        "Host: hello.localhost/x\r\n",
        "Host: user@hello.localhost\r\n",
        "Host: hello.localhost#x\r\n",
        "Host : hello.localhost\r\n",
        "Host: hello.localhost\0\r\n",
        "Host: hello.localhost:80:80\r\n",
        "Host: HELLO.LOCALHOST.:80\r\n",
        "X: y\r\n Host: hello.localhost\r\n",
        "Host: hello.localhost\r\nX-Forwarded-Host: other\r\nX_Request_Id: mine\r\n",
    ]
    .iter()
    .map(|host| format!("GET /host HTTP/1.1\r\n{host}\r\n"))
    .collect()
}

/// What `Connection` nominates must not change how a message is read.
fn nominations() -> Vec<String> {
    let names =
        ["content-length", "transfer-encoding", "host", "x-request-id", "close, content-length", "upgrade", "\0"];
    names.iter().map(|name| post(&format!("Connection: {name}\r\nContent-Length: {}\r\n", 5 + HIDDEN.len()))).collect()
}

/// Bodies where few expect one.
fn bodies() -> Vec<String> {
    let length = HIDDEN.len();
    let methods = ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "BREW"];
    let plain = methods
        .iter()
        .map(|method| format!("{method} /body HTTP/1.1\r\n{HOST}Content-Length: {length}\r\n\r\n{HIDDEN}"));
    let more = [
        "Expect: 100-continue",
        "Expect: 200-ok",
        "Upgrade: websocket\r\nConnection: upgrade",
        "Upgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "TE: trailers, chunked",
        "Trailer: Content-Length",
    ];
    let headed = more
        .iter()
        .map(|line| format!("POST /body HTTP/1.1\r\n{HOST}{line}\r\nContent-Length: {length}\r\n\r\n{HIDDEN}"));
    let upgraded = more.iter().map(|line| format!("GET /bodiless HTTP/1.1\r\n{HOST}{line}\r\n\r\n{HIDDEN}"));
    let old = format!("POST /old HTTP/1.0\r\n{HOST}Content-Length: {length}\r\nConnection: keep-alive\r\n\r\n{HIDDEN}");
    plain.chain(headed).chain(upgraded).chain([old]).collect()
}
