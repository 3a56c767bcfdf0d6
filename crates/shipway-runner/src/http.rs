//! HTTP/1.1 as far as the runner speaks it (RFC 9110, RFC 9112).
//!
//! [`head`] reads a request's head, [`body`] finds the bytes of its body,
//! [`answer`] writes an answer's head, [`condition`] and [`range`] decide between
//! 200, 206, 304, 412 and 416. All of it is bytes in, values out: nothing here
//! reads a socket or the clock.

pub mod answer;
pub mod body;
pub mod condition;
pub mod head;
pub mod range;
