//! What each container was refused, and what it sent and received.

use crate::addresses::Slot;
use crate::netlink::{NetlinkError, Socket};

use super::wire;

/// What was counted for one container since it was attached. Packets, unless said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Bytes out, before refusals.
    pub sent_bytes: u64,
    /// Bytes in.
    pub received_bytes: u64,
    /// Came from an address that is not the container's.
    pub spoofed: u64,
    /// Meant for the host itself.
    pub host: u64,
    /// Meant for another container.
    pub neighbour: u64,
    /// Meant for a metadata service.
    pub metadata: u64,
    /// Meant for another private, link-local or reserved address.
    pub special: u64,
    /// Would have opened one connection too many.
    pub connections: u64,
    /// Were more bytes than the container may move.
    pub rate: u64,
    /// Questions to the DNS forwarder that came too fast.
    pub names: u64,
}

/// The counters' names without the slot, in the order of [`read`].
const WORDS: [&str; 10] =
    ["sent", "received", "spoofed", "host", "neighbour", "metadata", "special", "connections", "rate", "names"];

/// The name of one counter.
pub(crate) fn name(slot: Slot, word: &str) -> String {
    format!("{word}-{slot}")
}

/// The names of a slot's counters.
pub(crate) fn names(slot: Slot) -> [String; 10] {
    WORDS.map(|word| name(slot, word))
}

/// Asks the kernel.
pub(crate) fn read(socket: &mut Socket, table: &str, slot: Slot) -> Result<Counters, NetlinkError> {
    let mut ask = |word| wire::counter(socket, table, &name(slot, word));
    Ok(Counters {
        sent_bytes: ask("sent")?.bytes,
        received_bytes: ask("received")?.bytes,
        spoofed: ask("spoofed")?.packets,
        host: ask("host")?.packets,
        neighbour: ask("neighbour")?.packets,
        metadata: ask("metadata")?.packets,
        special: ask("special")?.packets,
        connections: ask("connections")?.packets,
        rate: ask("rate")?.packets,
        names: ask("names")?.packets,
    })
}
