//! Forgetting connections of an address.
//!
//! A slot is used again, and with it an address. What its former owner had open must
//! not count as established for the next one, whose policy may be narrower.

use rustix::io::Errno;

use crate::addresses::Addresses;
use crate::netlink::{Attributes, Message, NetlinkError, Socket};
use crate::table::octets;

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
/// Compare the source address only.
const BY_SOURCE: u32 = 1;

/// Deletes every tracked connection that these addresses opened.
///
/// # Errors
///
/// Those of the kernel; `EOPNOTSUPP` and `EINVAL` where it cannot (no `nf_conntrack_netlink`).
pub(crate) fn forget(socket: &mut Socket, who: Addresses) -> Result<(), NetlinkError> {
    for (family, kind, address) in [(2, 1, octets(who.v4.into())), (10, 3, octets(who.v6.into()))] {
        let tuple = Attributes::new().nest(1, &Attributes::new().raw(kind, &address));
        let filter = Attributes::new().u32(1, BY_SOURCE);
        let attributes = Attributes::new().nest(1, &tuple).nest(25, &filter);
        // A version above 0 has the kernel look at the family at all.
        let answer = socket.ask(&Message::new(DELETE, 0, &[family, 1, 0, 0], &attributes));
        match answer {
            Err(error) if error.errno == Errno::NOENT => {}
            other => other?,
        }
    }
    Ok(())
}
