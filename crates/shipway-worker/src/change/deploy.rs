//! Deploy: get the content, make a release of it, make that live.

use shipway_model::task::{Content, Deploy, DeployProgram};
use shipway_model::{
    FailureCode, Release, ReleaseProgram, ReleaseSpec, ReleaseState, RootFs, Service, ServiceState, Source,
};
use shipway_store::StoreError;
use url::Url;

use super::{swap, unchanged};
use crate::job::{Ended, Job};
use crate::trouble::Trouble;

pub(super) async fn deploy(job: &Job, wish: &Deploy) -> Result<Ended, Trouble> {
    let service = job.service().await?;
    job.discard_candidates().await?;
    let (program, root) = job.program(&wish.program).await?;
    let spec = ReleaseSpec {
        program,
        root,
        env: wish.env.clone(),
        limits: wish.limits.clone(),
        health: wish.health.clone(),
        egress: wish.egress,
    };
    if let Some(release) = job.is_live_already(&service, &spec).await? {
        return Ok(unchanged(Some(release)));
    }
    let release = job.release_of(&spec).await?;
    swap::go_live(job, &release).await
}

impl Job {
    /// What the release will run, and on what. An image means what it meant when the
    /// deploy was asked for.
    async fn program(&self, wish: &DeployProgram) -> Result<(ReleaseProgram, RootFs), Trouble> {
        match wish {
            DeployProgram::Content { content, kind, runner } => {
                let source = self.content(content).await?;
                let root = self.core.driver.current_root().await?;
                Ok((ReleaseProgram::Content { source, kind: *kind, runner: *runner }, root))
            }
            DeployProgram::ContentInImage { content, kind, runner, image_digest } => {
                let source = self.content(content).await?;
                let root = RootFs::Image { digest: image_digest.clone() };
                Ok((ReleaseProgram::Content { source, kind: *kind, runner: *runner }, root))
            }
            DeployProgram::Command { image, image_digest, command, port, protocol } => {
                let (image, command) = (image.clone(), command.clone());
                let root = RootFs::Image { digest: image_digest.clone() };
                Ok((ReleaseProgram::Command { image, command, port: *port, protocol: *protocol }, root))
            }
        }
    }

    /// Content of a URL is always fetched; uploaded content is there or was collected.
    async fn content(&self, content: &Content) -> Result<Source, Trouble> {
        match content {
            Content::Url { url } => {
                let url =
                    Url::parse(url).map_err(|error| Trouble::failed(FailureCode::FetchRefused, error.to_string()))?;
                Ok(self.core.fetcher.fetch(&url, &self.core.blobs).await?)
            }
            Content::Blob(source) if self.core.has_content(source).await? => Ok(source.clone()),
            Content::Blob(_) => {
                Err(Trouble::failed(FailureCode::StorageUnavailable, "the uploaded content is gone: upload it again"))
            }
        }
    }

    /// Returns the live release if it is healthy and nothing about it would change.
    async fn is_live_already(&self, service: &Service, spec: &ReleaseSpec) -> Result<Option<u32>, Trouble> {
        let ServiceState::Live { release: number } = service.state else {
            return Ok(None);
        };
        let release = self.core.store.find_release(service.id, number).await?;
        let same = release.is_some_and(|release| release.spec == *spec);
        Ok((same && self.runs(number).await?).then_some(number))
    }

    /// The release that an attempt before this one has made of the same, or a new one.
    async fn release_of(&self, spec: &ReleaseSpec) -> Result<Release, Trouble> {
        let store = &self.core.store;
        let newest = store.list_releases(self.service_id(), None, 1).await?;
        let unfinished =
            newest.into_iter().find(|release| release.state == ReleaseState::Starting && release.spec == *spec);
        match unfinished {
            Some(release) => Ok(release),
            None => match store.add_release(&self.lease, spec).await {
                Err(StoreError::NotFound("image")) => {
                    Err(Trouble::failed(FailureCode::NoSuchImage, "the image was removed meanwhile: import it again"))
                }
                added => Ok(added?),
            },
        }
    }
}
