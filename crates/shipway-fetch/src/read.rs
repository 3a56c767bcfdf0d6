//! One answer read: its head judged, its body into the blob store.

use http::{HeaderMap, Response, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use shipway_model::Source;
use tokio::time::{Duration, timeout};
use url::Url;

use crate::blobs::{BlobError, Blobs};
use crate::error::FetchError;
use crate::fetcher::Connection;

/// A longer type is none.
const TYPE_BYTES_MAX: usize = 255;
/// A longer name is cut: file systems know no longer ones.
const NAME_CHARS_MAX: usize = 100;

/// How long after its last byte an origin may take to show that there was more.
const AFTERMATH: Duration = Duration::from_secs(1);

/// An answer whose body is still to be read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) answer: Response<Incoming>,
    pub(crate) connection: Connection,
}

/// Reads the body of a 200 into the blob store.
pub(crate) async fn read(
    url: &Url,
    Answer { answer, mut connection }: Answer,
    blobs: &Blobs,
    cap: u64,
    idle: Duration,
) -> Result<Source, FetchError> {
    let headers = answer.headers();
    refuse_encoding(headers)?;
    refuse_coding(headers)?;
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > cap) {
        return Err(FetchError::TooLarge { limit: cap });
    }
    let content_type = content_type(headers);
    let mut writer = blobs.begin(cap).await?;
    let mut body = answer.into_body();
    loop {
        let frame = match timeout(idle, body.frame()).await {
            Err(_) => {
                return Err(FetchError::Timeout { what: "the next piece of the content", seconds: idle.as_secs() });
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                let read = writer.written();
                return Err(FetchError::Failed(format!("the content broke off after {read} bytes: {error}")));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        if let Some(data) = frame.data_ref() {
            writer.write(data).await.map_err(|error| too_large(error, cap))?;
        }
    }
    if let Ok(Some(Ok(true))) = timeout(AFTERMATH, connection.join_next()).await {
        let read = writer.written();
        return Err(FetchError::Failed(format!("the origin announced {read} bytes and sent more")));
    }
    let blob = writer.finish().await?;
    Ok(Source {
        digest: blob.digest,
        size_bytes: blob.size_bytes,
        content_type,
        file_name: file_name(url),
        url: Some(url.to_string()),
    })
}

fn too_large(error: BlobError, cap: u64) -> FetchError {
    match error {
        BlobError::TooLarge { .. } => FetchError::TooLarge { limit: cap },
        error => FetchError::Storage(error),
    }
}

/// We asked for the content as it is; anything else is not what was asked for,
/// and unpacking it is how a kilobyte becomes a gigabyte.
fn refuse_encoding(headers: &HeaderMap) -> Result<(), FetchError> {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    match encodings.map(|value| value.to_str().unwrap_or("?")).find(|value| !value.eq_ignore_ascii_case("identity")) {
        None => Ok(()),
        Some(encoding) => {
            let shown: String = encoding.chars().take(40).collect();
            Err(FetchError::Failed(format!("the origin sent the content as `{shown}` although it was asked not to")))
        }
    }
}

/// A transfer coding other than `chunked` packs as well (RFC 9112 §7.2).
fn refuse_coding(headers: &HeaderMap) -> Result<(), FetchError> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        Ok(())
    } else {
        Err(FetchError::Failed("the origin sent the content in a transfer coding that nobody asked for".to_owned()))
    }
}

/// The declared type, if it is one (RFC 9110 §8.3.1) and stands alone.
fn content_type(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let text = value.to_str().ok()?.trim();
    let (kind, sub) = text.split(';').next()?.trim().split_once('/')?;
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*'%|~`".contains(&b))
    };
    (text.len() <= TYPE_BYTES_MAX && token(kind) && token(sub)).then(|| text.to_owned())
}

/// The last part of the path, with nothing in it that a path or a header could trip over.
fn file_name(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back()?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = last.chars().take(NAME_CHARS_MAX).map(plain).collect();
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_one_well_formed_type_is_kept() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            content_type(&headers)
        };
        assert_eq!(of(&["text/html; charset=utf-8"]).as_deref(), Some("text/html; charset=utf-8"));
        for bad in [&[][..], &["text"], &["/x"], &["te xt/html"], &["text/html", "text/plain"], &["text/<script>"]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_file_name_is_the_last_part_made_harmless() {
        let of = |text: &str| file_name(&Url::parse(text).unwrap());
        assert_eq!(of("http://h/a/b.sh?x=/y").as_deref(), Some("b.sh"));
        assert_eq!(of("http://h/a%2F..%00b").as_deref(), Some("a_2F.._00b"));
        assert_eq!(of("http://h/"), None);
        assert_eq!(of("http://h").as_deref(), None);
        assert_eq!(of(&format!("http://h/{}", "x".repeat(500))).map(|name| name.len()), Some(NAME_CHARS_MAX));
    }
}
