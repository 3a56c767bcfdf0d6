//! Compute Engine: the preempted flag,
//! <https://cloud.google.com/compute/docs/instances/preemptible>.
//!
//! An answer counts only with the header that the real service sets: a captive portal
//! that answers everything must not stop a worker.

use async_trait::async_trait;

use crate::Preempted;
use crate::metadata::{Metadata, MetadataError};
use crate::watch::Cloud;

const PREEMPTED: &str = "/computeMetadata/v1/instance/preempted";
const FLAVOR: (&str, &str) = ("Metadata-Flavor", "Google");

#[derive(Debug)]
pub(crate) struct Gcp {
    metadata: Metadata,
}

impl Gcp {
    pub(crate) const fn new(metadata: Metadata) -> Self {
        Self { metadata }
    }
}

#[async_trait]
impl Cloud for Gcp {
    async fn ask(&mut self) -> Result<Option<Preempted>, MetadataError> {
        let answered = self.metadata.get(PREEMPTED, &[FLAVOR]).await?.good()?;
        if answered.header(FLAVOR.0) != Some(FLAVOR.1) {
            return Err(answered.wrong(Some("this is not Compute Engine's metadata server".to_owned())));
        }
        match answered.text().as_str() {
            "TRUE" => Ok(Some(Preempted::new("preempted"))),
            "FALSE" => Ok(None),
            other => Err(answered.wrong(Some(format!("{:?} is neither TRUE nor FALSE", crate::shown(other))))),
        }
    }
}
