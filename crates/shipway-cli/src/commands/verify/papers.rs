//! What belongs to a file: found beside it, or asked of the server by the file's digest.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use shipway_artifacts::sign::SignatureKind;
use shipway_client::{BuildQuery, Client, Error};

use super::{TEXT_MAX, unread};
use crate::failure::Failure;

/// Signatures looked at: each costs reading the file.
const SIGNATURES_MAX: usize = 8;

/// A text, and who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paper {
    pub(super) text: String,
    /// A file's name, or `the server`.
    pub(super) from: String,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) paper: Paper,
    pub(super) kind: SignatureKind,
    /// Named on the command line: then it must be good.
    pub(super) is_named: bool,
}

/// Everything that was found.
#[derive(Debug, Default)]
pub(super) struct Papers {
    pub(super) signatures: Vec<Signature>,
    pub(super) checksum: Option<Paper>,
    pub(super) provenance: Option<Paper>,
    pub(super) sbom: Option<Paper>,
}

impl Papers {
    /// What was named, and what stands beside the file under its name.
    pub(super) fn beside(file: &Path, named: &[PathBuf]) -> Result<Self, Failure> {
        if named.len() > SIGNATURES_MAX {
            return Err(Failure::Usage(format!("at most {SIGNATURES_MAX} signatures are looked at")));
        }
        let mut papers = Self {
            checksum: found(file, ".sha256")?,
            provenance: found(file, ".provenance.json")?,
            sbom: found(file, ".sbom.json")?,
            ..Self::default()
        };
        for path in named {
            let paper = Paper { text: read(path)?, from: path.display().to_string() };
            papers.sign(paper, true);
        }
        for suffix in [".minisig", ".asc"].iter().filter(|_| named.is_empty()) {
            if let Some(paper) = found(file, suffix)? {
                papers.sign(paper, false);
            }
        }
        Ok(papers)
    }

    fn sign(&mut self, paper: Paper, is_named: bool) {
        let kind = SignatureKind::of(&paper.text);
        self.signatures.push(Signature { paper, kind, is_named });
    }

    /// Whether the server may know more.
    pub(super) const fn is_incomplete(&self) -> bool {
        self.signatures.is_empty() || self.provenance.is_none() || self.sbom.is_none()
    }

    /// Asks the server for what is missing. That it does not know the file is no error.
    pub(super) async fn complete(&mut self, client: &Client, sha256: &str) -> Result<(), Error> {
        let query = BuildQuery { digest: Some(format!("sha256:{sha256}")), ..BuildQuery::default() };
        let page = client.builds(&query, 1, None).await?;
        let Some(build) = page.items.first() else { return Ok(()) };
        if self.signatures.is_empty() {
            for document in ["minisig", "asc"] {
                if let Some(paper) = asked(client, &build.id, document).await? {
                    self.sign(paper, false);
                }
            }
        }
        if self.provenance.is_none() {
            self.provenance = asked(client, &build.id, "provenance").await?;
        }
        if self.sbom.is_none() {
            self.sbom = asked(client, &build.id, "sbom").await?;
        }
        Ok(())
    }
}

async fn asked(client: &Client, build: &str, document: &str) -> Result<Option<Paper>, Error> {
    match client.artifact_document(build, document).await {
        Ok(text) => Ok(Some(Paper { text, from: "the server".to_owned() })),
        Err(Error::Refused(problem)) if problem.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is called as the file with a suffix, if there is such a file.
fn found(file: &Path, suffix: &str) -> Result<Option<Paper>, Failure> {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    let path = PathBuf::from(path);
    if !path.is_file() {
        return Ok(None);
    }
    Ok(Some(Paper { text: read(&path)?, from: path.display().to_string() }))
}

/// Reads a text of bounded length. Letters that are none are replaced: then it says nothing good.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(TEXT_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| unread(path, error))?;
    if bytes.len() as u64 > TEXT_MAX {
        return Err(Failure::Usage(format!("{} is longer than any key or paper", path.display())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
