//! Module proxies that refuse, fail, lie and never end; and questions that none should hear.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use shipway_gobuild::Phase;
use shipway_gobuild::testing::ModuleProxy;
use shipway_gofarm::{FailureKind, Farm};
use tokio::task::JoinHandle;

use crate::plans::{example, plan, script};
use crate::world::World;

/// A module proxy over HTTP that serves a folder, but for some paths.
struct Served {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

type Twist = fn(&str, &mut Vec<u8>) -> Option<u16>;

/// `twist` may answer a path with a status instead, or change what is sent.
async fn serve(proxy: &ModuleProxy, twist: Twist) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://someone:secret@{}", listener.local_addr().unwrap());
    let (folder, heard) = (proxy.directory().to_owned(), Arc::new(Mutex::new(Vec::new())));
    let ears = Arc::clone(&heard);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (folder, heard) = (folder.clone(), Arc::clone(&ears));
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let path = request.uri().path().trim_start_matches('/').to_owned();
                heard.lock().unwrap().push(path.clone());
                let mut content = std::fs::read(folder.join(&path)).unwrap_or_default();
                let status = twist(&path, &mut content).unwrap_or(if content.is_empty() { 404 } else { 200 });
                let body = if status == 200 { content } else { b"these are the proxy's words\n".to_vec() };
                let answer = Response::builder().status(status).body(Full::new(Bytes::from(body))).unwrap();
                async { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Served { url, heard, serving }
}

pub(crate) async fn a_refusal_is_final_and_a_proxy_in_trouble_is_not(world: Arc<World>) {
    let proxy = example();
    let forbids = serve(&proxy, |path, _| path.starts_with("example.org/good").then_some(403)).await;
    let told = world.build(&forbids.url, &plan(&["example.org/good"])).await;
    let failure = told.failure();
    assert_eq!(failure.kind, FailureKind::Refused);
    assert!(failure.message.contains("refused by the module proxy"), "{failure:?}");
    assert!(failure.message.contains("these are the proxy's words"), "{failure:?}");
    assert!(!format!("{told:?}").contains("secret"), "credentials stay outside");
    // Nobody else is asked, not even one that has it.
    let list = format!("{},{}", forbids.url, proxy.url());
    assert_eq!(world.build(&list, &plan(&["example.org/good"])).await.failure().kind, FailureKind::Refused);
    let list = format!("{}|{}", forbids.url, proxy.url());
    assert_eq!(world.build(&list, &plan(&["example.org/good"])).await.built().program, ["good\n"]);

    let sick = serve(&proxy, |path, _| path.ends_with(".zip").then_some(503)).await;
    let told = world.build(&sick.url, &plan(&["example.org/good"])).await;
    assert_eq!(told.failure().kind, FailureKind::Proxy);
    assert!(told.failure().kind.is_transient());
    assert!(told.text().contains("Proxy: 502 example.org/"), "{}", told.text());
    // Nobody there at all.
    let away = world.build("http://127.0.0.1:9", &plan(&["example.org/good"])).await;
    assert!(away.failure().kind.is_transient(), "{:?}", away.failure());
}

pub(crate) async fn questions_of_other_kinds_never_leave(world: Arc<World>) {
    let proxy = example();
    let served = serve(&proxy, |_, _| None).await;
    let ask = r#"
ask() { printf '%s HTTP/1.0\r\nHost: x\r\n\r\n' "$1" | busybox timeout 5 busybox nc 127.0.0.1 4000 2>&1 | head -n 1 | tr -d '\r'; echo; }
ask 'GET /example.org/app/@v/list'
ask 'GET /sumdb/sum.test/supported'
ask 'GET /etc/passwd'
ask 'GET http://192.0.2.1/example.org/app/@v/list'
ask 'GET /example.org/app/@v/list?x=1'
ask 'GET /example.org/../../app/@v/list'
ask 'POST /example.org/app/@v/list'
ask 'CONNECT 192.0.2.1:443'
exit 1
"#;
    let told = world.build(&served.url, &script(Phase::Download, ask)).await;
    let text = told.text();
    let said: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Stdout: HTTP/1.")).collect();
    let said: Vec<&str> = said.iter().map(|line| &line[2..5]).collect();
    assert_eq!(said, ["200", "404", "403", "403", "403", "403", "405", "405"], "{text}");
    assert_eq!(*served.heard.lock().unwrap(), ["example.org/app/@v/list", "sumdb/sum.test/supported"]);
    assert!(text.contains("Proxy: 403 /etc/passwd: not of the module proxy protocol"), "{text}");
}

pub(crate) async fn a_checksum_database_is_reached_where_no_proxy_passes_it_on(world: Arc<World>) {
    let proxy = example();
    let database = serve(&ModuleProxy::new(), |path, content| {
        let known = matches!(path, "latest" | "lookup/example.org/good@v1.0.0");
        *content = if known { b"signed\n".to_vec() } else { Vec::new() };
        None
    })
    .await;
    let ask = r#"
for path in supported latest lookup/example.org/good@v1.0.0 tile/8/0/000; do
    printf "GET /sumdb/sum.test/$path HTTP/1.0\r\nHost: x\r\n\r\n" | busybox timeout 5 busybox nc 127.0.0.1 4000 2>&1 | head -n 1
done
exit 1
"#;
    let mut config = world.config(&proxy.url());
    config.checksums = Some(world.config(&database.url).proxies);
    let farm = Farm::new(Arc::new(world.benches.clone()), world.clock(), config);
    let told = world.build_by(&farm, &script(Phase::Download, ask), None).await;
    let text = told.text();
    let said: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Stdout: HTTP/1.0 ")).collect();
    let said: Vec<&str> = said.iter().map(|line| &line[..3]).collect();
    assert_eq!(said, ["200", "200", "200", "404"], "{text}");
    assert_eq!(*database.heard.lock().unwrap(), ["latest", "latest", "lookup/example.org/good@v1.0.0", "tile/8/0/000"]);
}

pub(crate) async fn what_a_build_may_fetch_is_bounded(world: Arc<World>) {
    let proxy = example();
    let mut config = world.config(&proxy.url());
    config.limits.door.questions = 3;
    let farm = Farm::new(Arc::new(world.benches.clone()), world.clock(), config.clone());
    let told = world.build_by(&farm, &plan(&["example.org/good"]), Some(world.cache.clone())).await;
    assert_eq!(told.failure().kind, FailureKind::TooMuch, "{:?}", told.failure());
    config.limits.door.questions = 1000;
    config.limits.door.bytes = 100;
    let farm = Farm::new(Arc::new(world.benches.clone()), world.clock(), config);
    let told = world.build_by(&farm, &plan(&["example.org/good"]), Some(world.cache.clone())).await;
    assert_eq!(told.failure().kind, FailureKind::TooMuch, "{:?}", told.failure());
    assert!(told.text().contains("Proxy: cut example.org/"), "{}", told.text());
}

pub(crate) async fn a_lying_proxy_is_found_out(world: Arc<World>) {
    static ZIPS: AtomicU64 = AtomicU64::new(0);
    let proxy = example();
    // Another archive than the one whose sum the cache knows: the program's own is in it.
    let liar = serve(&proxy, |path, content| {
        if path.ends_with("app/@v/v1.0.0.zip") {
            ZIPS.fetch_add(1, Ordering::Relaxed);
        }
        if path.ends_with("good/@v/v1.0.0.zip") {
            content.truncate(content.len() / 2);
        }
        None
    })
    .await;
    let told = world.build(&liar.url, &plan(&["example.org/good"])).await;
    let failure = told.failure();
    assert_eq!(failure.kind, FailureKind::Modules);
    let said = failure.lines.join("\n");
    assert!(said.contains("not a valid zip file"), "{said}");
    assert_eq!(ZIPS.load(Ordering::Relaxed), 0, "what the cache has is not fetched");

    // go.sum of the program says what a plugin's archive must be: another one is refused.
    let sums = "example.org/good v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let mut summed = plan(&["example.org/good"]);
    let path = "/go/src/go.sum".to_owned();
    summed.steps[1].files.push(shipway_gobuild::File { path, content: sums.into() });
    let told = world.build(&proxy.url(), &summed).await;
    assert_eq!(told.failure().kind, FailureKind::Checksum, "{:?}", told.failure());
    assert!(told.failure().lines.join("\n").contains("SECURITY ERROR"), "{:?}", told.failure());
}
