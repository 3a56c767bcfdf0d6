//! How a part is told to stop.
//!
//! One [`Shutdown`] is cloned into every part; the main function pulls it once.
//! A part that waits selects on [`Shutdown::requested`].

use tokio::sync::watch;

/// A request to stop that can be waited for and is never taken back.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// The other end of a [`Shutdown`]. Dropping it is a request too: a part whose
/// owner is gone has nothing left to work for.
#[derive(Debug)]
pub struct ShutdownSender(watch::Sender<bool>);

/// Makes a connected pair.
#[must_use]
pub fn channel() -> (ShutdownSender, Shutdown) {
    let (sender, receiver) = watch::channel(false);
    (ShutdownSender(sender), Shutdown(receiver))
}

impl ShutdownSender {
    /// Asks every holder of the [`Shutdown`] to stop.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Waits until stopping is requested.
    pub async fn requested(&mut self) {
        // An error means that the sender is gone, which asks for the same.
        drop(self.0.wait_for(|stop| *stop).await);
    }

    /// Whether stopping has been requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
