//! Requests that wait for a script's seat, first come first served.
//!
//! Only tokens are kept: who hangs up or gives up meanwhile is simply not found
//! when its turn comes. Their number is bounded, and so is the time each waits.

use std::collections::VecDeque;

use super::slots::Token;

/// The queue.
#[derive(Debug, Default)]
pub struct Queue(VecDeque<Token>);

impl Queue {
    /// Lets one more wait, unless `most` do.
    pub fn push(&mut self, token: Token, most: usize) -> bool {
        let has_room = self.0.len() < most;
        if has_room {
            self.0.push_back(token);
        }
        has_room
    }

    /// Takes the one who waits longest.
    pub fn pop(&mut self) -> Option<Token> {
        self.0.pop_front()
    }

    /// Forgets one who no longer waits.
    pub fn forget(&mut self, token: Token) {
        self.0.retain(|waiting| *waiting != token);
    }

    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
