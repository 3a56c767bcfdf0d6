//! What kept a build from being made, in a task's words.

use shipway_artifacts::ArtifactError;
use shipway_artifacts::sign::SignError;
use shipway_gofarm::{Failure as Cause, FailureKind};
use shipway_model::{Failure, FailureCode};

use crate::trouble::Trouble;

impl From<Cause> for Trouble {
    fn from(cause: Cause) -> Self {
        let step = cause.step.and_then(|step| serde_json::to_value(step).ok());
        let detail = match step.as_ref().and_then(|step| step.as_str()) {
            Some(step) => format!("{step}: {}", cause.message),
            None => cause.message,
        };
        let code = code(cause.kind);
        let failure = Box::new(Failure { code, detail, hint: hint(cause.kind), log_tail: cause.lines });
        if cause.kind.is_transient() { Self::Later(failure) } else { Self::Failed(failure) }
    }
}

const fn code(kind: FailureKind) -> FailureCode {
    match kind {
        FailureKind::Compile | FailureKind::Toolchain => FailureCode::CompileFailed,
        FailureKind::Refused | FailureKind::Modules => FailureCode::ModuleRefused,
        FailureKind::Proxy => FailureCode::FetchFailed,
        FailureKind::Checksum => FailureCode::ChecksumMismatch,
        FailureKind::Program | FailureKind::Artifact => FailureCode::BuildUnusable,
        FailureKind::Deadline => FailureCode::BuildTimeout,
        FailureKind::OutOfMemory | FailureKind::DiskFull | FailureKind::TooMuch => FailureCode::BuildTooLarge,
        FailureKind::Stopped | FailureKind::Sandbox => FailureCode::EngineUnavailable,
    }
}

fn hint(kind: FailureKind) -> Option<String> {
    let hint = match kind {
        FailureKind::Refused => {
            "the operator's module proxy decides what is to be had: ask him, or choose another module"
        }
        FailureKind::Checksum => "somebody changed a published version: do not use it before you know why",
        FailureKind::Toolchain => "an operator can give the workers a newer Go",
        FailureKind::Proxy => "a module proxy is away; ask again later",
        _ => return None,
    };
    Some(hint.to_owned())
}

impl From<ArtifactError> for Trouble {
    fn from(error: ArtifactError) -> Self {
        // What an operator has to set right is set right while it waits.
        Self::later(FailureCode::StorageUnavailable, error.to_string())
    }
}

impl From<SignError> for Trouble {
    fn from(error: SignError) -> Self {
        Self::later(FailureCode::StorageUnavailable, error.to_string())
    }
}
