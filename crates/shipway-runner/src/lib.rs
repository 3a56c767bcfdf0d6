//! The runner: a small static program, first process of a URL service's container.
//!
//! It answers HTTP on one listening socket that it was handed. What it answers is
//! either one file ([`content`]) or what a script prints ([`cgi`]), a process for
//! every request. It is one thread with one [`server`] loop and no buffer larger
//! than 64 KiB a request, because there is one of it for every service and most
//! of them are idle.
//!
//! Read in this order: [`config`] (what it is told), [`http`] (requests in,
//! answers out, ranges and conditions), [`content`], [`cgi`], [`strategy`] (how a
//! script is started), [`family`] (which process belongs to which request, and
//! why nothing outlives its own), [`server`] (the loop that joins them), [`nginx`]
//! (another server in that loop's place), [`sys`] (the system calls that need `unsafe`,
//! and nothing else).
//!
//! # What it never does
//!
//! * Hold a whole request body, or more than 64 KiB of an answer.
//! * Give a visitor's text to a shell, or a script's stderr to a visitor.
//! * Trust its peer: that is Shipway's own proxy, and is parsed as an attacker's.

pub mod cgi;
pub mod config;
pub mod content;
pub mod family;
pub mod http;
pub mod nginx;
pub mod server;
pub mod strategy;
pub mod sys;
