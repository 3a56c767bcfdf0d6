//! The embedded engine behind the driver contract.
//!
//! [`EmbeddedDriver`] turns a workload into a container of `shipway-engine`'s and
//! the engine's answers into the contract's. It holds no state of its own: labels,
//! phases and logs are the engine's, and survive in its state directory. A second
//! start of one id finds the first one's container there.
//!
//! Reading order: [`driver`] (the contract, call by call), `workload` (what a
//! container of a URL service looks like), `answer` (what the engine said, in the
//! contract's words), `import` (an archive becomes a
//! layer), `bootstrap` (a distribution's packages become an archive), `benches` (where builds are carried out).

mod answer;
mod benches;
mod bootstrap;
pub mod driver;
mod import;
mod workload;

pub use benches::{BenchConfig, Benches, DiskLimits, remove_disks};
pub use bootstrap::{BootstrapError, bootstrap};
pub use driver::{EmbeddedConfig, EmbeddedDriver, OpenError};
pub use import::{ImportError, import};
