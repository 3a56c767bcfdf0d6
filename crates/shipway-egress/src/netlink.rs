//! Messages to and from the kernel's network side, written and read by hand.
//!
//! Netlink is a header, a fixed part and attributes (length, type, value, padded to
//! four bytes, nested where needed). That is little enough to write ourselves, and it
//! spares a second and third library: the same hundred lines speak to links, addresses
//! and routes and to `nf_tables`, synchronously, in whatever network namespace the
//! socket was opened.

mod attributes;
mod socket;

pub(crate) use attributes::{Attributes, Found, text_of};
pub(crate) use socket::{NetlinkError, Socket};

/// `NLM_F_CREATE`: make it when it is not there.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_EXCL`: fail when it is there.
pub(crate) const EXCLUSIVE: u16 = 0x200;
/// `NLM_F_REPLACE`: take the place of what is there.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_APPEND`: behind what is there.
pub(crate) const APPEND: u16 = 0x800;
/// `NLM_F_DUMP`: all of them.
pub(crate) const DUMP: u16 = 0x300;

/// One message: what it is, its flags, and everything after the header.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags` beside `NLM_F_REQUEST`, which every one of ours has.
    pub(crate) flags: u16,
    /// The fixed part, then the attributes.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// Puts a fixed part and attributes together.
    pub(crate) fn new(kind: u16, flags: u16, fixed: &[u8], attributes: &Attributes) -> Self {
        let mut body = fixed.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend_from_slice(attributes.bytes());
        Self { kind, flags, body }
    }

    /// Writes header and body behind what `out` holds.
    fn write(&self, sequence: u32, extra: u16, out: &mut Vec<u8>) {
        let length = u32::try_from(16 + self.body.len()).expect("our messages are short");
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(self.flags | 1 | extra).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&0u32.to_ne_bytes());
        out.extend_from_slice(&self.body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}
