//! Which directories of a module hold Go files, from the list at its archive's end.
//!
//! Most archives need one request for their last bytes, where the proxy knows parts; where it
//! does not, the whole is read and only its end kept.

use bytes::{Bytes, BytesMut};

use super::Resolver;
use super::error::Cause;
use crate::module::{ModulePath, Version};
use crate::proxy::{Piece, ProxyError, Question};
use crate::zip::{self, Entry, TAIL_BYTES, ZipError};

/// Most bytes kept of an archive's end: the list of the largest archives has some two megabytes.
const KEPT_BYTES_MAX: usize = 8 << 20;

impl Resolver {
    /// Whether a directory of the module, empty for its root, holds a Go file.
    pub(super) async fn holds(&self, module: &ModulePath, version: &Version, directory: &str) -> Result<bool, Cause> {
        let prefix = match directory {
            "" => format!("{module}@{version}/"),
            directory => format!("{module}@{version}/{directory}/"),
        };
        let entries = self.files(module, version).await?;
        let in_it =
            |entry: &Entry| entry.name.strip_prefix(&prefix).is_some_and(|rest| !rest.contains('/') && is_go(rest));
        Ok(entries.iter().any(in_it))
    }

    async fn files(&self, module: &ModulePath, version: &Version) -> Result<Vec<Entry>, Cause> {
        let question = Question::zip(module, version);
        let piece = self.proxies.last_bytes(&question, TAIL_BYTES).await?;
        let proxy = piece.body.proxy().to_owned();
        let broken = |error: &ZipError| Cause::Proxy(ProxyError::broken(&question, &proxy, error.to_string()));
        let tail = End::read(piece).await?;
        let (offset, length) = zip::locate(&tail.kept, tail.until()).map_err(|error| broken(&error))?;
        let list = match tail.slice(offset, length) {
            Some(list) => list,
            None => {
                let rest = End::read(self.proxies.some_bytes(&question, offset, length).await?).await?;
                let cut = || broken(&ZipError::Broken("its list of files is cut off"));
                rest.slice(offset, length).ok_or_else(cut)?
            }
        };
        zip::list(&list).map_err(|error| broken(&error))
    }
}

/// The last bytes of what came, and where in the archive they begin.
struct End {
    kept: Bytes,
    from: u64,
}

impl End {
    async fn read(piece: Piece) -> Result<Self, ProxyError> {
        let mut kept = BytesMut::new();
        let mut from = piece.start;
        let mut body = piece.body;
        while let Some(bytes) = body.chunk().await? {
            kept.extend_from_slice(&bytes);
            if kept.len() > 2 * KEPT_BYTES_MAX {
                let left_out = kept.len() - KEPT_BYTES_MAX;
                kept = kept.split_off(left_out);
                from = from.saturating_add(left_out as u64);
            }
        }
        Ok(Self { kept: kept.freeze(), from })
    }

    fn until(&self) -> u64 {
        self.from.saturating_add(self.kept.len() as u64)
    }

    /// So many bytes from there, if they are all here.
    fn slice(&self, offset: u64, length: u64) -> Option<Bytes> {
        let start = usize::try_from(offset.checked_sub(self.from)?).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        (end <= self.kept.len()).then(|| self.kept.slice(start..end))
    }
}

fn is_go(name: &str) -> bool {
    name.ends_with(".go")
}
