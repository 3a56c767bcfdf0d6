//! Who holds a TCP port, so that "address in use" can name the culprit.

use std::fmt;
use std::fs;
use std::net::SocketAddr;

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its command line, cut to 200 characters.
    pub command: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.command)
    }
}

/// Finds a process that listens on `address`, or on its port on any address.
///
/// Reads `/proc`; without the right to see other users' descriptors (root has
/// it) a holder may go unfound. Network namespaces other than ours are not seen.
#[must_use]
pub fn holder(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    processes().find(|pid| holds_any(*pid, &sockets)).map(|pid| Holder { pid, command: command_line(pid) })
}

/// The inodes of the sockets that listen (state 0A) on `port`, of one table of proc(5).
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let wanted = format!("{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let ours = *state == "0A" && local.rsplit(':').next() == Some(wanted.as_str());
        ours.then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(inode).collect()
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds_any(pid: u32, sockets: &[String]) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    descriptors
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

fn command_line(pid: u32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = raw.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().chars().filter(|letter| !letter.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(listener.local_addr().unwrap()).expect("we hold it");
        assert_eq!(found.pid, std::process::id());
        assert!(found.command.contains("stdx"), "{found}");
    }

    #[test]
    fn a_connected_socket_is_no_holder() {
        let table = "  sl  local_address rem_address   st\n   \
                     0: 0100007F:1F90 0100007F:1F91 01 0:0 00:0 0 0 0 77 1\n   \
                     1: 0100007F:1F90 00000000:0000 0A 0:0 00:0 0 0 0 78 1\n";
        assert_eq!(listening_inodes(table, 8080), ["78"]);
    }
}
