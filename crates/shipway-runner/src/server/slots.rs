//! Where connections are kept, and the names that events carry.

/// The listening socket's name.
pub const LISTENER: u64 = u64::MAX;

/// The signals' name.
pub const SIGNALS: u64 = u64::MAX - 1;

/// Which of a connection's descriptors an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The client.
    Socket,
    /// The script's input.
    Stdin,
    /// The script's output.
    Stdout,
    /// The script's complaints.
    Stderr,
}

/// Names one connection for ever: a slot, and which of its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// Packs it into what an event carries.
    #[must_use]
    pub fn data(self, source: Source) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index) << 2 | source as u64
    }

    /// Unpacks what an event carries.
    #[must_use]
    pub const fn of(data: u64) -> (Self, Source) {
        let source = match data & 3 {
            0 => Source::Socket,
            1 => Source::Stdin,
            2 => Source::Stdout,
            _ => Source::Stderr,
        };
        let [g3, g2, g1, g0, i3, i2, i1, i0] = data.to_be_bytes();
        let token =
            Self { index: u32::from_be_bytes([i3, i2, i1, i0]) >> 2, generation: u32::from_be_bytes([g3, g2, g1, g0]) };
        (token, source)
    }
}

/// Connections by token.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// `None` while free, and while somebody has taken it out to work on it.
    value: Option<Box<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// How many are in use.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Keeps one more.
    pub fn insert(&mut self, value: Box<T>) -> Token {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, value: None });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        slot.value = Some(value);
        Token { index, generation: slot.generation }
    }

    /// Takes one out to work on; `None` when it is gone.
    pub fn take(&mut self, token: Token) -> Option<Box<T>> {
        self.slot(token)?.value.take()
    }

    /// Puts back what [`Slots::take`] returned.
    pub fn put_back(&mut self, token: Token, value: Box<T>) {
        if let Some(slot) = self.slot(token) {
            slot.value = Some(value);
        }
    }

    /// Ends the use of a slot; its token names nothing from now on.
    pub fn remove(&mut self, token: Token) {
        if let Some(slot) = self.slot(token) {
            slot.value = None;
            // Stays below the two names above: 2^31 is more than anybody lives to see.
            slot.generation = (slot.generation + 1) & 0x7fff_ffff;
            self.free.push(token.index);
        }
    }

    /// The tokens of all.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.value.is_some())
            .map(|(index, slot)| Token { index, generation: slot.generation })
            .collect()
    }

    fn slot(&mut self, token: Token) -> Option<&mut Slot<T>> {
        self.slots.get_mut(token.index as usize).filter(|slot| slot.generation == token.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_event_does_not_meet_the_next_user_of_its_slot() {
        let mut slots = Slots::default();
        let first = slots.insert(Box::new('a'));
        slots.remove(first);
        let second = slots.insert(Box::new('b'));
        assert_eq!(slots.take(first), None);
        assert_eq!(slots.take(second).as_deref(), Some(&'b'));
        assert_eq!(slots.count(), 1);
    }

    #[test]
    fn a_token_survives_its_journey() {
        let token = Token { index: 0x0123_4567, generation: 0x7abc_def0 };
        for source in [Source::Socket, Source::Stdin, Source::Stdout, Source::Stderr] {
            assert_eq!(Token::of(token.data(source)), (token, source));
        }
    }
}
