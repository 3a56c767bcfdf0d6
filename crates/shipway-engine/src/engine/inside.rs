//! Starting a container together with a listener in its own network.
//!
//! A container without egress has nothing but its loopback. Where one program of the
//! platform's shall be reachable there, and nothing else in the world, it listens *on
//! that loopback from outside*: a thread of ours enters the namespace while the sandbox
//! waits at its gate, binds, and brings the socket back. No program inside passes
//! anything on, no link leads out, and the first process finds the listener there.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::thread::ThreadNameSpaceType;
use shipway_shim::protocol::{Launched, Network, ProcessId, Run};

use super::start::{CONNECT_PATIENCE, Made, open_gate, unexpected};
use super::{Engine, Inner, blocking};
use crate::container::{Container, Running};
use crate::error::Doing;
use crate::sweep::Job;
use crate::{EngineError, process};

impl Engine {
    /// Starts a container that has a network of its own, and listens at `address` in it: a
    /// loopback address, port 0 for any. What listens there is whoever holds the socket.
    ///
    /// # Errors
    ///
    /// Those of [`Engine::start`]; [`EngineError::Running`] when it runs already;
    /// [`EngineError::Invalid`] when it has no network of its own, or for an address that
    /// is not of a loopback.
    pub async fn start_listening(&self, id: &str, address: SocketAddr) -> Result<(Running, TcpListener), EngineError> {
        let container = self.inner.find(id)?;
        if container.spec.network == Network::Host || !address.ip().is_loopback() {
            let rule = "a listener inside: at a loopback address, in a network of the container's own";
            return Err(EngineError::Invalid(rule.to_owned()));
        }
        let inner = Arc::clone(&self.inner);
        let starting = tokio::spawn(async move { inner.start_listening(container, address).await });
        starting.await.map_err(io::Error::other).doing(|| "start a container".to_owned())?
    }
}

impl Inner {
    async fn start_listening(
        self: Arc<Self>,
        container: Arc<Container>,
        address: SocketAddr,
    ) -> Result<(Running, TcpListener), EngineError> {
        let _change = container.change.lock().await;
        self.find(&container.spec.id)?;
        if container.running().is_ok() {
            return Err(EngineError::Running(container.spec.id.clone()));
        }
        // One that waits would do as well, but it may end at any moment.
        self.unprepare(&container).await;
        let made = self.make(&container, Some(CONNECT_PATIENCE)).await?;
        let started = match self.let_listen(&container, &made, address).await {
            Ok((run, listener)) => Ok((self.watch(&container, &run, made.taken.cgroup, made.taken.slot), listener)),
            Err(error) => {
                made.reply.hang_up();
                self.give_up(&container, made.taken).await;
                Err(error)
            }
        };
        self.sweep(Job::Refill).await;
        started
    }

    async fn let_listen(
        &self,
        container: &Container,
        made: &Made,
        address: SocketAddr,
    ) -> Result<(Run, TcpListener), EngineError> {
        let Launched::Prepared { init, .. } = made.launched else {
            return Err(unexpected(&made.launched));
        };
        self.connect(container, made.taken.slot, init).await?;
        let listener = blocking(move || listen(init, address)).await?;
        let run = open_gate(&made.reply).await?;
        Ok((run, listener))
    }
}

fn listen(init: ProcessId, address: SocketAddr) -> Result<TcpListener, EngineError> {
    let doing = || format!("listen at {address} in a container");
    let process = process::open(init).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)).doing(doing)?;
    within(process.as_fd(), || TcpListener::bind(address)).doing(doing)
}

/// Runs `visit` in the network namespace of a process, on a thread that ends with it:
/// entering one is for good.
fn within<T: Send>(process: BorrowedFd<'_>, visit: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let visit = move || {
        rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::NETWORK)?;
        visit()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("engine-visit".to_owned()).spawn_scoped(scope, visit)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the visit of a network namespace panicked")))
    })
}
