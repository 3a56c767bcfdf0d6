//! What is true of the words whatever happens, by looking at everything that can.

#[cfg(test)]
mod lease_protocol;
