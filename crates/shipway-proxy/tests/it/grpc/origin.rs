//! A service that speaks HTTP/2 and nothing else, as gRPC's servers do: messages in
//! frames, a status behind them.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, request::Parts};
use shipway_proxy::{Endpoint, Protocol, RouteState};
use tokio::sync::Notify;

use crate::support::World;
use crate::upstreams::dialer_to;

/// One message in gRPC's frame: not compressed, its length, itself.
pub(super) fn message(text: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(text.len().try_into().unwrap());
    bytes.put_slice(text.as_bytes());
    bytes.freeze()
}

/// Messages as they come.
pub(super) struct Messages {
    body: RecvStream,
    rest: BytesMut,
}

impl Messages {
    pub(super) fn of(body: RecvStream) -> Self {
        Self { body, rest: BytesMut::new() }
    }

    /// The next one; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<String>, h2::Error> {
        loop {
            if let [0, a, b, c, d, ..] = self.rest[..] {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.rest.len() >= 5 + length {
                    let whole = self.rest.split_to(5 + length);
                    return Ok(Some(String::from_utf8(whole[5..].to_vec()).unwrap()));
                }
            }
            let Some(chunk) = self.body.data().await else {
                assert!(self.rest.is_empty(), "half a message");
                return Ok(None);
            };
            let chunk = chunk?;
            self.body.flow_control().release_capacity(chunk.len()).unwrap();
            self.rest.extend_from_slice(&chunk);
        }
    }

    /// All of them that are still to come.
    pub(super) async fn all(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(one) = self.next().await.unwrap() {
            all.push(one);
        }
        all
    }

    pub(super) async fn trailers(&mut self) -> HeaderMap {
        self.body.trailers().await.unwrap().unwrap_or_default()
    }
}

/// A running service.
pub(super) struct GrpcOrigin {
    pub(super) endpoint: Endpoint,
    pub(super) seen: Arc<Mutex<Vec<Parts>>>,
    /// Calls that ended because the other side gave them up.
    pub(super) given_up: Arc<AtomicUsize>,
    /// Connections so far.
    pub(super) connections: Arc<AtomicUsize>,
    goodbye: Arc<Notify>,
}

#[derive(Clone)]
struct Serving {
    name: &'static str,
    seen: Arc<Mutex<Vec<Parts>>>,
    given_up: Arc<AtomicUsize>,
}

impl GrpcOrigin {
    /// Starts one that calls itself `name`.
    pub(super) fn start(world: &World, name: &'static str) -> Self {
        let listener = world.runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let endpoint = dialer_to(world, &format!("{name}.dial"), 0, Some(address)).speaking(Protocol::H2c);
        let (seen, given_up, goodbye): (Arc<Mutex<Vec<Parts>>>, Arc<AtomicUsize>, Arc<Notify>) = Default::default();
        let connections = Arc::new(AtomicUsize::new(0));
        let serving = Serving { name, seen: Arc::clone(&seen), given_up: Arc::clone(&given_up) };
        let (farewell, count) = (Arc::clone(&goodbye), Arc::clone(&connections));
        world.runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                socket.set_nodelay(true).unwrap();
                tokio::spawn(connection(socket, serving.clone(), Arc::clone(&farewell)));
            }
        });
        Self { endpoint, seen, given_up, connections, goodbye }
    }

    pub(super) fn live(&self) -> RouteState {
        RouteState::Live { endpoint: self.endpoint.clone() }
    }

    /// Tells every connection that it takes no more calls (GOAWAY).
    pub(super) fn say_goodbye(&self) {
        self.goodbye.notify_waiters();
    }
}

async fn connection(socket: tokio::net::TcpStream, serving: Serving, farewell: Arc<Notify>) {
    // A test's own patience with small messages must not be what is tested.
    let handshake = h2::server::Builder::new().data_frame_budget(1 << 30).handshake(socket);
    let Ok(mut connection) = handshake.await else { return };
    let farewell = farewell.notified();
    tokio::pin!(farewell);
    let mut has_said_it = false;
    loop {
        tokio::select! {
            call = connection.accept() => {
                let Some(Ok((request, respond))) = call else { return };
                tokio::spawn(answer(serving.clone(), request, respond));
            }
            () = &mut farewell, if !has_said_it => {
                has_said_it = true;
                connection.graceful_shutdown();
            }
        }
    }
}

async fn answer(serving: Serving, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, body) = request.into_parts();
    let method = parts.uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    serving.seen.lock().unwrap().push(parts);
    let head = |status: u16| Response::builder().status(status).header("content-type", "application/grpc");
    match method.as_str() {
        // An error without a message: its status is in the first fields, and nothing follows.
        "Fail" => {
            let response = head(200).header("grpc-status", "5").header("grpc-message", "no such thing");
            respond.send_response(response.body(()).unwrap(), true).ok();
        }
        "ResetEarly" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
        "plain" => {
            let response = Response::builder().header("content-type", "text/plain").body(()).unwrap();
            let text = plain_text(&serving, body).await;
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data(text.into(), true).ok();
        }
        _ => call(&serving, &method, body, head(200).body(()).unwrap(), respond).await,
    }
}

async fn plain_text(serving: &Serving, mut body: RecvStream) -> String {
    let mut bytes = 0;
    while let Some(Ok(chunk)) = body.data().await {
        bytes += chunk.len();
        body.flow_control().release_capacity(chunk.len()).unwrap();
    }
    format!("{} got {bytes}", serving.name)
}

async fn call(serving: &Serving, method: &str, body: RecvStream, head: Response<()>, mut respond: SendResponse<Bytes>) {
    let mut asked = Messages::of(body);
    // A call's first message may come before its answer's head, and after long silence.
    let Ok(first) = asked.next().await else {
        serving.given_up.fetch_add(1, Ordering::SeqCst);
        return;
    };
    let first = first.unwrap_or_default();
    let mut send = respond.send_response(head, false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("served-by", serving.name.parse().unwrap());
    match method {
        "Unary" => say(&mut send, &format!("{} heard {first}", serving.name)),
        "Many" => (0..first.parse().unwrap()).for_each(|n| say(&mut send, &format!("{n}"))),
        "Sum" | "SumLater" => {
            let mut sum: u64 = first.parse().unwrap();
            if method == "SumLater" {
                tokio::time::sleep(std::time::Duration::from_millis(std::mem::take(&mut sum))).await;
            }
            while let Some(next) = asked.next().await.unwrap() {
                sum += next.parse::<u64>().unwrap();
            }
            say(&mut send, &sum.to_string());
            trailers.extend(asked.trailers().await);
        }
        "Chat" => {
            let mut next = Ok(Some(first));
            while let Ok(Some(text)) = next {
                say(&mut send, &text);
                next = tokio::select! {
                    next = asked.next() => next,
                    _ = poll_fn(|cx| send.poll_reset(cx)) => Err(Reason::CANCEL.into()),
                };
            }
            if next.is_err() {
                serving.given_up.fetch_add(1, Ordering::SeqCst);
                return;
            }
        }
        // When it is told so: a reset overtakes what is not sent yet.
        "Reset" => {
            say(&mut send, &first);
            let code: u32 = asked.next().await.unwrap().unwrap().parse().unwrap();
            return send.send_reset(code.into());
        }
        _ => trailers.insert("grpc-status", "12".parse().unwrap()).map_or((), drop),
    }
    send.send_trailers(trailers).ok();
}

/// Sends one message; what does not fit a window waits in memory, as tests are small.
pub(super) fn say(send: &mut SendStream<Bytes>, text: &str) {
    send.send_data(message(text), false).unwrap();
}
