//! Names: answered, unless they lead where the packet filter would not.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use shipway_egress::{Config, Policy, Upstreams};

use crate::world::{Container, LIMIT, PORT, PUBLIC, RESOLVER, World, nft, socket, tcp, udp, wait_until};

/// What the resolver of the fake internet says, and how it misbehaves.
fn resolve(question: &Message) -> Vec<Message> {
    let query = question.queries[0].clone();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    answer.add_query(query.clone());
    let name = query.name.to_string();
    let mut say = |address: &str| {
        let data = match address.parse().unwrap() {
            IpAddr::V4(address) => RData::A(A(address)),
            IpAddr::V6(address) => RData::AAAA(AAAA(address)),
        };
        if data.record_type() == query.query_type {
            answer.add_answer(Record::from_rdata(query.name.clone(), 60, data));
        }
    };
    match &*name {
        "public.test." => PUBLIC.map(&mut say).into_iter().collect(),
        "inside.test." => ["10.66.0.5", "fd66::5", "::ffff:10.66.0.5"].map(&mut say).into_iter().collect(),
        "metadata.test." => ["169.254.169.254", "fd00:ec2::254"].map(&mut say).into_iter().collect(),
        "mixed.test." => ["10.66.0.5", PUBLIC[0], "127.0.0.1"].map(&mut say).into_iter().collect(),
        "many.test." => (0..100).for_each(|n| say(&format!("12.1.2.{n}"))),
        "huge.test." => (0..2500).for_each(|n| say(&format!("12.1.{}.{}", n / 250, n % 250))),
        "silent.test." => return Vec::new(),
        "liar.test." => {
            // Answers to something else come first: a guessed id, another question.
            let mut guessed = answer.clone();
            guessed.metadata.id ^= 1;
            let mut other = answer.clone();
            other.queries[0].name = "other.test.".parse().unwrap();
            let mut asks = answer.clone();
            asks.metadata.message_type = MessageType::Query;
            for wrong in [&mut guessed, &mut other, &mut asks] {
                wrong.add_answer(Record::from_rdata(query.name.clone(), 60, RData::A(A::new(12, 6, 6, 6))));
            }
            answer.add_answer(Record::from_rdata(query.name.clone(), 60, RData::A(A::new(12, 1, 1, 1))));
            return vec![guessed, other, asks, answer];
        }
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    vec![answer]
}

/// Runs that resolver in the fake internet.
fn serve_names(world: &World) {
    let at = socket(RESOLVER, 53);
    let (udp, tcp) = world.internet.run(|| (UdpSocket::bind(at).unwrap(), std::net::TcpListener::bind(at).unwrap()));
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let _context = world.runtime.enter();
    let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
    let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
    world.runtime.spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            assert_eq!(question.queries.len(), 1);
            for answer in resolve(&question) {
                let bytes = answer.to_vec().unwrap();
                let bytes = if bytes.len() > 1232 { answer.truncate().to_vec().unwrap() } else { bytes };
                drop(udp.send_to(&bytes, from).await);
            }
        }
    });
    world.runtime.spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut buffer = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut buffer).await.unwrap();
            let answer = resolve(&Message::from_vec(&buffer).unwrap()).pop().unwrap().to_vec().unwrap();
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.parse::<Name>().unwrap(), kind));
    message
}

fn router(container: &Container) -> SocketAddr {
    socket(&container.attached.resolver.v4.to_string(), 53)
}

/// Sends bytes to the forwarder and returns what comes back within `wait`.
fn send(from: &Container, to: SocketAddr, bytes: &[u8], wait: Duration) -> std::io::Result<Message> {
    from.net.run(|| {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(wait))?;
        socket.send(bytes)?;
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer)?;
        Message::from_vec(&buffer[..length]).map_err(std::io::Error::other)
    })
}

fn ask(from: &Container, name: &str, kind: RecordType) -> Message {
    let question = question(name, kind);
    let answer = send(from, router(from), &question.to_vec().unwrap(), LIMIT).unwrap();
    assert_eq!((answer.metadata.id, &answer.queries), (question.metadata.id, &question.queries));
    answer
}

fn addresses(answer: &Message) -> Vec<String> {
    answer.answers.iter().map(|record| record.data.to_string()).collect()
}

fn world_with_names() -> World {
    let world = World::new();
    serve_names(&world);
    world
}

#[test]
fn names_of_the_internet_are_answered_by_every_way() {
    let world = world_with_names();
    let one = world.container(1, &Policy::default());
    assert_eq!(addresses(&ask(&one, "public.test.", RecordType::A)), [PUBLIC[0]]);
    assert_eq!(addresses(&ask(&one, "public.test.", RecordType::AAAA)), [PUBLIC[1]]);
    let v6 = socket(&one.attached.resolver.v6.to_string(), 53);
    let bytes = question("public.test.", RecordType::A).to_vec().unwrap();
    assert_eq!(addresses(&send(&one, v6, &bytes, LIMIT).unwrap()), [PUBLIC[0]]);
    assert_eq!(ask(&one, "nowhere.test.", RecordType::A).metadata.response_code, ResponseCode::NXDomain);
    // Too large for a datagram: said so, and whole by TCP, from the resolver too.
    let cut = ask(&one, "many.test.", RecordType::A);
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    assert_eq!(by_tcp(&one, "many.test.").unwrap().answers.len(), 100);
    assert_eq!(by_tcp(&one, "huge.test.").unwrap().metadata.response_code, ResponseCode::ServFail, "beyond all use");
    assert_eq!(world.seen(&one).names.refused, 0);
}

fn by_tcp(from: &Container, name: &str) -> std::io::Result<Message> {
    use std::io::{Read as _, Write as _};
    let bytes = question(name, RecordType::A).to_vec().unwrap();
    from.net.run(|| {
        let mut stream = std::net::TcpStream::connect_timeout(&router(from), LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(&[&u16::try_from(bytes.len()).unwrap().to_be_bytes(), &*bytes].concat())?;
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer)?;
        Message::from_vec(&answer).map_err(std::io::Error::other)
    })
}

#[test]
fn a_name_that_leads_inside_has_no_address_and_is_counted() {
    let world = world_with_names();
    let one = world.container(1, &Policy::default());
    for (name, kind) in [
        ("inside", RecordType::A),
        ("inside", RecordType::AAAA),
        ("metadata", RecordType::A),
        ("metadata", RecordType::AAAA),
    ] {
        let before = world.seen(&one).names.refused;
        let answer = ask(&one, &format!("{name}.test."), kind);
        assert_eq!((addresses(&answer).len(), answer.metadata.response_code), (0, ResponseCode::NoError), "{name}");
        assert_eq!(world.seen(&one).names.refused, before + 1);
    }
    assert_eq!(addresses(&ask(&one, "mixed.test.", RecordType::A)), [PUBLIC[0]], "what is left may be had");
    let who = ask(&one, "5.0.66.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(who.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(world.seen(&one).names.asked, 5, "who that is was not even asked");
}

#[test]
fn an_allowed_address_may_have_a_name() {
    let world = world_with_names();
    let allow = ["10.66.0.0/16", "169.254.0.0/16"].map(|text| text.parse().unwrap());
    let one = world.container(1, &Policy { allow: allow.into(), ..Policy::default() });
    let two = world.container(2, &Policy::default());
    assert_eq!(addresses(&ask(&one, "inside.test.", RecordType::A)), ["10.66.0.5"]);
    assert!(tcp(Some(&one.net), socket("10.66.0.5", PORT)).is_ok());
    assert!(addresses(&ask(&one, "metadata.test.", RecordType::A)).is_empty());
    assert!(addresses(&ask(&two, "inside.test.", RecordType::A)).is_empty(), "each by its own list");
}

#[test]
fn lies_of_a_resolver_are_passed_over() {
    let world = world_with_names();
    let one = world.container(1, &Policy::default());
    assert_eq!(addresses(&ask(&one, "liar.test.", RecordType::A)), ["12.1.1.1"]);
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    let world = world_with_names();
    let one = world.container(1, &Policy::default());
    for kind in [RecordType::ANY, RecordType::AXFR] {
        assert_eq!(ask(&one, "public.test.", kind).metadata.response_code, ResponseCode::Refused);
    }
    let code = |bytes: &[u8]| send(&one, router(&one), bytes, LIMIT).unwrap().metadata.response_code;
    let mut two = question("public.test.", RecordType::A);
    two.add_query(Query::query("other.test.".parse().unwrap(), RecordType::A));
    assert_eq!(code(&two.to_vec().unwrap()), ResponseCode::FormErr);
    let mut notify = question("public.test.", RecordType::A);
    notify.metadata.op_code = OpCode::Notify;
    assert_eq!(code(&notify.to_vec().unwrap()), ResponseCode::NotImp);
    assert_eq!(code(&[7; 40].map(|byte| byte & 1)), ResponseCode::FormErr);
    let silence = Duration::from_millis(200);
    let mut answer = question("public.test.", RecordType::A);
    answer.metadata.message_type = MessageType::Response;
    for ignored in [&answer.to_vec().unwrap()[..], &[], &[1], &[0; 11], &[0; 1025]] {
        assert!(send(&one, router(&one), ignored, silence).is_err(), "{}", ignored.len());
    }
    assert_eq!(addresses(&ask(&one, "public.test.", RecordType::A)), [PUBLIC[0]], "and it lives on");
}

#[test]
fn nobody_but_containers_asks() {
    let world = world_with_names();
    let one = world.container(1, &Policy::default());
    let bytes = question("public.test.", RecordType::A).to_vec().unwrap();
    let silence = Duration::from_millis(200);
    world.internet.sh(&format!("ip route add {} via 11.0.0.2", one.attached.resolver.v4));
    for net in [None, Some(&world.internet)] {
        let asked = || {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.connect(router(&one)).unwrap();
            socket.set_read_timeout(Some(silence)).unwrap();
            socket.send(&bytes).and_then(|_| socket.recv(&mut [0; 512]))
        };
        assert!(net.map_or_else(asked, |net| net.run(asked)).is_err());
    }
    assert!(udp(Some(&one.net), None, socket(RESOLVER, 54), silence).is_err());
    assert_eq!(world.seen(&one).names.asked, 0);
}

#[test]
fn a_flood_is_bounded_and_hinders_nobody_else() {
    let world = world_with_names();
    let one = world.container(1, &Policy::default());
    let two = world.container(2, &Policy::default());
    let bytes = question("silent.test.", RecordType::A).to_vec().unwrap();
    one.net.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(router(&one)).unwrap();
        for _ in 0..3000 {
            drop(socket.send(&bytes));
        }
    });
    wait_until("the flood is over", || {
        let seen = world.seen(&one);
        seen.packets.names + seen.names.asked + seen.names.dropped >= 3000
    });
    let seen = world.seen(&one);
    assert!(seen.names.asked <= 64, "as many as may wait: {seen:?}");
    assert!(seen.names.dropped > 0 && seen.packets.names > 1500, "the filter takes the most: {seen:?}");
    assert_eq!(addresses(&ask(&two, "public.test.", RecordType::A)), [PUBLIC[0]]);
    // By connections as well.
    let connect = || one.net.run(|| std::net::TcpStream::connect_timeout(&router(&one), LIMIT));
    let open: Vec<_> = std::iter::from_fn(|| connect().ok()).take(50).collect();
    assert!(open.len() <= 8, "{}", open.len());
    assert_eq!(by_tcp(&two, "public.test.").unwrap().answers.len(), 1);
}

#[test]
fn a_dead_resolver_is_passed_over_and_a_silent_one_ends_in_a_failure() {
    let mut world = World::bare();
    serve_names(&world);
    let list = world.folder.path().join("resolv.conf");
    std::fs::File::create(&list).unwrap();
    world.open_with(Config { upstreams: Upstreams::File(list.clone()), ..world.config() });
    let one = world.container(1, &Policy::default());
    let findings = world.egress().findings().unwrap();
    assert!(findings.iter().any(|finding| finding.about == shipway_egress::About::NoUpstream), "{findings:?}");
    assert_eq!(ask(&one, "public.test.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    // The host gets resolvers: the first is not there at all.
    std::io::Write::write_all(
        &mut std::fs::File::create(&list).unwrap(),
        format!("nameserver 12.1.1.1\nnameserver {RESOLVER}\n").as_bytes(),
    )
    .unwrap();
    assert_eq!(addresses(&ask(&one, "public.test.", RecordType::A)), [PUBLIC[0]]);
    assert_eq!(ask(&one, "silent.test.", RecordType::A).metadata.response_code, ResponseCode::ServFail);
    assert_eq!(world.seen(&one).names.failed, 2);
}

#[test]
fn a_resolver_on_the_hosts_own_loopback_is_asked() {
    let mut world = World::bare();
    serve_names(&world);
    // As systemd-resolved does: the containers could not reach it themselves.
    nft("table ip stub {
        chain out {
            type nat hook output priority -100;
            ip daddr 127.0.0.53 udp dport 53 dnat to 12.5.3.5
        }
        chain post {
            type nat hook postrouting priority srcnat;
            ip daddr 12.5.3.5 masquerade
        }
    }");
    crate::world::set("ipv4/conf/all/route_localnet", "1");
    world.open_with(Config { upstreams: Upstreams::Given(vec![socket("127.0.0.53", 53)]), ..world.config() });
    let one = world.container(1, &Policy::default());
    assert_eq!(addresses(&ask(&one, "public.test.", RecordType::A)), [PUBLIC[0]]);
}
