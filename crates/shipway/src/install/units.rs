//! systemd's units, from their templates.

use std::net::SocketAddr;
use std::path::Path;

const SERVICE: &str = include_str!("../../../../packaging/shipway.service");
const SOCKET: &str = include_str!("../../../../packaging/shipway.socket");

/// The service.
pub(super) fn service(binary: &Path, config: &Path) -> String {
    SERVICE.replace("@BINARY@", &binary.display().to_string()).replace("@CONFIG@", &config.display().to_string())
}

/// Its listeners.
pub(super) fn socket(config: &Path, addresses: &[SocketAddr]) -> String {
    let lines: Vec<String> = addresses.iter().map(|address| format!("ListenStream={address}")).collect();
    SOCKET.replace("@CONFIG@", &config.display().to_string()).replace("@LISTEN@", &lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        let addresses = ["127.0.0.1:8080".parse().unwrap(), "[::]:80".parse().unwrap()];
        let (binary, config) = (Path::new("/usr/local/bin/shipway"), Path::new("/etc/shipway/config.yml"));
        let units = service(binary, config) + &socket(config, &addresses);
        assert!(!units.contains('@'), "{units}");
        assert!(units.contains("ExecStart=/usr/local/bin/shipway serve --config /etc/shipway/config.yml\n"));
        assert!(units.contains("\nListenStream=127.0.0.1:8080\nListenStream=[::]:80\n"), "{units}");
    }
}
