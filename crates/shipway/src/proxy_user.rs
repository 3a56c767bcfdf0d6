//! Who the proxy runs as: a user of its own, never root and never `nobody`.

use std::fs;

use anyhow::{Context as _, bail};

use crate::config::ProxyUser;

/// Numbers that nobody hands out (systemd's table of user ids leaves the last
/// 65,536 below 2^31 unused); containers' ranges end below.
const AUTO_FIRST: u32 = 0x7FFF_0000;

/// A user and its group by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Finds the user; `instance` makes `auto` differ between installations of one host.
pub(crate) fn resolve(user: &ProxyUser, instance: &str) -> anyhow::Result<Ids> {
    match user {
        ProxyUser::Number(number) => Ok(Ids { uid: *number, gid: *number }),
        ProxyUser::Auto => {
            let number = AUTO_FIRST + u32::from(fold(instance));
            Ok(Ids { uid: number, gid: number })
        }
        ProxyUser::Name(name) => {
            let passwd = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
            match ids_of(name, &passwd) {
                Some(Ids { uid: 0 | 65_534, .. }) => {
                    bail!("`proxy.user: {name}` is root or nobody; make a user of its own")
                }
                Some(ids) => Ok(ids),
                None => bail!("`proxy.user: {name}`: there is no such user; `useradd --system {name}` makes one"),
            }
        }
    }
}

fn ids_of(name: &str, passwd: &str) -> Option<Ids> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(Ids { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Folds a text into 16 bits (FNV-1a, xor-folded): stable, and spread enough for
/// the few installations of a host.
fn fold(text: &str) -> u16 {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_and_a_shared_one_refused() {
        assert_eq!(ids_of("web", "root:x:0:0::/:\nweb:x:998:997::/:\n"), Some(Ids { uid: 998, gid: 997 }));
        assert!(resolve(&ProxyUser::Name("nobody".to_owned()), "i").is_err());
        assert!(resolve(&ProxyUser::Name("no-such-user-here".to_owned()), "i").is_err());
    }

    #[test]
    fn auto_is_stable_and_out_of_everybodys_way() {
        let first = resolve(&ProxyUser::Auto, "a1").unwrap();
        assert_eq!(first, resolve(&ProxyUser::Auto, "a1").unwrap());
        assert_ne!(first, resolve(&ProxyUser::Auto, "a2").unwrap());
        assert!((AUTO_FIRST..0x8000_0000).contains(&first.uid));
    }
}
