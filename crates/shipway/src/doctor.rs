//! `shipway doctor`: what this host offers, what is missing, and the remedy.

use std::io::Write as _;
use std::process::ExitCode;

use shipway_engine::doctor::{self, DoctorConfig, Finding, Status};
use shipway_engine::host_image::HostImageConfig;

use crate::config::Config;

/// Examines and prints. The exit status is 1 when containers cannot work here.
pub(crate) fn doctor(config: &Config, json: bool) -> anyhow::Result<ExitCode> {
    let images = config.state_dir.join("host-images");
    let findings = doctor::examine(&DoctorConfig {
        state_dir: config.state_dir.clone(),
        host_images_dir: images.exists().then_some(images),
        host_image: HostImageConfig::default(),
        engine_root: config.state_dir.join("engine"),
        outside: config.outside.clone(),
    });
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        if json {
            writeln!(out, "{}", serde_json::to_string(finding)?)?;
        } else {
            print(&mut out, finding)?;
        }
    }
    let missing = findings.iter().filter(|finding| finding.status == Status::Missing).count();
    if !json {
        let verdict = match missing {
            0 => "Services run on this host.".to_owned(),
            n => format!("Services do not run on this host: {n} things are missing."),
        };
        writeln!(out, "\n{verdict}")?;
    }
    Ok(ExitCode::from(u8::from(missing > 0)))
}

fn print(out: &mut impl std::io::Write, finding: &Finding) -> std::io::Result<()> {
    let word = match finding.status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Missing => "MISSING",
    };
    writeln!(out, "{word:8} {:24} {}", finding.check, finding.what)?;
    match &finding.remedy {
        Some(remedy) => writeln!(out, "{:33} remedy: {}", "", remedy.replace('\n', &format!("\n{:42}", ""))),
        None => Ok(()),
    }
}
