//! `deploy`: from the PUT of a URL to the first 200 through the proxy.

use std::time::{Duration, Instant};

use anyhow::ensure;
use shipway_testkit::http;

use super::row::{Row, median};
use super::work::Field;

const BAR_MS: f64 = 50.0;

pub(super) fn deploy(rounds: usize) -> anyhow::Result<Vec<Row>> {
    let field = Field::new()?;
    field.deploy("warm-up", "hello", "--static")?;
    let count = rounds * 10;
    let times: Vec<f64> = (0..count).map(|n| one(&field, n)).collect::<Result<_, _>>()?;
    let p50 = median(times);
    Ok(vec![Row {
        bench: "deploy",
        work: format!("PUT a URL to the first 200, {count} times"),
        peer: "-".to_owned(),
        ours: format!("p50 {p50:.1} ms"),
        ratio: None,
        bar: format!("≤ {BAR_MS} ms"),
        held: Some(p50 <= BAR_MS),
    }])
}

fn one(field: &Field, n: usize) -> anyhow::Result<f64> {
    let (name, address) = (format!("page-{n}"), field.platform.address());
    let url = field.offer(&format!("/{name}"), &format!("page {n}"));
    let body = format!("{{\"url\": \"{url}\", \"kind\": \"static\"}}");
    let begun = Instant::now();
    let put = http::request(
        address,
        "PUT",
        "localhost",
        &format!("/v1/services/{name}"),
        &[("content-type", "application/json")],
        body.as_bytes(),
    )?;
    ensure!(put.status == 201, "PUT answered {}: {}", put.status, put.text());
    let answer = http::get(address, &format!("{name}.localhost"), "/")?;
    let took: Duration = begun.elapsed();
    ensure!(answer.status == 200, "the service answered {}: {}", answer.status, answer.text());
    Ok(took.as_secs_f64() * 1000.0)
}
