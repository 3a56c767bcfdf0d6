//! Stories: the real binary, as its users meet it.
//!
//! Few and slow; what can be shown in a crate of its own is shown there. All
//! stories of a file share one platform where they do not harm it, because the
//! first start makes a host image.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on has failed")]

mod bad_input;
mod caddy;
mod egress;
mod farm;
mod hostile;
mod images;
mod killed;
mod life;
mod moved_over;
mod nginx;
mod old_contract;
mod on_postgres;
mod queue;
mod several;
mod streams;
mod upgrade;
mod visitors;
mod world;
