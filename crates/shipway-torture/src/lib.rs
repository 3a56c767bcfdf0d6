//! The torture suite: what works on tasks is shot, stopped and cut off in the middle of
//! everything, and then somebody looks whether anything was lost, or done twice.
//!
//! What is tortured is real: the store on its real databases, the worker's own loop, the
//! blobs, and in the runs with builds the farm, its sandbox, and an S3 server ([`ground`]).
//! Only the containers of services are of paper ([`paper`]), so that they survive whoever made
//! them, cost nothing, and can be counted. What is tortured runs in processes of its own
//! ([`part`]); the tester, which is this program without a role, starts them, asks things
//! of them ([`load`]), writes down what was acknowledged ([`ledger`]), kills them, and at
//! the end reads everything there is ([`evidence`]) and checks it ([`check`]).
//!
//! Reading order: [`paper`], [`part`], [`scene`] (one database with its parts), [`load`],
//! [`evidence`], [`check`] (the invariants), [`runs`] (who is hurt how), [`report`].
//!
//! # Never
//!
//! Never part of a release. It kills only what it has started, by process id, and sends
//! nothing beyond 127.0.0.1 and unix sockets.

pub mod check;
pub mod dice;
pub mod evidence;
pub mod ground;
pub mod ledger;
pub mod load;
pub mod paper;
pub mod part;
pub mod report;
pub mod runs;
pub mod scene;
