//! Whether apt or dpkg is at work.
//!
//! Only looked at, never taken: whoever holds this lock makes the operator's next
//! `apt-get` fail. Correctness does not rest on it either: the fingerprint is read
//! again after the copy. It saves the copy, and gives the error its right name.

use std::fs::File;
use std::path::Path;

use rustix::process::{Flock, FlockType, fcntl_getlk};

/// Whether another process holds dpkg's lock. `false` where nobody can tell.
pub(crate) fn is_busy(host_root: &Path) -> bool {
    let path = host_root.join(super::FOLDER).join("lock");
    let Ok(file) = File::open(path) else {
        return false;
    };
    let wanted = Flock::from(FlockType::WriteLock);
    matches!(fcntl_getlk(file, &wanted), Ok(Some(_holder)))
}
