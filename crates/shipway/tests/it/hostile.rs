//! Strangers' scripts beside a healthy neighbour.

use std::time::{Duration, Instant};

use crate::world::World;

/// Deploys a script, asks it, and returns status and text of what a visitor gets.
fn attack(world: &World, name: &str, content: &str, flags: &[&str]) -> (u16, String) {
    let url = world.files.put(&format!("/{name}"), content);
    let mut words = vec!["deploy", &url, "--script", "--name", name];
    words.extend(flags);
    world.ok(&words);
    let answer = world.platform.visit(name, "/").unwrap();
    (answer.status, answer.text())
}

/// The neighbour answers, and quickly.
#[track_caller]
fn neighbour_is_well(world: &World) {
    let begun = Instant::now();
    assert_eq!(world.visit("neighbour"), "well\n");
    assert!(begun.elapsed() < Duration::from_secs(2), "the neighbour took {:?}", begun.elapsed());
}

#[test]
fn what_strangers_try_harms_only_themselves() {
    let world = World::new();
    world.script("neighbour", "#!/bin/sh\necho well\n");

    let (status, text) = attack(&world, "slow", "#!/bin/sh\nwhile :; do :; done\n", &["--timeout", "1s"]);
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("1000 ms") || text.contains("1 s"), "{text}");
    neighbour_is_well(&world);

    let (status, text) =
        attack(&world, "deaf", "#!/bin/sh\ntrap '' TERM INT HUP\nsleep 60 &\nsleep 60\n", &["--timeout", "1s"]);
    assert_eq!(status, 502, "{text}");
    neighbour_is_well(&world);

    let (status, text) = attack(&world, "fail", "#!/bin/sh\necho half an answer\nexit 3\n", &[]);
    assert_eq!(status, 502, "{text}");
    assert!(text.contains('3'), "{text}");

    let bomb = "#!/bin/sh\nbomb() { bomb | bomb & }\nbomb\nsleep 30\n";
    let (status, _) = attack(&world, "forks", bomb, &["--timeout", "2s"]);
    assert!(status >= 500, "{status}");
    neighbour_is_well(&world);

    let eater = "#!/usr/bin/env python3\nblocks = []\nwhile True:\n    blocks.append(bytearray(1 << 20))\n";
    let (status, _) = attack(&world, "eater", eater, &["--timeout", "20s"]);
    assert!(status >= 500, "{status}");
    neighbour_is_well(&world);

    let filler = "#!/bin/sh\nhead -c 1000000000 /dev/zero >/tmp/fill 2>/tmp/err; echo \"$?\"; rm -f /tmp/fill\n";
    let (status, text) = attack(&world, "filler", filler, &[]);
    assert_eq!((status, text.trim()), (200, "1"));
    neighbour_is_well(&world);

    // Each of them still answers, or is being restarted; none took the platform along.
    assert_eq!(world.platform.visit("filler", "/").unwrap().status, 200);
    neighbour_is_well(&world);
}

#[test]
fn a_script_sees_neither_host_nor_network() {
    let world = World::new();
    let script = "#!/bin/sh\necho uid $(id -u)\nls /sys/class/net\ngrep -E 'NoNewPrivs|Seccomp:|CapEff' /proc/self/status\n\
                  cat /proc/kcore 2>&1 | head -c 1 | wc -c\nls /proc | grep -c '^[0-9]'\n";
    world.script("probe", script);
    let text = world.visit("probe");
    assert!(!text.contains("uid 0\n"), "{text}");
    assert!(text.contains("\nlo\n") && !text.contains("eth"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("CapEff:\t0000000000000000"), "{text}");
}
