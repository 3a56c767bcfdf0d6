//! Sends requests, and tries again what may pass.
//!
//! One request is sent up to so many times, with waits that double and are half by chance, so that
//! many clients that were told to slow down do not come back at once. All our requests may be
//! sent twice: an object has the same bytes whoever writes it, and what a lost answer of a completion leaves is looked
//! for afterwards (see `upload`).

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use shipway_dial::trusting;
use shipway_stdx::backoff::Backoff;
use tokio::time::timeout;
use uuid::Uuid;

use super::classify::Answer;
use super::flowing::Flowing;
use crate::config::S3Limits;
use crate::layout::PREFIX;

/// What an answer that is no content may have. A list of a thousand keys is a third of this.
const WORDS_MAX: usize = 1 << 20;
/// However long a completion takes. Amazon speaks of several minutes.
const WORDS_WITHIN: Duration = Duration::from_secs(600);
/// What is sent has a second for each of these.
const SENT_PER_SECOND: u64 = 128 << 10;
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Connections that are kept open without a request.
const IDLE_MAX: usize = 16;

/// Gives everybody the one client.
#[derive(Debug)]
pub(super) struct Connector(pub(super) HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Sends requests.
#[derive(Debug)]
pub(super) struct Carrier {
    client: Client<shipway_dial::Connector, HttpRequestBody>,
    limits: S3Limits,
}

impl Carrier {
    pub(super) fn new(limits: S3Limits) -> Result<Self, String> {
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_max_idle_per_host(IDLE_MAX);
        builder.pool_idle_timeout(Duration::from_secs(15));
        let tls = trusting(None, "S3").map_err(|error| error.to_string())?;
        Ok(Self { client: builder.build(shipway_dial::Connector::new(tls, limits.connect)), limits })
    }

    /// Sends once.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Answer> {
        let sent = request.body().content_length() as u64;
        let limit = self.limits.answer + Duration::from_secs(sent / SENT_PER_SECOND);
        let what = Asked::of(&request);
        let answered = timeout(limit, self.client.request(request)).await;
        let response =
            answered.map_err(|_| Answer::late("an answer", limit))?.map_err(|error| Answer::broken(&error))?;
        if response.status().is_success() && !what.completes {
            return Ok(response.map(|body| HttpResponseBody::new(Flowing::new(body, self.limits.stall))));
        }
        let (head, body) = response.into_parts();
        let words = self.words(body).await?;
        match Answer::of(head.status, &words, what.key) {
            Some(answer) => Err(answer),
            None => Ok(Response::from_parts(head, HttpResponseBody::from(words))),
        }
    }

    /// The body of an answer that is short. It has to flow, and to end: a completion sends
    /// blanks for as long as it puts parts together.
    async fn words(&self, body: Incoming) -> Result<Bytes, Answer> {
        let limited = http_body_util::Limited::new(Flowing::new(body, self.limits.stall), WORDS_MAX);
        let read = timeout(WORDS_WITHIN, limited.collect()).await;
        let read = read.map_err(|_| Answer::late("the rest of an answer", WORDS_WITHIN))?;
        read.map(http_body_util::Collected::to_bytes).map_err(|error| Answer::broken(error.as_ref()))
    }
}

/// What sorting an answer needs to know of its request.
struct Asked {
    /// Whether it is a completion, that says 200 before it knows.
    completes: bool,
    /// Whether it is about a key, not the bucket.
    key: bool,
}

impl Asked {
    fn of(request: &HttpRequest) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let completes = request.method() == http::Method::POST && query.contains("uploadId=");
        Self { completes, key: request.uri().path().contains(PREFIX) }
    }
}

#[async_trait]
impl HttpService for Carrier {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let backoff = Backoff { first: self.limits.first_wait, longest: LONGEST_WAIT };
        let mut failures = 0;
        loop {
            let again = Request::from_parts(head.clone(), body.clone());
            let answer = match self.send(again).await {
                Ok(response) => return Ok(response),
                Err(answer) => answer,
            };
            failures += 1;
            if !answer.is_transient() || failures >= self.limits.tries {
                return Err(answer.into());
            }
            tracing::debug!(method = %head.method, path = head.uri.path(), %answer, failures, "S3 is asked again");
            tokio::time::sleep(half_by_chance(backoff.wait_after(failures))).await;
        }
    }
}

fn half_by_chance(wait: Duration) -> Duration {
    let [dice, ..] = Uuid::new_v4().into_bytes();
    wait / 2 + wait / 2 * u32::from(dice) / 255
}
