//! `idle`: what 200 idle services cost, all processes counted.

use std::fs;

use super::row::Row;
use super::work::Field;

const SERVICES: usize = 200;
/// Megabytes a service, processes and kernel together.
const BAR_MB: f64 = 2.0;
const BAR_SERVE_MB: f64 = 60.0;

pub(super) fn idle(_rounds: usize) -> anyhow::Result<Vec<Row>> {
    let field = Field::new()?;
    field.deploy("warm-up", "hello", "--static")?;
    let before = Used::now();
    for n in 0..SERVICES {
        field.deploy(&format!("idle-{n}"), "#!/bin/sh\necho hello\n", "--script")?;
    }
    let after = Used::now();
    let serve = pss_kib(field.platform.pid());
    let each =
        (after.processes_kib - before.processes_kib + after.kernel_kib - before.kernel_kib) / 1024.0 / SERVICES as f64;
    let serve_mb = serve / 1024.0;
    Ok(vec![
        row(format!("{SERVICES} idle services, each"), each, BAR_MB),
        row("shipway serve with them, PSS".to_owned(), serve_mb, BAR_SERVE_MB),
    ])
}

fn row(work: String, megabytes: f64, bar: f64) -> Row {
    Row {
        bench: "idle",
        work,
        peer: "-".to_owned(),
        ours: format!("{megabytes:.2} MB"),
        ratio: None,
        bar: format!("< {bar} MB"),
        held: Some(megabytes < bar),
    }
}

struct Used {
    /// Sum of every process' proportional set size.
    processes_kib: f64,
    /// Slab, page tables, kernel stacks and per-CPU memory.
    kernel_kib: f64,
}

impl Used {
    fn now() -> Self {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        Self { processes_kib: pids.map(pss_kib).sum(), kernel_kib: kernel_kib() }
    }
}

fn pss_kib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    field(&text, "Pss:")
}

fn kernel_kib() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    ["Slab:", "PageTables:", "KernelStack:", "Percpu:"].iter().map(|name| field(&text, name)).sum()
}

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
