//! The launcher and the shim. See the library for what they are told.

fn main() {}
