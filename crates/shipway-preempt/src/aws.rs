//! EC2: the instance action of a spot machine,
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>.
//!
//! Asked with a session token (`IMDSv2`), as machines are set up today. There is no such
//! document until the machine is marked.

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;

use crate::Preempted;
use crate::metadata::{Answered, Metadata, MetadataError};
use crate::watch::Cloud;

const TOKEN: &str = "/latest/api/token";
const ACTION: &str = "/latest/meta-data/spot/instance-action";
/// Seconds that a token is good for.
const TOKEN_TIME: &str = "300";

#[derive(Debug)]
pub(crate) struct Aws {
    metadata: Metadata,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    action: String,
    #[serde(default)]
    time: Option<String>,
}

impl Aws {
    pub(crate) const fn new(metadata: Metadata) -> Self {
        Self { metadata, token: None }
    }

    async fn token(&mut self) -> Result<String, MetadataError> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let headers = [("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_TIME)];
        let token = self.metadata.ask(Method::PUT, TOKEN, &headers, Bytes::new()).await?.good()?.text();
        self.token = Some(token.clone());
        Ok(token)
    }

    async fn action(&mut self) -> Result<Answered, MetadataError> {
        let token = self.token().await?;
        self.metadata.get(ACTION, &[("X-aws-ec2-metadata-token", &token)]).await
    }
}

#[async_trait]
impl Cloud for Aws {
    async fn ask(&mut self) -> Result<Option<Preempted>, MetadataError> {
        let mut answered = self.action().await?;
        if answered.status() == StatusCode::UNAUTHORIZED {
            // The token has run out.
            self.token = None;
            answered = self.action().await?;
        }
        if answered.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let action: Action = answered.good()?.json()?;
        Ok(Some(Preempted::new(action.action).not_before(action.time)))
    }
}
