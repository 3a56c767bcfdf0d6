//! What an operator should know, and what to do about it.

/// One thing found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Which kind of thing.
    pub about: About,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one sentence.
    pub what: String,
    /// What to do, in one sentence or one command a line.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Egress `internet` does not work.
    Broken,
    /// It may not work, or not in full.
    Doubtful,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A part of the kernel is missing.
    Kernel {
        /// What it is called.
        part: &'static str,
    },
    /// A chain of somebody else's drops what containers send or get.
    Chain {
        /// Its family as `nft` has it: `ip`, `ip6`, `inet`.
        family: &'static str,
        /// The table it is in.
        table: String,
        /// The base chain in whose course the packet is dropped.
        chain: String,
        /// The chain that says so: the base chain's policy, or a chain it jumps to.
        by: String,
    },
    /// Rules of the older kind, which cannot be read this way.
    LegacyTables,
    /// The host has no default route of this family.
    NoRoute {
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// The host asks nobody for names.
    NoUpstream,
    /// The host's network settings cannot be changed.
    Settings,
    /// Another network of the host uses addresses of the pool.
    PoolClash,
}
