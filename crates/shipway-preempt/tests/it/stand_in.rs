//! A metadata service that answers as its test says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use shipway_preempt::{Preempted, Preemption, Provider, watch};
use tokio::net::TcpListener;

/// Whole seconds would make these tests slow; the clouds' own pace is the operator's.
const EVERY: Duration = Duration::from_millis(5);
/// A test that waits longer has failed.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) type Asked = Request<Bytes>;
pub(crate) type Answer = Response<Full<Bytes>>;

/// The service, and what it was asked.
pub(crate) struct StandIn {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl StandIn {
    /// Answers each question by `answer`, which is also told how many there were before.
    pub(crate) async fn start(answer: impl Fn(usize, &Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let asked = Request::from_parts(head, body);
                        let before = log.lock().unwrap().len();
                        let answered = answer(before, &asked);
                        log.lock().unwrap().push(asked);
                        Ok::<_, Infallible>(answered)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { address, asked }
    }

    pub(crate) fn watch(&self, provider: Provider) -> Box<dyn Preemption> {
        watch(provider, EVERY, Some(&self.address)).unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Answer {
    Response::builder().status(status).body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}

pub(crate) fn google(body: &str) -> Answer {
    let mut answer = answer(200, body);
    answer.headers_mut().insert("metadata-flavor", "Google".parse().unwrap());
    answer
}

pub(crate) async fn foreseen(preemption: &mut dyn Preemption) -> Preempted {
    tokio::time::timeout(LIMIT, preemption.foreseen()).await.expect("it is told in time")
}
