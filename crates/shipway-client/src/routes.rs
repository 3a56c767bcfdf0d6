//! One method per route.

use std::path::Path;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use shipway_api_types::{
    Event, Image, ImageBootstrap, ImageImported, LogLine, LogStream, NewToken, Page, Release, ReleaseDiff, Rollback,
    Service, ServicePut, ServiceState, Stats, Token, TokenCreate, Upload,
};
use tokio::io::AsyncReadExt;
use url::form_urlencoded;

use crate::request::{Call, read, read_json};
use crate::{Client, Error, Lines};

/// Read from a file at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Longest an upload may take.
const UPLOAD_TIME: Duration = Duration::from_secs(900);

/// Longest an import or a bootstrap may take.
const IMAGE_TIME: Duration = Duration::from_secs(4 * 3600);

/// Tells whether a deploy changed anything.
const CHANGED: HeaderName = HeaderName::from_static("shipway-changed");

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited<T> {
    /// The answer.
    pub value: T,
    /// False when the wait was too short: the change is still at work.
    pub done: bool,
}

/// What became of a deploy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    /// The service.
    pub service: Service,
    /// Whether it is new.
    pub created: bool,
    /// False when the live release was just like it, so that nothing had to change.
    pub changed: bool,
    /// False when the wait was too short: the deploy is still at work.
    pub done: bool,
}

/// What to read of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on when the end is reached.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines of this time or later: RFC 3339, or an age as `15m`.
    pub since: Option<String>,
    /// Only lines after the one with this cursor.
    pub cursor: Option<String>,
    /// Only lines of this output.
    pub stream: Option<LogStream>,
}

/// Builds a path with a query.
pub(crate) fn with_query(path: String, pairs: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    match query.finish() {
        query if query.is_empty() => path,
        query => format!("{path}?{query}"),
    }
}

/// `<folder>/<name>/<rest>`, with what a user typed made harmless.
pub(crate) fn below(folder: &str, name: &str, rest: &str) -> String {
    let safe: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    // That function writes a space as `+`, which only a query reads back.
    format!("{folder}/{}{rest}", safe.replace('+', "%20"))
}

fn service_path(reference: &str, rest: &str) -> String {
    below("/v1/services", reference, rest)
}

fn image_path(name: &str, rest: &str) -> String {
    below("/v1/images", name, rest)
}

fn wait_pair(wait: Duration) -> (&'static str, Option<String>) {
    ("wait", Some(wait.as_secs().to_string()))
}

impl Client {
    /// Deploys a service and waits until it is live.
    ///
    /// # Errors
    ///
    /// [`Error`]; a release that did not become ready is [`Error::Refused`].
    pub async fn deploy(&self, name: &str, put: &ServicePut, wait: Duration) -> Result<Deployed, Error> {
        let path = with_query(service_path(name, ""), &[wait_pair(wait)]);
        let call = Call::new(Method::PUT, path).json(put)?.patience(wait);
        let response = self.send(call).await?;
        let status = response.status();
        let same = response.headers().get(CHANGED).is_some_and(|value| value == "false");
        Ok(Deployed {
            service: read_json(response).await?,
            changed: !same,
            created: status == StatusCode::CREATED,
            done: status != StatusCode::ACCEPTED,
        })
    }

    /// Uploads a file, to be deployed by its digest.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when it cannot be read, and the others.
    pub async fn upload(&self, path: &Path) -> Result<Upload, Error> {
        let unreadable = |source| Error::File { path: path.display().to_string(), source };
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let length = file.metadata().await.map_err(unreadable)?.len();
        let chunks = stream::try_unfold(file, |mut file| async move {
            let mut chunk = bytes::BytesMut::with_capacity(CHUNK_BYTES);
            let read = file.read_buf(&mut chunk).await?;
            Ok((read > 0).then(|| (chunk.freeze(), file)))
        });
        let mut call = Call::new(Method::POST, "/v1/uploads").stream(chunks.boxed()).patience(UPLOAD_TIME);
        call.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        self.json(call).await
    }

    /// Uploads what is in memory, to be deployed by its digest.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn upload_bytes(&self, bytes: bytes::Bytes) -> Result<Upload, Error> {
        let mut call = Call::new(Method::POST, "/v1/uploads").bytes(bytes).patience(UPLOAD_TIME);
        let media = HeaderValue::from_static("application/octet-stream");
        call.headers.insert(header::CONTENT_TYPE, media);
        self.json(call).await
    }

    /// Imports an image: `archive` is sent as it comes, and an error in it ends the import.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn import_image(
        &self,
        name: &str,
        archive: BoxStream<'static, std::io::Result<bytes::Bytes>>,
    ) -> Result<ImageImported, Error> {
        self.json(Call::new(Method::PUT, image_path(name, "")).stream(archive).patience(IMAGE_TIME)).await
    }

    /// Has the server make an image of a distribution's packages.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn bootstrap_image(&self, name: &str, from: &str) -> Result<ImageImported, Error> {
        let call = Call::new(Method::POST, image_path(name, "/bootstrap")).patience(IMAGE_TIME);
        self.json(call.json(&ImageBootstrap { from: from.to_owned() })?).await
    }

    /// All images, page by page.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn images(&self) -> Result<Vec<Image>, Error> {
        let (mut images, mut cursor) = (Vec::new(), None);
        loop {
            let pairs = [("limit", Some("500".to_owned())), ("cursor", cursor)];
            let page: Page<Image> =
                self.json(Call::new(Method::GET, with_query("/v1/images".to_owned(), &pairs))).await?;
            images.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(images);
            }
        }
    }

    /// Reads an image.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn image(&self, name: &str) -> Result<Image, Error> {
        self.json(Call::new(Method::GET, image_path(name, ""))).await
    }

    /// Removes an image.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn remove_image(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(Method::DELETE, image_path(name, ""))).await.map(|_| ())
    }

    /// One page of services.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn services_page(
        &self,
        state: Option<ServiceState>,
        cursor: Option<&str>,
    ) -> Result<Page<Service>, Error> {
        let path = with_query(
            "/v1/services".to_owned(),
            &[
                ("limit", Some("200".to_owned())),
                ("state", state.map(|state| state.word().to_owned())),
                ("cursor", cursor.map(str::to_owned)),
            ],
        );
        self.json(Call::new(Method::GET, path)).await
    }

    /// All services, page by page.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn services(&self, state: Option<ServiceState>) -> Result<Vec<Service>, Error> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.services_page(state, cursor.as_deref()).await?;
            all.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    /// Reads a service, by id or name.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn service(&self, reference: &str) -> Result<Service, Error> {
        self.json(Call::new(Method::GET, service_path(reference, ""))).await
    }

    /// Waits, at most so long, until a service is no longer as `etag` names it.
    /// `None` when it still is.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn service_changed(&self, reference: &str, etag: &str, wait: Duration) -> Result<Option<Service>, Error> {
        let path = with_query(service_path(reference, ""), &[wait_pair(wait)]);
        let mut call = Call::new(Method::GET, path).patience(wait);
        let value =
            HeaderValue::from_str(etag).map_err(|_| Error::Nonsense("an etag with strange characters".to_owned()))?;
        call.headers.insert(header::IF_NONE_MATCH, value);
        let response = self.send(call).await?;
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        read_json(response).await.map(Some)
    }

    /// Deletes a service. `done` is false when the wait was too short.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn delete(&self, reference: &str, wait: Duration) -> Result<Waited<()>, Error> {
        let path = with_query(service_path(reference, ""), &[wait_pair(wait)]);
        let call = Call::new(Method::DELETE, path).patience(wait);
        let status = self.done(call).await?;
        Ok(Waited { value: (), done: status != StatusCode::ACCEPTED })
    }

    /// Starts a stopped service.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn start(&self, reference: &str, wait: Duration) -> Result<Waited<Service>, Error> {
        self.act(reference, "/start", None, wait).await
    }

    /// Stops a service.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn stop(&self, reference: &str, wait: Duration) -> Result<Waited<Service>, Error> {
        self.act(reference, "/stop", None, wait).await
    }

    /// Restarts a service.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn restart(&self, reference: &str, wait: Duration) -> Result<Waited<Service>, Error> {
        self.act(reference, "/restart", None, wait).await
    }

    /// Goes back to a release, or to the last one that was live before.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn rollback(
        &self,
        reference: &str,
        release: Option<u32>,
        wait: Duration,
    ) -> Result<Waited<Service>, Error> {
        self.act(reference, "/rollback", Some(Rollback { release }), wait).await
    }

    async fn act(
        &self,
        reference: &str,
        action: &str,
        body: Option<Rollback>,
        wait: Duration,
    ) -> Result<Waited<Service>, Error> {
        let path = with_query(service_path(reference, action), &[wait_pair(wait)]);
        let mut call = Call::new(Method::POST, path).patience(wait);
        if let Some(body) = body {
            call = call.json(&body)?;
        }
        let response = self.send(call).await?;
        let done = response.status() != StatusCode::ACCEPTED;
        Ok(Waited { value: read_json(response).await?, done })
    }

    /// One page of a service's releases, newest first.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn releases(&self, reference: &str, limit: u32, cursor: Option<&str>) -> Result<Page<Release>, Error> {
        let path = with_query(
            service_path(reference, "/releases"),
            &[("limit", Some(limit.to_string())), ("cursor", cursor.map(str::to_owned))],
        );
        self.json(Call::new(Method::GET, path)).await
    }

    /// Reads a release.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn release(&self, reference: &str, number: u32) -> Result<Release, Error> {
        let path = service_path(reference, &format!("/releases/{number}"));
        self.json(Call::new(Method::GET, path)).await
    }

    /// Compares two releases.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn diff(&self, reference: &str, from: u32, to: u32) -> Result<ReleaseDiff, Error> {
        let path = service_path(reference, &format!("/releases/{from}/diff/{to}"));
        self.json(Call::new(Method::GET, path)).await
    }

    /// Reads a service's log.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn logs(&self, reference: &str, options: &LogOptions) -> Result<Lines<LogLine>, Error> {
        let stream = options.stream.map(|stream| match stream {
            LogStream::Stdout => "stdout".to_owned(),
            LogStream::Stderr => "stderr".to_owned(),
        });
        let path = with_query(
            service_path(reference, "/logs"),
            &[
                ("format", Some("ndjson".to_owned())),
                ("follow", options.follow.then(|| "true".to_owned())),
                ("tail", options.tail.map(|lines| lines.to_string())),
                ("since", options.since.clone()),
                ("cursor", options.cursor.clone()),
                ("stream", stream),
            ],
        );
        let response = self.send(Call::new(Method::GET, path)).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// One page of what happened to a service, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn events(&self, reference: &str, cursor: Option<&str>) -> Result<Page<Event>, Error> {
        let path = with_query(
            service_path(reference, "/events"),
            &[("limit", Some("500".to_owned())), ("cursor", cursor.map(str::to_owned))],
        );
        self.json(Call::new(Method::GET, path)).await
    }

    /// What happens to a service, from its beginning and for ever.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn follow_events(&self, reference: &str, cursor: Option<&str>) -> Result<Lines<Event>, Error> {
        let path = with_query(
            service_path(reference, "/events"),
            &[
                ("format", Some("ndjson".to_owned())),
                ("follow", Some("true".to_owned())),
                ("cursor", cursor.map(str::to_owned)),
            ],
        );
        let response = self.send(Call::new(Method::GET, path)).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// What a service uses now.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn stats(&self, reference: &str) -> Result<Stats, Error> {
        let path = service_path(reference, "/stats");
        self.json(Call::new(Method::GET, path)).await
    }

    /// Makes a token.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn create_token(&self, create: &TokenCreate) -> Result<NewToken, Error> {
        self.json(Call::new(Method::POST, "/v1/tokens").json(create)?).await
    }

    /// All tokens, without their secrets.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn tokens(&self) -> Result<Vec<Token>, Error> {
        let page: Page<Token> = self.json(Call::new(Method::GET, "/v1/tokens")).await?;
        Ok(page.items)
    }

    /// Revokes a token.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn revoke_token(&self, id: &str) -> Result<(), Error> {
        let safe: String = form_urlencoded::byte_serialize(id.as_bytes()).collect();
        let path = format!("/v1/tokens/{safe}");
        self.done(Call::new(Method::DELETE, path)).await.map(|_| ())
    }

    /// Sends any request and returns status and body, whatever they are: for tests
    /// and for probes.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Result<http::Response<bytes::Bytes>, Error> {
        let mut call = Call::new(method, path);
        for (name, value) in headers {
            let value = HeaderValue::from_str(value)
                .map_err(|_| Error::Nonsense("a header with strange characters".to_owned()))?;
            call.headers.append(name.clone(), value);
        }
        let response = self.exchange(call.bytes(body.into())).await?;
        let (parts, body) = response.into_parts();
        let bytes = read(http::Response::new(body)).await?;
        Ok(http::Response::from_parts(parts, bytes))
    }
}
