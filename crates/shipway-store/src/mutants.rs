//! The store with one of its rules left out, behind the feature `mutants`: what proves
//! that the torture suite would notice. Never in a release build; and nothing is left out
//! until a process says which ([`leave_out`]).

use std::sync::OnceLock;

use crate::StoreError;
use crate::door::Tx;

/// A rule, left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A write under a lease does not compare its token.
    NoTokenCompared,
    /// A claim neither skips nor locks what another claim has its hands on. PostgreSQL only.
    NoSkipLocked,
    /// A release is published in one transaction, and its task ended in a second.
    PublishBeforeFinish,
}

impl Mutant {
    /// All of them, by the words that options have for them.
    pub const ALL: [(&str, Self); 3] = [
        ("no-token", Self::NoTokenCompared),
        ("no-skip-locked", Self::NoSkipLocked),
        ("publish-before-finish", Self::PublishBeforeFinish),
    ];
}

static LEFT_OUT: OnceLock<Mutant> = OnceLock::new();

/// Leaves a rule out, in this process, from now on. Only the first call counts.
pub fn leave_out(mutant: Mutant) {
    LEFT_OUT.get_or_init(|| mutant);
}

/// The statement as the mutant has it.
pub(crate) fn twisted(sql: String) -> String {
    match LEFT_OUT.get() {
        None => sql,
        Some(mutant) => twist(*mutant, &sql),
    }
}

/// What comes in between when publishing and ending are two transactions.
pub(crate) async fn between_publish_and_end(tx: &mut Tx) -> Result<(), StoreError> {
    if LEFT_OUT.get() == Some(&Mutant::PublishBeforeFinish) { tx.split().await } else { Ok(()) }
}

fn twist(mutant: Mutant, sql: &str) -> String {
    match mutant {
        Mutant::NoTokenCompared => sql.replace("AND lease_token = $2", "AND $2 >= 0"),
        Mutant::NoSkipLocked => sql.replace("FOR UPDATE OF t SKIP LOCKED", ""),
        Mutant::PublishBeforeFinish => sql.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::CLAIM;
    use crate::query::worded;

    /// A statement that is worded anew must not make a mutant harmless.
    #[test]
    fn the_statements_have_what_the_mutants_take_away() {
        let claim = worded(CLAIM.into(), crate::postgres::WORDS);
        assert_ne!(twist(Mutant::NoSkipLocked, &claim), claim);
        for source in [include_str!("held.rs"), include_str!("leases.rs")] {
            assert_ne!(twist(Mutant::NoTokenCompared, source), source);
        }
    }
}
