//! Making one container, from both sides.
//!
//! The shim has the host's privileges and prepares what needs them: the user
//! namespace's maps ([`namespaces`]), the root file system and what is bound into it
//! as detached mounts seen through those maps ([`trees`], [`overlay`]). The child,
//! born into the new namespaces, has privileges only over those: it joins its v1
//! cgroups, raises `lo` ([`network`]), puts the mounts together and pivots into them
//! ([`assembly`], [`kernel_mounts`], [`targets`]), gives up everything else
//! ([`process`]) and executes the program. The two speak over one socket pair:
//!
//! ```text
//! shim                                child
//!  ├── maps, mounts                    ├── cgroups, host name, lo
//!  ├─── "go" + the mounts ────────────►│
//!  ├── run.json                        ├── root, terminal, limits, capabilities
//!  │◄─────────── the terminal's master ┤   (with a terminal)
//!  │◄─────────────────────────"ready" ─┤   (with a gate: both wait for the engine)
//!  ├─── "run" ────────────────────────►│
//!  │◄──────────────────────────"exec" ─┤   then execve: end of file
//!  │◄───────────── or what went wrong ─┤
//! ```
//!
//! End of file without "exec" means that the child was killed.

pub(crate) mod assembly;
pub(crate) mod child;
mod kernel_mounts;
pub(crate) mod namespaces;
mod network;
mod overlay;
pub(crate) mod process;
mod targets;
pub(crate) mod terminal;
pub(crate) mod trees;
