//! How a step can fail: which one, with what `errno`, and what a person needs to know.

use alloc::borrow::ToOwned as _;
use alloc::string::String;

use rustix::io::Errno;
use shipway_shim::protocol::Launched;

/// A step that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What was being done, such as `mount proc`.
    pub(crate) step: String,
    /// `errno`, or 0.
    pub(crate) errno: i32,
    /// What a person needs to know: the path, the limit.
    pub(crate) detail: String,
}

impl Failure {
    /// A failure that no system call reported.
    pub(crate) fn refused(step: &str, detail: impl Into<String>) -> Self {
        Self { step: step.to_owned(), errno: 0, detail: detail.into() }
    }

    /// The answer of a launch that failed like this.
    pub(crate) fn into_launched(self) -> Launched {
        Launched::Failed { step: self.step, errno: self.errno, detail: self.detail }
    }
}

/// Gives an `errno` the name of the step that it stopped.
pub(crate) trait Step<T> {
    /// Names the step.
    fn step(self, step: &str) -> Result<T, Failure>;

    /// Names the step, and what it was done to.
    fn step_on(self, step: &str, detail: &[u8]) -> Result<T, Failure>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, step: &str) -> Result<T, Failure> {
        self.step_on(step, b"")
    }

    fn step_on(self, step: &str, detail: &[u8]) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step: step.to_owned(),
            errno: errno.raw_os_error(),
            detail: String::from_utf8_lossy(detail).into_owned(),
        })
    }
}

/// For a step whose failing changes nothing; the comment beside the call says why.
pub(crate) trait MayFail {
    /// Goes on either way.
    fn may_fail(self);
}

impl<T> MayFail for Result<T, Errno> {
    fn may_fail(self) {}
}
