//! The routes of builds: ask, list, read, cancel, make anew, follow, fetch.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use shipway_api_types::{Build, BuildCreate, BuildLine, BuildState, Event, Page, SigningKeys};

use crate::request::{Call, read, read_json};
use crate::routes::{Waited, below, with_query};
use crate::{Client, Error, Lines};

/// Beyond the usual patience: versions are settled before there is an answer, and module proxies
/// may take their time.
const SETTLE_TIME: Duration = Duration::from_secs(240);

/// Which builds to list; all that is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildQuery {
    /// Of which program.
    pub recipe: Option<String>,
    /// How far they have come.
    pub state: Option<BuildState>,
    /// Only the newest that made this artifact, `sha256:…`.
    pub digest: Option<String>,
}

fn build_path(id: &str, rest: &str) -> String {
    below("/v1/builds", id, rest)
}

impl Client {
    /// Asks for a build, or finds the one there is. It is waited for as long as `wait` says.
    ///
    /// # Errors
    ///
    /// [`Error`]; a build that failed is no error, its state says so.
    pub async fn create_build(&self, create: &BuildCreate, wait: Duration) -> Result<Waited<Build>, Error> {
        let path = with_query("/v1/builds".to_owned(), &[("wait", Some(wait.as_secs().to_string()))]);
        let response = self.send(Call::new(Method::POST, path).json(create)?.patience(wait + SETTLE_TIME)).await?;
        let done = response.status() != StatusCode::ACCEPTED;
        Ok(Waited { value: read_json(response).await?, done })
    }

    /// One page of builds, what was asked for last first.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn builds(&self, query: &BuildQuery, limit: u32, cursor: Option<&str>) -> Result<Page<Build>, Error> {
        let path = with_query(
            "/v1/builds".to_owned(),
            &[
                ("recipe", query.recipe.clone()),
                ("state", query.state.map(|state| state.word().to_owned())),
                ("digest", query.digest.clone()),
                ("limit", Some(limit.to_string())),
                ("cursor", cursor.map(str::to_owned)),
            ],
        );
        self.json(Call::new(Method::GET, path)).await
    }

    /// A build.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn build(&self, id: &str) -> Result<Build, Error> {
        self.json(Call::new(Method::GET, build_path(id, ""))).await
    }

    /// Cancels a build; one that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn cancel_build(&self, id: &str) -> Result<Build, Error> {
        self.json(Call::new(Method::POST, build_path(id, "/cancel"))).await
    }

    /// Has a build made anew; returns the new one.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn rebuild(&self, id: &str) -> Result<Build, Error> {
        self.json(Call::new(Method::POST, build_path(id, "/rebuild"))).await
    }

    /// What happens to a build, from its beginning until it has ended.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn follow_build(&self, id: &str, cursor: Option<&str>) -> Result<Lines<Event>, Error> {
        let pairs = [
            ("format", Some("ndjson".to_owned())),
            ("follow", Some("true".to_owned())),
            ("cursor", cursor.map(str::to_owned)),
        ];
        let response = self.send(Call::new(Method::GET, with_query(build_path(id, "/events"), &pairs))).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// What the steps of a build said; to follow, until it has ended.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn build_logs(&self, id: &str, follow: bool) -> Result<Lines<BuildLine>, Error> {
        let pairs = [("format", Some("ndjson".to_owned())), ("follow", follow.then(|| "true".to_owned()))];
        let response = self.send(Call::new(Method::GET, with_query(build_path(id, "/logs"), &pairs))).await?;
        Ok(Lines::new(response.into_body()))
    }

    /// The bytes that a build made, as they come. Compare them with the artifact's digest.
    ///
    /// # Errors
    ///
    /// [`Error`]; the stream has those of the connection.
    pub async fn artifact(&self, id: &str) -> Result<BoxStream<'static, Result<bytes::Bytes, Error>>, Error> {
        let response = self.send(Call::new(Method::GET, build_path(id, "/artifact"))).await?;
        let bytes = response.into_body().into_data_stream();
        Ok(bytes.map(|piece| piece.map_err(|error| Error::Broken(error.into()))).boxed())
    }

    /// A document of an artifact: `minisig`, `asc`, `sha256`, `provenance`, `sbom`.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn artifact_document(&self, id: &str, document: &str) -> Result<String, Error> {
        let path = build_path(id, &below("/artifact", document, ""));
        let bytes = read(self.send(Call::new(Method::GET, path)).await?).await?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Nonsense("a document that is no text".to_owned()))
    }

    /// The public keys that artifacts are signed with.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub async fn signing_keys(&self) -> Result<SigningKeys, Error> {
        self.json(Call::new(Method::GET, "/v1/keys")).await
    }
}
