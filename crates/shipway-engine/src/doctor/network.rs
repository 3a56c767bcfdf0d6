//! What rootless containers will need of the network.

use std::path::Path;

use super::{Check, Outcome};

pub(super) const CHECKS: &[Check] = &[("network.tun", |_| tun())];

fn tun() -> Outcome {
    match std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        Ok(_) => Outcome::ok("/dev/net/tun can be opened"),
        Err(error) => Outcome::new(
            super::Status::Warning,
            format!("/dev/net/tun cannot be opened: {error}"),
            Some(match Path::new("/dev/net/tun").exists() {
                true => "run shipway as root".to_owned(),
                false => "modprobe tun; only rootless containers need it".to_owned(),
            }),
        ),
    }
}
