//! nginx's configuration, as text.
//!
//! Written once, at the start: content never changes under a release. A location whose
//! name begins with two slashes cannot be asked for, because nginx merges slashes.

use std::fmt::Write as _;
use std::path::Path;

use crate::config::{Config, Kind};
use crate::content;
use crate::nginx::{HOME, LOG};
use crate::server::limits;

/// What stands in a configuration that is not the same in each.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What is served, and its limits.
    pub config: &'a Config,
    /// The listening socket, as `listen` names it.
    pub listen: &'a str,
    /// Where nginx writes.
    pub work: &'a Path,
    /// The folder of everything made at the start.
    pub home: &'a Path,
    /// The socket of fcgiwrap.
    pub fcgi: &'a Path,
    /// What fcgiwrap runs.
    pub wrapper: &'a Path,
    /// The wrapper's descriptor for the log.
    pub log: i32,
    /// Connections at once.
    pub connections: usize,
    /// Why content cannot be served, if so.
    pub obstacle: Option<&'a str>,
}

/// nginx counts its listening socket and its channel to the master as connections; a few
/// are for visitors who are told to come back.
const OWN_CONNECTIONS: usize = 16;

/// Answers of ours are text; content's own type stands in its location.
const TEXT: &str = "default_type \"text/plain; charset=utf-8\";";

/// Writes the configuration.
#[must_use]
pub fn text(facts: &Facts<'_>) -> String {
    let mut text = String::with_capacity(4096);
    general(&mut text, facts);
    match facts.config.kind {
        Kind::Static => file(&mut text, facts),
        Kind::Script => script(&mut text, facts),
    }
    text.push_str("  }\n}\n");
    text
}

/// Adds lines. Writing to a string cannot fail.
macro_rules! add {
    ($text:expr, $($format:tt)*) => { writeln!($text, $($format)*).unwrap_or_default() };
}

fn general(text: &mut String, facts: &Facts<'_>) {
    let drain = facts.config.timeout + limits::DRAIN_EXTRA;
    add!(text, "daemon off;\nworker_processes 1;\nerror_log stderr warn;");
    add!(text, "pid {};", quoted(&facts.work.join("pid").to_string_lossy()));
    add!(text, "worker_shutdown_timeout {}ms;", drain.as_millis());
    add!(text, "events {{ worker_connections {}; }}", facts.connections);
    add!(text, "http {{");
    add!(text, "  access_log off; server_tokens off; etag off; sendfile on; types {{ }} {TEXT}");
    // Made at the start, never written to: nothing is kept in files.
    for name in ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"] {
        add!(text, "  {name}_temp_path {};", quoted(&facts.work.join(name).to_string_lossy()));
    }
    add!(text, "  client_header_timeout {}s; send_timeout {}s;", limits::HEAD.as_secs(), limits::STALL.as_secs());
    add!(text, "  keepalive_timeout {}s; keepalive_requests 1000000;", limits::IDLE.as_secs());
    add!(text, "  lingering_time {0}s; lingering_timeout {0}s;", limits::LINGER.as_secs());
    add!(text, "  client_max_body_size 0; client_body_timeout {}s;", limits::STALL.as_secs());
    add!(text, "  large_client_header_buffers 4 64k;");
    // The only way to write the sign itself where variables are read.
    add!(text, "  geo $dollar {{ default \"$\"; }}");
    before_server(text, facts);
    add!(text, "  server {{\n    listen {};", quoted(facts.listen));
    no_request(text, facts);
}

/// `OPTIONS *` is not a request that nginx knows, so it is answered among those that are
/// none. It tells the same every time: what is served does not change.
fn no_request(text: &mut String, facts: &Facts<'_>) {
    add!(text, "    error_page 400 = //refused;");
    add!(text, "    location = //refused {{");
    add!(text, "      internal;");
    let ready = facts.obstacle.map_or_else(|| "204".to_owned(), |why| format!("503 {}", read(&format!("{why}\n"))));
    add!(text, "      if ($request ~ \"^OPTIONS \\* HTTP/1\\.[01]$\") {{ return {ready}; }}");
    add!(text, "      return 400 \"the request is malformed\\n\";\n    }}");
}

fn before_server(text: &mut String, facts: &Facts<'_>) {
    if facts.config.kind == Kind::Script {
        add!(text, "  limit_conn_zone all zone=seats:64k; limit_conn_status 503; limit_conn_log_level info;");
        return;
    }
    let tag = content::etag(facts.config).replace('"', "\\\"");
    add!(text, "  map $request_uri $elsewhere {{ default 1; \"~^/(\\?|$)\" 0; }}");
    add!(text, "  map $request_method $other_method {{ default 1; GET 0; HEAD 0; }}");
    add!(text, "  map $http_if_none_match $is_known {{ default 0; \"*\" 1; \"~{tag}\" 1; }}");
}

/// The file at `/`. nginx has no tag of its own that would tell two files of one length
/// from one second apart, so the tag is the digest, and is compared here.
fn file(text: &mut String, facts: &Facts<'_>) {
    let tag = read(&content::etag(facts.config));
    let serve = format!(
        "root /; default_type {}; add_header ETag {tag}; try_files {} =404;",
        quoted(&content::media_type(facts.config)),
        read(&facts.config.content.to_string_lossy()),
    );
    // Only an error of 400 or more has a page; its status becomes 304.
    add!(text, "    error_page 418 =304 //known;\n    location / {{");
    add!(text, "      if ($elsewhere) {{ rewrite ^ //absent last; }}");
    add!(text, "      if ($other_method) {{ rewrite ^ //method last; }}");
    add!(text, "      if ($is_known) {{ return 418; }}\n      {serve}\n    }}");
    // Under that status nginx sends the head of the file and no body.
    add!(text, "    location = //known {{ internal; {serve} }}");
    add!(text, "    location = //absent {{ internal; return 404 \"there is one file here, at /\\n\"; }}");
    add!(text, "    location = //method {{\n      internal; add_header Allow \"GET, HEAD\" always;");
    add!(text, "      return 405 \"this file can be read with GET and HEAD\\n\";\n    }}");
}

/// Everything to the wrapper; nothing waits in nginx longer than a request may take.
fn script(text: &mut String, facts: &Facts<'_>) {
    let config = facts.config;
    let seats = config.concurrency;
    let wait = config.timeout + limits::QUEUE.min(config.timeout) + limits::DRAIN_EXTRA;
    add!(text, "    error_page 502 = //ended;\n    error_page 503 = //busy;\n    error_page 504 = //late;");
    let busy = "add_header Retry-After 1 always; return 503 \"too many requests at once: every seat";
    add!(text, "    location = //ended {{ internal; return 502 \"the script ended without an answer\\n\"; }}");
    add!(text, "    location = //busy {{ internal; {busy} is taken and many wait\\n\"; }}");
    add!(text, "    location = //late {{ internal; {busy} stayed taken\\n\"; }}");
    // Each has a connection to fcgiwrap beside its own.
    let most =
        seats.saturating_mul(1 + limits::QUEUE_PER_SEAT).min(facts.connections.saturating_sub(OWN_CONNECTIONS) / 2);
    add!(text, "    location / {{\n      limit_conn seats {};", most.max(1));
    add!(text, "      fastcgi_pass {};", quoted(&format!("unix:{}", facts.fcgi.display())));
    add!(text, "      fastcgi_keep_conn on; fastcgi_request_buffering off; fastcgi_buffer_size 40k;");
    add!(text, "      fastcgi_buffers 4 40k; fastcgi_busy_buffers_size 80k;");
    add!(text, "      fastcgi_max_temp_file_size 0; fastcgi_read_timeout {}ms;", wait.as_millis());
    add!(text, "      fastcgi_send_timeout {}s;", limits::STALL.as_secs());
    // A script's answer is its own: none of its headers is an order to nginx.
    let accel = ["X-Accel-Redirect", "X-Accel-Expires", "X-Accel-Limit-Rate", "X-Accel-Buffering", "X-Accel-Charset"];
    add!(text, "      fastcgi_ignore_headers {};", accel.join(" "));
    for name in accel {
        add!(text, "      fastcgi_pass_header {name};");
    }
    let wrapper = read(&facts.wrapper.to_string_lossy());
    add!(text, "      fastcgi_param SCRIPT_FILENAME {wrapper}; fastcgi_param FCGI_CHDIR -;");
    add!(
        text,
        "      fastcgi_param {HOME} {}; fastcgi_param {LOG} {};",
        read(&facts.home.to_string_lossy()),
        facts.log
    );
    add!(text, "      fastcgi_param REQUEST_METHOD $request_method; fastcgi_param REQUEST_URI $request_uri;");
    add!(text, "      fastcgi_param SERVER_PROTOCOL $server_protocol;\n    }}");
}

/// A word of the configuration in which variables are not read.
fn quoted(text: &str) -> String {
    let plain: String = text.chars().filter(|letter| !letter.is_control() || *letter == '\n').collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A word of the configuration in which variables are read.
fn read(text: &str) -> String {
    quoted(text).replace('$', "${dollar}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("a; \"b\" \\ $c\r\n"), r#""a; \"b\" \\ $c\n""#);
        assert_eq!(read("$a\"$"), r#""${dollar}a\"${dollar}""#);
    }
}
