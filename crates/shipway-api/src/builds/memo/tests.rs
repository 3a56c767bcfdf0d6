use shipway_gobuild::request::parse_plugin;
use shipway_gobuild::testing::{ModuleProxy, recipe};
use shipway_gobuild::{Platform, Proxies, ProxiesConfig, ProxyList};

use super::*;

fn request(version: &str, plugin: &str) -> Request {
    let plugins = vec![parse_plugin(plugin).unwrap()];
    let platform = Platform::parse("linux", "amd64", None).unwrap();
    Request::new(&recipe(), Query::parse(version).unwrap(), plugins, Vec::new(), platform, 10).unwrap()
}

fn resolver(proxy: &ModuleProxy) -> Resolver {
    let list = ProxyList::parse(&proxy.url()).unwrap();
    let config = ProxiesConfig { list, ca_file: None, limits: shipway_gobuild::proxy::ProxyLimits::default() };
    Resolver::new(Proxies::open(config).unwrap(), Duration::from_secs(30))
}

/// Lets time go by for what is kept.
fn age(memo: &Memo, by: Duration) {
    for entry in memo.lock().values_mut() {
        if let Entry::Settled { until, .. } = entry {
            *until -= by;
        }
    }
}

#[tokio::test]
async fn what_was_settled_is_remembered_for_a_while() {
    let (proxy, memo) = (ModuleProxy::with_examples(), Memo::default());
    let resolver = resolver(&proxy);
    let (exact, moving) = (request("v1.0.0", "example.com/good@v1.0.0"), request("v1.0.0", "example.com/good"));
    let settle = async |request: &Request| memo.settle(&resolver, &recipe(), request).await;
    let first = settle(&moving).await.unwrap();
    settle(&exact).await.unwrap();
    assert_eq!(first.plugins[0].version.to_string(), "v1.1.0");
    std::fs::remove_dir_all(proxy.directory()).unwrap();
    assert_eq!(settle(&moving).await.unwrap(), first, "no proxy was asked");
    age(&memo, MOVING_KEPT);
    assert!(settle(&moving).await.is_err(), "what moves is asked for again");
    assert!(settle(&exact).await.is_ok(), "what does not move is not");
}

#[tokio::test]
async fn what_could_not_be_settled_is_asked_for_again() {
    let (proxy, memo) = (ModuleProxy::with_examples(), Memo::default());
    let resolver = resolver(&proxy);
    let later = request("v1.0.0", "example.com/later@v1.0.0");
    assert!(memo.settle(&resolver, &recipe(), &later).await.is_err());
    proxy.add("example.com/later", "v1.0.0", &[("later.go", "package later\n")]);
    memo.settle(&resolver, &recipe(), &later).await.unwrap();
}

#[test]
fn there_is_always_room_for_one_more() {
    let mut entries = HashMap::new();
    let resolved = Arc::new(
        serde_json::from_str::<Resolved>(
            r#"{"recipe":"app","program":{"module":"example.com/app","version":"v1.0.0"},"plugins":[],"replacements":[],
            "platform":{"os":"linux","arch":"amd64"},"go":""}"#,
        )
        .unwrap(),
    );
    let now = Instant::now();
    for number in 0..KEPT_MAX {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let until = now + Duration::from_secs(60 + number as u64);
        entries.insert(key, Entry::Settled { resolved: Arc::clone(&resolved), until });
    }
    make_room(&mut entries);
    assert_eq!(entries.len(), KEPT_MAX - 1);
    assert!(!entries.contains_key(&[0; 32]), "the one that would be over first is gone");
}
