//! Builds that do their worst.

use std::sync::Arc;

use shipway_gobuild::Phase;
use shipway_gofarm::FailureKind;

use crate::plans::{add, example, plan, plugin, script};
use crate::world::World;

/// Asks the door, the host's loopback, and the world, from inside.
const PROBE: &str = r#"
ask() { printf 'GET %s HTTP/1.0\r\nHost: x\r\n\r\n' "$2" | busybox timeout 5 busybox nc $1 2>&1 | head -n 1; }
echo "door: $(ask '127.0.0.1 4000' /example.org/app/@v/list)"
echo "other: $(ask '127.0.0.1 HOST_PORT' /)"
echo "world: $(ask '192.0.2.1 80' /)"
echo "links: $(cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' \n')"
exit 1
"#;

pub(crate) async fn nothing_is_reached_but_the_door_and_that_only_while_downloading(world: Arc<World>) {
    let proxy = example();
    // Somebody listens on the host, and must not hear anything.
    let host = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe = PROBE.replace("HOST_PORT", &host.local_addr().unwrap().port().to_string());
    for (phase, door) in [(Phase::Download, "HTTP/1.0 200 OK"), (Phase::Build, "")] {
        let told = world.build(&proxy.url(), &script(phase, &probe)).await;
        told.failure();
        let text = told.text();
        let said =
            |who: &str| text.lines().find_map(|line| line.strip_prefix(&format!("Stdout: {who}: ")).map(str::trim_end));
        let said = |who: &str| said(who).unwrap_or_default();
        assert_eq!(said("door").contains("HTTP"), phase == Phase::Download, "{text}");
        assert!(
            said("door").starts_with(door) && !said("other").contains("HTTP") && !said("world").contains("HTTP"),
            "{text}"
        );
        assert_eq!(said("links"), "lo", "{text}");
    }
    let heard = tokio::time::timeout(std::time::Duration::ZERO, host.accept()).await;
    assert!(heard.is_err(), "somebody came");
}

pub(crate) async fn an_init_that_does_its_worst_does_it_in_the_sandbox(world: Arc<World>) {
    let proxy = example();
    let imports = "\t\"fmt\"\n\t\"net\"\n\t\"os\"\n";
    let worst = "for _, name := range []string{\"/etc/shadow\", \"/go/mod\", \"/usr/local/go/bin/go\", \"/proc/1/environ\"} {\n\
                 \t\t_, err := os.OpenFile(name, os.O_RDWR, 0)\n\t\tfmt.Println(\"file\", name, err != nil)\n\t}\n\
                 \tfor _, where := range []string{\"127.0.0.1:4000\", \"192.0.2.1:80\"} {\n\
                 \t\t_, err := net.Dial(\"tcp\", where)\n\t\tfmt.Println(\"net\", where, err != nil)\n\t}\n\
                 \tfmt.Println(os.Getuid(), len(os.Environ()))\n\tos.Exit(7)";
    plugin(&proxy, "example.org/worst", imports, worst);
    let told = world.build(&proxy.url(), &plan(&["example.org/worst"])).await;
    let failure = told.failure();
    assert_eq!(
        (failure.kind, failure.message.as_str()),
        (FailureKind::Program, "the built program ended with status 7")
    );
    let text = told.text();
    for line in [
        "file /etc/shadow true",
        "file /usr/local/go/bin/go true",
        "net 127.0.0.1:4000 true",
        "net 192.0.2.1:80 true",
        "1000 0",
    ] {
        assert!(text.contains(&format!("Stdout: {line}\n")), "{line}: {text}");
    }
}

pub(crate) async fn limits_hold_for_disk_memory_and_time(world: Arc<World>) {
    let full = "head -c 2000000000 /dev/zero > /go/out/app; exit 1";
    let told = world.build("file:///nowhere", &script(Phase::Build, full)).await;
    let said = told.failure().lines.join("\n");
    assert!(said.contains("No space left on device"), "{said}");

    let proxy = example();
    let mut crowded = plan(&["example.org/good"]);
    let fill = script(Phase::Build, "head -c 2000000000 /dev/zero > /go/home/full; exit 0");
    crowded.steps.insert(4, fill.steps[0].clone());
    let told = world.build(&proxy.url(), &crowded).await;
    assert_eq!(told.failure().kind, FailureKind::DiskFull, "{:?}", told.failure());

    // What a compiler needs memory for: a table of a size that the source says.
    let table = "package plugin\n\nvar table = [...]byte{400000000: 1}\n\nfunc init() { table[len(table)-1]++ }\n";
    let source = "package plugin\n\nimport \"example.org/app/cmd\"\n\nfunc init() { cmd.Register(string(table[3])) }\n";
    add(&proxy, "example.org/table", &[("table.go", table), ("plugin.go", source)], "1.21");
    let mut large = plan(&["example.org/table"]);
    for step in &mut large.steps {
        step.memory_bytes = 256 << 20;
    }
    let told = world.build(&proxy.url(), &large).await;
    assert_eq!(told.failure().kind, FailureKind::OutOfMemory, "{}", told.text());

    // Processes: the shell says that it cannot fork, and goes on.
    let bomb = "bomb() { bomb | bomb & }; bomb 2>/dev/null; exit 1";
    let mut bomb = script(Phase::Build, bomb);
    bomb.steps[0].deadline = std::time::Duration::from_secs(10);
    world.build("file:///nowhere", &bomb).await.failure();
    assert_eq!(world.containers(), 0);
}

pub(crate) async fn a_flood_of_words_is_cut(world: Arc<World>) {
    let flood = "busybox yes 0123456789abcdef | head -c 30000000; echo; echo the end; exit 1";
    let told = world.build("file:///nowhere", &script(Phase::Build, flood)).await;
    assert_eq!(told.failure().lines.last().map(String::as_str), Some("the end"));
    let text = told.text();
    assert!(text.len() < 4 << 20, "{}", text.len());
    assert!(text.contains("Farm: output beyond ") && text.ends_with("Stdout: the end\n"));
}

pub(crate) async fn nothing_of_a_plugins_choice_is_run(world: Arc<World>) {
    let proxy = example();
    let source = "package plugin\n\n//go:generate sh -c \"echo GENERATED > /go/home/ran\"\n\n\
                  import \"example.org/app/cmd\"\n\nfunc init() { cmd.Register(\"quiet\") }\n";
    let test = "package plugin\n\nimport (\"os\"; \"testing\")\n\nfunc TestMain(m *testing.M) { os.Exit(9) }\n";
    let flags = "package plugin\n\n// #cgo LDFLAGS: -Wl,--plugin=/go/home/ran\nimport \"C\"\n";
    let files = [("plugin.go", source), ("plugin_test.go", test), ("cgo.go", flags)];
    add(&proxy, "example.org/quiet", &files, "1.21");
    let mut plan = plan(&["example.org/quiet"]);
    let look = script(Phase::Build, "ls /go/home/ran && exit 1; exit 0");
    plan.steps.push(look.steps[0].clone());
    let told = world.build(&proxy.url(), &plan).await;
    assert_eq!(told.built().program, ["quiet\n"]);
}

pub(crate) async fn what_runs_cannot_change_what_was_made(world: Arc<World>) {
    let proxy = example();
    let swap = "os.WriteFile(\"/go/out/other\", []byte(\"another\"), 0o755)\n\t\
                if os.Rename(\"/go/out/other\", \"/go/out/app\") == nil {\n\t\tcmd.Register(\"swapped\")\n\t}";
    plugin(&proxy, "example.org/swap", "\t\"os\"\n", swap);
    let whole = plan(&["example.org/swap"]);
    let told = world.build(&proxy.url(), &whole).await;
    assert_eq!(told.built().program, ["swapped\n"], "it could, on the bench");
    let mut unseen = whole;
    unseen.steps.pop();
    let never_run = world.build(&proxy.url(), &unseen).await;
    never_run.built();
    assert!(std::fs::read(&told.file).unwrap() == std::fs::read(&never_run.file).unwrap());
}
