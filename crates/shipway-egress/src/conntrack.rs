//! Forgetting connections of an address.
//!
//! A slot is used again, and with it an address. What its former owner had open must
//! not count as established for the next one, whose policy may be narrower.

use rustix::io::Errno;

use crate::addresses::Addresses;
use crate::netlink::{Attributes, DUMP, Found, Message, NetlinkError, Socket};
use crate::table::octets;

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET`.
const GET: u16 = 1 << 8 | 1;
/// The same, and `IPCTNL_MSG_CT_DELETE`.
const DELETE: u16 = 1 << 8 | 2;
/// `CTA_TUPLE_ORIG`: who asked whom.
const ASKED: u16 = 1;
/// `CTA_ID`: that connection, and none that has its addresses by now.
const ID: u16 = 12;
/// `CTA_FILTER`.
const FILTER: u16 = 25;
/// `struct nfgenmsg` before the attributes.
const FIXED_BYTES: usize = 4;
/// Compare the source address only.
const BY_SOURCE: u32 = 1;

/// Deletes every tracked connection that these addresses opened. They are listed first
/// and deleted one by one: to delete by half an address takes a newer kernel than 6.1.
///
/// # Errors
///
/// Those of the kernel; `EOPNOTSUPP` and `EINVAL` where it cannot (no `nf_conntrack_netlink`).
pub(crate) fn forget(socket: &mut Socket, who: Addresses) -> Result<(), NetlinkError> {
    for (family, kind, address) in [(2, 1, octets(who.v4.into())), (10, 3, octets(who.v6.into()))] {
        let tuple = Attributes::new().nest(1, &Attributes::new().raw(kind, &address));
        let filter = Attributes::new().u32(1, BY_SOURCE);
        let attributes = Attributes::new().nest(ASKED, &tuple).nest(FILTER, &filter);
        for found in socket.get(&Message::new(GET, DUMP, &[family, 0, 0, 0], &attributes))? {
            forget_one(socket, family, &found)?;
        }
    }
    Ok(())
}

/// One that has ended by itself meanwhile is fine.
fn forget_one(socket: &mut Socket, family: u8, found: &[u8]) -> Result<(), NetlinkError> {
    let found = Found(found.get(FIXED_BYTES..).unwrap_or_default());
    let (Some(asked), Some(id)) = (found.get(ASKED), found.get(ID)) else {
        return Ok(());
    };
    let attributes = Attributes::new().raw(ASKED, asked).raw(ID, id);
    match socket.ask(&Message::new(DELETE, 0, &[family, 0, 0, 0], &attributes)) {
        Err(error) if error.errno == Errno::NOENT => Ok(()),
        other => other,
    }
}
