//! How much of an archive is taken.

/// Bounds of one archive. One that is past any of them is refused, not cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Everything the tree holds, folders that the archive left out included, and
    /// everything the archive says, extension heads included.
    pub entries_max: u64,
    /// Bytes of all files together; a hard link counts like the file it is a copy of.
    pub bytes_max: u64,
    /// Bytes of the archive itself, after decompression.
    pub stream_max: u64,
    /// Bytes of all names and link targets together: they are held in memory.
    pub names_max: u64,
    /// Folders inside each other.
    pub depth_max: usize,
    /// How many times larger the archive may become by decompression, past
    /// [`UnpackLimits::ratio_free`].
    pub ratio_max: u64,
    /// So many bytes may come out of any archive: a small one of zeros is no bomb.
    pub ratio_free: u64,
}

impl Default for UnpackLimits {
    /// Roomy for a distribution's root file system with a language or two (Debian's
    /// is 200 MB in 10,000 entries and shrinks to a third), small for a bomb: 8 GiB
    /// is also as far as a plain head can count.
    fn default() -> Self {
        Self {
            entries_max: 500_000,
            bytes_max: 8 << 30,
            stream_max: 9 << 30,
            names_max: 64 << 20,
            depth_max: 100,
            ratio_max: 200,
            ratio_free: 64 << 20,
        }
    }
}
