//! `/docs`: the OpenAPI document as one page, without scripts and without anything
//! from elsewhere.
//!
//! Rendered once at start. The policy allows exactly one style sheet, by its hash,
//! and nothing else: a page on the API's own origin must not be a way in.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::Value;
use sha2::{Digest, Sha256};
use shipway_api_types::ProblemCode;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:56rem;padding:2rem 1rem;color:#1c2430;background:#fbfbf9}\
h1{margin:0}h2{margin:2.5rem 0 .5rem;border-bottom:1px solid #d8d8d0}\
code,pre{font:14px/1.5 ui-monospace,monospace}pre{background:#f0f0ea;padding:.75rem;overflow:auto}\
details{border:1px solid #d8d8d0;border-radius:6px;margin:.5rem 0;padding:.5rem .75rem;background:#fff}\
summary{cursor:pointer}summary b{display:inline-block;min-width:4.5rem}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;border-top:1px solid #e8e8e2}\
.dim{color:#667}@media(prefers-color-scheme:dark){body{color:#d8dce4;background:#14171c}details{background:#1a1e25;border-color:#333a45}pre{background:#0e1014}h2,td,th{border-color:#333a45}a{color:#8ab4ff}.dim{color:#98a}}";

/// The page and the policy it comes with.
#[derive(Debug, Clone)]
pub(crate) struct DocsPage {
    pub(crate) html: String,
    pub(crate) policy: HeaderValue,
}

impl DocsPage {
    /// Renders a document.
    pub(crate) fn of(document: &Value) -> Self {
        let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self {
            html: page(document),
            policy: HeaderValue::from_str(&policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'")),
        }
    }
}

fn page(document: &Value) -> String {
    let mut html = String::with_capacity(128 << 10);
    let info = &document["info"];
    let version = escape(text(&info["version"]));
    html.push_str("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    html.push_str("<meta name=\"viewport\" content=\"width=device-width\">");
    html.push_str("<title>Shipway API</title><style>");
    html.push_str(STYLE);
    html.push_str("</style><h1>Shipway API</h1>");
    add(
        &mut html,
        format_args!(
            "<p class=dim>{version} · <a href=\"/openapi.json\">openapi.json</a> · <a href=\"#problems\">problems</a> · <a href=\"#shapes\">shapes</a></p>"
        ),
    );
    for paragraph in text(&info["description"]).split("\n\n") {
        add(&mut html, format_args!("<p>{}</p>", marked(paragraph)));
    }
    operations(&mut html, document);
    problems(&mut html);
    shapes(&mut html, document);
    html
}

fn add(html: &mut String, arguments: std::fmt::Arguments<'_>) {
    html.push_str(&arguments.to_string());
}

fn operations(html: &mut String, document: &Value) {
    let mut tag = "";
    for (path, methods) in object(&document["paths"]) {
        for (method, operation) in object(methods) {
            let own = text(&operation["tags"][0]);
            if own != tag {
                tag = own;
                add(html, format_args!("<h2>{}</h2>", escape(tag)));
            }
            self::operation(html, path, method, operation);
        }
    }
}

fn operation(html: &mut String, path: &str, method: &str, operation: &Value) {
    let id = escape(text(&operation["operationId"]));
    let summary = escape(text(&operation["summary"]));
    let (method, path) = (method.to_uppercase(), escape(path));
    add(
        html,
        format_args!(
            "<details id=\"{id}\"><summary><b>{method}</b> <code>{path}</code> <span class=dim>{summary}</span></summary>"
        ),
    );
    add(html, format_args!("<p>{}</p>", marked(text(&operation["description"]))));
    if let Value::Array(parameters) = &operation["parameters"] {
        html.push_str("<table>");
        for parameter in parameters {
            add(
                html,
                format_args!(
                    "<tr><td><code>{}</code><td class=dim>{}<td>{}",
                    escape(text(&parameter["name"])),
                    escape(text(&parameter["in"])),
                    marked(text(&parameter["description"])),
                ),
            );
        }
        html.push_str("</table>");
    }
    if operation["requestBody"].is_object() {
        add(html, format_args!("<p>Body: {}</p>", media(&operation["requestBody"])));
    }
    html.push_str("<table>");
    for (status, response) in object(&operation["responses"]) {
        add(
            html,
            format_args!(
                "<tr><td><code>{}</code><td>{} {}",
                escape(status),
                marked(text(&response["description"])),
                media(response),
            ),
        );
    }
    html.push_str("</table></details>");
}

/// The media types of a body, each with a link to its shape.
fn media(body: &Value) -> String {
    let mut told = Vec::new();
    for (media, content) in object(&body["content"]) {
        let shape = text(&content["schema"]["$ref"]).rsplit('/').next().unwrap_or_default();
        told.push(if shape.is_empty() {
            format!("<code>{}</code>", escape(media))
        } else {
            format!("<code>{}</code> <a href=\"#shape-{shape}\">{shape}</a>", escape(media), shape = escape(shape),)
        });
    }
    told.join(", ")
}

fn problems(html: &mut String) {
    html.push_str("<h2 id=problems>Problems</h2><table>");
    for code in ProblemCode::ALL {
        add(
            html,
            format_args!(
                "<tr id=\"{word}\"><td><code>{word}</code><td>{}<td>{}",
                code.status(),
                marked(code.doc().trim()),
                word = code.word(),
            ),
        );
    }
    html.push_str("</table>");
}

fn shapes(html: &mut String, document: &Value) {
    html.push_str("<h2 id=shapes>Shapes</h2>");
    for (name, shape) in object(&document["components"]["schemas"]) {
        let name = escape(name);
        add(
            html,
            format_args!(
                "<details id=\"shape-{name}\"><summary><code>{name}</code> <span class=dim>{}</span></summary><pre>{}</pre></details>",
                marked(text(&shape["description"]).lines().next().unwrap_or_default()),
                escape(&format!("{shape:#}")),
            ),
        );
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Escapes, and sets what stands between backticks as code.
fn marked(text: &str) -> String {
    let mut html = String::new();
    for (at, part) in text.split('`').enumerate() {
        let part = escape(part);
        match at % 2 {
            0 => html.push_str(&part),
            _ => add(&mut html, format_args!("<code>{part}</code>")),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_operation_and_nothing_from_elsewhere() {
        let document = crate::openapi::document("1.2.3");
        let page = DocsPage::of(&document);
        for wanted in ["1.2.3", "id=\"deploy\"", "id=\"fetch_refused\"", "shape-Service"] {
            assert!(page.html.contains(wanted), "{wanted}");
        }
        for foreign in ["<script", "src=", "http://", "//cdn"] {
            let found = page.html.match_indices(foreign).next();
            // Examples in the text may show an address; nothing may load one.
            let loads = foreign != "http://" && found.is_some();
            assert!(!loads, "{foreign}");
        }
    }

    #[test]
    fn what_looks_like_markup_is_text() {
        assert_eq!(marked("a <b> `c<d>`"), "a &lt;b&gt; <code>c&lt;d&gt;</code>");
    }
}
