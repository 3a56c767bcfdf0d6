//! Output on its way into the log.

use std::fs;

use shipway_shim::protocol::{Answer, Ask};

use crate::world::{World, put, wait_until};

#[test]
fn lines_carry_time_stream_and_whether_they_are_whole() {
    let world = World::new();
    let (_, exit) = world.run(&world.launch("true"));
    assert_eq!(exit.code, Some(0));
    let launch = world.launch("echo one; echo two >&2; printf 'no end'");
    let container = world.start(&launch);
    container.wait();
    let log = container.log();
    let mut lines: Vec<Vec<&str>> = log.lines().map(|line| line.splitn(4, ' ').collect()).collect();
    lines.sort_by_key(|line| line[1] == "stderr");
    let rest: Vec<&[&str]> = lines.iter().map(|line| &line[1..]).collect();
    assert_eq!(rest, [["stdout", "F", "one"], ["stdout", "F", "no end"], ["stderr", "F", "two"]]);
    for line in &lines {
        assert_eq!(line[0].len(), "2026-11-22T05:00:00.123456789Z".len(), "{log}");
        assert!(line[0].starts_with("20") && line[0].ends_with('Z'), "{log}");
    }
    assert!(log.ends_with('\n'));
}

#[test]
fn a_long_line_is_cut_into_partial_ones() {
    let world = World::new();
    let launch = world.launch("head -c 40000 /dev/zero | tr '\\0' x; echo; echo after");
    let container = world.start(&launch);
    container.wait();
    let log = container.log();
    let lines: Vec<(&str, usize)> = log
        .lines()
        .map(|line| {
            let parts: Vec<&str> = line.splitn(4, ' ').collect();
            (parts[2], parts[3].len())
        })
        .collect();
    assert_eq!(lines, [("P", 16_384), ("P", 16_384), ("F", 40_000 - 2 * 16_384), ("F", 5)]);
}

#[test]
fn old_segments_go_and_the_newest_stay() {
    let world = World::new();
    let mut launch = world.launch("for n in $(seq 1000); do echo line $n; done");
    (launch.log.segment_bytes, launch.log.segments) = (4096, 3);
    let container = world.start(&launch);
    container.wait();
    let mut names: Vec<String> = fs::read_dir(container.state_dir.join("log"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in &names {
        let length = fs::metadata(container.state_dir.join("log").join(name)).unwrap().len();
        assert!(length <= 4096, "{name} has {length}");
    }
    let text = container.text();
    let numbers: Vec<u32> = text.lines().map(|line| line["line ".len()..].parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&1000));
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "none is lost between");
}

#[test]
fn a_full_disk_loses_lines_and_says_so() {
    let world = World::on_a_disk("size=300k");
    let mut launch = world.launch(
        "trap 'echo last' TERM; yes spam | head -c 100000; touch /data/out/done; while :; do sleep 1000 & wait; done",
    );
    launch.log.segment_bytes = 1 << 30;
    let out = world.folder.path().join("out");
    fs::create_dir(&out).unwrap();
    launch.binds = vec![shipway_shim::protocol::Bind {
        source: out.clone(),
        target: "/data/out".into(),
        writable: true,
        executable: false,
    }];
    let filler = launch.state_dir.join("filler");
    put(&filler, &[0; 100_000]);
    let container = world.start(&launch);
    wait_until("its output did not hold it up", || out.join("done").exists());
    wait_until("no half line stays", || container.log().ends_with('\n'));
    fs::remove_file(filler).unwrap();
    assert_eq!(container.ask(&Ask::Signal { signal: 15 }), Answer::Done);
    container.wait_for("last");
    let text = container.text();
    let lost = |line: &str| line.starts_with("shipway: ") && line.contains("log lines lost");
    assert!(text.lines().any(lost), "{text}");
    assert!(text.lines().count() < 20_000, "they were lost");
    container.end();
}

#[test]
fn a_flood_holds_up_nobody() {
    let world = World::new();
    let mut launch = world.launch("yes");
    launch.log.segments = 2;
    let container = world.start(&launch);
    for _ in 0..50 {
        assert_eq!(container.ask(&Ask::Ping), Answer::Done);
    }
    container.end();
}

#[test]
fn a_terminal_of_the_first_process_is_logged() {
    let world = World::new();
    let mut launch =
        world.launch("tty; echo to the console > /dev/console; ls -l /dev/console | cut -c1 2>/dev/null; exit 6");
    launch.process.terminal = true;
    let container = world.start(&launch);
    assert_eq!(container.wait().code, Some(6));
    let text = container.text();
    assert!(text.contains("/dev/pts/0"), "{text}");
    assert!(text.contains("to the console"), "{text}");
}
