//! What takes long goes on through a redeploy of its service and a kill of the control
//! plane: events, an upgraded connection, a call of gRPC both ways, an upload, a download.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use shipway_testkit::wait_until;

use crate::world::{SOON, World};

const LARGE: usize = 64 << 20;
const CHUNK: usize = 1 << 20;

/// The program of `examples/long_lived.rs` and the libraries it needs.
fn root_file_system(at: &Path) {
    for folder in ["dev", "etc", "proc", "tmp"] {
        fs::create_dir_all(at.join(folder)).unwrap();
    }
    let program = example();
    fs::copy(&program, at.join("long_lived")).unwrap();
    let output = Command::new("ldd").arg(&program).output().unwrap();
    let listed = String::from_utf8(output.stdout).unwrap();
    for path in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let inside = at.join(&path[1..]);
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(path, &inside).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn example() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    me.parent().and_then(Path::parent).unwrap().join("examples/long_lived")
}

fn deploy(world: &World, service: &str, name: &str) {
    let name = format!("NAME={name}");
    let mut words = vec!["deploy", "--image", "long", "--port", "8000", "--env", &name, "--name", service];
    words.extend(match service {
        "calls" => &["--protocol", "h2c", "--health", "/", "--", "/long_lived", "8000", "h2c"][..],
        _ => &["--health", "/", "--", "/long_lived", "8000"],
    });
    world.ok(&words);
}

/// Sends a request's head and reads the answer's.
fn ask(address: SocketAddr, head: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON * 3)).unwrap();
    stream.set_write_timeout(Some(SOON * 3)).unwrap();
    write!(stream, "{head}\r\nhost: web.localhost\r\n\r\n").unwrap();
    BufReader::new(stream)
}

fn skip_head(reader: &mut BufReader<TcpStream>, status: &str) {
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(status), "{line}");
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
}

fn read_until(reader: &mut BufReader<TcpStream>, end: &str) {
    let mut line = String::new();
    while !line.ends_with(end) {
        assert!(reader.read_line(&mut line).unwrap() > 0, "{line}");
    }
}

/// A call both ways under way.
struct Call {
    send: SendStream<Bytes>,
    body: RecvStream,
}

impl Call {
    async fn begin(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(socket).await.unwrap();
        tokio::spawn(async move { connection.await.ok() });
        let request = http::Request::post("http://calls.localhost/echo.Echo/Chat")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let mut client = client.ready().await.unwrap();
        let (response, send) = client.send_request(request.body(()).unwrap(), false).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/grpc");
        let mut call = Self { send, body: response.into_body() };
        call.turn("one").await;
        call
    }

    async fn turn(&mut self, word: &'static str) {
        self.send.send_data(Bytes::from_static(word.as_bytes()), false).unwrap();
        assert_eq!(self.body.data().await.unwrap().unwrap(), word);
    }

    async fn end(mut self) {
        self.send.send_data(Bytes::new(), true).unwrap();
        assert!(self.body.data().await.is_none());
        assert_eq!(self.body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    }
}

fn containers(world: &World) -> usize {
    fs::read_dir(world.platform.state_dir().join("engine/containers")).unwrap().count()
}

#[test]
fn what_takes_long_goes_on_through_a_redeploy_and_a_kill() {
    let mut world = World::new();
    let home = tempfile::tempdir().unwrap();
    root_file_system(home.path());
    world.ok(&["image", "import", "long", home.path().to_str().unwrap()]);
    deploy(&world, "web", "first");
    deploy(&world, "calls", "first");
    let address = world.platform.address();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();

    let mut events = ask(address, "GET /events?silence=6000 HTTP/1.1");
    read_until(&mut events, "first\n");
    let mut chat = ask(address, "GET /chat HTTP/1.1\r\nconnection: upgrade\r\nupgrade: echo");
    skip_head(&mut chat, "101");
    let mut call = runtime.block_on(Call::begin(address));
    let mut download = ask(address, &format!("GET /download?bytes={LARGE} HTTP/1.1\r\nconnection: close"));
    skip_head(&mut download, "200");
    let mut upload = ask(address, &format!("POST /upload HTTP/1.1\r\nconnection: close\r\ncontent-length: {LARGE}"));
    let chunk = vec![b'u'; CHUNK];
    upload.get_mut().write_all(&chunk).unwrap();

    let before = containers(&world);
    for service in ["web", "calls"] {
        deploy(&world, service, "second");
        assert_eq!(world.visit(service), "second");
    }
    assert_eq!(containers(&world), before + 2, "the old ones have visitors");
    world.platform.kill().unwrap();
    world.platform.restart().unwrap();
    let address = world.platform.address();
    assert_eq!(world.visit("calls"), "second", "what it speaks is known after a restart");

    chat.get_mut().write_all(b"still there\n").unwrap();
    read_until(&mut chat, "still there\n");
    drop(chat);
    runtime.block_on(async {
        call.turn("two").await;
        call.end().await;
    });
    (1..LARGE / CHUNK).for_each(|_| upload.get_mut().write_all(&chunk).unwrap());
    skip_head(&mut upload, "200");
    let mut text = String::new();
    upload.read_to_string(&mut text).unwrap();
    assert_eq!(text, LARGE.to_string());
    assert_eq!(std::io::copy(&mut download, &mut std::io::sink()).unwrap(), LARGE as u64);
    read_until(&mut events, "second\n");

    // All have ended: so have their containers.
    wait_until("the old containers are gone", SOON * 3, || (containers(&world) == before).then_some(()));
    runtime.block_on(async { Call::begin(address).await.end().await });
}
