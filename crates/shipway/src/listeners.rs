//! The sockets that visitors reach: opened here, handed to the proxy.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context as _;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use shipway_proxy::wire::ListenerNote;
use shipway_proxy::{Listener, Serves, startup};
use shipway_stdx::port;

/// Connections that may wait to be accepted; the kernel's own cap applies too.
const BACKLOG: i32 = 4096;

/// Opens a listener, or says who holds the address.
pub(crate) fn open(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match bound(address) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder =
                port::holder(address).map_or_else(|| "an unknown process".to_owned(), |holder| holder.to_string());
            anyhow::bail!("{address} is taken by {holder}; stop it, or set `listen` to another address")
        }
        Err(error) => Err(anyhow::Error::new(error).context(format!("cannot listen on {address}"))),
    }
}

/// The listening sockets that the service manager has opened for us, if any
/// (`sd_listen_fds(3)`). A living proxy may be accepting on them, for whom they must not
/// block, whatever the service manager thinks of that.
pub(crate) fn inherited() -> anyhow::Result<Vec<Listener>> {
    let count = sd_notify::listen_fds().context("the service manager's sockets cannot be counted")?.len();
    let notes = (0..count).map(|at| ListenerNote { name: format!("inherited {at}"), serves: Serves::Both });
    let sockets = startup::from_listen_fds(notes.collect()).context("the service manager's sockets cannot be taken")?;
    for listener in &sockets {
        listener.socket.set_nonblocking(true)?;
    }
    Ok(sockets)
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_names_its_holder() {
        let first = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = open(first.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.contains(&format!("taken by process {}", std::process::id())), "{error}");
    }
}
