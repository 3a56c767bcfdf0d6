//! The endpoints of the Caddy build server, and those of Caddy's own download page, which the
//! `caddy` command asks: thin adapters over builds.
//!
//! They keep the old paths, states and error bodies. Where the old systems were wrong they are
//! put right: `latest` is settled before there is a key, a failure that comes again is not tried
//! again, a hanging request has no total time but half an hour, and a client that hangs up stops
//! nothing.
//!
//! Reading order: `words` (how the old systems ask), `build` (`/api/build`, `/api/download/{key}`),
//! `download` (`/api/compat`, `/api/download`), `multipart`, `packages`.

use crate::endpoint::Endpoint;

mod build;
mod download;
mod multipart;
mod packages;
mod words;

pub(crate) use build::{CaddyBuild, CaddyBuildAnswer, CaddyBuildState};
pub(crate) use packages::CaddyPackages;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    [build::endpoints(), download::endpoints(), packages::endpoints()].into_iter().flatten().collect()
}
