//! The static programs as bytes.
//!
//! `shipway` is one file, but the program beside each container and the one that
//! serves inside it are files of their own: small, static, unchanged by an upgrade of
//! the host. So this crate's build script builds them and this library carries them;
//! the engine writes them out once per digest, where a container cannot reach them.
//!
//! It never depends on the two packages themselves, so that their code is in no
//! other program.

/// The program of `shipway-shim`: launcher and shim.
pub static SHIM: &[u8] = include_bytes!(env!("SHIPWAY_SHIM_PROGRAM"));
/// SHA-256 of [`SHIM`], 64 hexadecimal digits.
pub const SHIM_DIGEST: &str = env!("SHIPWAY_SHIM_DIGEST");
/// The program of `shipway-runner`: serves a URL service inside its container.
pub static RUNNER: &[u8] = include_bytes!(env!("SHIPWAY_RUNNER_PROGRAM"));
/// SHA-256 of [`RUNNER`], 64 hexadecimal digits.
pub const RUNNER_DIGEST: &str = env!("SHIPWAY_RUNNER_DIGEST");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(program: &[u8], digest: &str, bytes_max: usize) {
        assert!(program.len() < bytes_max, "{} bytes, the bar is {bytes_max}", program.len());
        assert_eq!(digest.len(), 64);
        assert_eq!(program.get(..4), Some(b"\x7fELF".as_slice()));
        // Offset 16 of an ELF header: 2 is a plain executable, 3 one that must be relocated.
        assert_eq!(program.get(16), Some(&2), "position-independent: costs memory in every container");
        // Segment type 3 names an interpreter, which a container does not have.
        assert!(segment_types(program).all(|kind| kind != 3), "not static");
    }

    fn segment_types(program: &[u8]) -> impl Iterator<Item = u32> {
        let at = |offset: usize, length: usize| {
            let mut bytes = [0; 8];
            bytes[..length].copy_from_slice(&program[offset..offset + length]);
            usize::try_from(u64::from_le_bytes(bytes)).unwrap()
        };
        let (table, size, count) = (at(32, 8), at(54, 2), at(56, 2));
        (0..count).map(move |n| u32::try_from(at(table + n * size, 4)).unwrap())
    }

    #[test]
    fn the_shim_is_small_and_static() {
        check(SHIM, SHIM_DIGEST, 1_000_000);
    }

    #[test]
    fn the_runner_is_small_and_static() {
        check(RUNNER, RUNNER_DIGEST, 2_000_000);
    }
}
