//! Chance with a seed, so that a run that failed can be run again.

use std::time::Duration;

/// A generator (`SplitMix64`): small, and good enough to choose whom to kill.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// One that always yields the same for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one, which does not depend on how often this one is thrown.
    #[must_use]
    pub fn fork(&self, salt: u64) -> Self {
        let mut child = Self(self.0 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        child.next();
        child
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// One of them; they must not be none.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// A span between two, to the millisecond.
    pub fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let span = usize::try_from(most.saturating_sub(least).as_millis()).unwrap_or(0);
        least + Duration::from_millis(u64::try_from(self.below(span + 1)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_yields_the_same_and_a_fork_something_else() {
        let (mut one, mut two) = (Dice::new(7), Dice::new(7));
        let first: Vec<u64> = (0..5).map(|_| one.next()).collect();
        assert_eq!(first, (0..5).map(|_| two.next()).collect::<Vec<_>>());
        assert_ne!(Dice::new(7).fork(1).next(), Dice::new(7).fork(2).next());
        assert!((0..1000).all(|_| one.below(3) < 3));
    }
}
