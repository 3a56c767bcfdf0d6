//! The relay's two sides, together.

#[cfg(test)]
mod relay;
