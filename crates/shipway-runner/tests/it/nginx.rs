//! Where nginx differs from the native runner, and what only it has to prove.
