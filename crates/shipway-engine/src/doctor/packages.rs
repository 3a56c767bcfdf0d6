//! What host images would be made of, and what else is installed.

use std::path::Path;

use super::{Check, DoctorConfig, Outcome};
use crate::host_image::closure::close;
use crate::host_image::dpkg::{lock, status::Packages};
use crate::host_image::verify_current;

pub(super) const CHECKS: &[Check] = &[
    ("host_image.packages", packages),
    ("host_image.interpreters", interpreters),
    ("host_image.present", present),
    ("systemd", |_| systemd()),
];

/// What scripts are mostly written in, and the package that brings it.
const INTERPRETERS: [(&str, &str); 4] =
    [("bash", "usr/bin/bash"), ("python3", "usr/bin/python3"), ("perl", "usr/bin/perl"), ("nodejs", "usr/bin/node")];

fn packages(config: &DoctorConfig) -> Outcome {
    let root = &config.host_image.host_root;
    let installed = match Packages::read(root) {
        Ok(installed) => installed,
        Err(error) => return Outcome::missing(error.to_string(), error.remedy()),
    };
    let closure = match close(&installed, &config.host_image.packages) {
        Ok(closure) => closure,
        Err(error) => return Outcome::missing(error.to_string(), error.remedy()),
    };
    if lock::is_busy(root) {
        return Outcome::warning("apt or dpkg is at work: no host image can be made now", "wait until it has finished");
    }
    let absent = closure.absent.join(", ");
    Outcome::ok(format!(
        "{} packages make up the host image{}",
        closure.packages.len(),
        if absent.is_empty() { String::new() } else { format!("; not installed: {absent}") },
    ))
}

fn interpreters(config: &DoctorConfig) -> Outcome {
    let Ok(installed) = Packages::read(&config.host_image.host_root) else {
        return Outcome::warning("unknown without a package database", "see host_image.packages");
    };
    let (there, absent): (Vec<_>, Vec<_>) = INTERPRETERS.into_iter().partition(|(package, path)| {
        // Both: the one on PATH may come from elsewhere, and images do not get that.
        installed.find(package).is_some() && config.host_image.host_root.join(path).exists()
    });
    let names =
        |list: &[(&'static str, &'static str)]| -> Vec<&'static str> { list.iter().map(|(name, _)| *name).collect() };
    if absent.is_empty() {
        return Outcome::ok(format!("from packages: sh, {}", names(&there).join(", ")));
    }
    Outcome::warning(
        format!("scripts cannot use {}", names(&absent).join(", ")),
        format!("apt-get install -y {}, if services need it", names(&absent).join(" ")),
    )
}

/// Reads every byte of the present image and compares it with its name.
fn present(config: &DoctorConfig) -> Outcome {
    let Some(dir) = &config.host_images_dir else {
        return Outcome::ok("none was asked for");
    };
    match verify_current(dir) {
        Ok(None) => Outcome::ok("none was made yet; the first deploy makes it"),
        Ok(Some((digest, differences))) => match differences.first() {
            None => Outcome::ok(format!("{} is as its name says", digest.short())),
            Some(first) => Outcome::missing(
                format!("{} was changed: {} {}", digest.short(), first.path, first.what),
                format!("rm -r {}, then deploy again", dir.join("sha256").join(digest.hex()).display()),
            ),
        },
        Err(error) => Outcome::missing(error.to_string(), error.remedy()),
    }
}

fn systemd() -> Outcome {
    match Path::new("/run/systemd/system").is_dir() {
        true => Outcome::ok("systemd runs this host"),
        false => Outcome::warning(
            "systemd does not run this host: `shipway install` cannot make a service",
            "start `shipway serve` from whatever starts things here",
        ),
    }
}
