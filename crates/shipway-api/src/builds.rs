//! Builds as every face of the API asks for them: the native one, and those of the Caddy
//! build server and of Caddy's download page.
//!
//! ```text
//! words ─► Request ─► Resolved ─► Spec ─► key ─► Build ─► artifact
//!  ask      (checked)  (settled,   (with    (the   (one for  download
//!                       memo)       a Go)    name)  all)
//! ```
//!
//! Reading order: [`ask`] (from a request to a build), `memo` (what was settled a moment ago),
//! `toolchain` (which Go), `waits` (many who wait for one), [`download`] (its bytes over HTTP), `gone` (when they are not there),
//! [`present`] (as JSON), [`trouble`] (what went wrong, as a problem).

use shipway_api_types::ProblemCode;

use crate::app::App;
use crate::config::BuildParts;
use crate::reply::Reject;

pub(crate) mod ask;
pub(crate) mod download;
mod gone;
mod memo;
pub(crate) mod present;
mod toolchain;
pub(crate) mod trouble;
mod waits;

/// What is remembered between requests. All of it may be lost.
#[derive(Debug, Default)]
pub(crate) struct Builds {
    memo: memo::Memo,
    pub(crate) waits: waits::Waits,
    pub(crate) gone: gone::Gone,
}

/// What builds are made with, if this platform makes any.
pub(crate) fn parts(app: &App) -> Result<&BuildParts, Reject> {
    app.parts.builds.as_ref().ok_or_else(|| {
        Reject::new(ProblemCode::BuildsUnavailable, "builds are switched off on this server")
            .hint("`shipway config check` says which setting it is")
    })
}
