//! A build: work that makes an artifact, a binary for now.
//!
//! Builds of one key are one build: whoever asks for the second is given the first. A build
//! that is made anew is the key's next *generation*. What is built is written as its spec,
//! which only the crates that plan and make builds understand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{BuildId, Digest, Failure, Micros, ProjectName};

/// A build, as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its id.
    pub id: BuildId,
    /// Larger for what was asked for later; for paging.
    pub number: u64,
    /// Whose.
    pub project: ProjectName,
    /// What kind of program: the name of a recipe.
    pub recipe: String,
    /// The digest of everything that decides its output, 64 hexadecimal digits.
    pub key: String,
    /// Which build of this key, from 1.
    pub generation: u32,
    /// What is built, as JSON.
    pub spec: String,
    /// How far it has come.
    pub state: BuildState,
    /// When it was asked for.
    pub created_at: Micros,
    /// When its state changed last.
    pub updated_at: Micros,
}

/// How far a build has come.
///
/// ```text
/// pending ──► building ──► success
///    ▲  │        │  ├────► failed
///    └──┼────────┘  └────► cancelled
///       └─ failed, cancelled      (building → pending: its worker was lost or is leaving)
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildState {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Building,
    /// There is an artifact.
    Success(Artifact),
    /// There will be none.
    Failed(Failure),
    /// Somebody did not want it any more.
    Cancelled,
}

impl BuildState {
    /// The word, as in the table and in the API.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Building => "building",
            Self::Success(_) => "success",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it will change no more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Success(_) | Self::Failed(_) | Self::Cancelled)
    }
}

/// What a build has made: bytes by digest, and what they are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// How many there are.
    pub size_bytes: u64,
    /// What it is called where it is used: `caddy`, `caddy.exe`.
    pub file_name: String,
    /// What the place where it is kept needs to read it back verified.
    pub chunks: Option<Digest>,
    /// When it was published, by the database's clock.
    pub made_at: Micros,
}

/// A finished artifact on its way into the store, with the texts that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// SHA-256 of its bytes, which are where artifacts are kept already.
    pub digest: Digest,
    /// How many there are.
    pub size_bytes: u64,
    /// What it is called where it is used.
    pub file_name: String,
    /// See [`Artifact::chunks`].
    pub chunks: Option<Digest>,
    /// Its signatures, its provenance, its list of modules: text by [`Document`].
    pub documents: BTreeMap<Document, String>,
}

/// A text that belongs to an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Document {
    /// A minisign signature.
    Minisig,
    /// A detached, armoured `OpenPGP` signature.
    Asc,
    /// An in-toto statement with SLSA provenance, as JSON.
    Provenance,
    /// The modules in it, as JSON (`CycloneDX`).
    Sbom,
    /// What the modules of its plugins register, by module and version, as JSON. It is added
    /// when somebody has asked for it, and signed by nobody.
    Registrations,
}

impl Document {
    /// Every document there may be.
    pub const ALL: [Self; 5] = [Self::Minisig, Self::Asc, Self::Provenance, Self::Sbom, Self::Registrations];

    /// The word, as in the table and in the API.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Minisig => "minisig",
            Self::Asc => "asc",
            Self::Provenance => "provenance",
            Self::Sbom => "sbom",
            Self::Registrations => "registrations",
        }
    }

    /// The document of a word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|document| document.word() == word)
    }
}
