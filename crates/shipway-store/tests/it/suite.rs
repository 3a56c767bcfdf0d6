//! What the store promises, whichever database is behind it. Each file is a promise; the
//! names of the tests are its small print.

mod builds;
mod callers;
pub(crate) mod child;
mod counts;
mod crash;
mod damage;
mod deposits;
mod events;
mod fairness;
mod history;
pub(crate) mod images;
mod instances;
mod model;
mod notices;
mod old_releases;
mod publishing;
mod queue;
mod queue_view;
mod races;
mod requests;
mod retention;
mod services;
mod set_back;
mod tokens;
mod two_versions;
pub(crate) mod world;
